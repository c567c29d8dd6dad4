//! What an agent writes down, and the receipt that proves it did.

use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::{Malformed, formula};

use super::{
    Basis, CHECKPOINT, ENTRY, PATH, SEATS, SIGNATURE, TEXT, decode, hashes, log_key_statement,
    read_seat, read_texts, texts,
};
use crate::merkle::{leaf_hash, verify_inclusion};
use crate::{Id, WireError, limits, note, verify_statement};

/// One line of an agent's log: a decision, permitted or not. Its CBOR is the RFC 6962 leaf's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose log.
    pub agent: Id,
    /// Unix milliseconds by the agent's clock.
    pub time: u64,
    /// `contribute`, `seat` or `retire`.
    pub verb: String,
    /// Token id.
    pub token: Id,
    /// The header's name for the key: anyone's claim.
    pub key_name: String,
    /// Seats concerned.
    pub seats: Vec<u32>,
    /// The caller's id.
    pub caller: Id,
    /// The name the agent knows the caller by.
    pub caller_name: String,
    /// What was asked for; empty for `seat`.
    pub operations: Vec<EntryOperation>,
    /// The decision: a code's word, or for `seat` `done` or `refused`.
    pub code: String,
    /// Why it was not done; empty when done.
    pub reason: String,
    /// The secure element, as it describes itself.
    pub element: String,
    /// Weaknesses of the element that the operator accepted.
    pub weaknesses: Vec<String>,
    /// What else it was permitted by.
    pub basis: Basis,
}

/// One operation of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryOperation {
    /// `sign`, `mac`, …
    pub action: String,
    /// The suite.
    pub suite: String,
    /// Salted digest of the inputs.
    pub input: [u8; 32],
    /// `TH("request", …)` of this operation's request.
    pub request: [u8; 32],
}

impl Entry {
    /// CBOR: the leaf's data.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(384 + 160 * self.operations.len());
        w.map(15);
        w.key("v").uint(1);
        w.key("code").text(&self.code);
        w.key("time").uint(self.time);
        w.key("verb").text(&self.verb);
        w.key("agent").bytes(&self.agent);
        w.key("basis");
        self.basis.write(&mut w);
        w.key("seats").array(self.seats.len());
        for seat in &self.seats {
            w.uint((*seat).into());
        }
        w.key("token").bytes(&self.token);
        w.key("caller").bytes(&self.caller);
        w.key("reason").text(&self.reason);
        w.key("element").text(&self.element);
        w.key("key_name").text(&self.key_name);
        w.key("operations").array(self.operations.len());
        for operation in &self.operations {
            w.map(4);
            w.key("input").bytes(&operation.input);
            w.key("suite").text(&operation.suite);
            w.key("action").text(&operation.action);
            w.key("request").bytes(&operation.request);
        }
        w.key("weaknesses");
        texts(&mut w, &self.weaknesses);
        w.key("caller_name").text(&self.caller_name);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("log entry", bytes, |r| {
            let mut m = r.map(&[
                "v",
                "code",
                "time",
                "verb",
                "agent",
                "basis",
                "seats",
                "token",
                "caller",
                "reason",
                "element",
                "key_name",
                "operations",
                "weaknesses",
                "caller_name",
            ])?;
            let version = m.field("v")?;
            if version.uint()? != 1 {
                return Err(version.malformed("an unknown version"));
            }
            Ok(Self {
                code: m.field("code")?.text(32)?.to_owned(),
                time: m.field("time")?.uint()?,
                verb: m.field("verb")?.text(32)?.to_owned(),
                agent: m.field("agent")?.bytes_n()?,
                basis: Basis::read(m.field("basis")?)?,
                seats: m.field("seats")?.list(0..=SEATS, read_seat)?,
                token: m.field("token")?.bytes_n()?,
                caller: m.field("caller")?.bytes_n()?,
                reason: m.field("reason")?.text(TEXT)?.to_owned(),
                element: m.field("element")?.text(TEXT)?.to_owned(),
                key_name: m.field("key_name")?.text(TEXT)?.to_owned(),
                operations: m
                    .field("operations")?
                    .list(0..=limits::REQUESTS_PER_OPENING, |r| {
                        let mut m = r.map(&["input", "suite", "action", "request"])?;
                        Ok(EntryOperation {
                            input: m.field("input")?.bytes_n()?,
                            suite: m.field("suite")?.text(64)?.to_owned(),
                            action: m.field("action")?.text(64)?.to_owned(),
                            request: m.field("request")?.bytes_n()?,
                        })
                    })?,
                weaknesses: read_texts(m.field("weaknesses")?)?,
                caller_name: m.field("caller_name")?.text(TEXT)?.to_owned(),
            })
        })
    }
}

/// An entry's place in the tree of the checkpoint that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof {
    /// The leaf's data: an [`Entry`].
    pub entry: Vec<u8>,
    /// The leaf's index.
    pub index: u64,
    /// Inclusion path, leaf side first.
    pub path: Vec<[u8; 32]>,
}

impl LogProof {
    pub(super) fn write(proof: Option<&Self>, w: &mut Writer) {
        let Some(proof) = proof else {
            w.null();
            return;
        };
        w.map(3);
        w.key("path");
        hashes(w, &proof.path);
        w.key("entry").bytes(&proof.entry);
        w.key("index").uint(proof.index);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["path", "entry", "index"])?;
        Ok(Self {
            path: m.field("path")?.list(0..=PATH, |r| r.bytes_n())?,
            entry: m.field("entry")?.bytes(ENTRY)?.to_vec(),
            index: m.field("index")?.uint()?,
        })
    }
}

/// One agent's word on one opening, complete: it verifies with nothing but the agent's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Agent id.
    pub agent: Id,
    /// The agent's identity key, SubjectPublicKeyInfo DER.
    pub agent_spki: Vec<u8>,
    /// Ed25519 public key of its log.
    pub log_key: [u8; 32],
    /// The identity's signature over the log key.
    pub endorsement: Vec<u8>,
    /// The leaf's data: an [`Entry`].
    pub entry: Vec<u8>,
    /// The leaf's index.
    pub index: u64,
    /// Inclusion path.
    pub path: Vec<[u8; 32]>,
    /// Signed checkpoint.
    pub checkpoint: String,
}

impl Receipt {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(8);
        w.key("path");
        hashes(&mut w, &self.path);
        w.key("agent").bytes(&self.agent);
        w.key("entry").bytes(&self.entry);
        w.key("index").uint(self.index);
        w.key("log_key").bytes(&self.log_key);
        w.key("agent_spki").bytes(&self.agent_spki);
        w.key("checkpoint").text(&self.checkpoint);
        w.key("endorsement").bytes(&self.endorsement);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("receipt", bytes, |r| {
            let mut m = r.map(&[
                "path",
                "agent",
                "entry",
                "index",
                "log_key",
                "agent_spki",
                "checkpoint",
                "endorsement",
            ])?;
            Ok(Self {
                path: m.field("path")?.list(0..=PATH, |r| r.bytes_n())?,
                agent: m.field("agent")?.bytes_n()?,
                entry: m.field("entry")?.bytes(ENTRY)?.to_vec(),
                index: m.field("index")?.uint()?,
                log_key: m.field("log_key")?.bytes_n()?,
                agent_spki: m.field("agent_spki")?.bytes(256)?.to_vec(),
                checkpoint: m.field("checkpoint")?.text(CHECKPOINT)?.to_owned(),
                endorsement: m.field("endorsement")?.bytes(SIGNATURE)?.to_vec(),
            })
        })
    }

    /// Checks that the agent's identity endorsed the log, that the log's key signed the checkpoint and that the
    /// checkpoint holds the entry; gives the entry. Whether the agent id is one you know is yours to judge.
    pub fn verify(&self) -> Result<Entry, WireError> {
        let wrong = |why: &str| Err(WireError::WrongPeer(format!("receipt: {why}")));
        if formula::agent_id(&self.agent_spki) != self.agent {
            return wrong("the identity key is not the agent's");
        }
        if !verify_statement(
            &self.agent_spki,
            &log_key_statement(&self.agent, &self.log_key),
            &self.endorsement,
        ) {
            return wrong("the log's key is not endorsed by the agent's identity");
        }
        let (size, root) = note::verify(&self.checkpoint, &self.agent, &self.log_key)?;
        if !verify_inclusion(&leaf_hash(&self.entry), self.index, size, &self.path, &root) {
            return wrong("the checkpoint does not hold the entry");
        }
        let entry = Entry::decode(&self.entry)?;
        if entry.agent != self.agent {
            return wrong("the entry is another agent's");
        }
        Ok(entry)
    }
}
