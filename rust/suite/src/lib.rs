//! What a regenerated key can do: every suite of PROTOCOL §7 and the imported ones of §8.
//!
//! A suite turns key material (derived from a token's seed, or imported and sealed in the token)
//! into one answer: a signature, a tag, a plaintext, a derived key. What needs only a public key
//! (verify, encrypt to RSA, encapsulate) works without material, offline.
//!
//! Promised: byte-for-byte PROTOCOL §7–§8; no operation outside a suite's own list; no secret in an
//! error; secret results only in [`SecretVec`](evanesce_secret::SecretVec); constant-time arithmetic
//! on secrets as far as AWS-LC and RustCrypto give it. Not promised: anything about who may ask
//! (the agents decide) or whether the public half is the token's own
//! ([`Suite::operate_as`] compares it with what the caller says it is).
//!
//! Everything that takes [`Material`] runs on a crucible thread, and refuses to run elsewhere: that
//! stack is locked and wiped, and AWS-LC allocates from locked memory there, so stack arrays may hold
//! secrets in this crate. RustCrypto's ECDSA types and AWS-LC's own locals leave copies on that stack
//! and nowhere else.
//!
//! One file per family; a new suite is one `static` and one entry of `SUITES` in its family's file, and nothing
//! elsewhere.

#![deny(unsafe_op_in_unsafe_fn)]

mod aead;
mod awslc;
mod ecdsa;
mod ed25519;
mod error;
mod hkdf;
mod mac;
mod mldsa;
mod mlkem;
mod operation;
pub mod pem;
mod pkcs8;
mod registry;
mod rsa;
pub mod sealed;
mod spki;
mod x25519;

pub use error::Error;
pub use operation::{Input, Material, Output};
pub use registry::{all, catalogue, find};

use evanesce_secret::SecretVec;
use evanesce_token::SuiteFacts;

/// One algorithm under one name. Stateless; get one from [`find`].
pub trait Suite: Sync {
    /// Name, key size and operations: what a token's header is judged by.
    fn facts(&self) -> &'static SuiteFacts;

    /// Whether one operation may take more than a tenth of a millisecond or two, whatever its input: then it is
    /// not done on a thread that others wait for.
    fn is_slow(&self) -> bool;

    /// The public half as SubjectPublicKeyInfo DER (named curve, uncompressed point). On a crucible
    /// thread. [`Error::UnfitOperation`] for symmetric suites.
    fn public_key(&self, material: &Material) -> Result<Vec<u8>, Error>;

    /// Does one operation. On a crucible thread.
    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error>;

    /// [`Suite::operate`], after checking that `spki` is the material's own public half
    /// ([`Error::WrongPublicKey`] where it is not). Cheaper than `public_key` and `operate`, since
    /// the key is expanded once. On a crucible thread.
    fn operate_as(&self, material: &Material, spki: &[u8], input: &Input) -> Result<Output, Error> {
        if self.public_key(material)? != spki {
            return Err(Error::WrongPublicKey);
        }
        self.operate(material, input)
    }

    /// The key in the form in which other machinery takes it: PKCS#8 DER, or the raw bytes of a symmetric key. On a crucible
    /// thread. [`Error::UnfitOperation`] for suites whose keys have no such form here.
    fn portable(&self, material: &Material) -> Result<SecretVec, Error> {
        match material {
            Material::Imported(key) => Ok(SecretVec::from_slice(key)?),
            Material::Derived(_) => Err(self.unfit("leave the crucible")),
        }
    }

    /// Whether `imported` (PKCS#8 DER, or the raw bytes of a symmetric key) may become a key of this
    /// suite: PROTOCOL §8. Stricter than opening, since here a person can still put it right.
    /// On a crucible thread.
    fn admit(&self, imported: &[u8]) -> Result<(), Error>;

    /// Checks a signature; needs no quorum. [`Error::InvalidSignature`] is the one answer to every
    /// signature that does not fit, [`Error::BadInput`] to a malformed public key.
    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let _ = (spki, message, signature);
        Err(self.unfit("verify"))
    }

    /// Encrypts to a public key (RSA-OAEP); needs no quorum. `plaintext` is at most the modulus less
    /// 66 bytes. Works on any thread; on a crucible thread its traces are wiped as well.
    fn encrypt_to(&self, spki: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let _ = (spki, plaintext);
        Err(self.unfit("encrypt"))
    }

    /// A fresh shared secret and the ciphertext that carries it (ML-KEM); needs no quorum. Works on
    /// any thread; on a crucible thread its traces are wiped as well.
    fn encapsulate(&self, spki: &[u8]) -> Result<(Vec<u8>, SecretVec), Error> {
        let _ = spki;
        Err(self.unfit("encapsulate"))
    }

    /// The error for an operation that is not this suite's.
    fn unfit(&self, action: &'static str) -> Error {
        Error::UnfitOperation {
            suite: self.facts().name,
            action,
        }
    }
}
