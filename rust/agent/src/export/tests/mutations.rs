//! Everything that can be done to an exported log: edits, drops, reorderings, truncations and forks, by somebody who
//! has the files, and by somebody who has the log's key as well. None may pass an examination that has the log's key and
//! one checkpoint seen before, as a receipt or a witness has it.
//!
//! `EVANESCE_MUTATIONS` says how many (5000 unless set), `EVANESCE_MUTATIONS_SEED` from which seed.

use std::cell::RefCell;

use evanesce_wire::exported::Files;
use proptest::sample::Index;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::*;

/// One thing done to a log.
#[derive(Clone, Debug)]
enum Mutation {
    /// Some bits of a byte of a file are flipped.
    Edit {
        file: Index,
        at: Index,
        bits: u8,
    },
    /// A file is gone.
    DropFile(Index),
    /// A file ends early, or goes on with a byte too many.
    Cut {
        file: Index,
        at: Index,
    },
    Pad {
        file: Index,
        byte: u8,
    },
    /// Two files have changed places.
    SwapFiles(Index, Index),
    /// Somebody without the log's key changed the entries and made all else anew but the signature, which stands
    /// over what it stood over, or over what is there now.
    Rewritten {
        change: Change,
        old_root: bool,
    },
    /// The log's own key signed other entries than it did before.
    Forked {
        change: Change,
    },
    /// The log was put back to an earlier state, which its key had signed.
    RolledBack {
        to: Index,
    },
}

/// What is done to a list of entries.
#[derive(Clone, Debug)]
enum Change {
    Edit { entry: Index, at: Index, bits: u8 },
    Drop(Index),
    Swap(Index, Index),
    Repeat { entry: Index, to: Index },
    Truncate(Index),
    Append(u8),
}

fn changes() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        (index(), index(), 1u8..).prop_map(|(entry, at, bits)| Change::Edit { entry, at, bits }),
        index().prop_map(Change::Drop),
        (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
        (index(), index()).prop_map(|(entry, to)| Change::Repeat { entry, to }),
        index().prop_map(Change::Truncate),
        any::<u8>().prop_map(Change::Append),
    ]
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        3 => (index(), index(), 1u8..).prop_map(|(file, at, bits)| Mutation::Edit { file, at, bits }),
        1 => index().prop_map(Mutation::DropFile),
        1 => (index(), index()).prop_map(|(file, at)| Mutation::Cut { file, at }),
        1 => (index(), any::<u8>()).prop_map(|(file, byte)| Mutation::Pad { file, byte }),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::SwapFiles(a, b)),
        3 => (changes(), any::<bool>())
            .prop_map(|(change, old_root)| Mutation::Rewritten { change, old_root }),
        3 => changes().prop_map(|change| Mutation::Forked { change }),
        1 => index().prop_map(|to| Mutation::RolledBack { to }),
    ]
}

impl Change {
    fn to(&self, entries: &mut Vec<Vec<u8>>) {
        let size = entries.len();
        match self {
            Self::Edit { entry, at, bits } => {
                let entry = &mut entries[entry.index(size)];
                let at = at.index(entry.len());
                entry[at] ^= bits;
            }
            Self::Drop(entry) => {
                entries.remove(entry.index(size));
            }
            Self::Swap(a, b) => entries.swap(a.index(size), b.index(size)),
            Self::Repeat { entry, to } => {
                let entry = entries[entry.index(size)].clone();
                entries.insert(to.index(size), entry);
            }
            Self::Truncate(to) => entries.truncate(to.index(size)),
            Self::Append(word) => entries.push(vec![*word]),
        }
    }
}

/// A log and the key that signs it.
struct Base {
    entries: Vec<Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    /// What was seen before: the checkpoint of these many of its entries.
    seen: Checkpoint,
}

fn leaves(entries: &[Vec<u8>]) -> Vec<Hash> {
    entries
        .iter()
        .map(|entry| merkle::leaf_hash(entry))
        .collect()
}

/// The files of a log of these entries under a checkpoint.
fn lay_out(entries: &[Vec<u8>], checkpoint: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::from([(tiles::CHECKPOINT.to_owned(), checkpoint.into())]);
    let mut row = leaves(entries);
    for tile in tiles::tiles(entries.len() as u64).filter(|tile| tile.level == 0) {
        let first = (tile.index * WIDTH) as usize;
        let mut bundle = Vec::new();
        for entry in &entries[first..first + tile.width as usize] {
            tiles::put_entry(&mut bundle, entry);
        }
        files.insert(tile.bundle_path(), bundle);
    }
    for level in 0.. {
        for (index, hashes) in (0..).zip(row.chunks(WIDTH as usize)) {
            let width = hashes.len() as u64;
            let tile = Tile {
                level,
                index,
                width,
            };
            files.insert(tile.path(), tiles::encode(hashes));
        }
        row = row
            .chunks_exact(WIDTH as usize)
            .map(tiles::tile_hash)
            .collect();
        if row.is_empty() {
            return files;
        }
    }
    files
}

fn root_of(entries: &[Vec<u8>]) -> Hash {
    tiles::tile_hash(&leaves(entries))
}

impl Base {
    fn new(signer: &Signer, size: u64, seen: usize) -> Self {
        let entries: Vec<Vec<u8>> = (0..size).map(|n| Growing::entry(n, "k")).collect();
        let sign = |entries: &[Vec<u8>]| {
            let size = entries.len() as u64;
            signer.checkpoint(size, &root_of(entries)).unwrap()
        };
        Self {
            files: lay_out(&entries, &sign(&entries)),
            seen: Checkpoint::parse(&sign(&entries[..seen])).unwrap(),
            entries,
        }
    }

    /// The files after a mutation; None where it changed nothing that was seen before.
    fn mutate(&self, mutation: &Mutation, signer: &Signer) -> Option<BTreeMap<String, Vec<u8>>> {
        let mut files = self.files.clone();
        let name = |file: &Index| {
            let name = files.keys().nth(file.index(files.len()));
            name.cloned().unwrap_or_default()
        };
        match mutation {
            Mutation::Edit { file, at, bits } => {
                let bytes = files.get_mut(&name(file))?;
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Mutation::DropFile(file) => {
                files.remove(&name(file));
            }
            Mutation::Cut { file, at } => {
                let bytes = files.get_mut(&name(file))?;
                bytes.truncate(at.index(bytes.len()));
            }
            Mutation::Pad { file, byte } => files.get_mut(&name(file))?.push(*byte),
            Mutation::SwapFiles(a, b) => {
                let (a, b) = (name(a), name(b));
                let first = files.insert(a.clone(), self.files[&b].clone())?;
                files.insert(b, first);
            }
            Mutation::Rewritten { change, old_root } => {
                // Behind what the checkpoint covers anything may lie: it is no part of the log.
                if matches!(change, Change::Append(_)) && *old_root {
                    return None;
                }
                let mut entries = self.entries.clone();
                change.to(&mut entries);
                let text = String::from_utf8(self.files[tiles::CHECKPOINT].clone()).ok()?;
                let now = note::body(
                    &note::origin(&AGENT),
                    entries.len() as u64,
                    &root_of(&entries),
                );
                let (old, signature) = text.split_once("\n\n")?;
                files = match old_root {
                    true => lay_out(&entries, &format!("{old}\n\n{signature}")),
                    false => lay_out(&entries, &format!("{now}\n{signature}")),
                };
            }
            Mutation::Forked { change } => {
                let mut entries = self.entries.clone();
                change.to(&mut entries);
                // What lies behind what was seen may be anything: nobody has seen it.
                let seen = self.seen.size as usize;
                if entries.get(..seen) == Some(&self.entries[..seen]) {
                    return None;
                }
                let (size, root) = (entries.len() as u64, root_of(&entries));
                files = lay_out(&entries, &signer.checkpoint(size, &root).ok()?);
            }
            Mutation::RolledBack { to } => {
                let entries = &self.entries[..to.index(self.seen.size as usize)];
                let (size, root) = (entries.len() as u64, root_of(entries));
                files = lay_out(entries, &signer.checkpoint(size, &root).ok()?);
            }
        }
        (files != self.files).then_some(files)
    }
}

/// Files in memory.
#[derive(Clone)]
struct InMemory(BTreeMap<String, Vec<u8>>);

impl Files for &InMemory {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }
}

/// What an auditor does: the whole log against its checkpoint, that against the key, and against what was seen.
fn examine(files: &InMemory, key: &[u8; 32], seen: &Checkpoint) -> Result<(), LogFault> {
    let log = Exported::open(files)?;
    log.signed_by(key)?;
    log.check(|_, _| Ok(()))?;
    match log.since(seen)? {
        Since::Grown => Ok(()),
        Since::Older => Err(LogFault::Wrong("it was cut".into())),
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn no_mutation_of_an_exported_log_goes_unnoticed() {
    let agent = Growing::new();
    let signer = &agent.signer;
    let bases = [(3, 2), (256, 200), (300, 300), (300, 257), (600, 400)]
        .map(|(size, seen)| Base::new(signer, size, seen));
    for base in &bases {
        examine(&InMemory(base.files.clone()), signer.public(), &base.seen).unwrap();
    }
    let count = number("EVANESCE_MUTATIONS", 5000);
    let seed = number("EVANESCE_MUTATIONS_SEED", 1);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let config = ProptestConfig {
        cases: count as u32,
        max_global_rejects: count as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let kinds: RefCell<BTreeMap<String, u64>> = RefCell::default();
    TestRunner::new_with_rng(config, rng)
        .run(&(any::<Index>(), mutations()), |(base, mutation)| {
            let base = &bases[base.index(bases.len())];
            let Some(files) = base.mutate(&mutation, signer) else {
                return Err(TestCaseError::reject("nothing that was seen is changed"));
            };
            if examine(&InMemory(files), signer.public(), &base.seen).is_ok() {
                return Err(TestCaseError::fail("passed"));
            }
            let kind = format!("{mutation:?}");
            let kind = kind.split([' ', '(']).next().unwrap_or_default().to_owned();
            *kinds.borrow_mut().entry(kind).or_default() += 1;
            Ok(())
        })
        .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let kinds = kinds.into_inner();
    let detected: u64 = kinds.values().sum();
    assert!(detected >= count && kinds.len() == 8);
    println!("{detected} mutations (seed {seed}), 0 unnoticed: {kinds:?}");
}
