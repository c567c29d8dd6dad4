//! What agents tell each other: how far their logs have come, what each has seen of the other's, the orders that each
//! has (revocations of grants among them), and their clocks.
//!
//! Nothing here is believed because a peer says it. A head counts if the log's own key has signed it and the agent's
//! identity has endorsed that key, so that no peer can make one up.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::formula;
use evanesce_token::hash::th;

use super::{CHECKPOINT, SIGNATURE, SIGNED, decode, hashes, log_key_statement};
use crate::merkle::Hash;
use crate::{Id, WireError, note, verify_statement};

/// Most logs of one agent that a peer remembers: one, and those that its operator has given up.
pub const LOGS: usize = 8;
/// Most ids of orders in one answer.
pub const IDS: usize = 4096;
/// Most orders asked for at once, and in one answer, which is bounded by its bytes as well.
pub const WANTED: usize = 64;
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
    /// The first of the peer's orders that is not known yet, by its number in that life.
    pub from: u64,
    /// How far its log has come, of what is on its disk.
    pub head: Head,
    /// The peer's life that `from` is of; the orders of another are numbered anew.
    pub life: [u8; 16],
    /// Orders that are asked for, by their ids.
    pub want: Vec<Id>,
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
        w.map(6);
        w.key("from").uint(self.from);
        w.key("head");
        self.head.write(&mut w);
        w.key("life").bytes(&self.life);
        w.key("want");
        hashes(&mut w, &self.want);
        w.key("after")
            .bytes_or_null(self.after.as_ref().map(<[u8; 32]>::as_slice));
        w.key("clock").uint(self.clock);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("exchange", bytes, |r| {
            let mut m = r.map(&["from", "head", "life", "want", "after", "clock"])?;
            Ok(Self {
                from: m.field("from")?.uint()?,
                head: Head::read(m.field("head")?)?,
                life: m.field("life")?.bytes_n()?,
                want: m.field("want")?.list(0..=WANTED, |r| r.bytes_n())?,
                after: m.field("after")?.or_null(|r| r.bytes_n())?,
                clock: m.field("clock")?.uint()?,
            })
        })
    }
}

/// What the peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Ids of the peer's orders, from the number asked for, or from 0 where the life is another.
    pub ids: Vec<Id>,
    /// The peer's life.
    pub life: [u8; 16],
    /// The highest head of each log of the asker that is on the peer's disk.
    pub seen: Vec<Head>,
    /// Unix milliseconds by the peer's clock.
    pub clock: u64,
    /// How many orders the peer has.
    pub count: u64,
    /// Of the orders asked for those that fit, each a [`Word`](super::Word).
    pub orders: Vec<Vec<u8>>,
    /// The peer's identity over [`seen_statement`] of the one among `seen` that has the asker's log key; none where there
    /// is none.
    pub signature: Option<Vec<u8>>,
}

impl Exchanged {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(7);
        w.key("ids");
        hashes(&mut w, &self.ids);
        w.key("life").bytes(&self.life);
        w.key("seen").array(self.seen.len());
        for head in &self.seen {
            head.write(&mut w);
        }
        w.key("clock").uint(self.clock);
        w.key("count").uint(self.count);
        w.key("orders").array(self.orders.len());
        for order in &self.orders {
            w.bytes(order);
        }
        w.key("signature").bytes_or_null(self.signature.as_deref());
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("exchanged", bytes, |r| {
            let mut m = r.map(&[
                "ids",
                "life",
                "seen",
                "clock",
                "count",
                "orders",
                "signature",
            ])?;
            Ok(Self {
                ids: m.field("ids")?.list(0..=IDS, |r| r.bytes_n())?,
                life: m.field("life")?.bytes_n()?,
                seen: m.field("seen")?.list(0..=LOGS, Head::read)?,
                clock: m.field("clock")?.uint()?,
                count: m.field("count")?.uint()?,
                orders: m
                    .field("orders")?
                    .list(0..=WANTED, |r| Ok(r.bytes(SIGNED)?.to_vec()))?,
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
