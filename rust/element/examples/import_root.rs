//! Puts the known roots of a software roots file into a PKCS#11 token: a test tool, for runs with given roots.
//!
//! Every root is imported under the strictest template the token takes, labelled as an agent with the same
//! `[element]` table looks for it, and probed; the answer names what got through. Roots and PIN come from files of
//! mode 0600, never from the command line. Not for use with keys that matter: a root that was ever in a file is
//! worth no more than that file, and the file is left where it is.

use evanesce_element::pkcs11::{Config, dangerous_import_root};
use evanesce_element::{Description, Element, ElementError, SecretSource};
use evanesce_secret::{Secret, on_crucible};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
import_root --module LIBRARY [options] ROOTS

ROOTS is a plain software roots file. The options are the keys of agent.toml's [element] table:
  --token LABEL            the token, by its label
  --slot NUMBER            or by its slot
  --pin FILE               holds the user PIN
  --root-label LABEL       roots are labelled LABEL-EPOCH (default: evanesce-root)
  --init-args TEXT         for C_Initialize's pReserved
  --accept-weak-element    import even into a token that roots can be got out of";

const TITLE: &[u8] = b"evanesce software roots v1";

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|(config, roots)| import(&config, roots)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("import_root: {why}");
            ExitCode::FAILURE
        }
    }
}

fn import(config: &Config, roots: PathBuf) -> Result<(), String> {
    let said = |e: ElementError| e.to_string();
    evanesce_secret::harden().map_err(|e| e.to_string())?;
    let text = SecretSource::File(roots).read_verbatim().map_err(said)?;
    let roots = on_crucible(|| parse(text.expose()))?;
    for (epoch, root) in &roots {
        let element = dangerous_import_root(config, *epoch, root).map_err(said)?;
        let Description {
            label,
            weaknesses,
            notes,
            ..
        } = element.description();
        println!("epoch {epoch} is in {label}");
        for weakness in weaknesses {
            println!("weak, accepted: {weakness}");
        }
        for note in notes {
            println!("note: {note}");
        }
    }
    Ok(())
}

/// Epochs and roots of a software roots file. Errors name lines, never what stands in them.
fn parse(text: &[u8]) -> Result<Vec<(u64, Secret<32>)>, String> {
    let mut lines = text
        .strip_suffix(b"\n")
        .unwrap_or(text)
        .split(|byte| *byte == b'\n');
    if lines.next() != Some(TITLE) {
        return Err("not a plain software roots file".to_owned());
    }
    let parse = |(number, line): (usize, &[u8])| {
        root(line).unwrap_or_else(|| Err(format!("line {} is not an epoch and a root", number + 2)))
    };
    lines.enumerate().map(parse).collect()
}

/// One line; None if it is of another form.
fn root(line: &[u8]) -> Option<Result<(u64, Secret<32>), String>> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let epoch = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    let digits = &line[space + 1..];
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let value = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
    let root = Secret::filled(|root: &mut [u8; 32]| {
        for (byte, pair) in root.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
    });
    Some(root.map(|root| (epoch, root)).map_err(|e| e.to_string()))
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<(Config, PathBuf), String> {
    let mut config = Config {
        module: PathBuf::new(),
        token_label: None,
        slot: None,
        pin: None,
        root_label: "evanesce-root".to_owned(),
        accept_weak_element: false,
        init_args: None,
        sessions: 1,
    };
    let mut roots: Option<PathBuf> = None;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"))
        };
        match argument.as_str() {
            "--module" => config.module = value()?.into(),
            "--token" => config.token_label = Some(value()?),
            "--slot" => config.slot = Some(value()?.parse().map_err(|_| "--slot is a number")?),
            "--pin" => config.pin = Some(SecretSource::File(value()?.into())),
            "--root-label" => config.root_label = value()?,
            "--init-args" => config.init_args = Some(value()?),
            "--accept-weak-element" => config.accept_weak_element = true,
            _ if roots.is_none() && !argument.starts_with('-') => roots = Some(argument.into()),
            _ => return Err(format!("{argument:?} is not understood\n\n{USAGE}")),
        }
    }
    if config.module.as_os_str().is_empty() {
        return Err(format!("no module is given\n\n{USAGE}"));
    }
    let roots = roots.ok_or_else(|| format!("no roots file is given\n\n{USAGE}"))?;
    Ok((config, roots))
}
