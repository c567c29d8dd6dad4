//! Token ids that were retired here, for good (PROTOCOL §5, §9).
//!
//! One line of hex per id, appended and synced before anyone is told. The set only grows.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use evanesce_wire::Id;

use crate::disk::{Disk, Journal};

const LINE: usize = 65;

/// The ids, in memory and on disk.
pub struct Tombstones {
    ids: HashSet<Id>,
    journal: Arc<dyn Journal>,
    length: u64,
}

impl Tombstones {
    /// Reads what is there. A last line cut short by a crash was never answered and is taken off; anything
    /// else that is no id is an error, since a tombstone may have been lost.
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        let journal = disk.journal(name)?;
        let mut text = vec![0; journal.len()? as usize];
        journal.read_at(0, &mut text)?;
        let whole = text.len() - text.len() % LINE;
        let ids = text[..whole]
            .chunks_exact(LINE)
            .map(|line| {
                let mut id = [0; 32];
                let good =
                    line[LINE - 1] == b'\n' && hex::decode_to_slice(&line[..64], &mut id).is_ok();
                good.then_some(id)
            })
            .enumerate()
            .map(|(n, id)| {
                id.ok_or_else(|| {
                    let what = format!("{name}: line {} is no token id", n + 1);
                    io::Error::new(io::ErrorKind::InvalidData, what)
                })
            })
            .collect::<io::Result<HashSet<Id>>>()?;
        if whole < text.len() {
            journal.set_len(whole as u64)?;
            journal.sync()?;
        }
        Ok(Self {
            ids,
            journal,
            length: whole as u64,
        })
    }

    /// Whether `id` was retired.
    pub fn contains(&self, id: &Id) -> bool {
        self.ids.contains(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Retires ids: on return they outlive a loss of power. After an error none of them is retired.
    pub fn add(&mut self, ids: &[Id]) -> io::Result<()> {
        let text: String = ids.iter().map(|id| hex::encode(id) + "\n").collect();
        // What a write that failed has left is cut off or written over.
        self.journal.set_len(self.length)?;
        self.journal.write_at(self.length, text.as_bytes())?;
        self.journal.sync()?;
        self.length += text.len() as u64;
        self.ids.extend(ids);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;

    #[test]
    fn they_outlive_the_process_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        {
            let folder = Folder::open(dir.path()).unwrap();
            let mut stones = Tombstones::open(&folder, "tombstones").unwrap();
            stones.add(&[[1; 32], [2; 32]]).unwrap();
            assert!(stones.contains(&[1; 32]) && !stones.contains(&[3; 32]));
        }
        let path = dir.path().join("tombstones");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"0303");
        std::fs::write(&path, &text).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut stones = Tombstones::open(&folder, "tombstones").unwrap();
        assert_eq!(stones.len(), 2);
        stones.add(&[[4; 32]]).unwrap();
        drop((folder, stones));
        let folder = Folder::open(dir.path()).unwrap();
        assert!(
            Tombstones::open(&folder, "tombstones")
                .unwrap()
                .contains(&[4; 32])
        );
        std::fs::write(&path, "x".repeat(LINE)).unwrap();
        let why = Tombstones::open(&folder, "tombstones").err().unwrap();
        assert!(why.to_string().contains("line 1 is no token id"), "{why}");
    }
}
