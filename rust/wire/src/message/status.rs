//! What an agent says of itself, and how it explains an HTTP status.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};

use super::{SEATS, TEXT, decode, read_texts, texts};
use crate::{Id, WireError};

/// An agent's state, as any known identity may ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The agent's own name.
    pub name: String,
    /// Its id.
    pub agent: Id,
    /// Software version.
    pub version: String,
    /// Unix milliseconds by its clock.
    pub clock: u64,
    /// The secure element, as it describes itself.
    pub element: String,
    /// Whether that is a development element.
    pub development: bool,
    /// Weaknesses of the element that the operator accepted.
    pub weaknesses: Vec<String>,
    /// Epochs whose root it has.
    pub epochs: Vec<u64>,
    /// The epoch it seats under.
    pub current: u64,
    /// Entries of its log.
    pub entries: u64,
    /// Tombstoned tokens.
    pub tombstones: u64,
    /// Tokens that are frozen here.
    pub frozen: u64,
    /// Shares that it keeps, of tokens of kind `mpc`.
    pub shares: u64,
    /// Other agents that it compares with; 0 for one that is alone.
    pub peers: u64,
    /// Of these, heard since it started.
    pub heard: u64,
    /// Why it does not answer as things are; empty where it does.
    pub standing: String,
    /// `process` or `power`.
    pub commit: String,
    /// What its secrets lie in: `memfd_secret`, `locked memory`, …
    pub memory: String,
    /// The name it knows the asker by.
    pub caller: String,
    /// The asker's roles.
    pub roles: Vec<String>,
}

impl Status {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(20);
        w.key("name").text(&self.name);
        w.key("agent").bytes(&self.agent);
        w.key("clock").uint(self.clock);
        w.key("heard").uint(self.heard);
        w.key("peers").uint(self.peers);
        w.key("roles");
        texts(&mut w, &self.roles);
        w.key("caller").text(&self.caller);
        w.key("commit").text(&self.commit);
        w.key("epochs").array(self.epochs.len());
        for epoch in &self.epochs {
            w.uint(*epoch);
        }
        w.key("frozen").uint(self.frozen);
        w.key("memory").text(&self.memory);
        w.key("shares").uint(self.shares);
        w.key("current").uint(self.current);
        w.key("element").text(&self.element);
        w.key("entries").uint(self.entries);
        w.key("version").text(&self.version);
        w.key("standing").text(&self.standing);
        w.key("tombstones").uint(self.tombstones);
        w.key("weaknesses");
        texts(&mut w, &self.weaknesses);
        w.key("development").uint(self.development.into());
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("status", bytes, |r| {
            let mut m = r.map(&[
                "name",
                "agent",
                "clock",
                "heard",
                "peers",
                "roles",
                "caller",
                "commit",
                "epochs",
                "frozen",
                "memory",
                "shares",
                "current",
                "element",
                "entries",
                "version",
                "standing",
                "tombstones",
                "weaknesses",
                "development",
            ])?;
            Ok(Self {
                name: m.field("name")?.text(TEXT)?.to_owned(),
                agent: m.field("agent")?.bytes_n()?,
                clock: m.field("clock")?.uint()?,
                heard: m.field("heard")?.uint()?,
                peers: m.field("peers")?.uint()?,
                roles: read_texts(m.field("roles")?)?,
                caller: m.field("caller")?.text(TEXT)?.to_owned(),
                commit: m.field("commit")?.text(32)?.to_owned(),
                epochs: m.field("epochs")?.list(0..=SEATS, |r| r.uint())?,
                frozen: m.field("frozen")?.uint()?,
                memory: m.field("memory")?.text(TEXT)?.to_owned(),
                shares: m.field("shares")?.uint()?,
                current: m.field("current")?.uint()?,
                element: m.field("element")?.text(TEXT)?.to_owned(),
                entries: m.field("entries")?.uint()?,
                version: m.field("version")?.text(64)?.to_owned(),
                standing: m.field("standing")?.text(TEXT)?.to_owned(),
                tombstones: m.field("tombstones")?.uint()?,
                weaknesses: read_texts(m.field("weaknesses")?)?,
                development: read_flag(m.field("development")?)?,
            })
        })
    }
}

/// CBOR here has no booleans: 0 or 1.
fn read_flag(r: &mut Reader<'_>) -> Result<bool, Malformed> {
    match r.uint()? {
        flag @ 0..=1 => Ok(flag == 1),
        flag => Err(r.malformed(format_args!("{flag}, must be 0 or 1"))),
    }
}

/// Why an agent answered with a status other than 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `malformed`, `unknown-identity`, `role`, `session`, `too-large`, `overloaded`, `stopping`, …
    pub code: String,
    /// For people.
    pub message: String,
}

impl Problem {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("code").text(&self.code);
        w.key("message").text(&self.message);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("problem", bytes, |r| {
            let mut m = r.map(&["code", "message"])?;
            Ok(Self {
                code: m.field("code")?.text(64)?.to_owned(),
                message: m.field("message")?.text(TEXT)?.to_owned(),
            })
        })
    }
}
