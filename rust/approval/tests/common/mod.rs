//! Approvers: keys, and authenticators of software that sign as a browser's would.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evanesce_approval::{Approval, Assertion, Statement};
use evanesce_wire::{Identity, WireError};
use sha2::{Digest, Sha256};

pub enum Key {
    Ed25519(Ed25519KeyPair, Vec<u8>),
    P256(EcdsaKeyPair, Vec<u8>),
}

impl Key {
    /// An Ed25519 key of this seed.
    pub fn ed25519(seed: u8) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let spki = hex::decode("302a300506032b6570032100").unwrap();
        let spki = [&spki, key.public_key().as_ref()].concat();
        Self::Ed25519(key, spki)
    }

    /// A fresh P-256 key.
    pub fn p256() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
        let spki = [&hex::decode(spki).unwrap(), key.public_key().as_ref()].concat();
        Self::P256(key, spki)
    }
}

impl Identity for Key {
    fn spki(&self) -> &[u8] {
        match self {
            Self::Ed25519(_, spki) | Self::P256(_, spki) => spki,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        Ok(match self {
            Self::Ed25519(key, _) => key.sign(message).as_ref().to_vec(),
            Self::P256(key, _) => {
                let signed = key.sign(&SystemRandom::new(), message);
                signed.unwrap().as_ref().to_vec()
            }
        })
    }
}

/// What an authenticator and its browser say.
pub struct Ceremony {
    pub party: String,
    pub flags: u8,
    pub extensions: Vec<u8>,
    pub client_data: String,
}

impl Ceremony {
    /// As it should be, for a statement, on `https://console.example.com`.
    pub fn of(statement: &Statement) -> Self {
        let challenge = URL_SAFE_NO_PAD.encode(statement.challenge());
        Self {
            party: "example.com".into(),
            flags: 0x05,
            extensions: vec![],
            client_data: format!(
                "{{\"type\":\"webauthn.get\",\"challenge\":\"{challenge}\",\"origin\":\"https://console.example.com\",\"crossOrigin\":false}}"
            ),
        }
    }

    /// The authenticator's approval.
    pub fn sign(&self, key: &Key, statement: &Statement) -> Approval {
        let party = Sha256::digest(&self.party);
        let data = [&party[..], &[self.flags], &[0, 0, 0, 7], &self.extensions].concat();
        let signed = [&data[..], &Sha256::digest(&self.client_data)[..]].concat();
        Approval {
            approver: key.spki().to_vec(),
            webauthn: Some(Assertion {
                client_data: self.client_data.clone().into_bytes(),
                authenticator_data: data,
            }),
            signature: key.sign(&signed).unwrap(),
            statement: statement.encode(),
        }
    }
}
