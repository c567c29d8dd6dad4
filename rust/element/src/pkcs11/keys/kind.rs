//! The kinds of keys that are made in tokens, and what PKCS#11 calls them (v3.1, sections 6.1, 6.3, 6.7, 6.13).
//!
//! Adding one: a variant, its row in each `match`, and its suites in [`super::work`].

use super::super::{der, fault::Fault};
use super::Leaves;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// CKA_EC_PARAMS: object identifiers (RFC 5480, SEC 2), and for Ed25519 the curve's name as PKCS#11 has it.
pub(in super::super) const P256: &[u8] =
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const ED25519: &[u8] = b"\x13\x0cedwards25519";
/// RFC 8410's object identifier, which newer modules have instead.
const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An Ed25519 key pair.
    Ed25519,
    /// A key pair on P-256.
    P256,
    /// A key pair on P-384.
    P384,
    /// A key pair on secp256k1.
    Secp256k1,
    /// An RSA key pair of so many bits: 2048, 3072 or 4096.
    Rsa(u16),
    /// An AES key of 256 bits.
    Aes256,
    /// An HMAC key of so many bytes: 32 or 64.
    Hmac(u8),
}

impl Kind {
    /// All that can be made.
    pub const ALL: [Kind; 10] = [
        Kind::Ed25519,
        Kind::P256,
        Kind::P384,
        Kind::Secp256k1,
        Kind::Rsa(2048),
        Kind::Rsa(3072),
        Kind::Rsa(4096),
        Kind::Aes256,
        Kind::Hmac(32),
        Kind::Hmac(64),
    ];

    /// The name for people and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ed25519 => "ed25519",
            Kind::P256 => "p256",
            Kind::P384 => "p384",
            Kind::Secp256k1 => "secp256k1",
            Kind::Rsa(2048) => "rsa-2048",
            Kind::Rsa(3072) => "rsa-3072",
            Kind::Rsa(_) => "rsa-4096",
            Kind::Aes256 => "aes-256",
            Kind::Hmac(32) => "hmac-256",
            Kind::Hmac(_) => "hmac-512",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The suites that a key of this kind may serve, where the module has their mechanisms.
    pub fn suites(self) -> &'static [&'static str] {
        match self {
            Kind::Ed25519 => &["ed25519"],
            Kind::P256 => &["ecdsa-p256"],
            Kind::P384 => &["ecdsa-p384"],
            Kind::Secp256k1 => &["ecdsa-secp256k1"],
            Kind::Rsa(_) => &["rsa-pss-sha256", "rsa-pkcs1-sha256", "rsa-oaep-sha256"],
            Kind::Aes256 => &["aes-256-gcm", "aes-cmac"],
            Kind::Hmac(32) => &["hmac-sha256"],
            Kind::Hmac(_) => &["hmac-sha512"],
        }
    }

    /// Whether this is the SubjectPublicKeyInfo of an RSA key of this very size.
    pub fn is_rsa_of(self, spki: &[u8]) -> bool {
        match (self, der::rsa_parts(spki)) {
            (Kind::Rsa(bits), Some((modulus, _))) => modulus.len() * 8 == usize::from(bits),
            _ => false,
        }
    }

    pub(super) fn is_pair(self) -> bool {
        !matches!(self, Kind::Aes256 | Kind::Hmac(_))
    }

    /// What a key should be besides what it is for, the most dispensable first.
    pub(super) fn strict(self, leaves: Leaves) -> Vec<Attribute> {
        let mut wishes = vec![
            Attribute::Copyable(false),
            Attribute::Modifiable(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ];
        match self {
            Kind::Aes256 => wishes.push(Attribute::Wrap(false)),
            Kind::Hmac(_) => wishes.extend([
                Attribute::Decrypt(false),
                Attribute::Encrypt(false),
                Attribute::Wrap(false),
            ]),
            Kind::Rsa(_) => {}
            _ => wishes.push(Attribute::Decrypt(false)),
        }
        if leaves != Leaves::Never {
            wishes.push(Attribute::WrapWithTrusted(true));
        }
        wishes.extend([
            Attribute::Private(true),
            Attribute::Extractable(leaves != Leaves::Never),
            Attribute::Sensitive(true),
        ]);
        wishes
    }

    /// The template of one that is unwrapped into a token. Without a name it ends with the session.
    pub(super) fn unwrapped(
        self,
        strict: &[Attribute],
        name: Option<(&str, &[u8])>,
    ) -> Vec<Attribute> {
        let (class, key_type) = match self {
            Kind::Aes256 => (ObjectClass::SECRET_KEY, KeyType::AES),
            Kind::Hmac(_) => (ObjectClass::SECRET_KEY, KeyType::GENERIC_SECRET),
            Kind::Rsa(_) => (ObjectClass::PRIVATE_KEY, KeyType::RSA),
            Kind::Ed25519 => (ObjectClass::PRIVATE_KEY, KeyType::EC_EDWARDS),
            _ => (ObjectClass::PRIVATE_KEY, KeyType::EC),
        };
        let mut template = vec![Attribute::Class(class), Attribute::KeyType(key_type)];
        template.extend(named(name));
        template.extend_from_slice(strict);
        template.extend(self.uses());
        template
    }

    /// What its secret half is for.
    fn uses(self) -> Vec<Attribute> {
        let mut uses = vec![Attribute::Sign(true)];
        match self {
            Kind::Aes256 => uses.extend([Attribute::Encrypt(true), Attribute::Decrypt(true)]),
            Kind::Rsa(_) => uses.push(Attribute::Decrypt(true)),
            _ => {}
        }
        uses
    }

    /// Makes one: the secret key or private half, and the public half. Without a name it ends with the session.
    pub(super) fn generate(
        self,
        session: &Session,
        strict: &[Attribute],
        name: Option<(&str, &[u8])>,
    ) -> Result<(ObjectHandle, Option<ObjectHandle>), Fault> {
        let both = named(name);
        let mut secret = both.clone();
        secret.extend_from_slice(strict);
        secret.extend(self.uses());
        if !self.is_pair() {
            let (generator, bytes) = match self {
                Kind::Hmac(bytes) => (Mechanism::GenericSecretKeyGen, bytes),
                _ => (Mechanism::AesKeyGen, 32),
            };
            secret.push(Attribute::ValueLen(u64::from(bytes).into()));
            return Ok((session.generate_key(&generator, &secret)?, None));
        }
        let mut public = both;
        public.extend([Attribute::Private(false), Attribute::Verify(true)]);
        let generator = match self {
            Kind::Rsa(bits) => {
                public.extend([
                    Attribute::Encrypt(true),
                    Attribute::ModulusBits(u64::from(bits).into()),
                    Attribute::PublicExponent(EXPONENT.to_vec()),
                ]);
                Mechanism::RsaPkcsKeyPairGen
            }
            Kind::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
            _ => Mechanism::EccKeyPairGen,
        };
        if let Some(curve) = self.curve() {
            public.push(Attribute::EcParams(curve.to_vec()));
        }
        let (public, secret) = session.generate_key_pair(&generator, &public, &secret)?;
        Ok((secret, Some(public)))
    }

    /// Makes an RSA pair of this size in the token that unwraps, and is for nothing else: the private half, the public half.
    pub(super) fn transport(
        self,
        session: &Session,
        strict: &[Attribute],
        name: (&str, &[u8]),
    ) -> Result<(ObjectHandle, ObjectHandle), Fault> {
        let both = named(Some(name));
        let Kind::Rsa(bits) = self else {
            unreachable!("transport keys are RSA keys");
        };
        let mut secret = both.clone();
        secret.extend_from_slice(strict);
        secret.push(Attribute::Unwrap(true));
        let mut public = both;
        public.extend([
            Attribute::Private(false),
            Attribute::Encrypt(true),
            Attribute::Wrap(true),
            Attribute::ModulusBits(u64::from(bits).into()),
            Attribute::PublicExponent(EXPONENT.to_vec()),
        ]);
        let made = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &secret)?;
        Ok((made.1, made.0))
    }

    pub(super) fn curve(self) -> Option<&'static [u8]> {
        match self {
            Kind::Ed25519 => Some(ED25519),
            Kind::P256 => Some(P256),
            Kind::P384 => Some(P384),
            Kind::Secp256k1 => Some(SECP256K1),
            _ => None,
        }
    }
}

/// The CKA_ID of one that is unwrapped: what it is, and 8 random bytes.
pub(super) fn id(kind: Kind) -> Vec<u8> {
    let mut unique = [0; 8];
    evanesce_secret::random(&mut unique);
    [kind.name().as_bytes(), b"/", &unique].concat()
}

/// The secret key that [`id`] says it is.
fn identified(id: &[u8]) -> Option<Kind> {
    let name = id.get(..id.len().checked_sub(8)?)?.strip_suffix(b"/")?;
    let kind = Kind::named(std::str::from_utf8(name).ok()?)?;
    (!kind.is_pair()).then_some(kind)
}

/// Where it lies, and under which name.
fn named(name: Option<(&str, &[u8])>) -> Vec<Attribute> {
    let mut all = vec![Attribute::Token(name.is_some())];
    if let Some((label, id)) = name {
        all.extend([Attribute::Label(label.into()), Attribute::Id(id.to_vec())]);
    }
    all
}

/// What a key in the token is; None for what is not served here.
pub(super) fn of(session: &Session, handle: ObjectHandle) -> Result<Option<Kind>, Fault> {
    let asked = |kind| -> Result<Option<Attribute>, Fault> {
        Ok(session.get_attributes(handle, &[kind])?.pop())
    };
    let Some(Attribute::KeyType(key_type)) = asked(AttributeType::KeyType)? else {
        return Ok(None);
    };
    let pair = asked(AttributeType::Class)? == Some(Attribute::Class(ObjectClass::PRIVATE_KEY));
    let length = |attribute| match attribute {
        Some(Attribute::ValueLen(bytes)) => u64::from(bytes),
        _ => 0,
    };
    Ok(match (key_type, pair) {
        (KeyType::RSA, true) => match asked(AttributeType::Modulus)? {
            Some(Attribute::Modulus(modulus)) => match modulus.len() {
                256 => Some(Kind::Rsa(2048)),
                384 => Some(Kind::Rsa(3072)),
                512 => Some(Kind::Rsa(4096)),
                _ => None,
            },
            _ => None,
        },
        (KeyType::EC | KeyType::EC_EDWARDS, true) => match asked(AttributeType::EcParams)? {
            Some(Attribute::EcParams(curve)) if curve == P256 => Some(Kind::P256),
            Some(Attribute::EcParams(curve)) if curve == P384 => Some(Kind::P384),
            Some(Attribute::EcParams(curve)) if curve == SECP256K1 => Some(Kind::Secp256k1),
            Some(Attribute::EcParams(curve)) if curve == ED25519 || curve == ED25519_OID => {
                Some(Kind::Ed25519)
            }
            _ => None,
        },
        (KeyType::AES | KeyType::GENERIC_SECRET, false) => {
            let aes = key_type == KeyType::AES;
            match (aes, length(asked(AttributeType::ValueLen)?)) {
                (true, 32) => Some(Kind::Aes256),
                (false, 32) => Some(Kind::Hmac(32)),
                (false, 64) => Some(Kind::Hmac(64)),
                // SoftHSM does not say it of keys that were unwrapped; those that were unwrapped here have it in their id.
                (_, 0) => match asked(AttributeType::Id)? {
                    Some(Attribute::Id(id)) => {
                        identified(&id).filter(|kind| (*kind == Kind::Aes256) == aes)
                    }
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_secret_key_it_is_of_and_no_other_id_does() {
        for kind in Kind::ALL {
            let id = id(kind);
            assert_eq!(identified(&id), (!kind.is_pair()).then_some(kind));
            assert_eq!(identified(&id[1..]), None);
        }
        assert_eq!(identified(&[7; 16]), None);
        assert_eq!(identified(b"aes-256"), None);
    }
}
