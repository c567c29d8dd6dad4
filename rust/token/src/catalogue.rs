//! What the token layer must know about a suite, and no more (PROTOCOL §7, §8).
//!
//! The catalogue is handed in by the caller: this crate decodes tokens of any set of suites and computes
//! with none of them.

/// The facts of one suite.
#[derive(Debug, PartialEq, Eq)]
pub struct SuiteFacts {
    /// The name that tokens use, fewer than 24 bytes.
    pub name: &'static str,
    /// Asymmetric: a token that lists it carries its SubjectPublicKeyInfo.
    pub public: bool,
    /// Never derived from a seed: exists in tokens with an imported key alone.
    pub imported_only: bool,
    /// Bytes of key material derived from the seed; 0 where `imported_only`.
    pub material: usize,
    /// The action names of PROTOCOL §6 that it can serve.
    pub operations: &'static [&'static str],
}

/// Every suite that is known.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue(pub &'static [&'static SuiteFacts]);

impl Catalogue {
    /// The suite of that name, if it is known.
    pub fn find(&self, name: &str) -> Option<&'static SuiteFacts> {
        self.0.iter().copied().find(|suite| suite.name == name)
    }
}
