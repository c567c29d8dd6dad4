//! One operation: what it is given and what comes back.
//!
//! None of these types can be printed or cloned into something longer-lived: material, plaintexts
//! and derived keys pass through them.

use std::borrow::Cow;

use evanesce_secret::SecretVec;

/// The key, as PROTOCOL §7 derives it or as §8 imported it.
#[derive(Clone, Copy)]
pub enum Material<'a> {
    /// HKDF output of exactly the suite's `material` length.
    Derived(&'a [u8]),
    /// PKCS#8 DER, or the raw bytes of a symmetric key.
    Imported(&'a [u8]),
}

/// What to do, over what.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    Sign {
        message: &'a [u8],
    },
    Mac {
        message: &'a [u8],
    },
    VerifyMac {
        message: &'a [u8],
        mac: &'a [u8],
    },
    Encrypt {
        plaintext: &'a [u8],
        aad: &'a [u8],
    },
    Decrypt {
        ciphertext: &'a [u8],
        aad: &'a [u8],
    },
    /// `length` in bytes.
    Derive {
        context: &'a [u8],
        length: usize,
    },
    /// `peer`: 32 raw bytes, or SubjectPublicKeyInfo DER.
    Agree {
        peer: &'a [u8],
    },
    Decapsulate {
        ciphertext: &'a [u8],
    },
}

/// What came out.
pub enum Output {
    /// Signature, MAC or ciphertext.
    Public(Vec<u8>),
    /// Plaintext, derived key or shared secret: the caller's own.
    Secret(SecretVec),
    /// The MAC is right. (A wrong one is an error: success has no value to forget.)
    Verified,
}

impl Input<'_> {
    /// The protocol's name of this action (PROTOCOL §6).
    pub fn action(&self) -> &'static str {
        match self {
            Input::Sign { .. } => "sign",
            Input::Mac { .. } => "mac",
            Input::VerifyMac { .. } => "verify-mac",
            Input::Encrypt { .. } => "encrypt",
            Input::Decrypt { .. } => "decrypt",
            Input::Derive { .. } => "derive",
            Input::Agree { .. } => "agree",
            Input::Decapsulate { .. } => "decapsulate",
        }
    }

    /// The inputs in the order in which the input digest hashes them (PROTOCOL §6). A derived
    /// length is u32; one that does not fit saturates, and is refused by the suite anyway.
    pub fn parts(&self) -> Vec<Cow<'_, [u8]>> {
        match *self {
            Input::Sign { message } | Input::Mac { message } => vec![message.into()],
            Input::VerifyMac { message, mac } => vec![message.into(), mac.into()],
            Input::Encrypt { plaintext, aad } => vec![plaintext.into(), aad.into()],
            Input::Decrypt { ciphertext, aad } => vec![ciphertext.into(), aad.into()],
            Input::Derive { context, length } => {
                let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
                vec![context.into(), length.to_vec().into()]
            }
            Input::Agree { peer } => vec![peer.into()],
            Input::Decapsulate { ciphertext } => vec![ciphertext.into()],
        }
    }
}
