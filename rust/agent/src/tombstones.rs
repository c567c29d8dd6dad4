//! Token ids that were retired here, for good (PROTOCOL §5, §9).
//!
//! One line of hex per id, appended and synced before anyone is told. The set only grows. Whoever judges reads
//! [`Retired`]; the committer alone writes [`Tombstones`].

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use evanesce_wire::Id;
use evanesce_wire::disk::{TOMBSTONE, tombstone_lines, tombstones, whole_tombstones};

use crate::disk::{Disk, Journal};

/// The ids whose tombstones are on disk. Clones share them.
#[derive(Clone, Default)]
pub struct Retired(Arc<RwLock<HashSet<Id>>>);

impl Retired {
    /// Whether `id` was retired.
    pub fn contains(&self, id: &Id) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The tombstones of `ids` are on disk.
    pub fn extend(&self, ids: impl IntoIterator<Item = Id>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(ids);
    }
}

/// The file, which nothing else writes.
pub struct Tombstones {
    retired: Retired,
    journal: Arc<dyn Journal>,
    length: u64,
}

/// Tombstones that are to be written, away from the thread that answers.
pub struct Burial {
    journal: Arc<dyn Journal>,
    at: u64,
    text: String,
}

impl Burial {
    /// Writes them: on return they outlive a loss of power.
    pub fn write(&self) -> io::Result<()> {
        // What a write that failed has left is cut off or written over.
        self.journal.set_len(self.at)?;
        self.journal.write_at(self.at, self.text.as_bytes())?;
        self.journal.sync()
    }
}

impl Tombstones {
    /// Reads what is there. What a crash has left of a last write was never answered and is taken off; anything
    /// else that is no id is an error, since a tombstone may have been lost.
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        let journal = disk.journal(name)?;
        let mut text = vec![0; journal.len()? as usize];
        journal.read_at(0, &mut text)?;
        let ids: HashSet<Id> = tombstones(&text)
            .map_err(|line| {
                let what = format!(
                    "{name}: line {line} is no token id: the file was changed. Restore it, or put it together anew from \
                     those of this agent's peers: a line too many does no harm but to the token that it names, a line too \
                     few forgets an end"
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?
            .into_iter()
            .collect();
        let whole = whole_tombstones(&text);
        if whole < text.len() {
            journal.set_len(whole as u64)?;
        }
        // What a process left to the system when it ended holds from here on, and nobody else will sync it.
        if !text.is_empty() {
            journal.sync()?;
        }
        let retired = Retired::default();
        retired.extend(ids);
        Ok(Self {
            retired,
            journal,
            length: whole as u64,
        })
    }

    /// The ids, for whoever judges.
    pub fn retired(&self) -> Retired {
        self.retired.clone()
    }

    /// What is to be written for `ids`. [`Tombstones::buried`] follows if it was; nothing has changed if not.
    pub fn bury(&self, ids: &[Id]) -> Burial {
        Burial {
            journal: self.journal.clone(),
            at: self.length,
            text: tombstone_lines(ids),
        }
    }

    /// The tombstones of `ids` were written: from here on they are retired.
    pub fn buried(&mut self, ids: &[Id]) {
        self.length += (ids.len() * TOMBSTONE) as u64;
        self.retired.extend(ids.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;

    fn add(stones: &mut Tombstones, ids: &[Id]) {
        stones.bury(ids).write().unwrap();
        stones.buried(ids);
    }

    #[test]
    fn they_outlive_the_process_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        {
            let folder = Folder::open(dir.path()).unwrap();
            let mut stones = Tombstones::open(&folder, "tombstones").unwrap();
            add(&mut stones, &[[1; 32], [2; 32]]);
            let retired = stones.retired();
            assert!(retired.contains(&[1; 32]) && !retired.contains(&[3; 32]));
        }
        let path = dir.path().join("tombstones");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"0303");
        text.resize(4 * TOMBSTONE, 0);
        std::fs::write(&path, &text).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut stones = Tombstones::open(&folder, "tombstones").unwrap();
        assert_eq!(stones.retired().len(), 2);
        // A write that failed has left something behind.
        let half = stones.bury(&[[5; 32], [6; 32]]);
        half.write().unwrap();
        add(&mut stones, &[[4; 32]]);
        drop((folder, stones));
        let folder = Folder::open(dir.path()).unwrap();
        let retired = Tombstones::open(&folder, "tombstones").unwrap().retired();
        assert!(retired.contains(&[4; 32]) && retired.len() == 3);
        std::fs::write(&path, "x".repeat(TOMBSTONE)).unwrap();
        let why = Tombstones::open(&folder, "tombstones").err().unwrap();
        assert!(why.to_string().contains("line 1 is no token id"), "{why}");
    }
}
