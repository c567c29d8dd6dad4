//! Public keys as SubjectPublicKeyInfo DER (RFC 5280 §4.1.2.7): exactly one encoding per key.
//!
//! Named curves, uncompressed points, no parameters where the algorithm has none (NULL for RSA). A
//! key encoded in any other way is refused. Whether the raw key is a valid one (a point on the
//! curve, say) is for the family to judge.

use spki::SubjectPublicKeyInfoRef;

use crate::Error;

/// A kind of key: its AlgorithmIdentifier, shared by SubjectPublicKeyInfo and PKCS#8.
pub(crate) struct Algorithm {
    pub(crate) name: &'static str,
    /// DER.
    pub(crate) identifier: &'static [u8],
    /// Bytes of a raw public key; `None` where that varies (RSA).
    pub(crate) public: Option<usize>,
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

impl Algorithm {
    /// The SubjectPublicKeyInfo of `raw`.
    pub(crate) fn encode(&self, raw: &[u8]) -> Vec<u8> {
        let mut bits = Vec::with_capacity(8 + raw.len());
        bits.push(BIT_STRING);
        push_length(&mut bits, 1 + raw.len());
        bits.push(0); // no unused bits
        bits.extend_from_slice(raw);

        let mut out = Vec::with_capacity(8 + self.identifier.len() + bits.len());
        out.push(SEQUENCE);
        push_length(&mut out, self.identifier.len() + bits.len());
        out.extend_from_slice(self.identifier);
        out.extend_from_slice(&bits);
        out
    }

    /// The raw key within `spki`.
    pub(crate) fn decode<'a>(&self, spki: &'a [u8]) -> Result<&'a [u8], Error> {
        SubjectPublicKeyInfoRef::try_from(spki)
            .ok()
            .and_then(|info| info.subject_public_key.as_bytes())
            .filter(|raw| self.public.is_none_or(|len| raw.len() == len))
            // Covers the identifier and every length: there is no second encoding.
            .filter(|raw| self.encode(raw) == spki)
            .ok_or_else(|| Error::BadInput(format!("not the public key of {}", self.name)))
    }
}

/// A DER length, at most 65535, which is far above every public key.
fn push_length(out: &mut Vec<u8>, len: usize) {
    match len {
        0..=0x7f => out.push(len as u8),
        0x80..=0xff => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Algorithm = Algorithm {
        name: "an Ed25519 key",
        identifier: &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
        public: Some(32),
    };

    #[test]
    fn there_is_one_encoding_and_every_flipped_bit_of_its_frame_is_refused() {
        let spki = KIND.encode(&[7; 32]);
        assert_eq!(spki.len(), 44);
        assert_eq!(KIND.decode(&spki).unwrap(), [7; 32]);
        for bit in 0..12 * 8 {
            let mut bad = spki.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(KIND.decode(&bad).is_err(), "bit {bit}");
        }
        assert!(KIND.decode(&spki[..43]).is_err());
        assert!(KIND.decode(&[spki.as_slice(), &[0]].concat()).is_err());
        assert!(KIND.decode(&KIND.encode(&[7; 31])).is_err());
        assert!(KIND.decode(&[]).is_err());
    }
}
