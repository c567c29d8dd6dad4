//! What went wrong.

use std::fmt;

/// Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// What this side was given, or asked for, cannot be: a mistake of the caller, or data that were altered. Says what.
    Unfit(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unfit(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
