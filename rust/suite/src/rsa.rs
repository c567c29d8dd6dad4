//! RSA, imported only: RSASSA-PSS, RSASSA-PKCS1-v1_5 and RSAES-OAEP (RFC 8017), SHA-256 throughout
//! (MGF1 too), PSS salts of 32 bytes, an empty OAEP label. Moduli of 2048 to 8192 bits: below is
//! weak, above is what AWS-LC does not verify.
//!
//! Keys are PKCS#8 with rsaEncryption and all CRT parts, which are checked against one another each
//! time. Whether p and q are prime is checked once, at import.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use der::asn1::{AnyRef, UintRef};
use der::{Decode, Reader};
use evanesce_token::SuiteFacts;

use crate::awslc::rsa::RsaKey;
use crate::spki::Algorithm;
use crate::{Error, Input, Material, Output, Suite, pkcs8};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&RSA_PSS_SHA256, &RSA_PKCS1_SHA256, &RSA_OAEP_SHA256];

static RSA_PSS_SHA256: Rsa = Rsa {
    facts: &facts("rsa-pss-sha256", &["sign"]),
    scheme: Scheme::Pss,
};

static RSA_PKCS1_SHA256: Rsa = Rsa {
    facts: &facts("rsa-pkcs1-sha256", &["sign"]),
    scheme: Scheme::Pkcs1,
};

static RSA_OAEP_SHA256: Rsa = Rsa {
    facts: &facts("rsa-oaep-sha256", &["decrypt"]),
    scheme: Scheme::Oaep,
};

pub(crate) struct Rsa {
    facts: &'static SuiteFacts,
    scheme: Scheme,
}

#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    Pss,
    Pkcs1,
    Oaep,
}

const fn facts(name: &'static str, operations: &'static [&'static str]) -> SuiteFacts {
    SuiteFacts {
        name,
        public: true,
        imported_only: true,
        material: 0,
        operations,
    }
}

/// RFC 3279: rsaEncryption, parameters NULL.
const ALGORITHM: Algorithm = Algorithm {
    name: "RSA",
    identifier: &[
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ],
    public: None,
};

const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key of admissible size whose parts fit, and the public key that came along with it.
fn import(der: &[u8]) -> Result<(RsaKey, Option<&[u8]>), Error> {
    let parsed = pkcs8::parse(der, &ALGORITHM)?;
    let key = RsaKey::parse(parsed.private)
        .ok_or_else(|| pkcs8::wrong(&ALGORITHM, "its parts are missing or do not fit"))?;
    if !BITS.contains(&key.bits()) {
        return Err(pkcs8::wrong(&ALGORITHM, &size(key.bits())));
    }
    Ok((key, parsed.public))
}

fn size(bits: usize) -> String {
    format!(
        "its modulus has {bits} bits; {} to {} are taken",
        BITS.start(),
        BITS.end()
    )
}

fn private(material: &Material) -> Result<RsaKey, Error> {
    match material {
        Material::Imported(der) => Ok(import(der)?.0),
        Material::Derived(_) => Err(Error::BadKey(
            "RSA keys are imported, never derived from a seed".into(),
        )),
    }
}

/// The RSAPublicKey in `spki`, of admissible size.
fn public(spki: &[u8]) -> Result<&[u8], Error> {
    let raw = ALGORITHM.decode(spki)?;
    let bits = AnyRef::from_der(raw)
        .and_then(|any| {
            any.sequence(|reader| -> der::Result<_> {
                let modulus = UintRef::decode(reader)?;
                reader.decode::<UintRef>()?;
                let leading = modulus.as_bytes().first().map_or(0, |b| b.leading_zeros());
                Ok(modulus.as_bytes().len() * 8 - leading as usize)
            })
        })
        .map_err(|_| Error::BadInput("not an RSA public key".into()))?;
    if BITS.contains(&bits) {
        Ok(raw)
    } else {
        Err(Error::BadInput(format!(
            "not a usable RSA key: {}",
            size(bits)
        )))
    }
}

fn sha256(message: &[u8]) -> Result<[u8; 32], Error> {
    digest(&SHA256, message)
        .as_ref()
        .try_into()
        .map_err(|_| Error::Internal("SHA-256"))
}

impl Suite for Rsa {
    fn facts(&self) -> &'static SuiteFacts {
        self.facts
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn public_key(&self, material: &Material) -> Result<Vec<u8>, Error> {
        Ok(ALGORITHM.encode(&private(material)?.public()?))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        self.run(&private(material)?, input)
    }

    fn operate_as(&self, material: &Material, spki: &[u8], input: &Input) -> Result<Output, Error> {
        let key = private(material)?;
        if ALGORITHM.encode(&key.public()?) != spki {
            return Err(Error::WrongPublicKey);
        }
        self.run(&key, input)
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        let (key, given) = import(imported)?;
        if !key.primes_are_prime() {
            let why = "its factors are not primes of half its size";
            return Err(pkcs8::wrong(&ALGORITHM, why));
        }
        let spki = ALGORITHM.encode(&key.public()?);
        // A key that works one way alone (AWS-LC is pickier about exponents when it verifies) would
        // be found out after it was minted.
        let message = b"evanesce/v1/import";
        RSA_PKCS1_SHA256
            .verify(&spki, message, &key.sign_pkcs1(&sha256(message)?)?)
            .map_err(|_| pkcs8::wrong(&ALGORITHM, "its own signature does not verify"))?;
        pkcs8::agree(given, ALGORITHM.decode(&spki)?, &ALGORITHM)
    }

    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let parameters: &'static RsaParameters = match self.scheme {
            Scheme::Pss => &RSA_PSS_2048_8192_SHA256,
            Scheme::Pkcs1 => &RSA_PKCS1_2048_8192_SHA256,
            Scheme::Oaep => return Err(self.unfit("verify")),
        };
        UnparsedPublicKey::new(parameters, public(spki)?)
            .verify(message, signature)
            .map_err(|_| Error::InvalidSignature)
    }

    fn encrypt_to(&self, spki: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        if self.scheme != Scheme::Oaep {
            return Err(self.unfit("encrypt"));
        }
        public(spki)?;
        let key = PublicEncryptingKey::from_der(spki)
            .and_then(|key| Ok(OaepPublicEncryptingKey::new(key)?))
            .map_err(|_| Error::BadInput("not a usable RSA key".into()))?;
        let longest = key.max_plaintext_size(&OAEP_SHA256_MGF1SHA256);
        if plaintext.len() > longest {
            return Err(Error::BadInput(format!(
                "this RSA key encrypts at most {longest} bytes, not {}",
                plaintext.len()
            )));
        }
        let mut out = vec![0; key.ciphertext_size()];
        let written = key
            .encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut out, None)
            .map_err(|_| Error::Internal("EVP_PKEY_encrypt"))?
            .len();
        out.truncate(written);
        Ok(out)
    }
}

impl Rsa {
    fn run(&self, key: &RsaKey, input: &Input) -> Result<Output, Error> {
        match (self.scheme, input) {
            (Scheme::Pss, Input::Sign { message }) => {
                Ok(Output::Public(key.sign_pss(&sha256(message)?)?))
            }
            (Scheme::Pkcs1, Input::Sign { message }) => {
                Ok(Output::Public(key.sign_pkcs1(&sha256(message)?)?))
            }
            (Scheme::Oaep, Input::Decrypt { ciphertext, aad }) => {
                if !aad.is_empty() {
                    return Err(Error::BadInput("RSA-OAEP takes no associated data".into()));
                }
                Ok(Output::Secret(key.decrypt_oaep(ciphertext)?))
            }
            (_, other) => Err(self.unfit(other.action())),
        }
    }
}
