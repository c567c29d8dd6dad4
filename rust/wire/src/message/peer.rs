//! What agents tell each other: how far their logs have come, what each has seen of the other's, and their clocks.
//!
//! Nothing here is believed because a peer says it. A head counts if the log's own key has signed it and the agent's
//! identity has endorsed that key, so that no peer can make one up.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::formula;
use evanesce_token::hash::th;

use super::{CHECKPOINT, SIGNATURE, decode, log_key_statement};
use crate::merkle::Hash;
use crate::{Id, WireError, note, verify_statement};

/// Most logs of one agent that a peer remembers: one, and those that its operator has given up.
pub const LOGS: usize = 8;
/// Most agents that one keeps heads of.
const AGENTS: usize = 255;

/// How far an agent's log has come, in words of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Ed25519 public key of the log.
    pub log_key: [u8; 32],
    /// A checkpoint signed by it.
    pub checkpoint: String,
    /// The agent's identity over [`log_key_statement`].
    pub endorsement: Vec<u8>,
}

impl Head {
    fn write(&self, w: &mut Writer) {
        w.map(3);
        w.key("log_key").bytes(&self.log_key);
        w.key("checkpoint").text(&self.checkpoint);
        w.key("endorsement").bytes(&self.endorsement);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["log_key", "checkpoint", "endorsement"])?;
        Ok(Self {
            log_key: m.field("log_key")?.bytes_n()?,
            checkpoint: m.field("checkpoint")?.text(CHECKPOINT)?.to_owned(),
            endorsement: m.field("endorsement")?.bytes(SIGNATURE)?.to_vec(),
        })
    }

    /// The log's size and root, if this is a head of the agent whose identity key is `spki`.
    ///
    /// # Errors
    /// `WrongPeer` where its identity did not endorse the key, `Malformed` where the key did not sign the checkpoint.
    pub fn verify(&self, spki: &[u8]) -> Result<(u64, Hash), WireError> {
        let agent = formula::agent_id(spki);
        let statement = log_key_statement(&agent, &self.log_key);
        if !verify_statement(spki, &statement, &self.endorsement) {
            let why = "a head's key is not endorsed by the agent's identity";
            return Err(WireError::WrongPeer(why.into()));
        }
        note::verify(&self.checkpoint, &agent, &self.log_key)
    }
}

/// What a peer's identity signs to say that it has seen `agent`'s log of that key grow to that size, and that it
/// remembers it.
pub fn seen_statement(agent: &Id, log_key: &[u8; 32], size: u64, root: &Hash) -> [u8; 32] {
    th("head-seen", &[agent, log_key, &size.to_be_bytes(), root])
}

/// What an agent tells a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// How far its log has come, of what is on its disk.
    pub head: Head,
    /// [`seen_statement`] of the head of that log that the peer was last found to have seen, once this log was found to
    /// go on from it: only then does a higher one take its place there.
    pub after: Option<[u8; 32]>,
    /// Unix milliseconds by its clock.
    pub clock: u64,
}

impl Exchange {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("head");
        self.head.write(&mut w);
        w.key("after")
            .bytes_or_null(self.after.as_ref().map(<[u8; 32]>::as_slice));
        w.key("clock").uint(self.clock);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("exchange", bytes, |r| {
            let mut m = r.map(&["head", "after", "clock"])?;
            Ok(Self {
                head: Head::read(m.field("head")?)?,
                after: m.field("after")?.or_null(|r| r.bytes_n())?,
                clock: m.field("clock")?.uint()?,
            })
        })
    }
}

/// What the peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The highest head of each log of the asker that is on the peer's disk.
    pub seen: Vec<Head>,
    /// Unix milliseconds by the peer's clock.
    pub clock: u64,
    /// The peer's identity over [`seen_statement`] of the one among `seen` that has the asker's log key; none where there
    /// is none.
    pub signature: Option<Vec<u8>>,
}

impl Exchanged {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("seen").array(self.seen.len());
        for head in &self.seen {
            head.write(&mut w);
        }
        w.key("clock").uint(self.clock);
        w.key("signature").bytes_or_null(self.signature.as_deref());
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("exchanged", bytes, |r| {
            let mut m = r.map(&["seen", "clock", "signature"])?;
            Ok(Self {
                seen: m.field("seen")?.list(0..=LOGS, Head::read)?,
                clock: m.field("clock")?.uint()?,
                signature: m
                    .field("signature")?
                    .or_null(|r| Ok(r.bytes(SIGNATURE)?.to_vec()))?,
            })
        })
    }
}

/// The heads of others that an agent keeps on its disk, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept(pub Vec<(Id, Head)>);

impl Kept {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(self.0.len());
        for (agent, head) in &self.0 {
            w.map(2);
            w.key("head");
            head.write(&mut w);
            w.key("agent").bytes(agent);
        }
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("heads", bytes, |r| {
            let heads = r.list(0..=AGENTS * LOGS, |r| {
                let mut m = r.map(&["head", "agent"])?;
                let head = Head::read(m.field("head")?)?;
                Ok((m.field("agent")?.bytes_n()?, head))
            })?;
            Ok(Self(heads))
        })
    }
}
