//! `hkdf-sha256`: working keys from a key that itself never leaves, HKDF-Expand(material,
//! u32(n) ‖ context, n). The length is part of the input, so that a shorter key is no prefix of a
//! longer one.

use std::ops::RangeInclusive;

use evanesce_secret::SecretVec;
use evanesce_token::SuiteFacts;

use crate::awslc::mac::hkdf_expand;
use crate::operation::symmetric;
use crate::{Error, Input, Material, Output, Suite};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&HKDF_SHA256];

static HKDF_SHA256: Hkdf = Hkdf;

pub(crate) struct Hkdf;

static FACTS: SuiteFacts = SuiteFacts {
    name: "hkdf-sha256",
    public: false,
    imported_only: false,
    material: 32,
    operations: &["derive"],
};

/// RFC 5869 §2.3 wants a pseudorandom key of at least a hash's length.
const IMPORTED: RangeInclusive<usize> = 32..=usize::MAX;

/// RFC 5869 §2.3: 255 blocks of SHA-256.
const LONGEST: usize = 255 * 32;

impl Suite for Hkdf {
    fn facts(&self) -> &'static SuiteFacts {
        &FACTS
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn public_key(&self, _: &Material) -> Result<Vec<u8>, Error> {
        Err(self.unfit("public-key"))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        let Input::Derive { context, length } = input else {
            return Err(self.unfit(input.action()));
        };
        if !(1..=LONGEST).contains(length) {
            return Err(Error::BadInput(format!(
                "a derived key has 1 to {LONGEST} bytes, not {length}"
            )));
        }
        let key = symmetric(&FACTS, material, &IMPORTED)?;
        let info = [&(*length as u32).to_be_bytes(), *context].concat();
        let mut out = SecretVec::zeroed(*length)?;
        hkdf_expand(key, &info, out.expose_mut())?;
        Ok(Output::Secret(out))
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        symmetric(&FACTS, &Material::Imported(imported), &IMPORTED).map(drop)
    }
}
