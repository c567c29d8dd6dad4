//! What can go wrong in a suite. No variant carries secret bytes, and everything that could tell an
//! attacker why a ciphertext failed is one variant without detail.

use std::fmt;

/// Why an operation was not done.
#[derive(Debug)]
pub enum Error {
    /// The suite does not do this at all.
    UnfitOperation {
        suite: &'static str,
        action: &'static str,
    },
    /// The caller's input (peer, length, public key…) is malformed: what is wrong with it.
    BadInput(String),
    /// A signature or MAC that does not verify, whatever the reason.
    InvalidSignature,
    /// A ciphertext that does not decrypt, whatever the reason.
    DecryptionFailed,
    /// The key cannot be a key of this suite: why.
    BadKey(String),
    /// The public key given is not the public half of this key.
    WrongPublicKey,
    /// Locked memory ran out.
    Secret(evanesce_secret::Error),
    /// A library failed where it should not: which call.
    Internal(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnfitOperation { suite, action } => write!(f, "{suite} does not {action}"),
            Error::BadInput(what) => write!(f, "bad input: {what}"),
            Error::InvalidSignature => f.write_str("the signature or MAC does not verify"),
            Error::DecryptionFailed => f.write_str("the ciphertext does not decrypt"),
            Error::BadKey(why) => write!(f, "unusable key: {why}"),
            Error::WrongPublicKey => {
                f.write_str("the public key given is not the public half of this key")
            }
            Error::Secret(e) => write!(f, "no locked memory for a secret: {e}"),
            Error::Internal(call) => write!(f, "{call} failed unexpectedly"),
        }
    }
}

impl std::error::Error for Error {}

impl From<evanesce_secret::Error> for Error {
    fn from(e: evanesce_secret::Error) -> Self {
        Error::Secret(e)
    }
}
