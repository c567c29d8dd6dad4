//! What an agent keeps on its own disk, as bytes: the log's frames and head, and the list of tombstones.
//!
//! `log/entries` is a row of frames, each u16 length ‖ the first 8 bytes of the entry's leaf hash ‖ the entry, so that
//! a write cut short is recognised. `log/head` is a checkpoint, the length of the entries that it covers, where the
//! last of them begins, and the tree's right edge as hex. `tombstones` is one line of hex per token id. Nothing here reads or writes a file; what a
//! crash or somebody else left there is told from what the agent wrote, and never believed.

use crate::Id;
use crate::merkle::{Frontier, Hash, leaf_hash};
use crate::message::Entry;
use crate::note::Checkpoint;

const TAG: usize = 8;
/// Bytes of a frame before its entry.
pub const FRAME: usize = 2 + TAG;
/// Bytes of a tombstone: 64 hex digits and a newline.
pub const TOMBSTONE: usize = 65;

/// Appends an entry's frame and gives its leaf hash; None, and nothing appended, for one of over 65535 bytes.
pub fn put_frame(out: &mut Vec<u8>, entry: &[u8]) -> Option<Hash> {
    let length = u16::try_from(entry.len()).ok()?;
    let leaf = leaf_hash(entry);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&leaf[..TAG]);
    out.extend_from_slice(entry);
    Some(leaf)
}

/// The leaf hash and time of the whole, unchanged entry of this agent that `bytes` begins with, and what follows it.
pub fn take_frame<'a>(bytes: &'a [u8], agent: &Id) -> Option<(Hash, u64, &'a [u8])> {
    let (leaf, entry, rest) = take(bytes, agent)?;
    Some((leaf, entry.time, rest))
}

/// The entry itself, and what follows it.
pub fn take_entry<'a>(bytes: &'a [u8], agent: &Id) -> Option<(Entry, &'a [u8])> {
    let (_, entry, rest) = take(bytes, agent)?;
    Some((entry, rest))
}

fn take<'a>(bytes: &'a [u8], agent: &Id) -> Option<(Hash, Entry, &'a [u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (tag, rest) = rest.split_first_chunk::<TAG>()?;
    let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let leaf = leaf_hash(entry);
    let unchanged = leaf[..TAG] == tag[..];
    let entry = Entry::decode(entry).ok().filter(|_| unchanged)?;
    (entry.agent == *agent).then_some((leaf, entry, rest))
}

/// Where the first whole, unchanged frame of this agent in `bytes` begins, whatever it is preceded by.
pub fn find_frame(bytes: &[u8], agent: &Id) -> Option<usize> {
    (0..bytes.len()).find(|&place| {
        // Hashing is for what can be an entry at all.
        let entry = bytes.get(place + FRAME + 1..).unwrap_or_default();
        entry.starts_with(BEGINNING) && take(&bytes[place..], agent).is_some()
    })
}

/// What every entry begins with, behind the number of its fields.
const BEGINNING: &[u8] = b"\x61v\x01\x64code";

/// Whether a good frame lies somewhere behind a bad one that `rest` begins with: a torn write has nothing whole behind
/// it, so a bad entry with a good one behind it was changed.
pub fn hides_a_frame(rest: &[u8], agent: &Id) -> bool {
    let mut rest = rest;
    while let Some((length, _)) = rest.split_first_chunk::<2>() {
        let next = FRAME + usize::from(u16::from_be_bytes(*length));
        let Some(behind) = rest.get(next..) else {
            break;
        };
        if take_frame(behind, agent).is_some() {
            return true;
        }
        rest = behind;
    }
    false
}

/// The tree that a checkpoint covers, and where its entries end.
#[derive(Default)]
pub struct Head {
    /// Bytes of entries.
    pub length: u64,
    /// Where the last entry's frame begins, for its time.
    pub last: Option<u64>,
    /// The tree's right edge.
    pub frontier: Frontier,
}

impl Head {
    /// Reads a head of `agent`'s log, whose checkpoint `key` must have signed and whose edge must give its root; or
    /// says what is wrong with it.
    pub fn parse(text: &[u8], agent: &Id, key: &[u8; 32]) -> Result<Self, String> {
        let (head, checkpoint) = Self::read(text)?;
        if checkpoint.agent() != Some(*agent) {
            return Err("its checkpoint is of another log".into());
        }
        match checkpoint.signed_by(key) {
            true => Ok(head),
            false => Err("its checkpoint's signature is not the log's".into()),
        }
    }

    /// The same without a key to check the checkpoint's signature by; gives the checkpoint too.
    pub fn read(text: &[u8]) -> Result<(Self, Checkpoint), String> {
        let text = str::from_utf8(text).map_err(|_| "it is no text")?;
        let (checkpoint, rest) = text.split_once("\nlength ").ok_or("it has no length")?;
        let checkpoint = Checkpoint::parse(checkpoint).map_err(|e| e.to_string())?;
        let mut lines = rest.lines().peekable();
        let length = lines
            .next()
            .and_then(|n| n.parse().ok())
            .ok_or("it has no length")?;
        // Heads of before it was kept have none.
        let last = match lines.next_if(|line| line.starts_with("last ")) {
            Some(line) => Some(
                line[5..]
                    .parse()
                    .map_err(|_| "its last entry has no place")?,
            ),
            None => None,
        };
        let nodes = lines
            .map(|line| {
                let mut node = [0; 32];
                hex::decode_to_slice(line.strip_prefix("node ")?, &mut node).ok()?;
                Some(node)
            })
            .collect::<Option<Vec<Hash>>>()
            .ok_or("a node is no hash")?;
        let frontier =
            Frontier::from_parts(checkpoint.size, nodes).ok_or("its nodes do not fit its size")?;
        if frontier.append(&[]).root != checkpoint.root {
            return Err("its nodes do not give its root".into());
        }
        let head = Self {
            length,
            last,
            frontier,
        };
        Ok((head, checkpoint))
    }

    /// The head's text under `checkpoint`, which covers exactly this tree.
    pub fn encode(&self, checkpoint: &str) -> Vec<u8> {
        let mut text = format!("{checkpoint}\nlength {}\n", self.length);
        if let Some(last) = self.last {
            text += &format!("last {last}\n");
        }
        for node in self.frontier.nodes() {
            text += &format!("node {}\n", hex::encode(node));
        }
        text.into_bytes()
    }
}

/// How much of a list of tombstones is whole lines. A write that was cut short leaves a part of a line, or, where power
/// was lost, a part and then zeros, as long as all of it was to be.
pub fn whole_tombstones(text: &[u8]) -> usize {
    let written = text
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    written - written % TOMBSTONE
}

/// Every id in a list of tombstones, in order. What a crash has left of a write, which was never answered, is left
/// out; of any other line that is no id the error is the number, from 1.
pub fn tombstones(text: &[u8]) -> Result<Vec<Id>, usize> {
    text[..whole_tombstones(text)]
        .chunks_exact(TOMBSTONE)
        .enumerate()
        .map(|(n, line)| {
            let mut id = [0; 32];
            let good = line[TOMBSTONE - 1] == b'\n'
                && hex::decode_to_slice(&line[..TOMBSTONE - 1], &mut id).is_ok();
            good.then_some(id).ok_or(n + 1)
        })
        .collect()
}

/// The tombstones of `ids`, as lines.
pub fn tombstone_lines(ids: &[Id]) -> String {
    ids.iter().map(|id| hex::encode(id) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Basis;

    #[test]
    fn a_torn_last_line_is_left_out_and_any_other_bad_one_is_named() {
        let text = tombstone_lines(&[[1; 32], [2; 32]]);
        assert_eq!(tombstones(text.as_bytes()), Ok(vec![[1; 32], [2; 32]]));
        let torn = format!("{text}0303");
        assert_eq!(tombstones(torn.as_bytes()), Ok(vec![[1; 32], [2; 32]]));
        for written in [0, 4, TOMBSTONE, TOMBSTONE + 1] {
            let kept = tombstone_lines(&[[3; 32], [4; 32]])[..written].to_owned();
            let zeros = "\0".repeat(2 * TOMBSTONE - written);
            let torn = format!("{text}{kept}{zeros}");
            let ids = tombstones(torn.as_bytes()).map(|ids| ids.len());
            assert_eq!(ids, Ok(2 + written / TOMBSTONE), "{written}");
        }
        let zeros = format!("{}{text}", "\0".repeat(TOMBSTONE));
        assert_eq!(tombstones(zeros.as_bytes()), Err(1));
        assert_eq!(tombstones("x".repeat(TOMBSTONE).as_bytes()), Err(1));
        let joined = text.replacen('\n', " ", 1);
        assert_eq!(tombstones(joined.as_bytes()), Err(1));
    }

    #[test]
    fn a_frame_is_taken_whole_or_not_at_all() {
        let agent = [7; 32];
        let entry = Entry {
            agent,
            time: 1,
            verb: "check".into(),
            token: [2; 32],
            key_name: "k".into(),
            seats: vec![0],
            caller: [1; 32],
            caller_name: "ops".into(),
            operations: vec![],
            code: "done".into(),
            reason: String::new(),
            element: "software".into(),
            weaknesses: vec![],
            basis: Basis::default(),
        }
        .encode();
        let mut frames = Vec::new();
        let leaf = put_frame(&mut frames, &entry).unwrap();
        let one = frames.len();
        put_frame(&mut frames, &entry).unwrap();
        assert_eq!(take_frame(&frames, &agent), Some((leaf, 1, &frames[one..])));
        assert!(
            take_frame(&frames, &[8; 32]).is_none(),
            "another agent's entry"
        );
        for cut in 0..one {
            assert!(take_frame(&frames[..cut], &agent).is_none());
            assert!(!hides_a_frame(&frames[..cut], &agent));
        }
        frames[one - 1] ^= 1;
        assert!(take_frame(&frames, &agent).is_none() && hides_a_frame(&frames, &agent));
        assert!(put_frame(&mut Vec::new(), &[0; 1 << 16]).is_none());
    }
}
