//! The agent's log: every decision, as leaves of an RFC 6962 tree, under checkpoints signed by the log's key.
//!
//! Entries are written to `log/entries` before anyone is answered, each in a frame (see `evanesce_wire::disk`), so
//! that a write cut short is recognised, and cut off. Only the tree's right edge is kept in memory. `log/head` holds
//! the last checkpoint whose entries are known to be on disk, with that edge and its place in `log/entries`: what a
//! start begins from, and what it insists on finding; and where the last of these entries begins, for its time.
//! A write that fails leaves nothing behind, neither in the file nor in the tree.
//!
//! It does not sync (see `sync`), sign (see [`Signer`], on a crucible thread) or judge what it is given.

mod recent;

use std::fmt;
use std::io;
use std::sync::Arc;

use evanesce_wire::disk::{FRAME, Head, hides_a_frame, put_frame, take_frame};
use evanesce_wire::merkle::{Frontier, Group, Hash};
use evanesce_wire::{Id, Identity, WireError, note};

use crate::disk::{Disk, Journal};
use crate::limits::ENTRY;

/// The journal of entries, and the last checkpoint with what goes with it.
pub use evanesce_wire::live::{ENTRIES, HEAD};
/// The log's own signing key.
pub const KEY: &str = "log/log.key";

/// Bytes read at a time while recovering.
const CHUNK: usize = 1 << 20;

/// Why the log cannot be written or opened; for people.
#[derive(Debug)]
pub enum LogError {
    /// The disk does not take it now. Nothing was changed; the next try may succeed.
    CannotWrite(io::Error),
    /// What is on disk is uncertain; only a restart, which reads it again, can tell.
    Uncertain(String),
    /// What is on disk is not what the agent left there.
    Damaged(String),
    /// The log's key cannot sign.
    Key(String),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotWrite(e) => write!(f, "the log cannot be written: {e}"),
            Self::Uncertain(why) => {
                write!(f, "the log cannot be written: {why}; restart the agent")
            }
            Self::Damaged(what) => write!(
                f,
                "{what}. Receipts were given for what is missing or changed: restore log/ from a \
                 backup, or keep it as evidence and move it away to begin a new log"
            ),
            Self::Key(e) => write!(f, "the log's key cannot sign: {e}"),
        }
    }
}

/// Signs checkpoints.
pub struct Signer {
    origin: String,
    public: [u8; 32],
    key: Box<dyn Identity>,
}

impl Signer {
    /// For the log of `agent`; `key` is an Ed25519 key that signs nothing else.
    pub fn new(agent: &Id, key: Box<dyn Identity>) -> Result<Self, WireError> {
        let public = key
            .ed25519()
            .then(|| key.spki().last_chunk::<32>())
            .flatten();
        let public = *public
            .ok_or_else(|| WireError::Identity("the log's key is not an Ed25519 key".into()))?;
        Ok(Self {
            origin: note::origin(agent),
            public,
            key,
        })
    }

    /// The log's Ed25519 public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The checkpoint of a tree, from a crucible job.
    pub fn sign(&self, size: u64, root: &Hash, signed: &mut Signed) {
        match self.checkpoint(size, root) {
            Ok(checkpoint) => signed.checkpoint = checkpoint,
            Err(e) => signed.fault = Signed::fault(e),
        }
    }

    /// The checkpoint of a tree.
    pub fn checkpoint(&self, size: u64, root: &Hash) -> Result<String, LogError> {
        let body = note::body(&self.origin, size, root);
        let signature = self.key.sign(body.as_bytes());
        let signature = signature.map_err(|e| LogError::Key(e.to_string()))?;
        let signature = signature
            .as_slice()
            .try_into()
            .map_err(|_| LogError::Key("a signature of another length".into()))?;
        Ok(note::sign_with(
            &body,
            &self.origin,
            &self.public,
            signature,
        ))
    }
}

/// What came of signing, as a crucible job leaves it: filled in place, since an enum would bring along what lay on the
/// job's stack.
#[derive(Default)]
pub struct Signed {
    checkpoint: String,
    fault: String,
}

impl Signed {
    fn fault(e: LogError) -> String {
        match e {
            LogError::Key(why) => why,
            other => other.to_string(),
        }
    }

    /// Takes what another job signed, if this is empty: of all of a group's jobs one signs.
    pub fn or(&mut self, other: Self) {
        if self.checkpoint.is_empty() && self.fault.is_empty() {
            *self = other;
        }
    }

    /// The checkpoint, empty where none was asked for.
    pub fn checkpoint(self) -> Result<String, LogError> {
        match self.fault.is_empty() {
            true => Ok(self.checkpoint),
            false => Err(LogError::Key(self.fault)),
        }
    }
}

/// What was found when the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Entries written behind the last head.
    pub replayed: u64,
    /// Bytes of an unfinished write that were cut off.
    pub torn: u64,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Entries.
    pub size: u64,
    /// Bytes of their frames.
    pub length: u64,
    /// Where the last of them begins, if that is known.
    pub last: Option<u64>,
}

/// The log, open for appending.
pub struct Log {
    journal: Arc<dyn Journal>,
    frontier: Frontier,
    /// Length of the good part of the journal.
    length: u64,
    /// Where its last entry begins, if that is known.
    last: Option<u64>,
    /// The time of the newest entry that was there when it was opened.
    time: u64,
    /// Something may lie behind `length`.
    dirty: bool,
    frames: Vec<u8>,
}

impl Log {
    /// Opens the log of `agent` and recovers from a crash at any point.
    pub fn open(
        disk: &dyn Disk,
        agent: &Id,
        key: &[u8; 32],
    ) -> Result<(Self, Recovered), LogError> {
        let journal = disk.journal(ENTRIES).map_err(LogError::CannotWrite)?;
        let written = journal.len().map_err(LogError::CannotWrite)?;
        let head = match disk.read(HEAD).map_err(LogError::CannotWrite)? {
            Some(text) => Head::parse(&text, agent, key)
                .map_err(|why| LogError::Damaged(format!("{HEAD} is not this log's: {why}")))?,
            None => Head::default(),
        };
        if written < head.length {
            return Err(LogError::Damaged(format!(
                "{ENTRIES} has {written} bytes, but the checkpoint of {} entries in {HEAD} covers {}",
                head.frontier.size(),
                head.length
            )));
        }
        let mut log = Self {
            journal,
            frontier: head.frontier,
            length: head.length,
            last: head.last,
            time: 0,
            dirty: false,
            frames: Vec::new(),
        };
        let replayed = log.replay(agent, written)?;
        log.time = log.last_time(agent)?;
        let torn = written - log.length;
        if torn > 0 {
            log.journal
                .set_len(log.length)
                .map_err(LogError::CannotWrite)?;
        }
        // What a process left to the system when it ended may have been answered, and nobody else will sync it.
        if torn > 0 || replayed > 0 {
            log.journal.sync().map_err(LogError::CannotWrite)?;
        }
        Ok((log, Recovered { replayed, torn }))
    }

    /// Takes up the whole entries between `length` and `end`.
    fn replay(&mut self, agent: &Id, end: u64) -> Result<u64, LogError> {
        let before = self.frontier.size();
        let mut buffer = Vec::new();
        loop {
            let unread = end - self.length;
            buffer.resize(unread.min(CHUNK as u64) as usize, 0);
            self.journal
                .read_at(self.length, &mut buffer)
                .map_err(LogError::CannotWrite)?;
            let mut leaves = Vec::new();
            let mut rest = &buffer[..];
            while let Some((leaf, _, after)) = take_frame(rest, agent) {
                leaves.push(leaf);
                self.last = Some(self.length + (buffer.len() - rest.len()) as u64);
                rest = after;
            }
            let good = buffer.len() - rest.len();
            self.frontier = self.frontier.append(&leaves).frontier();
            self.length += good as u64;
            if good == 0 || self.length == end {
                self.refuse_a_gap(rest, agent)?;
                return Ok(self.frontier.size() - before);
            }
        }
    }

    /// The time of the last entry; 0 where its place is not known.
    fn last_time(&self, agent: &Id) -> Result<u64, LogError> {
        let Some(last) = self.last else {
            return Ok(0);
        };
        let longest = (FRAME + ENTRY) as u64;
        let length = self.length.checked_sub(last).filter(|n| *n <= longest);
        let mut frame = vec![0; length.unwrap_or(0) as usize];
        self.journal
            .read_at(self.length - frame.len() as u64, &mut frame)
            .map_err(LogError::CannotWrite)?;
        match take_frame(&frame, agent) {
            Some((_, time, [])) => Ok(time),
            _ => Err(LogError::Damaged(format!(
                "{HEAD} says that the last entry of {ENTRIES} begins at byte {last}, which it does not"
            ))),
        }
    }

    /// A torn write has nothing whole behind it. A bad entry with a good one behind it was changed.
    fn refuse_a_gap(&self, rest: &[u8], agent: &Id) -> Result<(), LogError> {
        match hides_a_frame(rest, agent) {
            true => Err(LogError::Damaged(format!(
                "{ENTRIES} holds a changed entry at byte {} (entry {})",
                self.length,
                self.frontier.size()
            ))),
            false => Ok(()),
        }
    }

    /// Writes `entries` at the log's end: on return the operating system has them. An error changes nothing.
    pub fn append<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Group, LogError> {
        if self.dirty {
            self.journal
                .set_len(self.length)
                .map_err(LogError::CannotWrite)?;
            self.dirty = false;
        }
        let mut leaves = Vec::new();
        let mut last = None;
        self.frames.clear();
        for entry in entries {
            last = Some(self.frames.len());
            let leaf = put_frame(&mut self.frames, entry).ok_or_else(|| {
                LogError::CannotWrite(io::Error::other(format!("an entry of over {ENTRY} bytes")))
            })?;
            leaves.push(leaf);
        }
        if let Err(e) = self.journal.write_at(self.length, &self.frames) {
            // Whole frames of the failed write must never be found behind a later, shorter one.
            self.dirty = self.journal.set_len(self.length).is_err();
            return Err(LogError::CannotWrite(e));
        }
        self.last = last.map(|last| self.length + last as u64).or(self.last);
        self.length += self.frames.len() as u64;
        self.frames.shrink_to(CHUNK);
        let group = self.frontier.append(&leaves);
        self.frontier = group.frontier();
        Ok(group)
    }

    /// Entries in all.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How far it has come.
    pub fn place(&self) -> Place {
        Place {
            size: self.frontier.size(),
            length: self.length,
            last: self.last,
        }
    }

    /// Unix milliseconds of the newest entry that was there when the log was opened; 0 where there was none.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The whole tree's hash.
    pub fn root(&self) -> Hash {
        self.frontier.append(&[]).root
    }

    /// The file that is synced.
    pub fn journal(&self) -> Arc<dyn Journal> {
        self.journal.clone()
    }

    /// The head to store once everything appended so far is synced; `checkpoint` covers exactly that.
    pub fn head(&self, checkpoint: &str) -> Vec<u8> {
        let head = Head {
            length: self.length,
            last: self.last,
            frontier: self.frontier.clone(),
        };
        head.encode(checkpoint)
    }
}

#[cfg(test)]
pub(crate) mod tests;
