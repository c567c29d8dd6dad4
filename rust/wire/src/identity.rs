//! A peer's long-lived signing key (PROTOCOL §1): Ed25519, or P-256 where an element offers nothing else.
//!
//! What an identity key signs, TLS's own messages apart, is the 32 bytes of a `TH` with a label of its
//! own. A key read from a file goes straight into locked memory and is used on crucible threads only.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_secret::{SecretVec, on_crucible};
use evanesce_token::formula;

use crate::{Id, WireError};

/// SubjectPublicKeyInfo of an Ed25519 key before its 32 bytes (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// SubjectPublicKeyInfo of a P-256 key before its 65-byte uncompressed point (RFC 5480).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const PEM_BEGIN: &[u8] = b"-----BEGIN PRIVATE KEY-----";
const PEM_END: &[u8] = b"-----END PRIVATE KEY-----";
/// An identity file is a few hundred bytes; anything larger is not one.
const LARGEST_FILE: u64 = 16 << 10;

/// Something that signs as one peer.
pub trait Identity: Send + Sync {
    /// SubjectPublicKeyInfo, DER.
    fn spki(&self) -> &[u8];
    /// Whether the key is Ed25519; otherwise it is ECDSA P-256 with SHA-256, DER signatures.
    fn ed25519(&self) -> bool {
        self.spki().starts_with(&ED25519_SPKI)
    }
    /// Signs `message` (a 32-byte statement, or TLS's handshake input).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError>;
    /// This key's id as an agent.
    fn agent_id(&self) -> Id {
        formula::agent_id(self.spki())
    }
    /// This key's id as a caller.
    fn caller_id(&self) -> Id {
        formula::caller_id(self.spki())
    }
}

/// Checks an identity's signature over a 32-byte statement. Keys of any other kind verify nothing.
pub fn verify_statement(spki: &[u8], statement: &[u8; 32], signature: &[u8]) -> bool {
    verify_message(spki, statement, signature)
}

/// The same over a message of any length: what authenticators sign is longer.
pub fn verify_message(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    if let Some(point) = spki.strip_prefix(&ED25519_SPKI) {
        verify_ed25519(point, message, signature)
    } else if let Some(point) = spki.strip_prefix(&P256_SPKI) {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, signature)
            .is_ok()
    } else {
        false
    }
}

/// The same by an Ed25519 key as it is, 32 bytes.
pub(crate) fn verify_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let verify = || {
        let key = UnparsedPublicKey::new(&signature::ED25519, key);
        key.verify(message, signature).is_ok()
    };
    #[cfg(feature = "memo")]
    if crate::memo::is_known(key, message, signature, verify) {
        return true;
    }
    verify()
}

/// An identity kept in a PKCS#8 PEM file with mode 0600.
pub struct FileIdentity {
    key: KeyKind,
    spki: Vec<u8>,
}

// Both hold AWS-LC keys that were made on a crucible thread, so their private part lies in the arena.
enum KeyKind {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl FileIdentity {
    /// Makes a new Ed25519 identity and writes it to `path` (refused if the file exists).
    pub fn create(path: &Path) -> Result<Self, WireError> {
        let pem = on_crucible(|| -> Result<SecretVec, WireError> {
            let mut seed = [0u8; 32];
            evanesce_secret::random(&mut seed);
            // RFC 8410 §7: OneAsymmetricKey v1 around the 32-byte seed.
            let mut der = [0u8; 48];
            der[..16].copy_from_slice(&[
                0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
                0x04, 0x20,
            ]);
            der[16..].copy_from_slice(&seed);
            let mut pem = SecretVec::zeroed(PEM_BEGIN.len() + 1 + 64 + 1 + PEM_END.len() + 1)?;
            let out = pem.expose_mut();
            let body = PEM_BEGIN.len() + 1;
            out[..body - 1].copy_from_slice(PEM_BEGIN);
            out[body - 1] = b'\n';
            BASE64
                .encode_slice(der, &mut out[body..body + 64])
                .map_err(|_| WireError::Identity("cannot encode a new key".into()))?;
            out[body + 64] = b'\n';
            out[body + 65..body + 65 + PEM_END.len()].copy_from_slice(PEM_END);
            out[body + 65 + PEM_END.len()] = b'\n';
            Ok(pem)
        })?;
        let cannot = |e: std::io::Error| {
            WireError::Identity(format!("cannot write {}: {e}", path.display()))
        };
        evanesce_secret::write_new(path, pem.expose()).map_err(cannot)?;
        Self::open(path)
    }

    /// Reads an identity: PKCS#8 PEM, Ed25519 or P-256.
    pub fn open(path: &Path) -> Result<Self, WireError> {
        let at = path.display();
        let cannot = |e: std::io::Error| WireError::Identity(format!("cannot read {at}: {e}"));
        let mut file = File::open(path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if meta.mode() & 0o077 != 0 {
            return Err(WireError::Identity(format!(
                "{at} can be read by others (mode {:o}); run: chmod 600 {at}",
                meta.mode() & 0o777
            )));
        }
        if meta.len() > LARGEST_FILE {
            return Err(WireError::Identity(format!(
                "{at} is too large to be an identity key"
            )));
        }
        let mut pem = SecretVec::zeroed(meta.len() as usize)?;
        file.read_exact(pem.expose_mut()).map_err(cannot)?;
        on_crucible(|| Self::from_pem(pem.expose())).map_err(|why| {
            WireError::Identity(format!(
                "{at} {why}; expected an Ed25519 or P-256 key, PKCS#8 PEM"
            ))
        })
    }

    /// From the file's text; on a crucible thread. The error says what is wrong with it, and nothing of it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let start = find(pem, PEM_BEGIN).ok_or("holds no PRIVATE KEY block")? + PEM_BEGIN.len();
        let end =
            start + find(&pem[start..], PEM_END).ok_or("holds an unfinished PRIVATE KEY block")?;
        let memory = |e: evanesce_secret::Error| e.to_string();
        let mut text = SecretVec::zeroed(end - start).map_err(memory)?;
        let mut length = 0;
        for byte in pem[start..end].iter().filter(|b| !b.is_ascii_whitespace()) {
            text.expose_mut()[length] = *byte;
            length += 1;
        }
        let mut der = SecretVec::zeroed(length).map_err(memory)?;
        let n = BASE64
            .decode_slice_unchecked(&text.expose()[..length], der.expose_mut())
            .map_err(|_| "is not valid base64")?;
        let der = &der.expose()[..n];
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            let spki = [&ED25519_SPKI[..], key.public_key().as_ref()].concat();
            return Ok(Self {
                key: KeyKind::Ed25519(key),
                spki,
            });
        }
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|_| "holds a key of another kind")?;
        let spki = [&P256_SPKI[..], key.public_key().as_ref()].concat();
        Ok(Self {
            key: KeyKind::P256(key),
            spki,
        })
    }
}

impl Identity for FileIdentity {
    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        let signature = on_crucible(|| match &self.key {
            KeyKind::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            KeyKind::P256(key) => key
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| WireError::Identity("the P-256 key cannot sign".into())),
        })?;
        #[cfg(feature = "memo")]
        if let Some(key) = self.spki.strip_prefix(&ED25519_SPKI) {
            crate::memo::made(key, message, &signature);
        }
        Ok(signature)
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}
