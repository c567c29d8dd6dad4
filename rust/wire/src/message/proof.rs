//! A caller's proof that requests are its own, where a reconstructor carries them to the agents (PROTOCOL §6, Request).
//!
//! One signature for all agents of an opening: each finds the hash of what it was sent in the list. A request names its
//! session, and a session its two ends, so that no proof is of use to another reconstructor or at another agent.

use evanesce_token::cbor::Writer;
use evanesce_token::{formula, hash::th};

use super::{SEATS, SIGNATURE, decode};
use crate::{Id, Identity, WireError, verify_statement};

/// Longest SubjectPublicKeyInfo of an identity, in bytes (P-256: 91).
const SPKI: usize = 256;

/// The caller's word for the requests of an opening, one hash for each agent that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The caller's identity key, SubjectPublicKeyInfo DER.
    pub caller: Vec<u8>,
    /// `TH("request", …)` of what each agent may be sent.
    pub hashes: Vec<Id>,
    /// The caller's identity over [`Proof::statement`].
    pub signature: Vec<u8>,
}

impl Proof {
    /// `TH("proof", hash, …)`.
    pub fn statement(hashes: &[Id]) -> [u8; 32] {
        let parts: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
        th("proof", &parts)
    }

    /// Signs for these hashes.
    pub fn sign(identity: &dyn Identity, hashes: Vec<Id>) -> Result<Self, WireError> {
        Ok(Self {
            caller: identity.spki().to_vec(),
            signature: identity.sign(&Self::statement(&hashes))?,
            hashes,
        })
    }

    /// Whose it claims to be: the caller id of its key.
    pub fn caller_id(&self) -> Id {
        formula::caller_id(&self.caller)
    }

    /// Whether its key has signed it.
    pub fn verifies(&self) -> bool {
        verify_statement(
            &self.caller,
            &Self::statement(&self.hashes),
            &self.signature,
        )
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256 + 34 * self.hashes.len());
        w.map(3);
        w.key("caller").bytes(&self.caller);
        w.key("hashes");
        super::hashes(&mut w, &self.hashes);
        w.key("signature").bytes(&self.signature);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("proof", bytes, |r| {
            let mut m = r.map(&["caller", "hashes", "signature"])?;
            Ok(Self {
                caller: m.field("caller")?.bytes(SPKI)?.to_vec(),
                hashes: m.field("hashes")?.list(1..=SEATS, |r| r.bytes_n())?,
                signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileIdentity, limits};

    #[test]
    fn a_proof_holds_for_what_was_signed_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let identity = FileIdentity::create(&folder.path().join("key")).unwrap();
        let other = FileIdentity::create(&folder.path().join("other")).unwrap();
        let proof = Proof::sign(&identity, vec![[1; 32], [2; 32]]).unwrap();
        assert!(proof.verifies());
        assert_eq!(proof.caller_id(), identity.caller_id());
        assert_eq!(Proof::decode(&proof.encode()).unwrap(), proof);
        let wrong = |change: &dyn Fn(&mut Proof)| {
            let mut changed = proof.clone();
            change(&mut changed);
            !changed.verifies()
        };
        assert!(wrong(&|p| p.caller = other.spki().to_vec()));
        assert!(wrong(&|p| p.hashes.truncate(1)));
        assert!(wrong(&|p| p.hashes.push([3; 32])));
        assert!(wrong(&|p| p.hashes.swap(0, 1)));
        assert!(wrong(&|p| p.signature[0] ^= 1));
    }

    #[test]
    fn a_proof_for_every_seat_there_can_be_fits_its_bound() {
        let proof = Proof {
            caller: vec![0; 91],
            hashes: vec![[0; 32]; SEATS],
            signature: vec![0; SIGNATURE],
        };
        assert!(proof.encode().len() <= limits::PROOF);
    }
}
