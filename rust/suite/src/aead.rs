//! AES-256-GCM (SP 800-38D) and XAES-256-GCM (C2SP), under random nonces:
//! nonce ‖ ciphertext ‖ tag.
//!
//! AES-256-GCM with random 96-bit nonces is good for 2³² messages under one key, and nothing here
//! can count them: XAES-256-GCM, with 192-bit nonces, is the one to choose by default.

use evanesce_secret::{SecretVec, random};
use evanesce_token::SuiteFacts;

use crate::awslc::aead::{NONCE, TAG, open, seal};
use crate::awslc::mac::cmac;
use crate::operation::symmetric;
use crate::{Error, Input, Material, Output, Suite};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&AES_256_GCM, &XAES_256_GCM];

static AES_256_GCM: Aead = Aead {
    facts: &facts("aes-256-gcm"),
    nonce: NONCE,
};

static XAES_256_GCM: Aead = Aead {
    facts: &facts("xaes-256-gcm"),
    nonce: 24,
};

pub(crate) struct Aead {
    facts: &'static SuiteFacts,
    /// Bytes before the ciphertext; whatever exceeds 12 goes into the key (XAES).
    nonce: usize,
}

const fn facts(name: &'static str) -> SuiteFacts {
    SuiteFacts {
        name,
        public: false,
        imported_only: false,
        material: 32,
        operations: &["encrypt", "decrypt"],
    }
}

impl Aead {
    fn key<'a>(&self, material: &Material<'a>) -> Result<&'a [u8; 32], Error> {
        symmetric(self.facts, material, &(32..=32))?
            .try_into()
            .map_err(|_| Error::Internal("symmetric"))
    }

    /// The AES-GCM key and nonce for this nonce of the suite's own length.
    fn schedule(&self, key: &[u8; 32], nonce: &[u8]) -> Result<([u8; 32], [u8; NONCE]), Error> {
        let short = || Error::Internal("Aead::schedule");
        match nonce.split_last_chunk::<NONCE>() {
            Some(([], last)) => Ok((*key, *last)),
            Some((first, last)) => {
                let first = first.try_into().map_err(|_| short())?;
                Ok((xaes_key(key, first)?, *last))
            }
            None => Err(short()),
        }
    }
}

/// C2SP XAES-256-GCM: the key for the last 12 bytes of the nonce, from the first 12. A counter-mode
/// KDF over CMAC (SP 800-108) with label "X".
fn xaes_key(key: &[u8; 32], first: &[u8; 12]) -> Result<[u8; 32], Error> {
    let mut out = [0; 32];
    for (counter, half) in (1..).zip(out.chunks_exact_mut(16)) {
        let mut block = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        block[4..].copy_from_slice(first);
        half.copy_from_slice(&cmac(key, &block)?);
    }
    Ok(out)
}

impl Suite for Aead {
    fn facts(&self) -> &'static SuiteFacts {
        self.facts
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn public_key(&self, _: &Material) -> Result<Vec<u8>, Error> {
        Err(self.unfit("public-key"))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        match input {
            Input::Encrypt { plaintext, aad } => {
                let mut out = Vec::with_capacity(self.nonce + plaintext.len() + TAG);
                out.resize(self.nonce, 0);
                random(&mut out);
                let (key, nonce) = self.schedule(self.key(material)?, &out)?;
                seal(&key, &nonce, aad, plaintext, &mut out)?;
                Ok(Output::Public(out))
            }
            Input::Decrypt { ciphertext, aad } => {
                let key = self.key(material)?;
                let (nonce, sealed) = ciphertext
                    .split_at_checked(self.nonce)
                    .filter(|(_, sealed)| sealed.len() >= TAG)
                    .ok_or(Error::DecryptionFailed)?;
                let (key, nonce) = self.schedule(key, nonce)?;
                let mut plaintext = SecretVec::zeroed(sealed.len() - TAG)?;
                open(&key, &nonce, aad, sealed, plaintext.expose_mut())?;
                Ok(Output::Secret(plaintext))
            }
            other => Err(self.unfit(other.action())),
        }
    }

    fn portable(&self, material: &Material) -> Result<SecretVec, Error> {
        let key = symmetric(self.facts, material, &(32..=32))?;
        Ok(SecretVec::from_slice(key)?)
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        self.key(&Material::Imported(imported)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use evanesce_secret::on_crucible;

    use super::*;

    /// C2SP XAES-256-GCM, "Test Vectors": key byte, additional data, ciphertext ‖ tag.
    const C2SP: [(u8, &[u8], [u8; 28]); 2] = [
        (
            0x01,
            b"",
            [
                0xce, 0x54, 0x6e, 0xf6, 0x3c, 0x9c, 0xc6, 0x07, 0x65, 0x92, 0x36, 0x09, 0xb3, 0x3a,
                0x9a, 0x19, 0x74, 0xe9, 0x6e, 0x52, 0xda, 0xf2, 0xfc, 0xf7, 0x07, 0x5e, 0x22, 0x71,
            ],
        ),
        (
            0x03,
            b"c2sp.org/XAES-256-GCM",
            [
                0x98, 0x6e, 0xc1, 0x83, 0x25, 0x93, 0xdf, 0x54, 0x43, 0xa1, 0x79, 0x43, 0x7f, 0xd0,
                0x83, 0xbf, 0x3f, 0xdb, 0x41, 0xab, 0xd7, 0x40, 0xa2, 0x1f, 0x71, 0xeb, 0x76, 0x9d,
            ],
        ),
    ];

    #[test]
    fn xaes_opens_the_vectors_of_its_specification() {
        evanesce_secret::init();
        on_crucible(|| {
            for (byte, aad, sealed) in C2SP {
                let ciphertext = [b"ABCDEFGHIJKLMNOPQRSTUVWX".as_slice(), &sealed].concat();
                let input = Input::Decrypt {
                    ciphertext: &ciphertext,
                    aad,
                };
                let key = [byte; 32];
                let output = XAES_256_GCM.operate(&Material::Derived(&key), &input);
                let Ok(Output::Secret(plaintext)) = output else {
                    panic!("key {byte}")
                };
                assert_eq!(plaintext.expose(), b"XAES-256-GCM");
            }
        });
    }

    #[test]
    fn xaes_derives_the_key_of_its_specification() {
        evanesce_secret::init();
        on_crucible(|| {
            let key = xaes_key(&[1; 32], b"ABCDEFGHIJKL").unwrap();
            assert_eq!(key[..8], [0xc8, 0x61, 0x2c, 0x9e, 0xd5, 0x3f, 0xe4, 0x3e]);
        });
    }
}
