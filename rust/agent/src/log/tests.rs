//! Crashes, full disks and changed files: what a log must come back from, and what it must not accept.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use evanesce_wire::merkle::{leaf_hash, verify_inclusion};
use evanesce_wire::message::{Basis, Entry};
use proptest::prelude::*;

use super::*;
use crate::disk::Memory;

/// Whose log it is.
pub(crate) const AGENT: Id = [7; 32];

struct TestKey(Ed25519KeyPair, Vec<u8>);

impl Identity for TestKey {
    fn spki(&self) -> &[u8] {
        &self.1
    }
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

fn signer() -> Signer {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let mut spki = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    spki.extend_from_slice(pair.public_key().as_ref());
    Signer::new(&AGENT, Box::new(TestKey(pair, spki))).unwrap()
}

/// An entry of a time of its own.
pub(crate) fn entry(n: u64) -> Vec<u8> {
    let entry = Entry {
        agent: AGENT,
        time: n,
        verb: "contribute".into(),
        token: [n as u8; 32],
        key_name: "k".repeat(n as usize % 50),
        seats: vec![0],
        caller: [1; 32],
        caller_name: "ops".into(),
        operations: vec![],
        code: "done".into(),
        reason: String::new(),
        element: "software".into(),
        weaknesses: vec![],
        basis: Basis::default(),
    };
    entry.encode()
}

fn open(disk: &Memory) -> Result<(Log, Recovered), LogError> {
    Log::open(disk, &AGENT, signer().public())
}

/// Appends a group of entries numbered `range`; gives its checkpoint.
fn append(log: &mut Log, range: std::ops::Range<u64>) -> Result<String, LogError> {
    let entries: Vec<Vec<u8>> = range.map(entry).collect();
    let group = log.append(entries.iter().map(Vec::as_slice))?;
    let checkpoint = signer().checkpoint(group.size, &group.root)?;
    let (size, root) = note::verify(&checkpoint, &AGENT, signer().public()).unwrap();
    for (n, entry) in (group.first..).zip(&entries) {
        assert!(verify_inclusion(
            &leaf_hash(entry),
            n,
            size,
            &group.path(n),
            &root
        ));
    }
    Ok(checkpoint)
}

#[test]
fn what_a_process_left_to_the_system_is_synced_by_the_next_start() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    assert_eq!(disk.syncs(), 0, "there was nothing to sync");
    append(&mut log, 0..3).unwrap();
    drop(log);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.replayed, recovered.torn), (3, 0));
    assert_eq!(disk.syncs(), 1);
}

#[test]
fn a_log_goes_on_where_it_was_left() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    append(&mut log, 0..5).unwrap();
    let checkpoint = append(&mut log, 5..9).unwrap();
    disk.replace(HEAD, &log.head(&checkpoint)).unwrap();
    append(&mut log, 9..12).unwrap();
    let (again, recovered) = open(&disk).unwrap();
    assert_eq!(
        recovered,
        Recovered {
            replayed: 3,
            torn: 0
        }
    );
    assert_eq!((again.size(), again.root()), (12, log.root()));
    disk.remove(HEAD);
    let (again, recovered) = open(&disk).unwrap();
    assert_eq!(
        recovered,
        Recovered {
            replayed: 12,
            torn: 0
        },
        "without a head, from the start"
    );
    assert_eq!(again.root(), log.root());
}

#[test]
fn the_newest_entrys_time_is_found_again() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    assert_eq!(log.time(), 0, "nothing yet");
    let checkpoint = append(&mut log, 0..9).unwrap();
    disk.replace(HEAD, &log.head(&checkpoint)).unwrap();
    let (mut log, recovered) = open(&disk).unwrap();
    assert_eq!((log.time(), recovered.replayed), (8, 0), "by the head");
    // A start without an entry keeps the place.
    let checkpoint = signer().checkpoint(log.size(), &log.root()).unwrap();
    disk.replace(HEAD, &log.head(&checkpoint)).unwrap();
    assert_eq!(open(&disk).unwrap().0.time(), 8);
    let covered = disk.file(ENTRIES).len();
    append(&mut log, 20..22).unwrap();
    assert_eq!(open(&disk).unwrap().0.time(), 21, "behind the head");
    for (what, head) in [("which it does not", "\nlast 1"), ("no place", "\nlast x")] {
        let changed = disk.copy();
        let text = String::from_utf8(disk.file(HEAD)).unwrap();
        changed.put(HEAD, text.replace("\nlast ", head).into_bytes());
        changed.put(ENTRIES, disk.file(ENTRIES)[..covered].to_vec());
        match open(&changed) {
            Err(why) => assert!(why.to_string().contains(what), "{why}"),
            Ok(_) => panic!("accepted: {head:?}"),
        }
    }
}

#[test]
fn a_crash_at_any_byte_of_the_last_write_loses_that_write_alone() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    let checkpoint = append(&mut log, 0..3).unwrap();
    disk.replace(HEAD, &log.head(&checkpoint)).unwrap();
    append(&mut log, 3..5).unwrap();
    let before = disk.file(ENTRIES);
    append(&mut log, 5..8).unwrap();
    let after = disk.file(ENTRIES);
    let mut sizes = std::collections::BTreeSet::new();
    for cut in before.len()..=after.len() {
        // What the write had not reached is missing, or holds what the file system left there.
        for garbage in [
            vec![],
            vec![0; after.len() - cut],
            vec![0xff; after.len() - cut],
        ] {
            let crashed = disk.copy();
            crashed.put(ENTRIES, [&after[..cut], &garbage].concat());
            let (mut log, recovered) = open(&crashed).unwrap();
            assert!(
                (5..=8).contains(&log.size()),
                "{} entries at {cut}",
                log.size()
            );
            assert_eq!(recovered.replayed, log.size() - 3);
            sizes.insert(log.size());
            // And it goes on as if the rest had never been.
            let size = log.size();
            append(&mut log, size..size + 2).unwrap();
            let (again, recovered) = open(&crashed).unwrap();
            assert_eq!((again.root(), recovered.torn), (log.root(), 0));
        }
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8]);
}

#[test]
fn a_full_disk_changes_nothing_and_space_is_all_it_needs() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    append(&mut log, 0..4).unwrap();
    let (good, root) = (disk.file(ENTRIES), log.root());
    for room in 0..600 {
        disk.set_room(Some(good.len() + room));
        let why = append(&mut log, 4..8).unwrap_err().to_string();
        assert!(why.starts_with("the log cannot be written: "), "{why}");
        assert_eq!(
            (disk.file(ENTRIES), log.root()),
            (good.clone(), root),
            "room {room}"
        );
    }
    disk.set_room(None);
    append(&mut log, 4..5).unwrap();
    assert_eq!(open(&disk).unwrap().0.root(), log.root());
}

#[test]
fn what_cannot_be_cut_off_is_never_taken_for_an_entry() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    append(&mut log, 0..1).unwrap();
    // Two whole frames and a part of a third get onto the disk, and stay.
    let frame = disk.file(ENTRIES).len();
    disk.set_room(Some(frame * 4));
    disk.set_stuck(true);
    append(&mut log, 1..8).unwrap_err();
    disk.set_room(None);
    append(&mut log, 10..11).unwrap_err();
    assert!(disk.file(ENTRIES).len() > frame);
    disk.set_stuck(false);
    append(&mut log, 10..11).unwrap();
    let (again, _) = open(&disk).unwrap();
    assert_eq!((again.size(), again.root()), (2, log.root()));
}

#[test]
fn a_log_that_lost_or_changed_entries_is_refused_with_words() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    let checkpoint = append(&mut log, 0..3).unwrap();
    disk.replace(HEAD, &log.head(&checkpoint)).unwrap();
    let covered = disk.file(ENTRIES).len();
    append(&mut log, 3..6).unwrap();
    let refused = |what: &str, change: &dyn Fn(&Memory)| {
        let changed = disk.copy();
        change(&changed);
        let Err(why) = open(&changed) else {
            panic!("accepted: {what}")
        };
        assert!(why.to_string().contains(what), "{why}");
    };
    refused("covers", &|d| {
        d.put(ENTRIES, d.file(ENTRIES)[..covered - 1].to_vec())
    });
    refused("changed entry at byte", &|d| {
        let mut bytes = d.file(ENTRIES);
        bytes[covered + 40] ^= 1;
        d.put(ENTRIES, bytes);
    });
    refused("not this log's", &|d| {
        let text = String::from_utf8(d.file(HEAD)).unwrap();
        d.put(HEAD, text.replace("\n3\n", "\n2\n").into_bytes());
    });
    refused("its nodes do not give its root", &|d| {
        let text = String::from_utf8(d.file(HEAD)).unwrap();
        let at = text.find("node ").unwrap() + 5;
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        d.put(
            HEAD,
            [&text[..at], digit, &text[at + 1..]].concat().into_bytes(),
        );
    });
    let other = Log::open(&disk, &[8; 32], signer().public());
    assert!(
        matches!(other, Err(LogError::Damaged(_))),
        "another agent's log"
    );
}

#[test]
fn an_entry_too_long_for_a_bundle_is_refused() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    assert!(log.append([&[0u8; ENTRY + 1][..]].into_iter()).is_err());
    assert_eq!(disk.file(ENTRIES), [0u8; 0]);
}

proptest! {
    /// Groups, full disks, heads and crashes in any order: the log stays a prefix of what was answered, and is
    /// never short of it.
    #[test]
    fn whatever_happens_answered_entries_stay(
        steps in prop::collection::vec((0u8..6, 1u64..5, 0usize..2000), 1..40),
    ) {
        let disk = Memory::default();
        let (mut log, _) = open(&disk).unwrap();
        let mut answered: Vec<Vec<u8>> = Vec::new();
        for (what, count, bytes) in steps {
            let next = answered.len() as u64;
            match what {
                0 => disk.set_room(Some(disk.file(ENTRIES).len() + disk.file(HEAD).len() + bytes)),
                1 => disk.set_room(None),
                2 => {
                    let crashed = disk.copy();
                    // A write that was under way.
                    let mut torn = crashed.file(ENTRIES);
                    torn.extend(entry(next).into_iter().take(bytes));
                    crashed.put(ENTRIES, torn);
                    let (again, _) = open(&crashed).unwrap();
                    prop_assert_eq!(again.root(), log.root());
                }
                3 => log = open(&disk).unwrap().0,
                _ => {
                    if let Ok(checkpoint) = append(&mut log, next..next + count) {
                        answered.extend((next..next + count).map(entry));
                        if what == 4 {
                            let _ = disk.replace(HEAD, &log.head(&checkpoint));
                        }
                    }
                }
            }
            let leaves: Vec<Hash> = answered.iter().map(|e| leaf_hash(e)).collect();
            prop_assert_eq!(log.root(), Frontier::default().append(&leaves).root);
        }
    }
}

#[test]
fn the_newest_entries_are_read_back_from_the_end() {
    let disk = Memory::default();
    let (mut log, _) = open(&disk).unwrap();
    // About three chunks, and the clock set back in between.
    append(&mut log, 0..9_000).unwrap();
    append(&mut log, 8_000..10_000).unwrap();
    let recent = |log: &Log, since| {
        let mut times = std::collections::BTreeMap::<u64, u32>::new();
        log.recent(&AGENT, since, |entry| {
            *times.entry(entry.time).or_default() += 1
        })
        .map(|()| times)
    };
    for since in [9_999, 9_000, 8_000, 6_000, 100, 0] {
        let times = recent(&log, since).unwrap();
        for n in since..10_000 {
            let twice = (8_000..9_000).contains(&n);
            assert_eq!(
                times.get(&n),
                Some(&(1 + u32::from(twice))),
                "{n} since {since}"
            );
        }
    }
    assert!(
        recent(&log, 9_999).unwrap().len() < 6_000,
        "not the whole log"
    );
    let (empty, _) = open(&Memory::default()).unwrap();
    assert_eq!(recent(&empty, 0).unwrap().len(), 0);
    let journal = log.journal();
    let mut byte = [0];
    journal.read_at(log.length - 300, &mut byte).unwrap();
    journal.write_at(log.length - 300, &[byte[0] ^ 1]).unwrap();
    assert!(matches!(recent(&log, 9_999), Err(LogError::Damaged(_))));
}
