//! Ed25519: RFC 8032, pure, over the message itself. Signatures are 64 raw bytes.

use evanesce_secret::SecretVec;
use evanesce_token::SuiteFacts;

use crate::awslc::curve25519::{Ed25519Key, ed25519_verify};
use crate::operation::derived;
use crate::spki::Algorithm;
use crate::{Error, Input, Material, Output, Suite, pkcs8};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&ED25519];

static ED25519: Ed25519 = Ed25519;

pub(crate) struct Ed25519;

static FACTS: SuiteFacts = SuiteFacts {
    name: "ed25519",
    public: true,
    imported_only: false,
    material: 32,
    operations: &["sign"],
};

/// RFC 8410: id-Ed25519, no parameters.
const ALGORITHM: Algorithm = Algorithm {
    name: "Ed25519",
    identifier: &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
    public: Some(32),
};

/// 2²⁵⁵ − 19, little-endian.
const FIELD_PRIME: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

impl Ed25519 {
    fn expand(&self, material: &Material) -> Result<Ed25519Key, Error> {
        let seed = match material {
            Material::Derived(bytes) => derived(&FACTS, bytes)?,
            Material::Imported(der) => {
                pkcs8::curve25519(&pkcs8::parse(der, &ALGORITHM)?, &ALGORITHM)?
            }
        };
        Ok(Ed25519Key::from_seed(seed))
    }

    fn run(&self, key: &Ed25519Key, input: &Input) -> Result<Output, Error> {
        match input {
            Input::Sign { message } => Ok(Output::Public(key.sign(message)?.to_vec())),
            other => Err(self.unfit(other.action())),
        }
    }
}

impl Suite for Ed25519 {
    fn facts(&self) -> &'static SuiteFacts {
        &FACTS
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn public_key(&self, material: &Material) -> Result<Vec<u8>, Error> {
        Ok(ALGORITHM.encode(self.expand(material)?.public()))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        self.run(&self.expand(material)?, input)
    }

    fn operate_as(&self, material: &Material, spki: &[u8], input: &Input) -> Result<Output, Error> {
        let key = self.expand(material)?;
        if ALGORITHM.encode(key.public()) != spki {
            return Err(Error::WrongPublicKey);
        }
        self.run(&key, input)
    }

    fn portable(&self, material: &Material) -> Result<SecretVec, Error> {
        match material {
            Material::Imported(der) => Ok(SecretVec::from_slice(der)?),
            Material::Derived(bytes) => {
                let seed = derived::<32>(&FACTS, bytes)?;
                pkcs8::write(ALGORITHM.identifier, &[&[0x04, 32], seed])
            }
        }
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        let parsed = pkcs8::parse(imported, &ALGORITHM)?;
        let key = Ed25519Key::from_seed(pkcs8::curve25519(&parsed, &ALGORITHM)?);
        pkcs8::agree(parsed.public, key.public(), &ALGORITHM)
    }

    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let public: &[u8; 32] = ALGORITHM
            .decode(spki)?
            .try_into()
            .map_err(|_| Error::Internal("Algorithm::decode"))?;
        if !canonical(public) {
            return Err(Error::BadInput("not a canonical Ed25519 point".into()));
        }
        let signature = signature.try_into().map_err(|_| Error::InvalidSignature)?;
        if ed25519_verify(public, message, signature) {
            Ok(())
        } else {
            Err(Error::InvalidSignature)
        }
    }
}

/// RFC 8032 §5.1.3: y < p. Without it one key has two encodings.
fn canonical(public: &[u8; 32]) -> bool {
    let mut y = *public;
    y[31] &= 0x7f;
    y.iter().rev().lt(FIELD_PRIME.iter().rev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_one_encoding() {
        let mut zero_again = FIELD_PRIME;
        assert!(!canonical(&zero_again));
        zero_again[31] |= 0x80;
        assert!(!canonical(&zero_again));
        let mut largest = FIELD_PRIME;
        largest[0] -= 1;
        assert!(canonical(&largest));
        assert!(canonical(&[0; 32]));
        assert!(!canonical(&[0xff; 32]));
    }
}
