//! Whether a head that others have seen is one of this agent's own log, as it is now.
//!
//! The agent tells others only heads of what is on its disk for good, so a log that has less than they have seen
//! was cut or restored. One that has as much or more must have had that very tree at that size. Trees of sizes told in
//! this life are remembered; for any other the entries up to there are read and hashed once more.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use evanesce_wire::disk::{FRAME, Head};
use evanesce_wire::merkle::{Frontier, Hash, leaf_hash};
use evanesce_wire::note::Checkpoint;

use crate::disk::Journal;
use crate::sync::Stored;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Trees remembered.
const REMEMBERED: usize = 1024;

/// The agent's own log, as far as it is on the disk for good.
pub struct Own {
    journal: Arc<dyn Journal>,
    stored: Stored,
    /// Roots by size, of trees that this log had.
    trees: Mutex<BTreeMap<u64, Hash>>,
}

/// What a head that others have seen comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Match {
    /// The log has, or had, that tree.
    Ours,
    /// The log has only so many entries.
    Shorter(u64),
    /// The log has another tree of that size.
    Other,
}

impl Own {
    /// The log whose entries are in `journal`; `stored` has its newest head.
    pub fn new(journal: Arc<dyn Journal>, stored: Stored) -> Self {
        Self {
            journal,
            stored,
            trees: Mutex::default(),
        }
    }

    /// The newest checkpoint that covers nothing but what is on the disk; `None` where there is none that can be read.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let (_, checkpoint) = Head::read(&self.stored.head()?).ok()?;
        self.remember(checkpoint.size, checkpoint.root);
        Some(checkpoint)
    }

    fn remember(&self, size: u64, root: Hash) {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.insert(size, root);
        while trees.len() > REMEMBERED {
            trees.pop_first();
        }
    }

    /// Whether the tree of that size and root needs no reading to be judged.
    pub fn knows(&self, size: u64) -> bool {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.contains_key(&size) || self.size() < size
    }

    fn size(&self) -> u64 {
        self.checkpoint_size().unwrap_or_default()
    }

    fn checkpoint_size(&self) -> Option<u64> {
        let (_, checkpoint) = Head::read(&self.stored.head()?).ok()?;
        Some(checkpoint.size)
    }

    /// Compares; reads the entries where it must.
    pub fn compare(&self, size: u64, root: &Hash) -> io::Result<Match> {
        let has = self.size();
        if has < size {
            return Ok(Match::Shorter(has));
        }
        let known = {
            let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            trees.get(&size).copied()
        };
        let own = match known {
            Some(own) => own,
            None => {
                let own = root_at(&*self.journal, size)?;
                self.remember(size, own);
                own
            }
        };
        Ok(match own == *root {
            true => Match::Ours,
            false => Match::Other,
        })
    }
}

/// The root over the first `size` entries of a journal.
fn root_at(journal: &dyn Journal, size: u64) -> io::Result<Hash> {
    let (mut tree, mut leaves) = (Frontier::default(), Vec::new());
    let (end, mut at) = (journal.len()?, 0);
    let mut buffer = Vec::new();
    'reading: while tree.size() + (leaves.len() as u64) < size {
        buffer.resize((end - at).min(CHUNK as u64) as usize, 0);
        journal.read_at(at, &mut buffer)?;
        let mut rest = &buffer[..];
        while let Some(length) = rest.first_chunk::<2>() {
            let whole = FRAME + usize::from(u16::from_be_bytes(*length));
            let Some(frame) = rest.get(..whole) else {
                break;
            };
            leaves.push(leaf_hash(&frame[FRAME..]));
            rest = &rest[whole..];
            if tree.size() + leaves.len() as u64 == size {
                break 'reading;
            }
        }
        let read = (buffer.len() - rest.len()) as u64;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += read;
        tree = tree.append(&leaves).frontier();
        leaves.clear();
    }
    Ok(tree.append(&leaves).root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Memory};
    use evanesce_wire::disk::put_frame;

    #[test]
    fn the_root_at_any_size_is_that_of_the_first_entries() {
        let disk = Memory::default();
        let (mut frames, mut leaves) = (Vec::new(), Vec::new());
        for n in 0..3000u32 {
            let entry = vec![n as u8; 1 + (n as usize * 7) % 900];
            leaves.push(put_frame(&mut frames, &entry).unwrap());
        }
        let whole = frames.len();
        assert!(whole > CHUNK, "more than one reading");
        frames.extend_from_slice(&[0xff; 5]);
        disk.put("log/entries", frames);
        let journal = disk.journal("log/entries").unwrap();
        for size in [0, 1, 2, 1023, 2048, 2999, 3000] {
            let tree = Frontier::default().append(&leaves[..size]).root;
            assert_eq!(root_at(&*journal, size as u64).unwrap(), tree, "{size}");
        }
        assert!(root_at(&*journal, 3001).is_err());
    }
}
