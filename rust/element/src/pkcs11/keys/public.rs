//! The public half of a key pair as SubjectPublicKeyInfo (RFC 5280, 5480, 8410, 3279).

use super::Kind;
use crate::pkcs11::fault::Fault;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
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
                    let key = tlv(SEQUENCE, &[integer(&n), integer(&e)].concat());
                    Some(info(RSA, &key))
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
    let point = bare(&point, size).filter(|point| kind == Kind::Ed25519 || point[0] == 0x04);
    let algorithm = match kind {
        Kind::Ed25519 => Some(ED25519.to_vec()),
        _ => match asked(AttributeType::EcParams)? {
            Some(Attribute::EcParams(curve)) => Some([EC_PUBLIC_KEY, &curve].concat()),
            _ => None,
        },
    };
    Ok(algorithm
        .zip(point)
        .map(|(algorithm, point)| info(&algorithm, point)))
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

/// CKA_EC_POINT is an OCTET STRING by the standard, and the bare point in some modules.
fn bare(point: &[u8], size: usize) -> Option<&[u8]> {
    let inner = point
        .strip_prefix(&[0x04, size as u8])
        .filter(|rest| rest.len() == size);
    inner.or(Some(point)).filter(|point| point.len() == size)
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = tlv(BIT_STRING, &[&[0], key].concat());
    tlv(SEQUENCE, &[tlv(SEQUENCE, algorithm), bits].concat())
}

/// A positive INTEGER of these big-endian bytes.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len().saturating_sub(1));
    let digits = &bytes[start..];
    let sign: &[u8] = match digits.first() {
        Some(first) if *first < 0x80 => &[],
        _ => &[0],
    };
    tlv(INTEGER, &[sign, digits].concat())
}

/// Ecdsa-Sig-Value (RFC 3279) of r ‖ s.
pub(super) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[integer(r), integer(s)].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match length {
        0..=0x7f => der.push(length as u8),
        0x80..=0xff => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_positive() {
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
    }

    #[test]
    fn lengths_take_as_few_bytes_as_they_need() {
        for (length, head) in [(127, 2), (128, 3), (255, 3), (256, 4), (65535, 4)] {
            assert_eq!(tlv(4, &vec![0; length]).len(), length + head);
        }
    }

    #[test]
    fn points_are_taken_bare_or_wrapped_and_of_one_size() {
        let mut point = [7; 65];
        point[0] = 4;
        let wrapped = [&[0x04, 65][..], &point].concat();
        assert_eq!(bare(&point, 65), Some(&point[..]));
        assert_eq!(bare(&wrapped, 65), Some(&point[..]));
        assert_eq!(bare(&[2; 33], 65), None);
    }
}
