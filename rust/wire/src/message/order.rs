//! Orders: that a token is revoked, frozen or thawed, signed by whoever orders it.
//!
//! An order stands for itself: whoever hands it on, each agent verifies the signature and judges by its own directory and
//! by the token's own policy, which the token id covers. It goes with all that this takes.

use evanesce_token::cbor::Writer;
use evanesce_token::formula;
use evanesce_token::hash::th;

use super::{CHECKPOINT, Code, Context, LogProof, SIGNATURE, TEXT, decode};
use crate::{Id, Identity, WireError, verify_statement};

/// Longest encoded order with what goes with it, in bytes: a context's bounds, and some.
pub const SIGNED: usize = 160 << 10;

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// The token is answered for again.
    Thaw,
    /// It is not answered for until it is thawed.
    Freeze,
    /// It is never answered for again.
    Revoke,
}

impl Command {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Thaw, "thaw"),
        (Self::Freeze, "freeze"),
        (Self::Revoke, "revoke"),
    ];

    /// Its word on the wire and in the log.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(one, _)| *one == self);
        found.map_or("", |(_, word)| word)
    }

    /// The command of that word.
    pub fn parse(word: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == word);
        found.map(|(one, _)| *one)
    }
}

/// An order, whose bytes are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Token id.
    pub token: Id,
    /// What is to become of it.
    pub command: Command,
    /// Whoever orders it: the caller id of the key that signs.
    pub caller: Id,
    /// Unix milliseconds by the caller's clock. Of two orders to freeze or thaw a token the later one holds.
    pub issued: u64,
    /// Fresh and random.
    pub nonce: [u8; 16],
}

impl Order {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(6);
        w.key("v").uint(1);
        w.key("nonce").bytes(&self.nonce);
        w.key("token").bytes(&self.token);
        w.key("caller").bytes(&self.caller);
        w.key("issued").uint(self.issued);
        w.key("command").text(self.command.as_str());
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("order", bytes, |r| {
            let mut m = r.map(&["v", "nonce", "token", "caller", "issued", "command"])?;
            let version = m.field("v")?;
            if version.uint()? != 1 {
                return Err(version.malformed("an unknown version"));
            }
            let nonce = m.field("nonce")?.bytes_n()?;
            let token = m.field("token")?.bytes_n()?;
            let caller = m.field("caller")?.bytes_n()?;
            let issued = m.field("issued")?.uint()?;
            let word = m.field("command")?;
            let command = Command::parse(word.text(16)?)
                .ok_or_else(|| word.malformed("an unknown command"))?;
            Ok(Self {
                token,
                command,
                caller,
                issued,
                nonce,
            })
        })
    }
}

/// An order with what it takes to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOrder {
    /// An [`Order`], encoded.
    pub order: Vec<u8>,
    /// The key that signs, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// Over [`SignedOrder::id`].
    pub signature: Vec<u8>,
    /// The token, whole.
    pub context: Context,
}

impl SignedOrder {
    /// Signs an order about the token of `context`.
    pub fn sign(
        order: &Order,
        context: Context,
        identity: &dyn Identity,
    ) -> Result<Self, WireError> {
        let order = order.encode();
        Ok(Self {
            signature: identity.sign(&th("order", &[&order]))?,
            spki: identity.spki().to_vec(),
            order,
            context,
        })
    }

    /// `TH("order", CBOR(order))`: what is signed, and what the order is known by.
    pub fn id(&self) -> Id {
        th("order", &[&self.order])
    }

    /// The order, if whoever it names has signed it.
    pub fn verify(&self) -> Result<Order, WireError> {
        let order = Order::decode(&self.order)?;
        let signed = verify_statement(&self.spki, &self.id(), &self.signature);
        if formula::caller_id(&self.spki) != order.caller || !signed {
            let why = "the order is not signed by the caller that it names";
            return Err(WireError::WrongPeer(why.into()));
        }
        Ok(order)
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(4096);
        w.map(4);
        w.key("spki").bytes(&self.spki);
        w.key("order").bytes(&self.order);
        w.key("context");
        self.context.write(&mut w);
        w.key("signature").bytes(&self.signature);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("signed order", bytes, |r| {
            let mut m = r.map(&["spki", "order", "context", "signature"])?;
            let spki = m.field("spki")?.bytes(256)?.to_vec();
            let order = m.field("order")?.bytes(256)?.to_vec();
            let context = m.field("context")?;
            let context = match Context::read(context)? {
                Context::Known(_) => return Err(context.malformed("an order names a token whole")),
                full => full,
            };
            Ok(Self {
                order,
                spki,
                signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
                context,
            })
        })
    }
}

/// An agent's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obeyed {
    /// `done`: the order is on disk. `retired`: the token was retired here before. Otherwise why not.
    pub code: Code,
    /// Why not; empty when done.
    pub reason: String,
    /// Its log entry, where one was written.
    pub receipt: Option<LogProof>,
    /// The signed checkpoint that covers it, or empty.
    pub checkpoint: String,
}

impl Obeyed {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(4);
        w.key("code").text(self.code.as_str());
        w.key("reason").text(&self.reason);
        w.key("receipt");
        LogProof::write(self.receipt.as_ref(), &mut w);
        w.key("checkpoint").text(&self.checkpoint);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("answer to an order", bytes, |r| {
            let mut m = r.map(&["code", "reason", "receipt", "checkpoint"])?;
            Ok(Self {
                code: Code::read(m.field("code")?)?,
                reason: m.field("reason")?.text(TEXT)?.to_owned(),
                receipt: m.field("receipt")?.or_null(LogProof::read)?,
                checkpoint: m.field("checkpoint")?.text(CHECKPOINT)?.to_owned(),
            })
        })
    }
}
