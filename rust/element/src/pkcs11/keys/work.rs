//! What suites are in PKCS#11, and calling it: signing, MACs, encryption and decryption with a key in the token.
//!
//! Outputs have the form that the suites have everywhere (PROTOCOL §7). ECDSA is asked for over a digest, so that modules
//! need no mechanism with a hash of its own; low s is made here, for secp256k1.

use super::{KeyError, Kind};
use crate::ElementError;
use crate::pkcs11::der::ecdsa_signature;
use crate::pkcs11::fault::{Fault, said};
use crate::pkcs11::mechanism;
use crate::pkcs11::module::Module;
use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, digest};
use cryptoki::error::RvError;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;
use evanesce_secret::SecretVec;

/// Bytes of AES-GCM's nonce and tag.
const NONCE: usize = 12;
const TAG: usize = 16;

/// Half of secp256k1's order, rounded down, and the order: signatures have an s of at most the first (BIP 146).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// A suite of signatures, for one kind of key.
#[derive(Clone, Copy)]
pub(super) enum Signing {
    Ed25519,
    Ecdsa {
        hash: &'static Algorithm,
        size: usize,
        low_s: bool,
    },
    Pss(usize),
    Pkcs1(usize),
}

impl Signing {
    pub fn of(kind: Kind, suite: &str) -> Result<Self, KeyError> {
        let ecdsa = |hash, size, low_s| Signing::Ecdsa { hash, size, low_s };
        Ok(match (kind, suite) {
            (Kind::Ed25519, "ed25519") => Signing::Ed25519,
            (Kind::P256, "ecdsa-p256") => ecdsa(&SHA256, 32, false),
            (Kind::P384, "ecdsa-p384") => ecdsa(&SHA384, 48, false),
            (Kind::Secp256k1, "ecdsa-secp256k1") => ecdsa(&SHA256, 32, true),
            (Kind::Rsa(bits), "rsa-pss-sha256") => Signing::Pss(usize::from(bits) / 8),
            (Kind::Rsa(bits), "rsa-pkcs1-sha256") => Signing::Pkcs1(usize::from(bits) / 8),
            _ => return Err(not_of(kind, suite, "sign")),
        })
    }

    pub fn sign(
        self,
        module: &Module,
        session: &Session,
        key: ObjectHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let call = |mechanism: &Mechanism, data: &[u8], size: usize| -> Result<Vec<u8>, Fault> {
            let mut signature = vec![0; size];
            module
                .raw
                .sign_with(session, mechanism, key, data, &mut signature)?;
            Ok(signature)
        };
        match self {
            Signing::Ed25519 => {
                let pure = EddsaParams::new(EddsaSignatureScheme::Pure);
                call(&Mechanism::Eddsa(pure), message, 64)
            }
            Signing::Ecdsa { hash, size, low_s } => {
                let mut both = call(&Mechanism::Ecdsa, digest(hash, message).as_ref(), 2 * size)?;
                let (r, s) = both.split_at_mut(size);
                if low_s {
                    lower(s);
                }
                Ok(ecdsa_signature(r, s))
            }
            Signing::Pss(size) => {
                let params = PkcsPssParams {
                    hash_alg: MechanismType::SHA256,
                    mgf: PkcsMgfType::MGF1_SHA256,
                    s_len: 32.into(),
                };
                call(&Mechanism::Sha256RsaPkcsPss(params), message, size)
            }
            Signing::Pkcs1(size) => call(&Mechanism::Sha256RsaPkcs, message, size),
        }
    }
}

/// s, or the order of secp256k1 less s: both verify, and one of them is low.
fn lower(s: &mut [u8]) {
    if *s <= HALF_ORDER[..] {
        return;
    }
    let mut borrow = 0i16;
    for (digit, order) in s.iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = difference.rem_euclid(256) as u8;
    }
}

/// A suite of MACs.
#[derive(Clone, Copy)]
pub(super) struct Macing {
    mechanism: cryptoki_sys::CK_MECHANISM_TYPE,
    size: usize,
}

impl Macing {
    pub fn of(kind: Kind, suite: &str) -> Result<Self, KeyError> {
        let (mechanism, size) = match (kind, suite) {
            (Kind::Hmac(32), "hmac-sha256") => (mechanism::SHA256_HMAC, 32),
            (Kind::Hmac(64), "hmac-sha512") => (mechanism::SHA512_HMAC, 64),
            (Kind::Aes256, "aes-cmac") => (mechanism::AES_CMAC, 16),
            _ => return Err(not_of(kind, suite, "compute a MAC")),
        };
        Ok(Macing { mechanism, size })
    }

    /// Room for one.
    pub fn empty(self) -> Vec<u8> {
        vec![0; self.size]
    }

    pub fn mac(
        self,
        module: &Module,
        session: &Session,
        key: ObjectHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let mut mac = self.empty();
        self.mac_into(module, session, key, message, &mut mac)?;
        Ok(mac)
    }

    pub fn mac_into(
        self,
        module: &Module,
        session: &Session,
        key: ObjectHandle,
        message: &[u8],
        mac: &mut [u8],
    ) -> Result<(), Fault> {
        let sign = module.raw.sign(session, self.mechanism, key, message, mac);
        Ok(sign?)
    }
}

pub(super) fn encrypts(kind: Kind, suite: &str) -> Result<(), KeyError> {
    match (kind, suite) {
        (Kind::Aes256, "aes-256-gcm") => Ok(()),
        _ => Err(not_of(kind, suite, "encrypt in the module")),
    }
}

pub(super) fn encrypt(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut nonce = [0; NONCE];
    evanesce_secret::random(&mut nonce);
    let mut out = vec![0; NONCE + plaintext.len() + TAG];
    out[..NONCE].copy_from_slice(&nonce);
    let params = gcm(&mut nonce, aad)?;
    let written = module.raw.encrypt_with(
        session,
        &Mechanism::AesGcm(params),
        key,
        plaintext,
        &mut out[NONCE..],
    )?;
    match written == plaintext.len() + TAG {
        true => Ok(out),
        false => Err(ElementError::Unavailable(
            "the token encrypts something else than AES-GCM".to_owned(),
        )
        .into()),
    }
}

/// A suite of decryption.
#[derive(Clone, Copy)]
pub(super) enum Opening {
    Gcm,
    Oaep(usize),
}

/// A ciphertext in its parts.
#[derive(Clone, Copy)]
pub(super) struct Sealed<'a> {
    nonce: [u8; NONCE],
    body: &'a [u8],
}

impl Opening {
    pub fn of(kind: Kind, suite: &str) -> Result<Self, KeyError> {
        match (kind, suite) {
            (Kind::Aes256, "aes-256-gcm") => Ok(Opening::Gcm),
            (Kind::Rsa(bits), "rsa-oaep-sha256") => Ok(Opening::Oaep(usize::from(bits) / 8)),
            _ => Err(not_of(kind, suite, "decrypt")),
        }
    }

    /// The parts, if it can be a ciphertext at all.
    pub fn split(self, ciphertext: &[u8]) -> Result<Sealed<'_>, KeyError> {
        match self {
            Opening::Gcm => match ciphertext.split_first_chunk::<NONCE>() {
                Some((nonce, body)) if body.len() >= TAG => Ok(Sealed {
                    nonce: *nonce,
                    body,
                }),
                _ => Err(KeyError::Decryption),
            },
            Opening::Oaep(size) if ciphertext.len() == size => Ok(Sealed {
                nonce: [0; NONCE],
                body: ciphertext,
            }),
            Opening::Oaep(_) => Err(KeyError::Decryption),
        }
    }

    /// The plaintext; None if this is no ciphertext of the key's.
    pub fn open(
        self,
        module: &Module,
        session: &Session,
        key: ObjectHandle,
        aad: &[u8],
        sealed: Sealed,
    ) -> Result<Option<SecretVec>, Fault> {
        let mut nonce = sealed.nonce;
        // Some modules write the tag as well before they cut it off.
        let mut plaintext = SecretVec::zeroed(sealed.body.len().max(1))?;
        let mechanism = match self {
            Opening::Gcm => Mechanism::AesGcm(gcm(&mut nonce, aad)?),
            Opening::Oaep(_) => oaep(None),
        };
        let opened = module.raw.decrypt_with(
            session,
            &mechanism,
            key,
            sealed.body,
            plaintext.expose_mut(),
        );
        match opened.map_err(Fault::from) {
            Ok(length) => {
                plaintext.truncate(length);
                Ok(Some(plaintext))
            }
            Err(fault) if wrong(&fault) => Ok(None),
            // SoftHSM's word for that, and for a token that is gone, whose key then cannot be asked anything.
            Err(fault) if fault.rv() == Some(RvError::GeneralError) => {
                session.get_attributes(key, &[AttributeType::Class])?;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }
}

fn gcm<'a>(nonce: &'a mut [u8; NONCE], aad: &'a [u8]) -> Result<GcmParams<'a>, Fault> {
    Ok(GcmParams::new(nonce, aad, (8 * TAG as u64).into())?)
}

/// With its label, where it has one.
pub(super) fn oaep(label: Option<&[u8]>) -> Mechanism<'_> {
    let params = PkcsOaepParams::new(
        MechanismType::SHA256,
        PkcsMgfType::MGF1_SHA256,
        label.map_or_else(PkcsOaepSource::empty, PkcsOaepSource::data_specified),
    );
    Mechanism::RsaPkcsOaep(params)
}

/// What modules say to a ciphertext that is not the key's.
fn wrong(fault: &Fault) -> bool {
    matches!(
        fault.rv(),
        Some(RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::DataInvalid)
    )
}

/// Whether the module does not do this at all, rather than not now.
pub(super) fn refused(fault: &Fault) -> bool {
    matches!(
        fault.rv(),
        Some(
            RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::KeyTypeInconsistent
                | RvError::KeyFunctionNotPermitted
                | RvError::FunctionNotSupported
                | RvError::ArgumentsBad
                | RvError::DataLenRange
        )
    )
}

/// Tries a kind and its suites with a key that ends with the session: for each suite nothing, or why it does not work.
pub(super) fn try_kind(
    module: &Module,
    session: &Session,
    kind: Kind,
) -> Result<Vec<(&'static str, Option<String>)>, Fault> {
    let all = |why: Option<String>| {
        kind.suites()
            .iter()
            .map(|suite| (*suite, why.clone()))
            .collect()
    };
    let (secret, public) = match kind.generate(session, &[], None) {
        Err(fault) if fault.rv().is_some() && !fault.lost_for_certain() => {
            return Ok(all(Some(said(&fault))));
        }
        other => other?,
    };
    let mut found = Vec::new();
    for suite in kind.suites() {
        let tried = try_suite(module, session, kind, suite, (secret, public));
        match tried {
            Err(fault) if fault.lost_for_certain() => return Err(fault),
            Err(fault) => found.push((*suite, Some(said(&fault)))),
            Ok(()) => found.push((*suite, None)),
        }
    }
    for handle in [Some(secret), public].into_iter().flatten() {
        session.destroy_object(handle)?;
    }
    Ok(found)
}

fn try_suite(
    module: &Module,
    session: &Session,
    kind: Kind,
    suite: &str,
    (secret, public): (ObjectHandle, Option<ObjectHandle>),
) -> Result<(), Fault> {
    let message = b"evanesce: does this key work?";
    if let Ok(signing) = Signing::of(kind, suite) {
        return signing.sign(module, session, secret, message).map(drop);
    }
    if let Ok(macing) = Macing::of(kind, suite) {
        return macing.mac(module, session, secret, message).map(drop);
    }
    let unfit = || {
        Fault::from(ElementError::Unavailable(
            "it does not decrypt what it encrypted".to_owned(),
        ))
    };
    let opening = Opening::of(kind, suite).map_err(|_| unfit())?;
    let sealed = match (opening, public) {
        (Opening::Oaep(size), Some(public)) => {
            let mut out = vec![0; size];
            module
                .raw
                .encrypt_with(session, &oaep(None), public, message, &mut out)?;
            out
        }
        _ => encrypt(module, session, secret, b"", message)?,
    };
    let parts = opening.split(&sealed).map_err(|_| unfit())?;
    let opened = opening.open(module, session, secret, b"", parts)?;
    match opened {
        Some(opened) if opened.expose() == message => Ok(()),
        _ => Err(unfit()),
    }
}

/// A key that was just made does at least one of the things that it is for.
pub(super) fn shows(
    module: &Module,
    session: &Session,
    kind: Kind,
    secret: ObjectHandle,
) -> Result<(), Fault> {
    try_suite(module, session, kind, kind.suites()[0], (secret, None))
}

fn not_of(kind: Kind, suite: &str, what: &str) -> KeyError {
    KeyError::Unsupported(format!(
        "a key of kind {} does not {what} as {suite}; it serves {}",
        kind.name(),
        kind.suites().join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_s_becomes_the_orders_rest_and_a_low_one_stays() {
        let mut one = [0; 32];
        one[31] = 1;
        let mut s = ORDER;
        s[31] -= 1;
        lower(&mut s);
        assert_eq!(s, one);
        lower(&mut s);
        assert_eq!(s, one);
        let mut half = HALF_ORDER;
        lower(&mut half);
        assert_eq!(half, HALF_ORDER);
    }
}
