//! What can go wrong between two peers, apart from what a peer answers.

use std::fmt;

/// A fault of the wire. No variant can hold a secret: all text comes from public values.
#[derive(Debug)]
pub enum WireError {
    /// The peer could not be reached or the connection broke.
    Unreachable(String),
    /// The peer proved an identity other than the expected one, or a signature of it fails.
    WrongPeer(String),
    /// A message does not have the form this protocol gives it.
    Malformed(String),
    /// A sealed message does not open under its session, or repeats a counter.
    Unsealable,
    /// The session has ended; a new one must be offered.
    SessionEnded,
    /// This side's own identity key cannot be used.
    Identity(String),
    /// Locked memory is exhausted or unavailable.
    Memory(evanesce_secret::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::WrongPeer(why) => write!(f, "wrong peer: {why}"),
            Self::Malformed(why) => write!(f, "malformed message: {why}"),
            Self::Unsealable => f.write_str("a sealed message does not open under its session"),
            Self::SessionEnded => f.write_str("the sealing session has ended"),
            Self::Identity(why) => write!(f, "identity key: {why}"),
            Self::Memory(e) => write!(f, "locked memory: {e}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<evanesce_secret::Error> for WireError {
    fn from(e: evanesce_secret::Error) -> Self {
        Self::Memory(e)
    }
}

impl From<evanesce_token::Malformed> for WireError {
    fn from(e: evanesce_token::Malformed) -> Self {
        Self::Malformed(e.0)
    }
}
