//! The heads of other agents' logs, kept for them: the highest of each log that was ever shown here.
//!
//! `seen` in the agent's folder holds them, replaced as a whole. What is not on the disk yet is not shown to anyone,
//! and not signed for.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evanesce_wire::Id;
use evanesce_wire::merkle::Hash;
use evanesce_wire::message::{Head, Kept, LOGS, seen_statement};
use evanesce_wire::note::Checkpoint;
use tokio::time::Instant;

use crate::disk::Disk;

/// The file.
pub const FILE: &str = "seen";

#[derive(Clone)]
struct Highest {
    agent: Id,
    head: Head,
    size: u64,
    root: Hash,
}

/// What a head that was shown comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is the highest so far, or the same again.
    Fine,
    /// It is higher, but the agent has not said yet that it goes on from what was seen before.
    Unconfirmed,
    /// The same log was higher before.
    Lower(u64),
    /// The same log had another tree of that size: one of them is a fork.
    Fork,
    /// The agent has shown too many logs of its own.
    TooMany,
}

struct Heads {
    newest: Vec<Highest>,
    stored: Vec<Highest>,
    dirty: bool,
    written: Option<Instant>,
    writing: bool,
}

/// The heads. Shared by whoever asks and whoever writes.
pub struct Seen {
    disk: Arc<dyn Disk>,
    heads: Mutex<Heads>,
}

impl Seen {
    /// Reads what was kept.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let broken = |why: String| {
            let what = format!(
                "{FILE}: {why}. It holds what this agent has seen of its peers' logs: restore it, or \
                 remove it, and with it the memory that keeps a peer from being restored to an old state"
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let kept = match disk.read(FILE)? {
            Some(bytes) => Kept::decode(&bytes).map_err(|e| broken(e.to_string()))?,
            None => Kept::default(),
        };
        let heads = kept.0.into_iter().map(|(agent, head)| {
            let checkpoint =
                Checkpoint::parse(&head.checkpoint).map_err(|e| broken(e.to_string()))?;
            let (size, root) = (checkpoint.size, checkpoint.root);
            Ok(Highest {
                agent,
                head,
                size,
                root,
            })
        });
        let newest = heads.collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            disk,
            heads: Mutex::new(Heads {
                stored: newest.clone(),
                newest,
                dirty: false,
                written: None,
                writing: false,
            }),
        })
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a head that is `agent`'s own: its size and root are verified. Nobody but that agent can tell whether
    /// its log goes on from the highest that was seen, so a higher one takes its place only `after` the agent has said so, by
    /// that one's [`seen_statement`]: an old copy, which has grown since, would put out what speaks against it.
    pub fn note(
        &self,
        agent: &Id,
        head: Head,
        (size, root): (u64, Hash),
        after: Option<&[u8; 32]>,
    ) -> Shown {
        let mut heads = self.heads();
        let mut own = heads.newest.iter_mut().filter(|h| h.agent == *agent);
        if let Some(highest) = own.find(|h| h.head.log_key == head.log_key) {
            if highest.size > size {
                return Shown::Lower(highest.size);
            }
            if highest.size == size {
                return match highest.root == root {
                    true => Shown::Fine,
                    false => Shown::Fork,
                };
            }
            let key = &highest.head.log_key;
            let before = seen_statement(agent, key, highest.size, &highest.root);
            if after != Some(&before) {
                return Shown::Unconfirmed;
            }
            (highest.head, highest.size, highest.root) = (head, size, root);
        } else {
            if heads.newest.iter().filter(|h| h.agent == *agent).count() >= LOGS {
                return Shown::TooMany;
            }
            let agent = *agent;
            heads.newest.push(Highest {
                agent,
                head,
                size,
                root,
            });
        }
        heads.dirty = true;
        Shown::Fine
    }

    /// Whether [`store`](Self::store) has something to write that may be written now: at most once in `apart`.
    pub fn due(&self, apart: Duration) -> bool {
        let mut heads = self.heads();
        let due = heads.dirty
            && !heads.writing
            && heads.written.is_none_or(|then| then.elapsed() >= apart);
        heads.writing |= due;
        due
    }

    /// Writes what is new, once [`due`](Self::due) has said so: on return it outlives a loss of power.
    pub fn store(&self) -> io::Result<()> {
        let newest = {
            let mut heads = self.heads();
            heads.dirty = false;
            heads.newest.clone()
        };
        let kept = Kept(newest.iter().map(|h| (h.agent, h.head.clone())).collect());
        let written = self.disk.replace(FILE, &kept.encode());
        let mut heads = self.heads();
        (heads.writing, heads.written) = (false, Some(Instant::now()));
        match written {
            Ok(()) => heads.stored = newest,
            Err(_) => heads.dirty = true,
        }
        written
    }

    /// The heads of `agent` that are on the disk, each with its size and root.
    pub fn of(&self, agent: &Id) -> Vec<(Head, u64, Hash)> {
        let heads = self.heads();
        let own = heads.stored.iter().filter(|h| h.agent == *agent);
        own.map(|h| (h.head.clone(), h.size, h.root)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Memory;
    use evanesce_wire::note;

    fn head(key: u8, size: u64, root: u8) -> (Head, u64, Hash) {
        let body = note::body("evanesce/x", size, &[root; 32]);
        let checkpoint = note::sign_with(&body, "evanesce/x", &[key; 32], &[0; 64]);
        let head = Head {
            log_key: [key; 32],
            checkpoint,
            endorsement: vec![1; 64],
        };
        (head, size, [root; 32])
    }

    fn note_it(seen: &Seen, agent: u8, (head, size, root): (Head, u64, Hash)) -> Shown {
        // What is on the disk is what the agent was shown.
        let agent = [agent; 32];
        let shown = seen.of(&agent);
        let own = shown
            .iter()
            .find(|(other, ..)| other.log_key == head.log_key);
        let after =
            own.map(|(head, size, root)| seen_statement(&agent, &head.log_key, *size, root));
        seen.note(&agent, head, (size, root), after.as_ref())
    }

    #[test]
    fn the_highest_is_kept_and_nothing_is_shown_that_is_not_on_the_disk() {
        let disk = Memory::default();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let seen = Seen::open(shared.clone()).unwrap();
        assert_eq!(note_it(&seen, 1, head(7, 5, 1)), Shown::Fine);
        assert!(seen.of(&[1; 32]).is_empty());
        assert!(seen.due(Duration::ZERO) && !seen.due(Duration::ZERO));
        seen.store().unwrap();
        assert_eq!(seen.of(&[1; 32]), [head(7, 5, 1)]);
        assert!(!seen.due(Duration::ZERO), "nothing is new");
        assert_eq!(note_it(&seen, 1, head(7, 4, 2)), Shown::Lower(5));
        assert_eq!(note_it(&seen, 1, head(7, 5, 2)), Shown::Fork);
        assert_eq!(note_it(&seen, 1, head(7, 5, 1)), Shown::Fine);
        // A log that has grown says first that it goes on from what was seen.
        let (grown, size, root) = head(7, 6, 3);
        for after in [None, Some(&[0; 32])] {
            let shown = seen.note(&[1; 32], grown.clone(), (size, root), after);
            assert_eq!(shown, Shown::Unconfirmed);
        }
        assert_eq!(note_it(&seen, 1, head(7, 6, 3)), Shown::Fine);
        assert_eq!(note_it(&seen, 2, head(7, 1, 3)), Shown::Fine, "another");
        assert!(seen.due(Duration::ZERO));
        // A full disk: what was there is still shown, and the next try writes it.
        disk.set_room(Some(0));
        assert!(seen.store().is_err());
        assert_eq!(seen.of(&[1; 32]), [head(7, 5, 1)]);
        disk.set_room(None);
        assert!(seen.due(Duration::ZERO));
        seen.store().unwrap();
        assert_eq!(seen.of(&[1; 32]), [head(7, 6, 3)]);
        let again = Seen::open(shared).unwrap();
        assert_eq!(again.of(&[1; 32]), [head(7, 6, 3)]);
        assert_eq!(note_it(&again, 1, head(7, 4, 2)), Shown::Lower(6));
        for key in 8..8 + LOGS as u8 - 1 {
            assert_eq!(note_it(&again, 1, head(key, 1, 1)), Shown::Fine);
        }
        assert_eq!(note_it(&again, 1, head(99, 1, 1)), Shown::TooMany);
        disk.put(FILE, vec![1, 2]);
        assert!(Seen::open(Arc::new(disk)).is_err());
    }
}
