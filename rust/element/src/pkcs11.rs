//! Elements behind PKCS#11: any module that signs with CKM_SHA256_HMAC.

use crate::{Description, Element, ElementError, SecretSource};
use evanesce_secret::Secret;
use std::path::PathBuf;

/// Which module, which token in it, and how to use it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The module's shared library.
    pub module: PathBuf,
    /// The token's label; preferred over `slot`, since slot numbers change.
    pub token_label: Option<String>,
    /// The slot's number.
    pub slot: Option<u64>,
    /// The user PIN; None for tokens without one or with a PIN pad.
    pub pin: Option<SecretSource>,
    /// Roots have the CKA_LABEL `<root_label>-<epoch>`.
    pub root_label: String,
    /// Use the element even if the probe gets something through; every weakness is then named.
    pub accept_weak_element: bool,
    /// The string some modules want in C_Initialize's pReserved (NSS softokn).
    pub init_args: Option<String>,
    /// At most this many sessions are open at once; 0 means one per core.
    pub sessions: usize,
}

/// Roots inside a PKCS#11 token.
pub struct Pkcs11Element {}

impl Pkcs11Element {
    /// Makes a new random root for `epoch` inside the token, probes it, and opens the element.
    pub fn create_root(_config: &Config, _epoch: u64) -> Result<Self, ElementError> {
        todo!()
    }

    /// Logs in, finds every root `<root_label>-<epoch>` and probes each.
    pub fn open(_config: &Config) -> Result<Self, ElementError> {
        todo!()
    }

    /// Where the roots' attributes are looser than asked for, "epoch 1: CKA_MODIFIABLE is true": not a
    /// weakness by itself, for the probe tries each by executing.
    pub fn loose_attributes(&self) -> Vec<String> {
        todo!()
    }
}

impl Element for Pkcs11Element {
    fn description(&self) -> Description {
        todo!()
    }
    fn epochs(&self) -> Vec<u64> {
        todo!()
    }
    fn current(&self) -> u64 {
        todo!()
    }
    fn evaluate(
        &self,
        _epoch: u64,
        _input: &[u8; 32],
        _y: &mut [u8; 32],
    ) -> Result<(), ElementError> {
        todo!()
    }
}

/// Puts a known root into the token: for tests with known roots and for migration only. A root that
/// was ever outside an element is worth no more than the place it was in. Probed like a created one.
pub fn dangerous_import_root(
    _config: &Config,
    _epoch: u64,
    _root: &Secret<32>,
) -> Result<Pkcs11Element, ElementError> {
    todo!()
}

/// Destroys the root of `epoch` inside the token, for good.
pub fn destroy_root(_config: &Config, _epoch: u64) -> Result<(), ElementError> {
    todo!()
}

/// An agent's identity key inside a token: ECDSA on P-256 (PROTOCOL §1).
pub struct P256Identity {}

impl P256Identity {
    /// SubjectPublicKeyInfo DER, named curve, uncompressed point (91 bytes).
    pub fn spki(&self) -> &[u8] {
        todo!()
    }

    /// ECDSA over SHA-256(message), ASN.1 DER.
    pub fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, ElementError> {
        todo!()
    }
}

/// Makes a new P-256 key pair with the CKA_LABEL `label` inside the token; refused if there is one.
pub fn create_identity(_config: &Config, _label: &str) -> Result<P256Identity, ElementError> {
    todo!()
}

/// Opens the key pair with the CKA_LABEL `label`.
pub fn open_identity(_config: &Config, _label: &str) -> Result<P256Identity, ElementError> {
    todo!()
}
