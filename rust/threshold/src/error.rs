//! What went wrong, and whose fault it is: seats, as data.

use std::fmt;

/// Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// What this side was given, or asked for, cannot be: a mistake of the caller, or data that were altered. Says what.
    Unfit(String),
    /// Others sent what is wrong: who, and what. Begin anew without them, or after they are mended.
    Culprits(Vec<Culprit>),
    /// The scalar is not the share of this seat: it does not fit the commitments to the quorum's polynomial.
    NotTheShare {
        /// Whose share it should be, from 0.
        seat: u8,
    },
    /// There is no memory for secrets.
    Memory(evanesce_secret::Error),
}

/// Who sent something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Numbered from 0, as the header has them.
    pub seat: u8,
    /// What it sent.
    pub wrong: Wrong,
}

/// What is wrong with what a seat sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Bytes that cannot be read; says where.
    Malformed(String),
    /// An announcement whose proof of possession is not one.
    Proof,
    /// An announcement other than the one that reached `other`, if that tells the truth: one of the two lies, or, where
    /// they are the same seat, that one.
    Differs {
        /// Who heard it otherwise.
        other: u8,
    },
    /// A share that does not fit what it announced. Nobody else can know whether this is true.
    Share,
    /// Points that are not summands of its part in a repair.
    Summands,
    /// A share of a signature that does not verify against what its own share must be.
    SignatureShare,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unfit(what) => f.write_str(what),
            Error::Culprits(culprits) => {
                for (n, culprit) in culprits.iter().enumerate() {
                    let separator = if n == 0 { "" } else { "; " };
                    write!(f, "{separator}seat {}: {}", culprit.seat, culprit.wrong)?;
                }
                Ok(())
            }
            Error::NotTheShare { seat } => write!(
                f,
                "not the share of seat {seat}: it does not fit the commitment vector"
            ),
            Error::Memory(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Malformed(what) => f.write_str(what),
            Wrong::Proof => f.write_str("its proof of possession is wrong"),
            Wrong::Differs { other } => {
                write!(
                    f,
                    "announced something else to seat {other}, or that one lies"
                )
            }
            Wrong::Summands => f.write_str("what it published does not add up to its part"),
            Wrong::SignatureShare => f.write_str("its share of the signature is wrong"),
            Wrong::Share => f.write_str("its share does not fit what it announced"),
        }
    }
}

impl std::error::Error for Error {}

impl From<evanesce_secret::Error> for Error {
    fn from(error: evanesce_secret::Error) -> Error {
        Error::Memory(error)
    }
}
