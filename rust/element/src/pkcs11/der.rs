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

/// Modulus and exponent of an RSA key's SubjectPublicKeyInfo.
pub(super) fn rsa_parts(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (outer, rest) = value(SEQUENCE, spki)?;
    let (_, bits) = value(SEQUENCE, outer)?;
    let (bits, behind) = value(BIT_STRING, bits)?;
    let (key, after) = value(SEQUENCE, bits.strip_prefix(&[0])?)?;
    let (modulus, exponent) = value(INTEGER, key)?;
    let (exponent, last) = value(INTEGER, exponent)?;
    let bare = |number: &[u8]| number.iter().position(|byte| *byte != 0);
    let whole = [rest, behind, after, last]
        .iter()
        .all(|rest| rest.is_empty());
    whole
        .then(|| Some((&modulus[bare(modulus)?..], &exponent[bare(exponent)?..])))
        .flatten()
}

/// The content of a value with this tag, and what follows it.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match head[1] {
        length @ 0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (head[0] == tag)
        .then(|| rest.split_at_checked(length))
        .flatten()
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
    fn an_rsa_key_is_read_as_it_was_written_and_nothing_that_was_cut_is() {
        let algorithm = [0x06, 0x01, 0x01, 0x05, 0x00];
        for size in [100, 128, 256, 512] {
            let modulus = vec![0x9a; size];
            let whole = spki(&algorithm, &rsa_public_key(&modulus, &[1, 0, 1]));
            assert_eq!(rsa_parts(&whole), Some((&modulus[..], &[1, 0, 1][..])));
            for cut in 0..whole.len() {
                assert_eq!(rsa_parts(&whole[..cut]), None);
            }
            assert_eq!(rsa_parts(&[&whole[..], &[0]].concat()), None);
        }
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
