//! `contribute`, `check` and `retire`: openings asked of an agent, and its answers.

use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::{Malformed, Row};

use super::{CHECKPOINT, Evidence, LogProof, SEATS, TEXT, decode, hashes, read_seat};
use crate::session::SEALED_SHARE;
use crate::{Id, WireError, limits};

/// The body of every sealed POST: a [`Batch`] or a seating, sealed under its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which session, by its statement `S`.
    pub session: Id,
    /// The counter it was sealed under.
    pub counter: u64,
    /// Ciphertext and tag.
    pub sealed: Vec<u8>,
}

impl Envelope {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.sealed.len() + 80);
        w.map(3);
        w.key("sealed").bytes(&self.sealed);
        w.key("counter").uint(self.counter);
        w.key("session").bytes(&self.session);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("envelope", bytes, |r| {
            let mut m = r.map(&["sealed", "counter", "session"])?;
            let sealed = m.field("sealed")?.bytes(limits::BODY)?.to_vec();
            let counter = m.field("counter")?.uint()?;
            let session = m.field("session")?.bytes_n()?;
            Ok(Self {
                session,
                counter,
                sealed,
            })
        })
    }
}

/// What a caller wants done with a token (PROTOCOL §6, Request).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Token id.
    pub token: Id,
    /// `sign`, `mac`, … `open`, `retire`.
    pub action: String,
    /// The suite; empty for actions that use none.
    pub suite: String,
    /// `TH("input", salt, action, suite, each input)`.
    pub input: [u8; 32],
    /// The identity that signed the session.
    pub caller: Id,
    /// The session, by its statement.
    pub session: Id,
    /// Fresh and random.
    pub id: [u8; 16],
    /// Unix seconds.
    pub not_after: u64,
    /// RFC 8785 bytes where there is a payload.
    pub payload: Option<Vec<u8>>,
}

impl Request {
    /// CBOR; `TH("request", …)` of these bytes is the request hash.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(320 + self.payload.as_ref().map_or(0, Vec::len));
        w.map(9);
        w.key("id").bytes(&self.id);
        w.key("input").bytes(&self.input);
        w.key("suite").text(&self.suite);
        w.key("token").bytes(&self.token);
        w.key("action").text(&self.action);
        w.key("caller").bytes(&self.caller);
        w.key("payload").bytes_or_null(self.payload.as_deref());
        w.key("session").bytes(&self.session);
        w.key("not_after").uint(self.not_after);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("request", bytes, |r| {
            let mut m = r.map(&[
                "id",
                "input",
                "suite",
                "token",
                "action",
                "caller",
                "payload",
                "session",
                "not_after",
            ])?;
            Ok(Self {
                id: m.field("id")?.bytes_n()?,
                input: m.field("input")?.bytes_n()?,
                suite: m.field("suite")?.text(64)?.to_owned(),
                token: m.field("token")?.bytes_n()?,
                action: m.field("action")?.text(64)?.to_owned(),
                caller: m.field("caller")?.bytes_n()?,
                payload: m
                    .field("payload")?
                    .or_null(|r| Ok(r.bytes(limits::PAYLOAD)?.to_vec()))?,
                session: m.field("session")?.bytes_n()?,
                not_after: m.field("not_after")?.uint()?,
            })
        })
    }
}

/// Openings asked of one agent in one request. Contexts are listed once, however many openings use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The tokens concerned.
    pub contexts: Vec<Context>,
    /// What is asked of them.
    pub openings: Vec<Opening>,
}

/// What an agent is given of a token (PROTOCOL §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// By token id, for one that the agent has been given before.
    Known(Id),
    /// All of it.
    Full {
        /// Header, CBOR.
        header: Vec<u8>,
        /// The seed's anchor.
        anchor: [u8; 32],
        /// One per seat.
        commitments: Vec<[u8; 32]>,
        /// `TH("public", …)`.
        public: [u8; 32],
        /// `TH("sealed", …)`.
        sealed: [u8; 32],
    },
    /// All of one of the second kind (PROTOCOL §11).
    Second {
        /// Header, CBOR.
        header: Vec<u8>,
        /// The commitment vector.
        vector: Vec<Vec<u8>>,
        /// What all agents signed when it was made.
        transcript: [u8; 32],
    },
}

/// Seats of one token asked for the operations that share one opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Index into [`Batch::contexts`].
    pub context: usize,
    /// Each a [`Request`] as it was hashed; empty for `check`. Decided one by one; if one is refused, none is done.
    pub requests: Vec<Vec<u8>>,
    /// One per request: the salt of its input digest where it has a payload, so that an agent can compute the digest
    /// itself; otherwise none.
    pub salts: Vec<Option<[u8; 32]>>,
    /// What the requests are permitted by, beside the caller's own name.
    pub evidence: Evidence,
    /// The agent's rows, without signatures.
    pub rows: Vec<SeatRow>,
}

/// A row as the agent needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatRow {
    /// Seat number.
    pub seat: u32,
    /// The agent that made the row.
    pub holder: Id,
    /// The root it was made under.
    pub epoch: u64,
    /// `share XOR pad`.
    pub correction: [u8; 32],
}

impl SeatRow {
    /// Of a token's row, without its signature.
    pub fn of(seat: u32, row: &Row) -> Self {
        Self {
            seat,
            holder: row.holder,
            epoch: row.epoch,
            correction: row.correction,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.map(4);
        w.key("seat").uint(self.seat.into());
        w.key("epoch").uint(self.epoch);
        w.key("holder").bytes(&self.holder);
        w.key("correction").bytes(&self.correction);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["seat", "epoch", "holder", "correction"])?;
        Ok(Self {
            seat: read_seat(m.field("seat")?)?,
            epoch: m.field("epoch")?.uint()?,
            holder: m.field("holder")?.bytes_n()?,
            correction: m.field("correction")?.bytes_n()?,
        })
    }
}

impl Context {
    pub(super) fn write(&self, w: &mut Writer) {
        match self {
            Self::Known(id) => {
                w.map(1).key("id").bytes(id);
            }
            Self::Full {
                header,
                anchor,
                commitments,
                public,
                sealed,
            } => {
                w.map(5);
                w.key("anchor").bytes(anchor);
                w.key("header").bytes(header);
                w.key("public").bytes(public);
                w.key("sealed").bytes(sealed);
                w.key("commitments");
                hashes(w, commitments);
            }
            Self::Second {
                header,
                vector,
                transcript,
            } => {
                w.map(3);
                w.key("header").bytes(header);
                w.key("vector").array(vector.len());
                for point in vector {
                    w.bytes(point);
                }
                w.key("transcript").bytes(transcript);
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        const FULL: &[&str] = &["anchor", "header", "public", "sealed", "commitments"];
        const SECOND: &[&str] = &["header", "vector", "transcript"];
        let (which, mut m) = r.map_of_either(&[&["id"], FULL, SECOND])?;
        match which {
            0 => return Ok(Self::Known(m.field("id")?.bytes_n()?)),
            1 => {}
            _ => {
                let header = m.field("header")?;
                let header = header.bytes(evanesce_token::limits::TOKEN_BYTES)?.to_vec();
                let vector = m
                    .field("vector")?
                    .list(2..=SEATS, |r| Ok(r.bytes(33)?.to_vec()))?;
                let transcript = m.field("transcript")?.bytes_n()?;
                return Ok(Self::Second {
                    header,
                    vector,
                    transcript,
                });
            }
        }
        Ok(Self::Full {
            anchor: m.field("anchor")?.bytes_n()?,
            header: m
                .field("header")?
                .bytes(evanesce_token::limits::TOKEN_BYTES)?
                .to_vec(),
            public: m.field("public")?.bytes_n()?,
            sealed: m.field("sealed")?.bytes_n()?,
            commitments: m.field("commitments")?.list(1..=SEATS, |r| r.bytes_n())?,
        })
    }

    /// The context's CBOR, for a sender that keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_bytes()
    }
}

impl Opening {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(5);
        w.key("rows").array(self.rows.len());
        for row in &self.rows {
            row.write(w);
        }
        w.key("salts").array(self.salts.len());
        for salt in &self.salts {
            w.bytes_or_null(salt.as_ref().map(<[u8; 32]>::as_slice));
        }
        w.key("context").uint(self.context as u64);
        w.key("evidence");
        self.evidence.write(w);
        w.key("requests").array(self.requests.len());
        for request in &self.requests {
            w.bytes(request);
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, contexts: usize) -> Result<Self, Malformed> {
        let mut m = r.map(&["rows", "salts", "context", "evidence", "requests"])?;
        let rows = m.field("rows")?.list(1..=SEATS, SeatRow::read)?;
        let salts = m
            .field("salts")?
            .list(0..=limits::REQUESTS_PER_OPENING, |r| {
                r.or_null(|r| r.bytes_n())
            })?;
        let context = read_context(m.field("context")?, contexts)?;
        let evidence = Evidence::read(m.field("evidence")?)?;
        let r = m.field("requests")?;
        let requests = r.list(0..=limits::REQUESTS_PER_OPENING, |r| {
            Ok(r.bytes(limits::PAYLOAD + 1024)?.to_vec())
        })?;
        if salts.len() != requests.len() {
            let (salts, requests) = (salts.len(), requests.len());
            return Err(r.malformed(format_args!("{salts} salts for {requests} requests")));
        }
        Ok(Self {
            context,
            requests,
            salts,
            evidence,
            rows,
        })
    }
}

pub(super) fn read_context(r: &mut Reader<'_>, contexts: usize) -> Result<usize, Malformed> {
    match r.uint()? {
        index if index < contexts as u64 => Ok(index as usize),
        index => Err(r.malformed(format_args!("context {index} of {contexts}"))),
    }
}

impl Batch {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(1024 + 512 * self.openings.len());
        w.map(2);
        w.key("contexts").array(self.contexts.len());
        for context in &self.contexts {
            context.write(&mut w);
        }
        w.key("openings").array(self.openings.len());
        for opening in &self.openings {
            opening.write(&mut w);
        }
        w.into_bytes()
    }

    /// The same bytes as [`Batch::encode`], from contexts that were encoded before.
    pub fn encode_parts<'a>(
        contexts: impl ExactSizeIterator<Item = &'a [u8]>,
        openings: impl ExactSizeIterator<Item = &'a Opening>,
    ) -> Vec<u8> {
        let mut w = Writer::with_capacity(1024 + 512 * openings.len());
        w.map(2);
        w.key("contexts").array(contexts.len());
        for context in contexts {
            w.item(context);
        }
        w.key("openings").array(openings.len());
        for opening in openings {
            opening.write(&mut w);
        }
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("batch", bytes, |r| {
            let mut m = r.map(&["contexts", "openings"])?;
            let contexts = m
                .field("contexts")?
                .list(1..=limits::OPENINGS, Context::read)?;
            let openings = m
                .field("openings")?
                .list(1..=limits::OPENINGS, |r| Opening::read(r, contexts.len()))?;
            Ok(Self { contexts, openings })
        })
    }
}

/// An agent's answers, in the batch's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The signed checkpoint that covers the openings' log entries; empty when none was written.
    pub checkpoint: String,
    /// One per opening.
    pub openings: Vec<OpeningAnswer>,
}

/// The answer to one opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningAnswer {
    /// What was decided.
    pub code: Code,
    /// Why, for people; empty when permitted.
    pub reason: String,
    /// One per seat asked for when done or unrouted, in any order; otherwise empty.
    pub seats: Vec<SeatAnswer>,
    /// Its log entry, where one was written.
    pub receipt: Option<LogProof>,
}

/// What an agent decided about an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Permitted; each seat has its result.
    Done,
    /// Permitted, but no row leads to this agent's element; each seat says why.
    Unrouted,
    /// Role, policy or the log's state forbids it.
    Refused,
    /// The token has expired by the agent's clock.
    Expired,
    /// The token has been tombstoned here.
    Retired,
    /// The token is not for this suite, or the suite not for this action.
    Unfit,
    /// A context was named by id and the agent does not hold it: send it whole.
    ContextUnknown,
    /// Header, request or row does not have the form it must have.
    Malformed,
    /// The request's id was seen before, or its time has passed.
    Replayed,
    /// The agent cannot take more now.
    Overloaded,
    /// Permitted, but the log or a tombstone cannot be written, or it would hang on a clock that is wrong: nothing was done.
    Unavailable,
    /// Nonces that were named are not kept here: nothing was decided, ask in two rounds.
    Unprepared,
}

impl Code {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Done, "done"),
        (Self::Unrouted, "unrouted"),
        (Self::Refused, "refused"),
        (Self::Expired, "expired"),
        (Self::Retired, "retired"),
        (Self::Unfit, "unfit"),
        (Self::ContextUnknown, "context-unknown"),
        (Self::Malformed, "malformed"),
        (Self::Replayed, "replayed"),
        (Self::Overloaded, "overloaded"),
        (Self::Unavailable, "unavailable"),
        (Self::Unprepared, "unprepared"),
    ];

    /// Its word on the wire and in the log.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(code, _)| *code == self)
            .map_or("", |(_, word)| word)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let word = r.text(32)?;
        let found = Self::ALL.iter().find(|(_, known)| *known == word);
        found
            .map(|(code, _)| *code)
            .ok_or_else(|| r.malformed("an unknown code"))
    }
}

/// One seat's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatAnswer {
    /// Seat number.
    pub seat: u32,
    /// What came of it.
    pub result: SeatResult,
}

/// What came of one seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatResult {
    /// The share, sealed to the session under [`evanesce_token::formula::share_aad`].
    Share {
        /// The counter it was sealed under.
        counter: u64,
        /// Ciphertext and tag.
        sealed: [u8; SEALED_SHARE],
    },
    /// `check` and `retire`: the agent can regenerate its share.
    Good,
    /// It cannot.
    Fault(SeatFault),
}

/// Why an agent cannot answer for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeatFault {
    /// The row names another holder.
    NotMine,
    /// The row names an epoch whose root the element does not have.
    EpochNotHeld,
    /// What it regenerates does not match the commitment.
    CannotRegenerate,
    /// Its secure element does not answer.
    ElementUnavailable,
}

impl SeatFault {
    const ALL: [(Self, &'static str); 4] = [
        (Self::NotMine, "not-mine"),
        (Self::EpochNotHeld, "epoch-not-held"),
        (Self::CannotRegenerate, "cannot-regenerate"),
        (Self::ElementUnavailable, "element-unavailable"),
    ];

    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(fault, _)| *fault == self)
            .map_or("", |(_, word)| word)
    }
}

impl SeatFault {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let word = r.text(32)?;
        let found = Self::ALL.iter().find(|(_, known)| *known == word);
        found
            .map(|(fault, _)| *fault)
            .ok_or_else(|| r.malformed("an unknown fault"))
    }
}

impl SeatAnswer {
    fn write(&self, w: &mut Writer) {
        let (fault, share) = match &self.result {
            SeatResult::Share { counter, sealed } => (None, Some((*counter, sealed))),
            SeatResult::Good => (None, None),
            SeatResult::Fault(fault) => (Some(fault.as_str()), None),
        };
        w.map(4);
        w.key("seat").uint(self.seat.into());
        w.key("fault").text_or_null(fault);
        w.key("sealed")
            .bytes_or_null(share.map(|(_, sealed)| &sealed[..]));
        w.key("counter")
            .uint_or_null(share.map(|(counter, _)| counter));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["seat", "fault", "sealed", "counter"])?;
        let seat = read_seat(m.field("seat")?)?;
        let fault = m.field("fault")?.or_null(SeatFault::read)?;
        let sealed = m.field("sealed")?.or_null(|r| r.bytes_n())?;
        let last = m.field("counter")?;
        let counter = last.or_null(|r| r.uint())?;
        let result = match (fault, sealed, counter) {
            (None, Some(sealed), Some(counter)) => SeatResult::Share { counter, sealed },
            (None, None, None) => SeatResult::Good,
            (Some(fault), None, None) => SeatResult::Fault(fault),
            _ => {
                return Err(last.malformed(
                    "a seat's answer is a share with its counter, or a fault, or neither",
                ));
            }
        };
        Ok(Self { seat, result })
    }
}

impl Answers {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(512 + 1536 * self.openings.len());
        w.map(2);
        w.key("openings").array(self.openings.len());
        for opening in &self.openings {
            w.map(4);
            w.key("code").text(opening.code.as_str());
            w.key("seats").array(opening.seats.len());
            for seat in &opening.seats {
                seat.write(&mut w);
            }
            w.key("reason").text(&opening.reason);
            w.key("receipt");
            LogProof::write(opening.receipt.as_ref(), &mut w);
        }
        w.key("checkpoint").text(&self.checkpoint);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("answers", bytes, |r| {
            let mut m = r.map(&["openings", "checkpoint"])?;
            let openings = m.field("openings")?.list(0..=limits::OPENINGS, |r| {
                let mut m = r.map(&["code", "seats", "reason", "receipt"])?;
                Ok(OpeningAnswer {
                    code: Code::read(m.field("code")?)?,
                    seats: m.field("seats")?.list(0..=SEATS, SeatAnswer::read)?,
                    reason: m.field("reason")?.text(TEXT)?.to_owned(),
                    receipt: m.field("receipt")?.or_null(LogProof::read)?,
                })
            })?;
            let checkpoint = m.field("checkpoint")?.text(CHECKPOINT)?.to_owned();
            Ok(Self {
                checkpoint,
                openings,
            })
        })
    }
}
