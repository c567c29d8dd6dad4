//! Exports of growing logs: what is written, what is gone on from, what is refused.

mod mutations;
mod second;

use std::collections::BTreeMap;

use evanesce_wire::exported::Since;
use evanesce_wire::message::Entry;
use proptest::prelude::*;

use super::*;
use crate::disk::{self, Disk};
use crate::log::tests::AGENT;
use crate::log::{Log, Signer};

/// An agent's folder with a log that grows as a test wants.
struct Growing {
    dir: tempfile::TempDir,
    folder: disk::Folder,
    signer: Signer,
    log: Log,
}

impl Growing {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = disk::Folder::open(dir.path()).unwrap();
        let key = FileIdentity::create(&folder.path(log::KEY)).unwrap();
        let signer = Signer::new(&AGENT, Box::new(key)).unwrap();
        let (log, _) = Log::open(&folder, &AGENT, signer.public()).unwrap();
        Self {
            dir,
            folder,
            signer,
            log,
        }
    }

    fn entry(n: u64, word: &str) -> Vec<u8> {
        let mut entry = Entry::decode(&log::tests::entry(n)).unwrap();
        entry.key_name = word.into();
        entry.encode()
    }

    /// Appends so many entries in one group, and leaves head and checkpoint as they were.
    fn append(&mut self, count: u64, word: &str) {
        let from = self.log.size();
        let entries: Vec<Vec<u8>> = (from..from + count).map(|n| Self::entry(n, word)).collect();
        self.log.append(entries.iter().map(Vec::as_slice)).unwrap();
    }

    /// The head as after a sync.
    fn sync(&self) {
        let checkpoint = self
            .signer
            .checkpoint(self.log.size(), &self.log.root())
            .unwrap();
        self.folder
            .replace(log::HEAD, &self.log.head(&checkpoint))
            .unwrap();
    }

    fn grow(&mut self, count: u64) {
        self.append(count, "k");
        self.sync();
    }

    fn export(&self, target: &Path) -> Result<Export, AgentError> {
        export(self.dir.path(), target)
    }
}

/// Every file under a folder, by its path in it.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for item in fs::read_dir(at).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// The names that a tree of this size has and no other.
fn names(size: u64) -> Vec<String> {
    let mut names = vec![tiles::CHECKPOINT.to_owned(), VKEY.to_owned()];
    for tile in tiles::tiles(size) {
        names.push(tile.path());
        if tile.level == 0 {
            names.push(tile.bundle_path());
        }
    }
    names.sort();
    names
}

fn check(target: &Path) -> Result<u64, LogFault> {
    let log = Exported::open(Folder(target.to_owned()))?;
    let mut seen = 0;
    log.check(|index, entry| {
        assert_eq!((index, Entry::decode(entry).unwrap().time), (seen, seen));
        seen += 1;
        Ok(())
    })?;
    Ok(seen)
}

#[test]
fn a_log_of_three_levels_is_written_as_the_specification_says() {
    let mut agent = Growing::new();
    agent.grow(70_000);
    let out = tempfile::tempdir().unwrap();
    let made = agent.export(out.path()).unwrap();
    assert_eq!((made.size, made.read), (70_000, 70_000));
    assert_eq!(made.root, agent.log.root());
    let mut found: Vec<String> = files(out.path()).into_keys().collect();
    found.sort();
    assert_eq!(found, names(70_000));
    assert_eq!(check(out.path()).unwrap(), 70_000);
    agent.grow(1000);
    let made = agent.export(out.path()).unwrap();
    assert_eq!((made.size, made.read), (71_000, 71_000 - 272 * 256));
    assert_eq!(check(out.path()).unwrap(), 71_000);
}

#[test]
fn nothing_beyond_the_synced_head_is_exported() {
    let mut agent = Growing::new();
    let out = tempfile::tempdir().unwrap();
    let none = agent.export(out.path()).unwrap_err();
    assert!(
        none.to_string().contains("no log that was synced"),
        "{none}"
    );
    agent.grow(3);
    agent.append(500, "k");
    assert_eq!(agent.export(out.path()).unwrap().size, 3);
    assert_eq!(files(out.path()).into_keys().collect::<Vec<_>>(), names(3));
    agent.sync();
    assert_eq!(agent.export(out.path()).unwrap().size, 503);
}

#[test]
fn witnesses_words_on_an_unchanged_checkpoint_stay() {
    let mut agent = Growing::new();
    agent.grow(5);
    let out = tempfile::tempdir().unwrap();
    agent.export(out.path()).unwrap();
    let path = out.path().join(tiles::CHECKPOINT);
    let own = Checkpoint::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    let key = FileIdentity::create(&out.path().join("witness.key")).unwrap();
    fs::write(&path, own.cosign("witness", &key, 5).unwrap()).unwrap();
    let before = files(out.path());
    agent.export(out.path()).unwrap();
    assert_eq!(files(out.path()), before);
    agent.grow(1);
    agent.export(out.path()).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("witness"));
}

#[test]
fn a_log_that_was_cut_forked_or_changed_replaces_nothing() {
    let mut agent = Growing::new();
    agent.grow(300);
    let head = fs::read(agent.folder.path(log::HEAD)).unwrap();
    let entries = fs::read(agent.folder.path(log::ENTRIES)).unwrap();
    agent.grow(400);
    let out = tempfile::tempdir().unwrap();
    agent.export(out.path()).unwrap();
    let before = files(out.path());
    let (whole_head, whole) = (
        fs::read(agent.folder.path(log::HEAD)).unwrap(),
        fs::read(agent.folder.path(log::ENTRIES)).unwrap(),
    );
    let refused = |agent: &Growing, why: &str| {
        let refusal = agent.export(out.path()).unwrap_err();
        assert_eq!(refusal.code(), "log-invalid");
        assert!(refusal.to_string().contains(why), "{refusal}");
        assert_eq!(files(out.path()), before);
    };

    // Restored from a copy.
    fs::write(agent.folder.path(log::HEAD), &head).unwrap();
    fs::write(agent.folder.path(log::ENTRIES), &entries).unwrap();
    refused(&agent, "it was cut or restored");
    // Restored and gone on from: a fork of the same length, and one that is longer.
    let (log, _) = Log::open(&agent.folder, &AGENT, agent.signer.public()).unwrap();
    agent.log = log;
    agent.append(400, "x");
    agent.sync();
    refused(&agent, "one of them is a fork");
    agent.append(1000, "x");
    agent.sync();
    refused(&agent, "something else than the log has now");
    let elsewhere = tempfile::tempdir().unwrap();
    agent.export(elsewhere.path()).unwrap();

    // A changed byte in the journal.
    fs::write(agent.folder.path(log::HEAD), &whole_head).unwrap();
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    fs::write(agent.folder.path(log::ENTRIES), &changed).unwrap();
    refused(&agent, "entry 699 of log/entries was changed");
    fs::write(agent.folder.path(log::ENTRIES), &whole).unwrap();
    assert_eq!(agent.export(out.path()).unwrap().size, 700);

    // Another agent's export in the way.
    let mut other = Growing::new();
    other.grow(1);
    let refusal = other.export(out.path()).unwrap_err();
    assert!(refusal.to_string().contains("another log"), "{refusal}");
}

#[test]
fn the_agents_own_folder_is_examined_as_its_export_is() {
    let mut agent = Growing::new();
    agent.grow(300);
    let before = Live::open(agent.dir.path()).unwrap().checkpoint().clone();
    agent.grow(300);
    let out = tempfile::tempdir().unwrap();
    agent.export(out.path()).unwrap();
    agent.append(7, "not synced yet");
    let live = Live::open(agent.dir.path()).unwrap();
    let exported = Exported::open(Folder(out.path().to_owned())).unwrap();
    assert_eq!(live.checkpoint(), exported.checkpoint());
    let mut seen = Vec::new();
    live.check(|index, entry| {
        seen.push((index, entry.to_vec()));
        Ok(())
    })
    .unwrap();
    let expected: Vec<_> = (0..600).map(|n| (n, Growing::entry(n, "k"))).collect();
    assert_eq!(seen, expected);
    for level in 0..10 {
        for index in 0..600 >> level {
            let (one, other) = (live.node(level, index), exported.node(level, index));
            assert_eq!(one.unwrap(), other.unwrap(), "level {level}, {index}");
        }
        let beyond = 600 >> level;
        assert!(live.node(level, beyond).is_err() && exported.node(level, beyond).is_err());
    }
    let fork = Checkpoint::unsigned(&before.origin, before.size, &[1; 32]);
    let later = Checkpoint::unsigned(&before.origin, 601, &[1; 32]);
    let other = Checkpoint::unsigned("evanesce/x", before.size, &before.root);
    for log in [&live as &dyn Tree, &exported] {
        assert_eq!(log.since(&before).unwrap(), Since::Grown);
        assert_eq!(log.since(&later).unwrap(), Since::Older);
        assert!(log.since(&fork).is_err() && log.since(&other).is_err());
        assert!(log.signed_by(&[0; 32]).is_err());
    }

    let path = agent.folder.path(log::ENTRIES);
    let whole = fs::read(&path).unwrap();
    let told = |bytes: &[u8], why: &str| {
        fs::write(&path, bytes).unwrap();
        let live = Live::open(agent.dir.path()).unwrap();
        let fault = live.check(|_, _| Ok(())).unwrap_err().to_string();
        assert!(fault.contains(why), "{fault}");
        assert!(live.since(&before).is_err());
    };
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    told(&changed, "was changed");
    told(&whole[..whole.len() / 2], "ends within entry");
    // Entries in another order are whole, each for itself.
    let first = 10 + Growing::entry(0, "k").len();
    let second = 10 + Growing::entry(1, "k").len();
    let swapped = [
        &whole[first..first + second],
        &whole[..first],
        &whole[first + second..],
    ]
    .concat();
    told(&swapped, "do not give the checkpoint's root");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Exports in between, ended at any file, change nothing about what a last one leaves.
    #[test]
    fn exports_ended_anywhere_end_in_the_same_files(
        growth in prop::collection::vec((0u64..400, any::<bool>(), any::<prop::sample::Index>()), 1..8)
    ) {
        let mut agent = Growing::new();
        agent.sync();
        let out = tempfile::tempdir().unwrap();
        for (more, export, cut) in &growth {
            agent.grow(*more);
            if !export {
                continue;
            }
            let before = files(out.path());
            prop_assert_eq!(agent.export(out.path()).unwrap().size, agent.log.size());
            prop_assert_eq!(check(out.path()).unwrap(), agent.log.size());
            let again = files(out.path());
            agent.export(out.path()).unwrap();
            prop_assert_eq!(&files(out.path()), &again, "a second one finds nothing to do");
            // As after a crash: of what this export wrote, in its order, the rest is not there.
            let mut order: Vec<&String> = again.keys().filter(|name| !before.contains_key(*name)).collect();
            order.sort_by_key(|name| order_of(name));
            let kept = cut.index(order.len() + 1);
            for lost in &order[kept..] {
                fs::remove_file(out.path().join(lost)).unwrap();
            }
            if let Some(old) = before.get(tiles::CHECKPOINT).filter(|_| kept < order.len()) {
                fs::write(out.path().join(tiles::CHECKPOINT), old).unwrap();
            }
        }
        agent.export(out.path()).unwrap();
        let clean = tempfile::tempdir().unwrap();
        agent.export(clean.path()).unwrap();
        let expected = files(clean.path());
        let found = files(out.path());
        for (name, bytes) in &expected {
            prop_assert_eq!(found.get(name), Some(bytes), "{}", name);
        }
        for name in found.keys().filter(|name| !expected.contains_key(*name)) {
            prop_assert!(name.contains(".p/"), "{} is too much", name);
        }
    }
}

/// When an export writes a file, among others: entry by entry, then what is not full, then the rest.
fn order_of(name: &str) -> (u8, u64, u8, u8) {
    let (kind, place) = name
        .strip_prefix("tile/")
        .and_then(|rest| rest.split_once('/'))
        .unwrap_or(("", name));
    let full = !place.contains(".p/");
    let level: Option<u8> = kind.parse().ok();
    match (kind, full) {
        ("", _) => (2, 0, 0, u8::from(name == tiles::CHECKPOINT)),
        (_, true) => {
            let index: u64 = place.replace(['x', '/'], "").parse().unwrap();
            // A tile of a level above is written behind the last one below it.
            let width = WIDTH.pow(u32::from(level.unwrap_or(0)));
            (0, (index + 1) * width - 1, level.map_or(0, |l| l + 1), 0)
        }
        (_, false) => (1, 0, level.map_or(0, |l| l + 1), 0),
    }
}
