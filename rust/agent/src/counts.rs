//! The file `counts`: how often keys were used when the log had so many entries, so that a start need not read all of
//! them.
//!
//! It is written now and then, once what it speaks of is synced, and replaced as a whole. A start takes it up and goes on with
//! the entries behind it; where there is none, or it is of another log, it reads them all. What is counted twice on the way is
//! counted once where the log says how many there were, and too often otherwise, which is the safe side.

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use evanesce_wire::Id;
use evanesce_wire::disk::{FRAME, take_frame};
use evanesce_wire::message::{Code, Entry};
use sha2::{Digest, Sha256};

use crate::disk::{Disk, Journal};
use crate::log::Place;
use crate::recent::{Recent, Stretch};
use crate::sync::Syncer;
use crate::uses::{Granted, Merged, Shared, Spent, Tally, Uses};

/// Its name.
pub const COUNTS: &str = "counts";
/// It is written again after so many entries of the log.
const EVERY: u64 = 100_000;
/// Bytes read of the log at a time.
const CHUNK: usize = 1 << 20;
/// What an entry that counts a use has in it: the key `uses` and a map of three, or `grants` and one or two.
const MARKS: [&[u8]; 3] = [b"\x64uses\xa3", b"\x66grants\x81", b"\x66grants\x82"];
const TITLE: &str = "evanesce counts 2";

/// Writes the file.
pub struct Keeper {
    uses: Shared,
    disk: Arc<dyn Disk>,
    /// Entries of the log when it was written last.
    kept: u64,
}

impl Keeper {
    /// Takes up what was counted before, the log having been opened up to `place`.
    pub fn open(
        disk: Arc<dyn Disk>,
        journal: &dyn Journal,
        place: Place,
        agent: &Id,
    ) -> Result<Self, String> {
        let cannot = |e: io::Error| format!("cannot be read: {e}");
        let (mut uses, mut mark) = (Uses::default(), Mark::default());
        if let Some(text) = disk.read(COUNTS).map_err(cannot)? {
            (uses, mark) = parse(&text)?;
            if !mark.is_of(journal, place).map_err(cannot)? {
                mark = Mark::default();
            }
        }
        replay(journal, mark.length, place.length, agent, &mut uses).map_err(cannot)?;
        #[cfg(feature = "planted")]
        if crate::planted::FORGETS_COUNTS.get() {
            uses = Uses::default();
        }
        Ok(Self {
            uses: uses.into(),
            disk,
            kept: mark.entries,
        })
    }

    /// The counts, for whoever judges.
    pub fn uses(&self) -> &Shared {
        &self.uses
    }

    /// Writes the file if it is time to, once the log up to `place` is synced; `last`, whenever something has changed.
    pub fn keep(&mut self, journal: &dyn Journal, place: Place, syncer: &dyn Syncer, last: bool) {
        let due = if last { 1 } else { EVERY };
        if place.size.saturating_sub(self.kept) < due {
            return;
        }
        self.kept = place.size;
        let Ok(mark) = Mark::at(journal, place) else {
            return;
        };
        let text = encode(&self.uses.lock(), &mark);
        let disk = self.disk.clone();
        syncer.now(Box::new(move |good| {
            if good {
                // The one before still holds, with more of the log behind it.
                let _ = disk.replace(COUNTS, text.as_bytes());
            }
        }));
    }
}

/// How far the log had come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    entries: u64,
    /// Bytes.
    length: u64,
    /// Where the last of these entries begins, and what its frame begins with.
    last: u64,
    frame: [u8; FRAME],
}

impl Mark {
    fn at(journal: &dyn Journal, place: Place) -> io::Result<Self> {
        let mut mark = Self {
            entries: place.size,
            length: place.length,
            ..Self::default()
        };
        match place.last {
            Some(last) => {
                mark.last = last;
                journal.read_at(last, &mut mark.frame)?;
                Ok(mark)
            }
            // Where its last entry begins is not known: the log is read from its beginning.
            None => Ok(Self::default()),
        }
    }

    /// Whether a log that was opened up to `place` goes on from here.
    fn is_of(&self, journal: &dyn Journal, place: Place) -> io::Result<bool> {
        if self.entries == 0 {
            return Ok(true);
        }
        let whole = u64::from(u16::from_be_bytes([self.frame[0], self.frame[1]])) + FRAME as u64;
        if self.length > place.length || self.last + whole != self.length {
            return Ok(false);
        }
        let mut frame = [0; FRAME];
        journal.read_at(self.last, &mut frame)?;
        Ok(frame == self.frame)
    }
}

/// Takes up the entries between two places of the log.
fn replay(
    journal: &dyn Journal,
    from: u64,
    to: u64,
    agent: &Id,
    uses: &mut Uses,
) -> io::Result<()> {
    let (mut at, mut buffer) = (from, Vec::new());
    while at < to {
        buffer.resize((to - at).min(CHUNK as u64) as usize, 0);
        journal.read_at(at, &mut buffer)?;
        let mut rest = &buffer[..];
        while let Some((length, _)) = rest.split_first_chunk::<2>() {
            let whole = FRAME + usize::from(u16::from_be_bytes(*length));
            let Some((frame, after)) = rest.split_at_checked(whole) else {
                break;
            };
            // Few are counted, and reading an entry takes its time.
            let has = |mark: &&[u8]| frame.windows(mark.len()).any(|window| window == *mark);
            if MARKS.iter().any(has)
                && take_frame(frame, agent).is_some()
                && let Ok(entry) = Entry::decode(&frame[FRAME..])
            {
                take_up(&entry, uses);
            }
            rest = after;
        }
        match (buffer.len() - rest.len()) as u64 {
            // The log was opened up to here: it holds whole frames alone.
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => at += read,
        }
    }
    Ok(())
}

fn take_up(entry: &Entry, uses: &mut Uses) {
    let count = entry.operations.len() as u64;
    if let Some(counted) = &entry.basis.uses {
        uses.take_up(&entry.token, counted, count, entry.time);
    }
    if entry.code == Code::Done.as_str() {
        uses.take_up_grants(&entry.basis.grants, count, entry.time);
    }
}

fn encode(uses: &Uses, mark: &Mark) -> String {
    let mut text = format!(
        "{TITLE}\nlog {} {} {} {}\n",
        mark.entries,
        mark.length,
        mark.last,
        hex::encode(mark.frame)
    );
    let mut line = |kind: &str, id: &Id, spent: &Spent| {
        let _ = write!(text, "{kind} {} {}", hex::encode(id), spent.count);
        for Stretch { first, last, count } in spent.recent.stretches() {
            let _ = write!(text, " {first}:{last}:{count}");
        }
        text.push('\n');
    };
    for (token, tally) in &uses.tokens {
        line("token", token, &tally.all);
        for (caller, spent) in &tally.callers {
            line("caller", caller, spent);
        }
    }
    let Merged { count, last } = uses.merged;
    let _ = writeln!(text, "grants {} {count} {last}", hex::encode([0; 32]));
    for (id, granted) in &uses.grants {
        let Granted {
            count,
            expires,
            last,
        } = granted;
        let _ = writeln!(text, "grant {} {count} {expires} {last}", hex::encode(id));
    }
    let sum = hex::encode(Sha256::digest(text.as_bytes()));
    let _ = writeln!(text, "sha256 {sum}");
    text
}

fn parse(bytes: &[u8]) -> Result<(Uses, Mark), String> {
    let damaged = || {
        "is damaged: restore it from a backup; without it, the agent counts anew what its log has"
            .to_owned()
    };
    let text = str::from_utf8(bytes).map_err(|_| damaged())?;
    let (body, sum) = text.rsplit_once("sha256 ").ok_or_else(damaged)?;
    if sum.trim_end() != hex::encode(Sha256::digest(body.as_bytes())) {
        return Err(damaged());
    }
    read(body).ok_or_else(damaged)
}

fn read(body: &str) -> Option<(Uses, Mark)> {
    let mut lines = body.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let mut words = lines.next()?.split(' ');
    let mut mark = Mark::default();
    (words.next()? == "log").then_some(())?;
    for number in [&mut mark.entries, &mut mark.length, &mut mark.last] {
        *number = words.next()?.parse().ok()?;
    }
    hex::decode_to_slice(words.next()?, &mut mark.frame).ok()?;
    let (mut uses, mut token) = (Uses::default(), None);
    for line in lines {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut id = [0; 32];
        hex::decode_to_slice(words.next()?, &mut id).ok()?;
        let count = words.next()?.parse().ok()?;
        if kind == "grant" {
            let expires = words.next()?.parse().ok()?;
            let last = words.next()?.parse().ok()?;
            let granted = Granted {
                count,
                expires,
                last,
            };
            uses.grant(id, granted);
            continue;
        }
        if kind == "grants" {
            let last = words.next()?.parse().ok()?;
            uses.merged = Merged { count, last };
            continue;
        }
        let spent = Spent {
            count,
            recent: Recent::of(words.map(stretch).collect::<Option<_>>()?),
        };
        match (kind, token) {
            ("token", _) => {
                let tally = Tally {
                    all: spent,
                    proven: true,
                    ..Tally::default()
                };
                uses.tokens.insert(id, tally);
                token = Some(id);
            }
            ("caller", Some(token)) => {
                uses.tokens.get_mut(&token)?.callers.insert(id, spent);
            }
            _ => return None,
        }
    }
    Some((uses, mark))
}

fn stretch(word: &str) -> Option<Stretch> {
    let mut parts = word.split(':').map(|part| part.parse().ok());
    let mut next = || parts.next().flatten();
    let stretch = Stretch {
        first: next()?,
        last: next()?,
        count: next()?,
    };
    parts.next().is_none().then_some(stretch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut uses = Uses::default();
        let counted = evanesce_wire::message::Counted {
            of: [2; 32],
            key: 7,
            caller: 5,
        };
        uses.take_up(&[1; 32], &counted, 3, 1_800_000_000_000);
        uses.take_up_grants(&[[3; 32], [4; 32]], 2, 1_800_000_000_000);
        uses.merged = Merged { count: 9, last: 8 };
        let text = encode(&uses, &Mark::default());
        let (read, mark) = parse(text.as_bytes()).unwrap();
        assert_eq!((&read.grants, read.merged), (&uses.grants, uses.merged));
        assert_eq!(
            (encode(&read, &mark), mark),
            (text.clone(), Mark::default())
        );
        let changed = text.replace("grants 00", "grants 01");
        assert!(parse(changed.as_bytes()).unwrap_err().contains("damaged"));
    }
}
