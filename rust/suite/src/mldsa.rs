//! ML-DSA: FIPS 204 from the seed ξ, pure, empty context, hedged. Imports are RFC 9881 PKCS#8 with
//! the seed, or with seed and expanded key where these agree.

use std::os::raw::c_int;

use aws_lc_rs::signature::{
    ML_DSA_44 as VERIFY_44, ML_DSA_65 as VERIFY_65, ML_DSA_87 as VERIFY_87,
    PqdsaVerificationAlgorithm, UnparsedPublicKey,
};
use aws_lc_sys::{NID_MLDSA44, NID_MLDSA65, NID_MLDSA87};
use evanesce_secret::ct_eq;
use evanesce_token::SuiteFacts;

use crate::awslc::Pkey;
use crate::operation::derived;
use crate::spki::Algorithm;
use crate::{Error, Input, Material, Output, Suite, pkcs8};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&ML_DSA_44, &ML_DSA_65, &ML_DSA_87];

static ML_DSA_44: MlDsa = MlDsa {
    facts: &facts("ml-dsa-44"),
    algorithm: Algorithm {
        name: "ML-DSA-44",
        identifier: &identifier(0x11),
        public: Some(1312),
    },
    nid: NID_MLDSA44,
    private: 2560,
    signature: 2420,
    verification: &VERIFY_44,
};

static ML_DSA_65: MlDsa = MlDsa {
    facts: &facts("ml-dsa-65"),
    algorithm: Algorithm {
        name: "ML-DSA-65",
        identifier: &identifier(0x12),
        public: Some(1952),
    },
    nid: NID_MLDSA65,
    private: 4032,
    signature: 3309,
    verification: &VERIFY_65,
};

static ML_DSA_87: MlDsa = MlDsa {
    facts: &facts("ml-dsa-87"),
    algorithm: Algorithm {
        name: "ML-DSA-87",
        identifier: &identifier(0x13),
        public: Some(2592),
    },
    nid: NID_MLDSA87,
    private: 4896,
    signature: 4627,
    verification: &VERIFY_87,
};

/// Lengths in bytes: FIPS 204 table 2.
pub(crate) struct MlDsa {
    facts: &'static SuiteFacts,
    algorithm: Algorithm,
    nid: c_int,
    private: usize,
    signature: usize,
    verification: &'static PqdsaVerificationAlgorithm,
}

const fn facts(name: &'static str) -> SuiteFacts {
    SuiteFacts {
        name,
        public: true,
        imported_only: false,
        material: 32,
        operations: &["sign"],
    }
}

/// RFC 9881 §2: 2.16.840.1.101.3.4.3.`last`, no parameters.
const fn identifier(last: u8) -> [u8; 13] {
    [
        0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, last,
    ]
}

impl MlDsa {
    fn expand(&self, material: &Material) -> Result<Pkey, Error> {
        match material {
            Material::Derived(bytes) => Pkey::ml_dsa(self.nid, derived(self.facts, bytes)?),
            Material::Imported(der) => self.import(&pkcs8::parse(der, &self.algorithm)?),
        }
    }

    fn import(&self, parsed: &pkcs8::Pkcs8) -> Result<Pkey, Error> {
        let (seed, expanded) = pkcs8::seed(parsed, &self.algorithm)?;
        let key = Pkey::ml_dsa(self.nid, seed)?;
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
            Input::Sign { message } => {
                Ok(Output::Public(key.ml_dsa_sign(message, self.signature)?))
            }
            other => Err(self.unfit(other.action())),
        }
    }
}

impl Suite for MlDsa {
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

    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let public = self.algorithm.decode(spki)?;
        UnparsedPublicKey::new(self.verification, public)
            .verify(message, signature)
            .map_err(|_| Error::InvalidSignature)
    }
}
