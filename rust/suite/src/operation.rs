//! One operation: what it is given and what comes back.
//!
//! None of these types can be printed or cloned into something longer-lived: material, plaintexts
//! and derived keys pass through them.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use evanesce_secret::SecretVec;
use evanesce_token::SuiteFacts;

use crate::Error;

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

/// Every key enters a suite through this check: elsewhere nothing would wipe the stack it lands on.
pub(crate) fn within_crucible() -> Result<(), Error> {
    if evanesce_secret::is_crucible_thread() {
        Ok(())
    } else {
        Err(Error::Internal("the check for a crucible thread"))
    }
}

/// Derived material of a fixed length, judged by its suite's facts.
pub(crate) fn derived<'a, const N: usize>(
    facts: &SuiteFacts,
    material: &'a [u8],
) -> Result<&'a [u8; N], Error> {
    check_derived(facts, material)?;
    material
        .try_into()
        .map_err(|_| Error::Internal("SuiteFacts::material"))
}

/// [`derived`] for suites that read a slice.
pub(crate) fn check_derived(facts: &SuiteFacts, material: &[u8]) -> Result<(), Error> {
    within_crucible()?;
    if facts.imported_only || material.len() != facts.material {
        let want = facts.material..=facts.material;
        return Err(wrong_length(facts, material.len(), want));
    }
    Ok(())
}

/// The key of a symmetric suite: derived, or imported raw with a length in `imported`.
pub(crate) fn symmetric<'a>(
    facts: &SuiteFacts,
    material: &Material<'a>,
    imported: &RangeInclusive<usize>,
) -> Result<&'a [u8], Error> {
    within_crucible()?;
    let (key, lengths) = match *material {
        Material::Derived(key) => (key, facts.material..=facts.material),
        Material::Imported(key) => (key, imported.clone()),
    };
    if lengths.contains(&key.len()) {
        Ok(key)
    } else {
        Err(wrong_length(facts, key.len(), lengths))
    }
}

fn wrong_length(facts: &SuiteFacts, got: usize, want: RangeInclusive<usize>) -> Error {
    let name = facts.name;
    Error::BadKey(match (*want.start(), *want.end()) {
        (low, high) if low == high => format!("an {name} key has {low} bytes, not {got}"),
        (low, usize::MAX) => format!("an {name} key has at least {low} bytes, not {got}"),
        (low, high) => format!("an {name} key has {low} to {high} bytes, not {got}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_token::formula::input_digest;

    /// Another implementation has nothing but this page to go by.
    #[test]
    fn the_published_example_and_table_of_input_digests_are_true() {
        let page = include_str!("../../../docs/agent-api.md");
        let derive = Input::Derive {
            context: b"backup/2026",
            length: 32,
        };
        let salt = std::array::from_fn(|i| i as u8);
        let parts = derive.parts();
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let digest = input_digest(&salt, derive.action(), "hkdf-sha256", &parts);
        let example = format!("\n= {}\n", hex::encode(digest));
        assert!(page.contains(&example), "the page lacks {example}");

        let (message, mac, aad, key): (&[u8], &[u8], &[u8], &[u8]) = (b"m", b"t", b"a", b"k");
        for (row, input, inputs) in [
            (
                "| `sign`, `mac` | message |",
                Input::Sign { message },
                vec![message],
            ),
            (
                "| `sign`, `mac` | message |",
                Input::Mac { message },
                vec![message],
            ),
            (
                "| `verify-mac` | message, mac |",
                Input::VerifyMac { message, mac },
                vec![message, mac],
            ),
            (
                "| `encrypt` | plaintext, additional data |",
                Input::Encrypt {
                    plaintext: message,
                    aad,
                },
                vec![message, aad],
            ),
            (
                "| `decrypt` | ciphertext, additional data |",
                Input::Decrypt {
                    ciphertext: message,
                    aad,
                },
                vec![message, aad],
            ),
            (
                "| `derive` | context, u32(length) |",
                Input::Derive {
                    context: message,
                    length: 258,
                },
                vec![message, &[0, 0, 1, 2]],
            ),
            (
                "| `agree` | the peer's key, as",
                Input::Agree { peer: key },
                vec![key],
            ),
            (
                "| `decapsulate` | ciphertext |",
                Input::Decapsulate {
                    ciphertext: message,
                },
                vec![message],
            ),
        ] {
            assert!(page.contains(row), "the page lacks {row}");
            assert!(row.contains(&format!("`{}`", input.action())));
            assert_eq!(input.parts(), inputs, "{row}");
        }
    }
}
