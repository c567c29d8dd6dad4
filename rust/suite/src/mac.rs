//! HMAC (RFC 2104) with SHA-256 and SHA-512, and AES-256-CMAC (RFC 4493): whole tags only, compared
//! in constant time.

use std::ops::RangeInclusive;

use evanesce_secret::SecretVec;
use evanesce_secret::ct_eq;
use evanesce_token::SuiteFacts;

use crate::awslc::mac::{Hash, cmac, hmac};
use crate::operation::symmetric;
use crate::{Error, Input, Material, Output, Suite};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&HMAC_SHA256, &HMAC_SHA512, &AES_CMAC];

static HMAC_SHA256: Mac = Mac {
    facts: &facts("hmac-sha256", 32),
    imported: 1..=1024,
    function: Function::Hmac(Hash::Sha256),
};

static HMAC_SHA512: Mac = Mac {
    facts: &facts("hmac-sha512", 64),
    imported: 1..=1024,
    function: Function::Hmac(Hash::Sha512),
};

static AES_CMAC: Mac = Mac {
    facts: &facts("aes-cmac", 32),
    imported: 32..=32,
    function: Function::Cmac,
};

pub(crate) struct Mac {
    facts: &'static SuiteFacts,
    imported: RangeInclusive<usize>,
    function: Function,
}

#[derive(Clone, Copy)]
enum Function {
    Hmac(Hash),
    Cmac,
}

const fn facts(name: &'static str, material: usize) -> SuiteFacts {
    SuiteFacts {
        name,
        public: false,
        imported_only: false,
        material,
        operations: &["mac", "verify-mac"],
    }
}

impl Mac {
    fn tag(&self, material: &Material, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = symmetric(self.facts, material, &self.imported)?;
        Ok(match self.function {
            Function::Hmac(hash) => hmac(hash, key, message)?[..hash.len()].to_vec(),
            Function::Cmac => {
                let key = key.try_into().map_err(|_| Error::Internal("symmetric"))?;
                cmac(key, message)?.to_vec()
            }
        })
    }
}

impl Suite for Mac {
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
            Input::Mac { message } => Ok(Output::Public(self.tag(material, message)?)),
            Input::VerifyMac { message, mac } => {
                if ct_eq(&self.tag(material, message)?, mac) {
                    Ok(Output::Verified)
                } else {
                    Err(Error::InvalidSignature)
                }
            }
            other => Err(self.unfit(other.action())),
        }
    }

    fn portable(&self, material: &Material) -> Result<SecretVec, Error> {
        let key = symmetric(self.facts, material, &self.imported)?;
        Ok(SecretVec::from_slice(key)?)
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        symmetric(self.facts, &Material::Imported(imported), &self.imported).map(drop)
    }
}
