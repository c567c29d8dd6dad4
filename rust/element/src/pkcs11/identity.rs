//! An agent's identity key inside a token: ECDSA on P-256 (PROTOCOL §1).
//!
//! The private key is made there under the strictest template the token takes, and never leaves. Nothing is probed:
//! an identity key that gets out lets its thief pose as the agent, but opens no token.

use super::Config;
use super::binding::Binding;
use super::fault::Fault;
use super::keys::P256;
use super::module::Module;
use super::template::{Purpose, strict, strictest};
use super::token::Connection;
use super::{mechanism, printable};
use crate::ElementError;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use evanesce_token::hash::th;

/// SubjectPublicKeyInfo of a P-256 key before its 65-byte uncompressed point (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT: usize = 65;

/// A P-256 key pair whose private half stays in the token.
pub struct P256Identity {
    binding: Binding<KeyPair>,
    spki: Vec<u8>,
}

struct KeyPair {
    private: ObjectHandle,
    point: [u8; POINT],
}

impl P256Identity {
    pub(super) fn create(config: &Config, label: &str) -> Result<Self, ElementError> {
        let connection = Connection::to(config)?;
        connection.run(|_, _, session| make(session, label))?;
        Self::open(config, label)
    }

    pub(super) fn open(config: &Config, label: &str) -> Result<Self, ElementError> {
        let wanted = label.to_owned();
        let binding = Binding::new(config, move |_, module, session| {
            find(module, session, &wanted)
        })?;
        let spki = spki(&binding.bound().keys.point);
        Ok(Self { binding, spki })
    }

    /// SubjectPublicKeyInfo DER, named curve, uncompressed point (91 bytes).
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// ECDSA over SHA-256(message), ASN.1 DER (at most 72 bytes).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ElementError> {
        self.binding.run(|module, session, pair| {
            if spki(&pair.point) != self.spki {
                let why = "the token came back with another identity key under the same label";
                return Err(ElementError::Unavailable(why.to_owned()).into());
            }
            sign(module, session, pair.private, message)
        })
    }
}

fn make(session: &Session, label: &str) -> Result<(), Fault> {
    if !objects(session, ObjectClass::PRIVATE_KEY, label)?.is_empty() {
        let what = format!(
            "there is a private key {:?} already; it is left alone",
            printable(label)
        );
        return Err(ElementError::Config(what).into());
    }
    let mut id = [0; 16];
    evanesce_secret::random(&mut id);
    let mut wishes = strict(MechanismType::ECDSA);
    // A private key neither verifies, wraps nor encrypts.
    wishes.retain(|wish| {
        !matches!(
            wish,
            Attribute::Verify(_) | Attribute::Wrap(_) | Attribute::Encrypt(_)
        )
    });
    strictest(wishes, |strict, purpose| {
        let both = [
            Attribute::Token(true),
            Attribute::Label(label.into()),
            Attribute::Id(id.into()),
        ];
        let mut private = both.to_vec();
        private.push(Attribute::Sign(true));
        private.extend_from_slice(strict);
        let mut public = both.to_vec();
        public.extend([
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(P256.into()),
        ]);
        let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
        if purpose == Purpose::Try {
            session.destroy_object(made.0)?;
            session.destroy_object(made.1)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Finds both halves and shows that they belong together.
fn find(module: &Module, session: &Session, label: &str) -> Result<KeyPair, Fault> {
    let shown = printable(label);
    let one = |class, name: &str| match objects(session, class, label)?[..] {
        [one] => Ok(one),
        [] => Err(Fault::from(ElementError::Config(format!(
            "the token holds no {name} key {shown:?} on P-256"
        )))),
        _ => Err(
            ElementError::Config(format!("the token holds several {name} keys {shown:?}")).into(),
        ),
    };
    let private = one(ObjectClass::PRIVATE_KEY, "private")?;
    let public = one(ObjectClass::PUBLIC_KEY, "public")?;
    let attributes = session.get_attributes(public, &[AttributeType::EcPoint])?;
    let point = match attributes.first() {
        Some(Attribute::EcPoint(point)) => uncompressed(point),
        _ => None,
    };
    let point = point.ok_or_else(|| {
        ElementError::Config(format!("{shown:?} is not an uncompressed P-256 point"))
    })?;
    let challenge = challenge();
    let signature = sign(module, session, private, &challenge)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
    if public.verify(&challenge, &signature).is_err() {
        let what = format!("the private and the public key {shown:?} do not belong together");
        return Err(ElementError::Config(what).into());
    }
    Ok(KeyPair { private, point })
}

/// What shows that two halves belong together: an identity key signs nothing but statements (PROTOCOL §1), and this
/// label is no other statement's.
fn challenge() -> [u8; 32] {
    let mut fresh = [0; 32];
    evanesce_secret::random(&mut fresh);
    th("identity-probe", &[&fresh])
}

fn objects(session: &Session, class: ObjectClass, label: &str) -> Result<Vec<ObjectHandle>, Fault> {
    Ok(session.find_objects(&[
        Attribute::Class(class),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(true),
        Attribute::Label(label.into()),
    ])?)
}

fn sign(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    message: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut signature = [0; 64];
    let hash = digest(&SHA256, message);
    module.raw.sign(
        session,
        mechanism::ECDSA,
        key,
        hash.as_ref(),
        &mut signature,
    )?;
    Ok(der(&signature))
}

fn spki(point: &[u8; POINT]) -> Vec<u8> {
    [&SPKI_PREFIX[..], point].concat()
}

fn uncompressed(point: &[u8]) -> Option<[u8; POINT]> {
    let bare = super::der::bare(point, POINT)?;
    bare.try_into()
        .ok()
        .filter(|point: &[u8; POINT]| point[0] == 0x04)
}

fn der(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    super::der::ecdsa_signature(r, s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_signs_a_fresh_statement_each_time() {
        let (first, second): ([u8; 32], [u8; 32]) = (challenge(), challenge());
        assert_ne!(first, second);
    }

    #[test]
    fn der_integers_are_minimal_and_positive() {
        let mut signature = [0; 64];
        signature[31] = 1;
        signature[32] = 0x80;
        let mut expected = vec![0x30, 38, 0x02, 1, 1, 0x02, 33, 0, 0x80];
        expected.extend([0; 31]);
        assert_eq!(der(&signature), expected);
        assert_eq!(der(&[0; 64]), [0x30, 6, 0x02, 1, 0, 0x02, 1, 0]);
        assert_eq!(der(&[0xff; 64]).len(), 72);
    }

    #[test]
    fn points_are_taken_bare_or_wrapped_and_never_compressed() {
        let mut point = [7; POINT];
        point[0] = 4;
        let wrapped = [&[0x04, 65][..], &point].concat();
        assert_eq!(uncompressed(&point), Some(point));
        assert_eq!(uncompressed(&wrapped), Some(point));
        assert_eq!(uncompressed(&[2; 33]), None);
        assert_eq!(uncompressed(&[]), None);
    }
}
