//! Minting: one key dealt to its holders, and the token that is left of it (PROTOCOL §9).

use std::collections::BTreeMap;

use evanesce_secret::SecretVec;
use evanesce_token::{Gate, Token};
use evanesce_wire::message::Receipt;

/// Judges a policy: warnings, or why it may not go into a token.
pub type PolicyCheck = Box<dyn FnOnce(&str) -> Result<Vec<String>, String> + Send>;

/// What to mint.
pub struct MintSpec {
    /// The key's name, for people and policies.
    pub name: String,
    /// What the key may ever be used as.
    pub suites: Vec<String>,
    /// Who must come together.
    pub quorum: Gate,
    /// Who sits where: seat name → name in the directory. A seat that is not listed is held by its namesake.
    pub seats: BTreeMap<String, String>,
    /// Cedar policies, or nothing.
    pub policy: String,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// The key's identity where an older token of it exists; otherwise drawn.
    pub key: Option<[u8; 32]>,
    /// The token id this one supersedes, for people.
    pub replaces: Option<[u8; 32]>,
    /// A key to import: PKCS#8 in PEM or DER, or the raw bytes of a symmetric key.
    pub imported: Option<SecretVec>,
    /// Asked before anything is drawn.
    pub policy_check: PolicyCheck,
}

/// A token that counts: every seat was checked.
pub struct Minted {
    /// The token.
    pub token: Token,
    /// The agents' log entries for their seats.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
}
