//! X25519: RFC 7748. The peer's key is 32 raw bytes or SubjectPublicKeyInfo DER; a shared secret of
//! zeros (a peer of small order) is refused.

use evanesce_secret::SecretVec;
use evanesce_token::SuiteFacts;

use crate::awslc::curve25519::{x25519, x25519_public};
use crate::operation::derived;
use crate::spki::Algorithm;
use crate::{Error, Input, Material, Output, Suite, pkcs8};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&X25519];

static X25519: X25519Suite = X25519Suite;

pub(crate) struct X25519Suite;

static FACTS: SuiteFacts = SuiteFacts {
    name: "x25519",
    public: true,
    imported_only: false,
    material: 32,
    operations: &["agree"],
};

/// RFC 8410: id-X25519, no parameters.
const ALGORITHM: Algorithm = Algorithm {
    name: "X25519",
    identifier: &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e],
    public: Some(32),
};

fn scalar<'a>(material: &Material<'a>) -> Result<&'a [u8; 32], Error> {
    match material {
        Material::Derived(bytes) => derived(&FACTS, bytes),
        Material::Imported(der) => pkcs8::curve25519(&pkcs8::parse(der, &ALGORITHM)?, &ALGORITHM),
    }
}

fn peer(bytes: &[u8]) -> Result<&[u8; 32], Error> {
    let raw = if bytes.len() == 32 {
        bytes
    } else {
        ALGORITHM.decode(bytes)?
    };
    raw.try_into()
        .map_err(|_| Error::Internal("Algorithm::decode"))
}

impl Suite for X25519Suite {
    fn facts(&self) -> &'static SuiteFacts {
        &FACTS
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn public_key(&self, material: &Material) -> Result<Vec<u8>, Error> {
        Ok(ALGORITHM.encode(&x25519_public(scalar(material)?)))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        let Input::Agree { peer: theirs } = input else {
            return Err(self.unfit(input.action()));
        };
        let mut shared = SecretVec::zeroed(32)?;
        let out = shared
            .expose_mut()
            .try_into()
            .map_err(|_| Error::Internal("SecretVec::zeroed"))?;
        if x25519(scalar(material)?, peer(theirs)?, out) {
            Ok(Output::Secret(shared))
        } else {
            Err(Error::BadInput(
                "the peer's X25519 key has small order: the shared secret would be zero".into(),
            ))
        }
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        let parsed = pkcs8::parse(imported, &ALGORITHM)?;
        let public = x25519_public(pkcs8::curve25519(&parsed, &ALGORITHM)?);
        pkcs8::agree(parsed.public, &public, &ALGORITHM)
    }
}
