//! Signing together: what is asked of each seat in which round.

use evanesce_token::cbor::{Map, Reader, Writer};
use evanesce_token::{Malformed, limits::SEATS as MOST_SEATS};

use super::super::{Context, Opening, SEATS, decode, read_seat};
use super::{POINT, read_whole};
use crate::{Id, WireError, limits};

/// The commitments of one seat to its nonces, among those that sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Seat number.
    pub seat: u32,
    /// Two points, joined.
    pub points: Vec<u8>,
}

pub(super) fn write_places(w: &mut Writer, all: &[Vec<Place>]) {
    w.array(all.len());
    for places in all {
        w.array(places.len());
        for place in places {
            w.map(2);
            w.key("seat").uint(place.seat.into());
            w.key("points").bytes(&place.points);
        }
    }
}

pub(super) fn read_places(r: &mut Reader<'_>) -> Result<Vec<Vec<Place>>, Malformed> {
    r.list(1..=limits::SIGNATURES, |r| {
        r.list(2..=MOST_SEATS, |r| {
            let mut m = r.map(&["seat", "points"])?;
            let seat = read_seat(m.field("seat")?)?;
            let points = m.field("points")?.bytes(2 * POINT)?.to_vec();
            Ok(Place { seat, points })
        })
    })
}

/// `mpc-commit`: messages to be signed, for the agent to decide on; and nonces, drawn for these and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The token, whole.
    pub context: Context,
    /// The requests, of action `sign`, with the agent's one row. `salts` has one for each.
    pub opening: Opening,
    /// One per request: what is to be signed; none where it is the request's payload.
    pub messages: Vec<Option<Vec<u8>>>,
}

impl Commit {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(2048);
        w.map(3);
        self.write(&mut w);
        w.into_bytes()
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.key("context");
        self.context.write(w);
        w.key("opening");
        self.opening.write(w);
        w.key("messages").array(self.messages.len());
        for message in &self.messages {
            w.bytes_or_null(message.as_deref());
        }
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("commit", bytes, |r| {
            let mut m = r.map(&["context", "opening", "messages"])?;
            Self::read(&mut m)
        })
    }

    pub(super) fn read(m: &mut Map<'_, '_>) -> Result<Self, Malformed> {
        let context = read_whole(m.field("context")?)?;
        let opening = Opening::read(m.field("opening")?, 1)?;
        let list = m.field("messages")?;
        let messages = list.list(1..=limits::SIGNATURES, |r| {
            r.or_null(|r| Ok(r.bytes(limits::BODY)?.to_vec()))
        })?;
        if messages.len() != opening.requests.len() {
            return Err(list.malformed("not one message for each request"));
        }
        Ok(Self {
            context,
            opening,
            messages,
        })
    }
}

/// `mpc-sign`: the commitments of all that sign, for requests that this agent has committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The request hash of the opening.
    pub request: Id,
    /// One list per request.
    pub commitments: Vec<Vec<Place>>,
}

impl Sign {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("request").bytes(&self.request);
        write_places(w.key("commitments"), &self.commitments);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("sign", bytes, |r| {
            let mut m = r.map(&["request", "commitments"])?;
            let request = m.field("request")?.bytes_n()?;
            let commitments = read_places(m.field("commitments")?)?;
            Ok(Self {
                request,
                commitments,
            })
        })
    }
}

/// The answer to [`Commit`] and [`Sign`]: commitments, or shares of signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// To nonces, one for each signature.
    Points(Vec<Vec<u8>>),
    /// Shares of signatures, scalars in the suite's encoding.
    Shares(Vec<[u8; 32]>),
}

impl Committed {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        match self {
            Self::Points(points) => {
                w.key("shares").null();
                super::signatures(w.key("commitments"), points);
            }
            Self::Shares(shares) => {
                super::super::hashes(w.key("shares"), shares);
                w.key("commitments").null();
            }
        }
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("committed", bytes, |r| {
            let mut m = r.map(&["shares", "commitments"])?;
            let shares = m
                .field("shares")?
                .or_null(|r| r.list(1..=limits::SIGNATURES, |r| r.bytes_n()))?;
            let last = m.field("commitments")?;
            let points = last.or_null(|r| {
                r.list(1..=limits::SIGNATURES, |r| Ok(r.bytes(2 * POINT)?.to_vec()))
            })?;
            match (shares, points) {
                (Some(shares), None) => Ok(Self::Shares(shares)),
                (None, Some(points)) => Ok(Self::Points(points)),
                _ => Err(last.malformed("either commitments or shares")),
            }
        })
    }
}

const _: () = assert!(SEATS == MOST_SEATS);
