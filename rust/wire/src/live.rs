//! An agent's own log folder, read beside the agent that writes it.
//!
//! Only what `log/head` covers is read: that is on disk for good and never changes, whatever the agent appends
//! meanwhile. Nothing is written, locked or repaired here.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Id;
use crate::disk::{FRAME, Head, take_frame};
use crate::exported::{LogFault, Tree, wrong};
use crate::merkle::{Frontier, Hash};
use crate::note::Checkpoint;
use crate::tiles::tile_hash;

/// Where an agent's folder has the log's head.
pub const HEAD: &str = "log/head";
/// Where it has the entries.
pub const ENTRIES: &str = "log/entries";

/// The log of an agent's folder, up to the newest head that was synced.
pub struct Live {
    entries: PathBuf,
    agent: Id,
    head: Head,
    checkpoint: Checkpoint,
    levels: OnceCell<Vec<Vec<Hash>>>,
}

impl Live {
    /// Reads the head.
    pub fn open(folder: &Path) -> Result<Self, LogFault> {
        let text = std::fs::read(folder.join(HEAD)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                wrong(format!("{} has no log that was synced", folder.display()))
            }
            _ => LogFault::Io(folder.join(HEAD).display().to_string(), e),
        })?;
        let (head, checkpoint) =
            Head::read(&text).map_err(|why| wrong(format!("{HEAD} is not a head: {why}")))?;
        let agent = checkpoint
            .agent()
            .ok_or_else(|| wrong(format!("{HEAD} is of no agent's log")))?;
        Ok(Self {
            entries: folder.join(ENTRIES),
            agent,
            head,
            checkpoint,
            levels: OnceCell::new(),
        })
    }

    /// Goes through the entries from number `first`, whose frame begins at byte `at`, to the head's end. `each` is given
    /// number, leaf hash and entry.
    ///
    /// # Errors
    /// A file that ends too early; a changed entry, named; another number of entries than the head says.
    pub fn entries(
        &self,
        first: u64,
        at: u64,
        mut each: impl FnMut(u64, Hash, &[u8]) -> Result<(), LogFault>,
    ) -> Result<(), LogFault> {
        let io = |e: io::Error| LogFault::Io(self.entries.display().to_string(), e);
        let length = self.head.length;
        let mut unread = length
            .checked_sub(at)
            .ok_or_else(|| wrong("the log is shorter than what was read of it before"))?;
        if self.checkpoint.size == 0 {
            return Ok(());
        }
        let mut file = File::open(&self.entries).map_err(io)?;
        file.seek(SeekFrom::Start(at)).map_err(io)?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let (mut number, mut frame) = (first, Vec::new());
        while unread > 0 {
            frame.resize(FRAME, 0);
            read_exact(&mut file, &mut frame, number)?;
            let entry = usize::from(u16::from_be_bytes([frame[0], frame[1]]));
            frame.resize(FRAME + entry, 0);
            read_exact(&mut file, &mut frame[FRAME..], number)?;
            let (leaf, _, _) = take_frame(&frame, &self.agent)
                .ok_or_else(|| wrong(format!("entry {number} of {ENTRIES} was changed")))?;
            unread = unread.checked_sub(frame.len() as u64).ok_or_else(|| {
                wrong(format!(
                    "entry {number} of {ENTRIES} goes beyond the head's end"
                ))
            })?;
            each(number, leaf, &frame[FRAME..])?;
            number += 1;
        }
        match number == self.checkpoint.size {
            true => Ok(()),
            false => Err(wrong(format!(
                "{ENTRIES} has {number} entries where the checkpoint has {}",
                self.checkpoint.size
            ))),
        }
    }

    /// Goes through all of it and compares it with the checkpoint's root. `each` is given the entries in order; what it
    /// has been given is proven only once this returns.
    pub fn check(
        &self,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), LogFault>,
    ) -> Result<(), LogFault> {
        let (mut tree, mut leaves) = (Frontier::default(), Vec::new());
        self.entries(0, 0, |number, leaf, entry| {
            leaves.push(leaf);
            if leaves.len() == 1024 {
                tree = tree.append(&leaves).frontier();
                leaves.clear();
            }
            each(number, entry)
        })?;
        match tree.append(&leaves).root == self.checkpoint.root {
            true => Ok(()),
            false => Err(wrong("the entries do not give the checkpoint's root")),
        }
    }

    /// All complete subtrees' hashes; 64 bytes an entry.
    fn levels(&self) -> Result<&Vec<Vec<Hash>>, LogFault> {
        if self.levels.get().is_none() {
            let mut leaves = Vec::new();
            self.entries(0, 0, |_, leaf, _| {
                leaves.push(leaf);
                Ok(())
            })?;
            let mut levels = vec![leaves];
            while let Some(below) = levels.last().filter(|below| below.len() > 1) {
                let above = below.chunks_exact(2).map(tile_hash).collect();
                levels.push(above);
            }
            let _ = self.levels.set(levels);
        }
        self.levels
            .get()
            .ok_or_else(|| wrong("the tree was not read"))
    }
}

impl Tree for Live {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogFault> {
        self.levels()?
            .get(level as usize)
            .and_then(|row| row.get(index as usize).copied())
            .ok_or_else(|| wrong("a node beyond the tree"))
    }
}

fn read_exact(file: &mut impl Read, out: &mut [u8], number: u64) -> Result<(), LogFault> {
    file.read_exact(out).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => wrong(format!("{ENTRIES} ends within entry {number}")),
        _ => LogFault::Io(ENTRIES.into(), e),
    })
}
