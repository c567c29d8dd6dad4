//! The few DER structures that keys and signatures of a token are in (X.690; RFC 3279, 5280).

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// SubjectPublicKeyInfo of an algorithm, its parameters included, and a key's bits.
pub(super) fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = tlv(BIT_STRING, &[&[0], key].concat());
    tlv(SEQUENCE, &[tlv(SEQUENCE, algorithm), bits].concat())
}

/// RSAPublicKey (RFC 3279) of big-endian bytes.
pub(super) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[integer(modulus), integer(exponent)].concat())
}

/// A positive INTEGER of these big-endian bytes.
fn integer(bytes: &[u8]) -> Vec<u8> {
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

/// CKA_EC_POINT is an OCTET STRING by the standard, and the bare point in some modules.
pub(super) fn bare(point: &[u8], size: usize) -> Option<&[u8]> {
    let inner = point
        .strip_prefix(&[0x04, size as u8])
        .filter(|rest| rest.len() == size);
    inner.or(Some(point)).filter(|point| point.len() == size)
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
