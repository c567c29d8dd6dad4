//! ML-KEM: FIPS 203 from the seed d‖z. Imports are RFC 9935 PKCS#8 with the seed, or with seed and
//! expanded key where these agree.

use std::os::raw::c_int;

use aws_lc_sys::{NID_MLKEM768, NID_MLKEM1024};
use evanesce_secret::{SecretVec, ct_eq};
use evanesce_token::SuiteFacts;

use crate::awslc::Pkey;
use crate::operation::derived;
use crate::spki::Algorithm;
use crate::{Error, Input, Material, Output, Suite, pkcs8};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&ML_KEM_768, &ML_KEM_1024];

static ML_KEM_768: MlKem = MlKem {
    facts: &facts("ml-kem-768"),
    algorithm: Algorithm {
        name: "ML-KEM-768",
        identifier: &identifier(0x02),
        public: Some(1184),
    },
    nid: NID_MLKEM768,
    private: 2400,
    ciphertext: 1088,
};

static ML_KEM_1024: MlKem = MlKem {
    facts: &facts("ml-kem-1024"),
    algorithm: Algorithm {
        name: "ML-KEM-1024",
        identifier: &identifier(0x03),
        public: Some(1568),
    },
    nid: NID_MLKEM1024,
    private: 3168,
    ciphertext: 1568,
};

/// Lengths in bytes: FIPS 203 table 3.
pub(crate) struct MlKem {
    facts: &'static SuiteFacts,
    algorithm: Algorithm,
    nid: c_int,
    private: usize,
    ciphertext: usize,
}

const fn facts(name: &'static str) -> SuiteFacts {
    SuiteFacts {
        name,
        public: true,
        imported_only: false,
        material: 64,
        operations: &["decapsulate"],
    }
}

/// RFC 9935 §3: 2.16.840.1.101.3.4.4.`last`, no parameters.
const fn identifier(last: u8) -> [u8; 13] {
    [
        0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, last,
    ]
}

impl MlKem {
    fn expand(&self, material: &Material) -> Result<Pkey, Error> {
        match material {
            Material::Derived(bytes) => Pkey::ml_kem(self.nid, derived(self.facts, bytes)?),
            Material::Imported(der) => self.import(&pkcs8::parse(der, &self.algorithm)?),
        }
    }

    fn import(&self, parsed: &pkcs8::Pkcs8) -> Result<Pkey, Error> {
        let (seed, expanded) = pkcs8::seed(parsed, &self.algorithm)?;
        let key = Pkey::ml_kem(self.nid, seed)?;
        if let Some(expanded) = expanded
            && !ct_eq(key.raw_private(self.private)?.expose(), expanded)
        {
            let why = "its expanded key is not that of its seed";
            return Err(pkcs8::wrong(&self.algorithm, why));
        }
        Ok(key)
    }

    fn public(&self, key: &Pkey) -> Result<Vec<u8>, Error> {
        key.raw_public(self.algorithm.public.unwrap_or(0))
    }

    fn run(&self, key: &Pkey, input: &Input) -> Result<Output, Error> {
        match input {
            Input::Decapsulate { ciphertext } if ciphertext.len() == self.ciphertext => {
                Ok(Output::Secret(key.ml_kem_decapsulate(ciphertext)?))
            }
            Input::Decapsulate { ciphertext } => Err(Error::BadInput(format!(
                "an {} ciphertext has {} bytes, not {}",
                self.algorithm.name,
                self.ciphertext,
                ciphertext.len()
            ))),
            other => Err(self.unfit(other.action())),
        }
    }
}

impl Suite for MlKem {
    fn facts(&self) -> &'static SuiteFacts {
        self.facts
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn public_key(&self, material: &Material) -> Result<Vec<u8>, Error> {
        let public = self.public(&self.expand(material)?)?;
        Ok(self.algorithm.encode(&public))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        self.run(&self.expand(material)?, input)
    }

    fn operate_as(&self, material: &Material, spki: &[u8], input: &Input) -> Result<Output, Error> {
        let key = self.expand(material)?;
        if self.algorithm.encode(&self.public(&key)?) != spki {
            return Err(Error::WrongPublicKey);
        }
        self.run(&key, input)
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        let parsed = pkcs8::parse(imported, &self.algorithm)?;
        let public = self.public(&self.import(&parsed)?)?;
        pkcs8::agree(parsed.public, &public, &self.algorithm)
    }

    fn encapsulate(&self, spki: &[u8]) -> Result<(Vec<u8>, SecretVec), Error> {
        let public = self.algorithm.decode(spki)?;
        Pkey::ml_kem_public(self.nid, public)?
            .ml_kem_encapsulate(self.ciphertext)?
            .ok_or_else(|| Error::BadInput(format!("not a valid {} key", self.algorithm.name)))
    }
}
