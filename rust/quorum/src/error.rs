//! Why an operation came to nothing: what happened, whose fault it is, what to do next.
//!
//! The code is for programs, the message and the hint for people, the faults name each culprit as data.
//! No error here can hold a secret: all text comes from names, ids and codes, and whatever an agent wrote
//! is escaped and cut before it is repeated.

use std::fmt;

use crate::fault::Fault;

/// What happened, as one word. The words are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The token, or what was given with it, does not have the form it must have.
    Malformed,
    /// The token's time is over, by the local clock or by the agents'.
    Expired,
    /// Every holder asked refused.
    Refused,
    /// Too few holders answered with a good share; each one's fault is named.
    QuorumNotMet,
    /// No holder asked could regenerate its share: this is not the token that was dealt.
    TokenAltered,
    /// The shares are those committed to and yet do not make the key: a dishonest deal.
    Inconsistent,
    /// The token's header does not list the suite.
    SuiteNotInToken,
    /// The suite does not do this.
    UnfitOperation,
    /// The caller's input (peer, length, imported key…) is malformed.
    BadInput,
    /// A MAC, or the signature about to be released, does not verify.
    InvalidSignature,
    /// The ciphertext does not decrypt under this key.
    DecryptionFailed,
    /// The policy cannot go into a token.
    Policy,
    /// The agents know this identity, but not in the role that this needs.
    Role,
    /// More is asked than can be taken at present.
    Overloaded,
    /// This side's identity cannot be used, or no agent knows it.
    Identity,
    /// No locked memory is left.
    Memory,
    /// The runtime does not do this (docs/custody.md).
    Unsupported,
    /// The runtime is away, or not as it should be.
    Element,
    /// The reconstructor that does this side's operations cannot be reached, or broke off.
    Reconstructor,
    /// A fault of this software.
    Internal,
}

impl Code {
    /// Every one.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::Expired,
        Self::Refused,
        Self::QuorumNotMet,
        Self::TokenAltered,
        Self::Inconsistent,
        Self::SuiteNotInToken,
        Self::UnfitOperation,
        Self::BadInput,
        Self::InvalidSignature,
        Self::DecryptionFailed,
        Self::Policy,
        Self::Role,
        Self::Overloaded,
        Self::Identity,
        Self::Memory,
        Self::Unsupported,
        Self::Element,
        Self::Reconstructor,
        Self::Internal,
    ];

    /// The word, in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::QuorumNotMet => "quorum-not-met",
            Self::TokenAltered => "token-altered",
            Self::Inconsistent => "inconsistent",
            Self::SuiteNotInToken => "suite-not-in-token",
            Self::UnfitOperation => "unfit-operation",
            Self::BadInput => "bad-input",
            Self::InvalidSignature => "invalid-signature",
            Self::DecryptionFailed => "decryption-failed",
            Self::Policy => "policy",
            Self::Role => "role",
            Self::Overloaded => "overloaded",
            Self::Identity => "identity",
            Self::Memory => "memory",
            Self::Unsupported => "unsupported",
            Self::Element => "element",
            Self::Reconstructor => "reconstructor",
            Self::Internal => "internal",
        }
    }

    /// The code of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an operation came to nothing.
#[derive(Clone, Debug)]
pub struct Error {
    /// What happened.
    pub code: Code,
    /// The same for people, in one sentence.
    pub message: String,
    /// What to do next; empty where there is nothing to say.
    pub hint: String,
    /// Whose fault it is, one per seat or holder concerned.
    pub faults: Vec<Fault>,
}

impl Error {
    /// An error that is nobody else's fault.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
            faults: Vec::new(),
        }
    }

    /// The same error with culprits.
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    pub(crate) fn internal(what: &str) -> Self {
        Self::new(
            Code::Internal,
            what,
            "This is a fault of the software: please report it.",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        for fault in &self.faults {
            write!(f, "; {fault}")?;
        }
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<evanesce_secret::Error> for Error {
    fn from(e: evanesce_secret::Error) -> Self {
        Self::new(
            Code::Memory,
            e.to_string(),
            "Raise the locked-memory limit (ulimit -l) or lower the load.",
        )
    }
}
