//! Where regenerated keys work, if not in the crucible itself: an HSM that takes each in for one operation (docs/custody.md).
//!
//! Shares are combined, and the key is checked against the token's public half, in the crucible as ever. What a runtime cannot do
//! is refused; nothing goes back to the crucible in its place.

use std::fmt;
use std::sync::Arc;

use evanesce_secret::SecretVec;
use evanesce_suite::{Input, Output, Suite};

/// Machinery that works with keys that are brought to it.
pub trait Work: Send + Sync {
    /// One job. `key` is PKCS#8 DER, or a symmetric key's bytes; `public` the token's public half of it. On the crucible, whose
    /// stack is small: what needs more goes to a thread of its own, without the key.
    fn run(
        &self,
        suite: &'static dyn Suite,
        key: &SecretVec,
        public: Option<&[u8]>,
        input: &Input,
    ) -> Result<Output, Refusal>;
}

/// Why a runtime did not do a job.
#[derive(Debug)]
pub enum Refusal {
    /// It does not do this; in its words.
    Unsupported(String),
    /// It cannot just now, or is not as it should be; in its words.
    Unavailable(String),
    /// What the suite says of the input.
    Suite(evanesce_suite::Error),
}

/// A runtime, as settings carry it.
#[derive(Clone)]
pub struct Runtime(pub Arc<dyn Work>);

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

impl PartialEq for Runtime {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Runtime {}
