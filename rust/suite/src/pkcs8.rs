//! Imported private keys: PKCS#8 DER (RFC 5208, RFC 5958), read in place without a copy.
//!
//! A public key inside is handed out apart: nothing is computed from it (PROTOCOL §8). No error of
//! this file shows a byte of the key.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Reader, Tag, TagMode, TagNumber, Tagged};
use evanesce_secret::SecretVec;
use pkcs8::PrivateKeyInfoRef;

use crate::Error;
use crate::operation::within_crucible;
use crate::spki::Algorithm;

/// A private key of the right algorithm, not yet judged.
pub(crate) struct Pkcs8<'a> {
    /// What the OCTET STRING holds: its form is the algorithm's own.
    pub(crate) private: &'a [u8],
    /// The public key that came along, if any, raw.
    pub(crate) public: Option<&'a [u8]>,
}

/// Refuses anything but strict DER and exactly `algorithm`'s identifier.
pub(crate) fn parse<'a>(der: &'a [u8], algorithm: &Algorithm) -> Result<Pkcs8<'a>, Error> {
    within_crucible()?;
    let info = PrivateKeyInfoRef::try_from(der)
        .map_err(|_| Error::BadKey("not an unencrypted PKCS#8 key in DER".into()))?;
    // Identifiers are public and short: longer than this is another algorithm's.
    let mut identifier = [0; 64];
    match info.algorithm.encode_to_slice(&mut identifier) {
        Ok(encoded) if encoded == algorithm.identifier => {}
        _ => return Err(wrong(algorithm, "it is of another algorithm or curve")),
    }
    let public = match info.public_key {
        None => None,
        Some(bits) => Some(
            bits.as_bytes()
                .ok_or_else(|| wrong(algorithm, "its public key is not whole bytes"))?,
        ),
    };
    Ok(Pkcs8 {
        private: info.private_key.as_bytes(),
        public,
    })
}

/// PKCS#8 DER of an algorithm identifier and the parts of what its OCTET STRING holds (RFC 5208). At most 64 KiB.
pub(crate) fn write(identifier: &[u8], parts: &[&[u8]]) -> Result<SecretVec, Error> {
    let private: usize = parts.iter().map(|part| part.len()).sum();
    let octets = length(private);
    let whole = 3 + identifier.len() + 1 + octets.len() + private;
    let outer = length(whole);
    let mut der = SecretVec::zeroed(1 + outer.len() + whole)?;
    let version = [0x02, 0x01, 0x00];
    let head: [&[u8]; 6] = [&[0x30], &outer, &version, identifier, &[0x04], &octets];
    let mut at = 0;
    for part in head.iter().chain(parts) {
        der.expose_mut()[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Ok(der)
}

/// A DER length.
fn length(of: usize) -> Vec<u8> {
    match of {
        0..=0x7f => vec![of as u8],
        0x80..=0xff => vec![0x81, of as u8],
        _ => vec![0x82, (of >> 8) as u8, of as u8],
    }
}

/// RFC 8410: an OCTET STRING within the OCTET STRING.
pub(crate) fn curve25519<'a>(
    key: &Pkcs8<'a>,
    algorithm: &Algorithm,
) -> Result<&'a [u8; 32], Error> {
    <&OctetStringRef>::from_der(key.private)
        .ok()
        .and_then(|inner| inner.as_bytes().try_into().ok())
        .ok_or_else(|| wrong(algorithm, "its private key is not 32 bytes"))
}

/// RFC 5915 ECPrivateKey: the scalar, still to be checked against the order, and the public key if
/// there is one. `curve` is the named curve's OBJECT IDENTIFIER as in the algorithm identifier.
pub(crate) fn ec<'a>(
    key: &Pkcs8<'a>,
    algorithm: &Algorithm,
    curve: ObjectIdentifier,
) -> Result<(&'a [u8], Option<&'a [u8]>), Error> {
    const PARAMETERS: TagNumber = TagNumber(0);
    const PUBLIC: TagNumber = TagNumber(1);
    let read = || -> der::Result<_> {
        AnyRef::from_der(key.private)?.sequence(|reader| {
            let version = u8::decode(reader)?;
            let scalar = <&OctetStringRef>::decode(reader)?.as_bytes();
            let named: Option<ObjectIdentifier> =
                reader.context_specific(PARAMETERS, TagMode::Explicit)?;
            let public: Option<BitStringRef> =
                reader.context_specific(PUBLIC, TagMode::Explicit)?;
            let public = match public {
                None => None,
                Some(bits) => Some(bits.as_bytes().ok_or(Tag::BitString.value_error())?),
            };
            Ok((version, scalar, named, public))
        })
    };
    match read() {
        Ok((1, scalar, named, public)) if named.is_none_or(|named| named == curve) => {
            Ok((scalar, public))
        }
        _ => Err(wrong(algorithm, "its ECPrivateKey is malformed")),
    }
}

/// RFC 9881 §6 and RFC 9935 §6: the seed, and the expanded key where both are there. The expanded
/// form alone is refused: PROTOCOL §7 keys are seeds.
pub(crate) fn seed<'a, const N: usize>(
    key: &Pkcs8<'a>,
    algorithm: &Algorithm,
) -> Result<(&'a [u8; N], Option<&'a [u8]>), Error> {
    const SEED: Tag = Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(0),
    };
    let any = AnyRef::from_der(key.private)
        .map_err(|_| wrong(algorithm, "its private key is malformed"))?;
    let (seed, expanded) = match any.tag() {
        SEED => (any.value(), None),
        Tag::Sequence => any
            .sequence(|reader| -> der::Result<_> {
                let seed = <&OctetStringRef>::decode(reader)?.as_bytes();
                let expanded = <&OctetStringRef>::decode(reader)?.as_bytes();
                Ok((seed, Some(expanded)))
            })
            .map_err(|_| wrong(algorithm, "its private key is malformed"))?,
        Tag::OctetString => {
            return Err(wrong(
                algorithm,
                "it holds the expanded key alone; export it with its seed",
            ));
        }
        _ => return Err(wrong(algorithm, "its private key is malformed")),
    };
    let seed = seed
        .try_into()
        .map_err(|_| wrong(algorithm, "its seed has the wrong length"))?;
    Ok((seed, expanded))
}

/// At import, a public key that came along must be the computed one. (When a token is opened it is
/// ignored.)
pub(crate) fn agree(
    given: Option<&[u8]>,
    computed: &[u8],
    algorithm: &Algorithm,
) -> Result<(), Error> {
    match given {
        Some(given) if given != computed => Err(wrong(
            algorithm,
            "the public key inside is not that of its private key",
        )),
        _ => Ok(()),
    }
}

pub(crate) fn wrong(algorithm: &Algorithm, why: &str) -> Error {
    Error::BadKey(format!(
        "this is not the private key of {}: {why}",
        algorithm.name
    ))
}

#[cfg(test)]
mod tests {
    use evanesce_secret::on_crucible;

    use crate::{Material, all};

    #[test]
    fn a_key_in_its_portable_form_is_the_same_key() {
        let material = [0x5a; 128];
        let mut seen = Vec::new();
        for suite in all() {
            let facts = suite.facts();
            if facts.imported_only {
                continue;
            }
            let derived = &material[..facts.material];
            let portable = on_crucible(|| suite.portable(&Material::Derived(derived)));
            let Ok(portable) = portable else { continue };
            on_crucible(|| suite.admit(portable.expose())).unwrap();
            let again = on_crucible(|| suite.portable(&Material::Imported(portable.expose())));
            assert_eq!(again.unwrap().expose(), portable.expose());
            if facts.public {
                let [one, other] = [
                    Material::Derived(derived),
                    Material::Imported(portable.expose()),
                ]
                .map(|material| on_crucible(|| suite.public_key(&material).unwrap()));
                assert_eq!(one, other, "{}", facts.name);
            }
            seen.push(facts.name);
        }
        let expected = [
            "ed25519",
            "ecdsa-p256",
            "ecdsa-secp256k1",
            "ecdsa-p384",
            "aes-256-gcm",
            "xaes-256-gcm",
            "hmac-sha256",
            "hmac-sha512",
            "aes-cmac",
        ];
        let mut missing = expected.to_vec();
        missing.retain(|name| !seen.contains(name));
        assert_eq!(missing, Vec::<&str>::new(), "{seen:?}");
    }
}
