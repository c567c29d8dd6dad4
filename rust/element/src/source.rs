//! Where PINs, passphrases and imported keys are read from: straight into locked memory.

use crate::ElementError;
use evanesce_secret::SecretVec;
use std::path::PathBuf;

/// A place to read one secret from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// A file that only its owner may read.
    File(PathBuf),
    /// An open file descriptor, read to its end; it is not closed.
    Descriptor(i32),
    /// The controlling terminal, with echo off.
    Terminal { prompt: String },
}

impl SecretSource {
    /// Reads the secret and strips one trailing newline (`\n` or `\r\n`).
    pub fn read(&self) -> Result<SecretVec, ElementError> {
        todo!()
    }

    /// Reads the secret exactly as it is, for binary keys.
    pub fn read_verbatim(&self) -> Result<SecretVec, ElementError> {
        todo!()
    }
}
