//! What a caller asks for, and what it gets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use evanesce_suite::{Input, Output};
use evanesce_token::Token;
use evanesce_wire::message::{Evidence, Receipt};
use zeroize::Zeroize;

use crate::error::Error;
use crate::fault::Fault;

/// Called once, on the reconstructor's own thread: it must not block.
pub type Done<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A callback that is called whatever happens: dropped unanswered, it answers that the software failed.
pub(crate) struct Reply<T>(Option<Done<T>>);

impl<T> Reply<T> {
    pub fn new(done: Done<T>) -> Self {
        Self(Some(done))
    }

    /// Answers. The callback is the caller's code: its panic must not take this thread along.
    pub fn send(mut self, result: Result<T, Error>) {
        self.call(result);
    }

    fn call(&mut self, result: Result<T, Error>) {
        if let Some(done) = self.0.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.call(Err(Error::internal("the operation was dropped")));
        }
    }
}

/// Jobs under one opening of one token: a batch, or a hybrid of several suites. The agents decide job by job;
/// if one is refused, or fails, none is done.
pub struct Operation {
    /// The token, decoded and pinned by the caller.
    pub token: Arc<Token>,
    /// At least one, and at most [`evanesce_wire::limits::REQUESTS_PER_OPENING`].
    pub jobs: Vec<Job>,
    /// Until the shares must be there; `None` is the reconstructor's own setting.
    pub deadline: Option<Duration>,
    /// What goes along to every agent so that it may permit the jobs.
    pub evidence: Evidence,
}

impl Operation {
    /// Jobs with the usual deadline, by the caller's own name alone.
    pub fn new(token: Arc<Token>, jobs: Vec<Job>) -> Self {
        Self {
            token,
            jobs,
            deadline: None,
            evidence: Evidence::default(),
        }
    }
}

/// One use of one key.
pub struct Job {
    /// A suite of the token's header.
    pub suite: String,
    /// What to do.
    pub input: OwnedInput,
    /// The salt of its input digest, where that was settled before (people approved it); `None` draws one.
    pub salt: Option<[u8; 32]>,
}

impl Job {
    /// Under a salt that is drawn when it is asked for.
    pub fn new(suite: impl Into<String>, input: OwnedInput) -> Self {
        Self {
            suite: suite.into(),
            input,
            salt: None,
        }
    }
}

/// [`Input`], owned. A plaintext is wiped when it is dropped.
pub enum OwnedInput {
    /// `message` is signed as it is.
    Sign { message: Vec<u8> },
    /// A tag over `message`.
    Mac { message: Vec<u8> },
    /// `payload`, a JSON object in its canonical form (RFC 8785), is shown to the agents and signed as it is. They
    /// refuse any other form.
    SignPayload { payload: Vec<u8> },
    /// A tag over a payload, likewise.
    MacPayload { payload: Vec<u8> },
    /// Whether `mac` is the tag over `message`.
    VerifyMac { message: Vec<u8>, mac: Vec<u8> },
    /// An AEAD ciphertext.
    Encrypt { plaintext: Vec<u8>, aad: Vec<u8> },
    /// Of an AEAD, or of RSA-OAEP (where `aad` is empty).
    Decrypt { ciphertext: Vec<u8>, aad: Vec<u8> },
    /// A working key of `length` bytes.
    Derive { context: Vec<u8>, length: usize },
    /// `peer`: 32 raw bytes, or SubjectPublicKeyInfo DER.
    Agree { peer: Vec<u8> },
    /// An ML-KEM ciphertext.
    Decapsulate { ciphertext: Vec<u8> },
}

impl OwnedInput {
    /// The same, borrowed.
    pub fn as_input(&self) -> Input<'_> {
        match self {
            Self::Sign { message } | Self::SignPayload { payload: message } => {
                Input::Sign { message }
            }
            Self::Mac { message } | Self::MacPayload { payload: message } => Input::Mac { message },
            Self::VerifyMac { message, mac } => Input::VerifyMac { message, mac },
            Self::Encrypt { plaintext, aad } => Input::Encrypt { plaintext, aad },
            Self::Decrypt { ciphertext, aad } => Input::Decrypt { ciphertext, aad },
            Self::Derive { context, length } => Input::Derive {
                context,
                length: *length,
            },
            Self::Agree { peer } => Input::Agree { peer },
            Self::Decapsulate { ciphertext } => Input::Decapsulate { ciphertext },
        }
    }

    /// The same, owned, of an action, its inputs in the order in which the input digest has them, and whether they are a
    /// payload; `None` where that is no action of a key's.
    pub fn of(action: &str, inputs: Vec<Vec<u8>>, payload: bool) -> Option<Self> {
        let mut inputs = inputs.into_iter();
        let (first, second, none) = (inputs.next()?, inputs.next(), inputs.next());
        Some(match (action, second, payload, none) {
            ("sign", None, true, None) => Self::SignPayload { payload: first },
            ("mac", None, true, None) => Self::MacPayload { payload: first },
            ("sign", None, false, None) => Self::Sign { message: first },
            ("mac", None, false, None) => Self::Mac { message: first },
            ("verify-mac", Some(mac), false, None) => Self::VerifyMac {
                message: first,
                mac,
            },
            ("encrypt", Some(aad), false, None) => Self::Encrypt {
                plaintext: first,
                aad,
            },
            ("decrypt", Some(aad), false, None) => Self::Decrypt {
                ciphertext: first,
                aad,
            },
            ("derive", Some(length), false, None) => Self::Derive {
                context: first,
                length: u32::from_be_bytes(length.try_into().ok()?) as usize,
            },
            ("agree", None, false, None) => Self::Agree { peer: first },
            ("decapsulate", None, false, None) => Self::Decapsulate { ciphertext: first },
            _ => return None,
        })
    }

    /// What the agents are shown of it.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::SignPayload { payload } | Self::MacPayload { payload } => Some(payload),
            _ => None,
        }
    }

    /// Bytes of input.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Sign { message } | Self::Mac { message } | Self::VerifyMac { message, .. } => {
                message.len()
            }
            Self::SignPayload { payload } | Self::MacPayload { payload } => payload.len(),
            Self::Encrypt { plaintext, aad } => plaintext.len() + aad.len(),
            Self::Decrypt { ciphertext, aad } => ciphertext.len() + aad.len(),
            Self::Derive { context, length } => context.len() + length,
            Self::Agree { peer } => peer.len(),
            Self::Decapsulate { ciphertext } => ciphertext.len(),
        }
    }
}

impl Drop for OwnedInput {
    fn drop(&mut self) {
        if let Self::Encrypt { plaintext, .. } = self {
            plaintext.zeroize();
        }
    }
}

/// What came of an [`Operation`].
pub struct Outcome {
    /// One per job, in order. Secret ones are the caller's from here on.
    pub outputs: Vec<Output>,
    /// What the agents that were heard promised to have logged; [`Receipt::verify`] is the caller's to call.
    pub receipts: Vec<Receipt>,
    /// Holders that failed on the way, named although the operation succeeded.
    pub faults: Vec<Fault>,
    /// The salt of each job's input digest: with it, and only with it, a log entry can be matched to its inputs.
    pub salts: Vec<[u8; 32]>,
}
