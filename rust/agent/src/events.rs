//! What an operator is told: one JSON object a line, on standard error.
//!
//! An event is one of the variants below, and their fields are numbers, ids and cut text alone: there is no
//! way to hand a secret or a whole message to this module. Lines are pure ASCII; anything else is escaped as
//! JSON does, so that hostile names cannot act on a terminal. At most [`PER_SECOND`] lines are written a
//! second; how many were held back is said afterwards.

use evanesce_token::text::cut;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use evanesce_wire::World;
use serde::Serialize;

/// Most lines a second.
const PER_SECOND: u64 = 200;
/// Longest text in a line, in characters.
const TEXT: usize = 300;

/// Something that happened.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// The agent answers.
    Started {
        agent: &'a str,
        address: &'a str,
        element: &'a str,
        weaknesses: usize,
        /// What its secrets lie in, as in its status.
        memory: &'a str,
        entries: u64,
    },
    /// The element has a weakness that the operator accepted.
    WeakElement { weakness: &'a str },
    /// Nonces are prepared here, which an operator has declared to be safe, and there is reason to doubt it.
    PreparedInDoubt { why: &'a str },
    /// The log was recovered after a crash.
    Recovered { replayed: u64, torn_bytes: u64 },
    /// The system's clock is behind the log's newest entry. Until it has caught up the agent's stands still.
    ClockBehind { seconds: u64, hint: &'a str },
    /// Nobody is answered any more.
    Stopped { unfinished: usize },
    /// The directory of known identities was read again.
    DirectoryRead { identities: usize },
    /// It could not be; the old one stays in force.
    DirectoryBroken { why: &'a str },
    /// A caller has opened a sealing session.
    Session { caller: &'a str },
    /// A peer was turned away before anything was asked.
    TurnedAway { peer: &'a str, why: &'a str },
    /// An opening or a seating was not done.
    Refused {
        verb: &'a str,
        caller: &'a str,
        token: &'a str,
        key: &'a str,
        code: &'a str,
        why: &'a str,
    },
    /// A token was retired here.
    Retired {
        caller: &'a str,
        token: &'a str,
        key: &'a str,
    },
    /// A token was revoked, frozen or thawed here by an order.
    Ordered { what: &'a str, token: &'a str },
    /// A grant was revoked here.
    GrantRevoked { grant: &'a str, token: &'a str },
    /// An order was not obeyed.
    OrderRefused {
        order: &'a str,
        code: &'a str,
        why: &'a str,
    },
    /// Enough peers were heard since the start: from now on the agent answers.
    PeersHeard { heard: usize, needed: usize },
    /// Peers have seen what this agent no longer has: it answers nothing until its operator has acted.
    StateLost { what: &'a str },
    /// A peer's log is not what it was.
    PeerBehind { peer: &'a str, why: &'a str },
    /// The agent could not regenerate a share that it was asked for, or its element did not answer.
    Faulty {
        token: &'a str,
        seat: u32,
        why: &'a str,
    },
    /// The log or the tombstones cannot be written.
    LogFailed { why: &'a str },
    /// They can again.
    LogWorks {},
    /// More was asked than the limits allow.
    Overloaded { what: &'a str },
    /// So many lines were held back.
    HeldBack { lines: u64 },
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Events(Option<Arc<Mutex<Sink>>>);

struct Sink {
    name: String,
    world: Arc<dyn World>,
    second: u64,
    lines: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    time: u64,
    name: &'a str,
    #[serde(flatten)]
    event: Event<'a>,
}

impl Events {
    /// Events of the agent `name`, to standard error, dated by `world`.
    pub fn to_stderr(name: &str, world: Arc<dyn World>) -> Self {
        Self(Some(Arc::new(Mutex::new(Sink {
            name: cut(name, 64),
            world,
            second: 0,
            lines: 0,
        }))))
    }

    /// Events that nobody hears, for an agent inside another program.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Tells of one.
    pub fn emit(&self, event: Event<'_>) {
        let Some(sink) = &self.0 else { return };
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        let now = sink.world.unix();
        let (time, second) = (now.as_millis() as u64, now.as_secs());
        if sink.second != second {
            let held = sink.lines.saturating_sub(PER_SECOND);
            (sink.second, sink.lines) = (second, 0);
            if held > 0 {
                let event = Event::HeldBack { lines: held };
                write(&line(&Line {
                    time,
                    name: &sink.name,
                    event,
                }));
            }
        }
        sink.lines += 1;
        if sink.lines <= PER_SECOND {
            write(&line(&Line {
                time,
                name: &sink.name,
                event,
            }));
        }
    }
}

fn write(line: &[u8]) {
    // There is nobody to tell that standard error is gone.
    let _ = io::stderr().lock().write_all(line);
}

fn line(line: &Line<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut json = serde_json::Serializer::with_formatter(&mut out, Ascii);
    if line.serialize(&mut json).is_err() {
        out.clear();
    }
    out.push(b'\n');
    out
}

/// Compact JSON in ASCII, strings cut.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        for c in cut(text, TEXT).chars() {
            if c.is_ascii() {
                out.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_inside_its_string() {
        let event = Event::Refused {
            verb: "contribute",
            caller: "a\"b\u{1b}[2J\n{\u{202e}J\u{fc}\u{1f511}",
            token: "00",
            key: &"x".repeat(10_000),
            code: "refused",
            why: "",
        };
        let bytes = line(&Line {
            time: 1,
            name: "agent-1",
            event,
        });
        assert!(bytes.is_ascii() && bytes.len() < 1000);
        assert_eq!(
            bytes.iter().filter(|b| **b < 0x20 || **b == 0x7f).count(),
            1,
            "the newline"
        );
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["event"], "refused");
        assert_eq!(value["caller"], "a\"b\u{1b}[2J\n{\u{fffd}J\u{fc}\u{1f511}");
    }
}
