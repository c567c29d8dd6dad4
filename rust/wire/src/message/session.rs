//! The offer and answer of a sealing session, with the agent's log key.

use evanesce_token::cbor::Writer;

use super::{SIGNATURE, decode};
use crate::WireError;
use crate::session::{Answer, Offer};

impl Offer {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(5);
        w.key("agent").bytes(&self.agent);
        w.key("caller").bytes(&self.caller);
        w.key("not_after").uint(self.not_after);
        w.key("signature").bytes(&self.signature);
        w.key("session_key").bytes(&self.session_key);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("offer", bytes, |r| {
            let mut m = r.map(&["agent", "caller", "not_after", "signature", "session_key"])?;
            Ok(Self {
                agent: m.field("agent")?.bytes_n()?,
                caller: m.field("caller")?.bytes_n()?,
                not_after: m.field("not_after")?.uint()?,
                signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
                session_key: m.field("session_key")?.bytes_n()?,
            })
        })
    }
}

/// An agent's answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAnswer {
    /// The encapsulation and its signature.
    pub answer: Answer,
    /// Ed25519 public key of the agent's log.
    pub log_key: [u8; 32],
    /// The agent's identity over [`super::log_key_statement`].
    pub endorsement: Vec<u8>,
}

impl SessionAnswer {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(4);
        w.key("enc").bytes(&self.answer.enc);
        w.key("log_key").bytes(&self.log_key);
        w.key("signature").bytes(&self.answer.signature);
        w.key("endorsement").bytes(&self.endorsement);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("session answer", bytes, |r| {
            let mut m = r.map(&["enc", "log_key", "signature", "endorsement"])?;
            let enc = m.field("enc")?.bytes_n()?;
            let log_key = m.field("log_key")?.bytes_n()?;
            let signature = m.field("signature")?.bytes(SIGNATURE)?.to_vec();
            let endorsement = m.field("endorsement")?.bytes(SIGNATURE)?.to_vec();
            Ok(Self {
                answer: Answer { enc, signature },
                log_key,
                endorsement,
            })
        })
    }
}
