//! Whose fault it is, in PROTOCOL §6.3's words.

use std::fmt;

use evanesce_wire::Id;

/// What went wrong at one seat, or at one holder as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The seat's name; `None` where the holder as a whole is meant.
    pub seat: Option<String>,
    /// The seat's number in the header's depth-first order.
    pub seat_number: Option<u32>,
    /// The holder's name in the caller's directory, or the start of its id.
    pub holder: String,
    /// The holder's agent id.
    pub holder_id: Id,
    /// What went wrong.
    pub kind: FaultKind,
    /// More of it, for people; what an agent wrote is escaped and cut.
    pub detail: String,
}

/// What can go wrong at a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The share is not to be had and the row's signature fails: someone changed the row.
    RowAltered,
    /// The holder does not have the root of the row's epoch.
    EpochNotHeld,
    /// The holder says that what it regenerates is not the share that was dealt.
    CannotRegenerate,
    /// The holder released something else than the share it was dealt, or broke the protocol.
    Lied,
    /// The holder said no.
    Refused,
    /// The holder could not be reached, or broke off.
    Unreachable,
    /// The holder did not answer within the deadline.
    Slow,
    /// The row names an agent that is not in the caller's directory; it is not asked.
    UnknownHolder,
    /// The holder's secure element does not answer.
    ElementUnavailable,
    /// The holder cannot take more now, which is no decision.
    Overloaded,
    /// The holder would, but cannot now: it cannot write down that it did, its key does not answer, or it has not heard
    /// from enough of its peers.
    Unavailable,
}

impl FaultKind {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::RowAltered,
        Self::EpochNotHeld,
        Self::CannotRegenerate,
        Self::Lied,
        Self::Refused,
        Self::Unreachable,
        Self::Slow,
        Self::UnknownHolder,
        Self::ElementUnavailable,
        Self::Overloaded,
        Self::Unavailable,
    ];

    /// The kind of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word, in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RowAltered => "row-altered",
            Self::EpochNotHeld => "epoch-not-held",
            Self::CannotRegenerate => "cannot-regenerate",
            Self::Lied => "lied",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::UnknownHolder => "unknown-holder",
            Self::ElementUnavailable => "element-unavailable",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.seat {
            Some(seat) if *seat == self.holder => write!(f, "{seat}: {}", self.kind)?,
            Some(seat) => write!(f, "{seat} (held by {}): {}", self.holder, self.kind)?,
            None => write!(f, "{}: {}", self.holder, self.kind)?,
        }
        if !self.detail.is_empty() {
            write!(f, ", {}", self.detail)?;
        }
        Ok(())
    }
}

/// What went wrong at a seat, finer than [`FaultKind`]: what the final error's code is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// See [`FaultKind::RowAltered`].
    RowAltered,
    /// See [`FaultKind::EpochNotHeld`].
    EpochNotHeld,
    /// See [`FaultKind::CannotRegenerate`].
    CannotRegenerate,
    /// See [`FaultKind::Lied`].
    Lied,
    /// Policy forbids it.
    Refused,
    /// The agent's clock says that the token has expired.
    Expired,
    /// Tombstoned at this agent.
    Retired,
    /// The agent finds suite and operation unfit.
    Unfit,
    /// The agent finds the request or the header malformed.
    Malformed,
    /// The agent holds the request for a replay, or for too old: clocks differ.
    Replayed,
    /// The agent does not know this identity at all.
    Stranger,
    /// The agent knows this identity, but not in a role that may do this.
    Role,
    /// See [`FaultKind::Overloaded`].
    Overloaded,
    /// See [`FaultKind::Unavailable`].
    Unavailable,
    /// The nonces that it had prepared are gone: it decides in two rounds.
    Unprepared,
    /// See [`FaultKind::ElementUnavailable`].
    ElementUnavailable,
    /// See [`FaultKind::Unreachable`].
    Unreachable,
    /// See [`FaultKind::Slow`].
    Slow,
    /// See [`FaultKind::UnknownHolder`].
    UnknownHolder,
    /// This side could not ask: its own identity failed.
    OwnIdentity,
    /// This side could not ask: its locked memory is full.
    OwnMemory,
}

impl Trouble {
    /// How it is named to the caller.
    pub fn kind(self) -> FaultKind {
        match self {
            Self::RowAltered => FaultKind::RowAltered,
            Self::EpochNotHeld => FaultKind::EpochNotHeld,
            Self::CannotRegenerate => FaultKind::CannotRegenerate,
            Self::Lied => FaultKind::Lied,
            Self::Refused
            | Self::Expired
            | Self::Retired
            | Self::Unfit
            | Self::Malformed
            | Self::Replayed
            | Self::Stranger
            | Self::Role => FaultKind::Refused,
            Self::Overloaded => FaultKind::Overloaded,
            Self::Unavailable | Self::Unprepared => FaultKind::Unavailable,
            Self::ElementUnavailable => FaultKind::ElementUnavailable,
            Self::Unreachable | Self::OwnIdentity | Self::OwnMemory => FaultKind::Unreachable,
            Self::Slow => FaultKind::Slow,
            Self::UnknownHolder => FaultKind::UnknownHolder,
        }
    }

    /// Whether the holder answered and its answer was no.
    pub fn is_refusal(self) -> bool {
        self.kind() == FaultKind::Refused
    }

    /// Whether the holder answered and the share that was dealt cannot be had from it.
    pub fn is_unable(self) -> bool {
        matches!(
            self,
            Self::RowAltered | Self::EpochNotHeld | Self::CannotRegenerate
        )
    }

    /// Whether it concerns the holder as a whole, so that its other seats need not be asked.
    pub fn is_of_holder(self) -> bool {
        matches!(
            self,
            Self::Stranger
                | Self::Role
                | Self::Overloaded
                | Self::Unavailable
                | Self::Unreachable
                | Self::UnknownHolder
                | Self::OwnIdentity
                | Self::OwnMemory
        )
    }
}

/// Longest remark of an agent that is repeated, in characters.
const REMARK: usize = 240;

/// What an agent wrote, on one line, escaped and cut: agents are not trusted with anybody's terminal.
pub(crate) fn remark(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() >= REMARK {
            out.push_str("...");
            break;
        }
        match character {
            ' '..='~' => out.push(character),
            other => out.extend(other.escape_default()),
        }
    }
    out
}

/// The start of an id, for a holder without a name.
pub(crate) fn short_id(id: &Id) -> String {
    let hex: String = id[..6].iter().map(|b| format!("{b:02x}")).collect();
    format!("agent {hex}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_cannot_write_to_the_terminal() {
        assert_eq!(remark("no\u{1b}[31m\nreally"), "no\\u{1b}[31m\\nreally");
        assert!(remark(&"x".repeat(10_000)).len() < 300);
    }

    #[test]
    fn a_fault_names_the_seat_its_holder_and_the_reason() {
        let fault = Fault {
            seat: Some("cfo".into()),
            seat_number: Some(1),
            holder: "agent-1".into(),
            holder_id: [0; 32],
            kind: FaultKind::Unreachable,
            detail: "connection refused".into(),
        };
        assert_eq!(
            fault.to_string(),
            "cfo (held by agent-1): unreachable, connection refused"
        );
    }
}
