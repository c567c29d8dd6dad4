//! The public half of a key pair as SubjectPublicKeyInfo (RFC 5280, 5480, 8410, 3279).

use super::Kind;
use crate::pkcs11::der;
use crate::pkcs11::fault::Fault;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// id-ecPublicKey.
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// rsaEncryption and its NULL.
const RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// DER of the public half; None if the token does not say all of it, or not what fits the kind.
pub(super) fn spki(
    session: &Session,
    kind: Kind,
    public: ObjectHandle,
) -> Result<Option<Vec<u8>>, Fault> {
    let asked = |kind| -> Result<Option<Attribute>, Fault> {
        Ok(session.get_attributes(public, &[kind])?.pop())
    };
    if let Kind::Rsa(_) = kind {
        return Ok(
            match (
                asked(AttributeType::Modulus)?,
                asked(AttributeType::PublicExponent)?,
            ) {
                (Some(Attribute::Modulus(n)), Some(Attribute::PublicExponent(e))) => {
                    Some(der::spki(RSA, &der::rsa_public_key(&n, &e)))
                }
                _ => None,
            },
        );
    }
    let Some(Attribute::EcPoint(point)) = asked(AttributeType::EcPoint)? else {
        return Ok(None);
    };
    let Some(size) = point_size(kind) else {
        return Ok(None);
    };
    let point = der::bare(&point, size).filter(|point| kind == Kind::Ed25519 || point[0] == 0x04);
    let algorithm = match kind {
        Kind::Ed25519 => Some(ED25519.to_vec()),
        _ => match asked(AttributeType::EcParams)? {
            Some(Attribute::EcParams(curve)) => Some([EC_PUBLIC_KEY, &curve].concat()),
            _ => None,
        },
    };
    Ok(algorithm
        .zip(point)
        .map(|(algorithm, point)| der::spki(&algorithm, point)))
}

/// The template of a public half that is put into a token; None if this is no such key's SubjectPublicKeyInfo.
pub(super) fn template(kind: Kind, spki: &[u8]) -> Option<Vec<Attribute>> {
    let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    if let Kind::Rsa(_) = kind {
        let (modulus, exponent) = der::rsa_parts(spki)?;
        template.extend([
            Attribute::KeyType(KeyType::RSA),
            Attribute::Modulus(modulus.to_vec()),
            Attribute::PublicExponent(exponent.to_vec()),
        ]);
        return Some(template);
    }
    let (point, curve) = (point(kind, spki)?, kind.curve()?);
    let algorithm = match kind {
        Kind::Ed25519 => ED25519.to_vec(),
        _ => [EC_PUBLIC_KEY, curve].concat(),
    };
    if der::spki(&algorithm, point) != spki {
        return None;
    }
    template.extend([
        Attribute::KeyType(match kind {
            Kind::Ed25519 => KeyType::EC_EDWARDS,
            _ => KeyType::EC,
        }),
        Attribute::EcParams(curve.to_vec()),
        Attribute::EcPoint([&[0x04, point.len() as u8], point].concat()),
    ]);
    Some(template)
}

/// The point within a SubjectPublicKeyInfo, bare.
pub(super) fn point(kind: Kind, spki: &[u8]) -> Option<&[u8]> {
    spki.get(spki.len().checked_sub(point_size(kind)?)?..)
}

/// Bytes of an uncompressed point, or of an Ed25519 public key.
fn point_size(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Ed25519 => Some(32),
        Kind::P256 | Kind::Secp256k1 => Some(65),
        Kind::P384 => Some(97),
        _ => None,
    }
}
