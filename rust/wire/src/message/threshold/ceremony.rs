//! Making a key, or new shares of one: what is said in which turn.

use evanesce_token::cbor::Writer;
use evanesce_token::hash::th;
use evanesce_token::limits::TOKEN_BYTES;

use super::super::{Context, Opening, SEATS, SIGNATURE, SeatRow, decode, hashes, read_seat};
use super::{ANNOUNCEMENT, POINT, read_signatures, read_whole, signatures};
use crate::parcel::Sealed;
use crate::{Id, WireError};

/// `TH("mpc-ceremony", ceremony, header, CBOR([agent id…]))`: who comes together for what.
pub fn ceremony_hash(ceremony: &[u8; 32], header: &[u8], agents: &[Id]) -> [u8; 32] {
    let mut ids = Writer::new();
    hashes(&mut ids, agents);
    th("mpc-ceremony", &[ceremony, header, &ids.into_bytes()])
}

/// What an agent signs of its announcement: `TH("mpc-announced", ceremony hash, u32(seat), announcement, box)`.
pub fn announced_statement(
    ceremony: &[u8; 32],
    seat: u32,
    announcement: &[u8],
    key: &[u8; 32],
) -> [u8; 32] {
    let seat = seat.to_be_bytes();
    th("mpc-announced", &[ceremony, &seat, announcement, key])
}

/// What every agent signs before any sends what is secret: `TH("mpc-agreed", ceremony hash, transcript, CBOR([box…]))`.
pub fn agreed_statement(
    ceremony: &[u8; 32],
    transcript: &[u8; 32],
    boxes: &[[u8; 32]],
) -> [u8; 32] {
    let mut keys = Writer::new();
    hashes(&mut keys, boxes);
    th("mpc-agreed", &[ceremony, transcript, &keys.into_bytes()])
}

/// `mpc-announce`: begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Fresh and random; names the ceremony.
    pub ceremony: [u8; 32],
    /// The new token's, CBOR.
    pub header: Vec<u8>,
    /// Agent ids, in the order of the seats.
    pub agents: Vec<Id>,
    /// The seat of the agent that is asked.
    pub seat: u32,
    /// The key that there is, where its shares are renewed; none for a new key.
    pub base: Option<Base>,
}

/// The token whose shares are renewed, and by what right; there is an opening, or a list of givers, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The token, whole.
    pub context: Context,
    /// As in [`Leave`], of action `reshare`; none for an agent that holds no share.
    pub opening: Option<Opening>,
    /// Where another quorum is given the key: each new seat that gives, and the old one whose share it gives.
    pub givers: Option<Vec<(u32, u32)>>,
}

impl Base {
    fn write(&self, w: &mut Writer) {
        w.map(3);
        w.key("givers");
        match &self.givers {
            Some(givers) => {
                w.array(givers.len());
                for (new, old) in givers {
                    w.array(2).uint((*new).into()).uint((*old).into());
                }
            }
            None => drop(w.null()),
        }
        w.key("context");
        self.context.write(w);
        w.key("opening");
        match &self.opening {
            Some(opening) => opening.write(w),
            None => drop(w.null()),
        }
    }

    fn read(r: &mut evanesce_token::cbor::Reader<'_>) -> Result<Self, evanesce_token::Malformed> {
        let mut m = r.map(&["givers", "context", "opening"])?;
        let givers = m.field("givers")?.or_null(|r| {
            r.list(2..=SEATS, |r| {
                let pair = r.list(2..=2, read_seat)?;
                Ok((pair[0], pair[1]))
            })
        })?;
        let context = read_whole(m.field("context")?)?;
        let field = m.field("opening")?;
        let opening = field.or_null(|r| Opening::read(r, 1))?;
        if opening.is_none() && givers.is_none() {
            return Err(field.malformed("shares are renewed with their holders' leave"));
        }
        Ok(Self {
            context,
            opening,
            givers,
        })
    }
}

/// What the policy of a token is asked for something that gives a seat of it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The token, whole.
    pub context: Context,
    /// One request, of action `repair`, with its salt, and the agent's row.
    pub opening: Opening,
}

impl Leave {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2);
        w.key("context");
        self.context.write(w);
        w.key("opening");
        self.opening.write(w);
    }

    pub(super) fn read(
        r: &mut evanesce_token::cbor::Reader<'_>,
    ) -> Result<Self, evanesce_token::Malformed> {
        let mut m = r.map(&["context", "opening"])?;
        let context = read_whole(m.field("context")?)?;
        let opening = Opening::read(m.field("opening")?, 1)?;
        Ok(Self { context, opening })
    }
}

impl Announce {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(5);
        w.key("base");
        match &self.base {
            Some(base) => base.write(&mut w),
            None => drop(w.null()),
        }
        w.key("seat").uint(self.seat.into());
        w.key("agents");
        hashes(&mut w, &self.agents);
        w.key("header").bytes(&self.header);
        w.key("ceremony").bytes(&self.ceremony);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("announce", bytes, |r| {
            let mut m = r.map(&["base", "seat", "agents", "header", "ceremony"])?;
            Ok(Self {
                base: m.field("base")?.or_null(Base::read)?,
                seat: read_seat(m.field("seat")?)?,
                agents: m.field("agents")?.list(2..=SEATS, |r| r.bytes_n())?,
                header: m.field("header")?.bytes(TOKEN_BYTES)?.to_vec(),
                ceremony: m.field("ceremony")?.bytes_n()?,
            })
        })
    }
}

/// What one agent announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its identity key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// Its box key, to which secrets for it are sealed.
    pub key: [u8; 32],
    /// Its commitments, and the proof that it knows the constant (docs/protocol.md §11).
    pub announcement: Vec<u8>,
    /// Over [`announced_statement`].
    pub signature: Vec<u8>,
}

impl Announced {
    fn write(&self, w: &mut Writer) {
        w.map(4);
        w.key("box").bytes(&self.key);
        w.key("spki").bytes(&self.spki);
        w.key("signature").bytes(&self.signature);
        w.key("announcement").bytes(&self.announcement);
    }

    fn read(r: &mut evanesce_token::cbor::Reader<'_>) -> Result<Self, evanesce_token::Malformed> {
        let mut m = r.map(&["box", "spki", "signature", "announcement"])?;
        Ok(Self {
            key: m.field("box")?.bytes_n()?,
            spki: m.field("spki")?.bytes(256)?.to_vec(),
            signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
            announcement: m.field("announcement")?.bytes(ANNOUNCEMENT)?.to_vec(),
        })
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("announced", bytes, Self::read)
    }
}

/// `mpc-agree`: what all have announced, in the order of the seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agree {
    /// As in [`Announce`].
    pub ceremony: [u8; 32],
    /// One per seat.
    pub announcements: Vec<Announced>,
}

impl Agree {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("ceremony").bytes(&self.ceremony);
        w.key("announcements").array(self.announcements.len());
        for one in &self.announcements {
            one.write(&mut w);
        }
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("agree", bytes, |r| {
            let mut m = r.map(&["ceremony", "announcements"])?;
            let ceremony = m.field("ceremony")?.bytes_n()?;
            let announcements = m.field("announcements")?.list(2..=SEATS, Announced::read)?;
            Ok(Self {
                ceremony,
                announcements,
            })
        })
    }
}

/// The answer to [`Agree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The agent's identity over [`agreed_statement`].
    pub signature: Vec<u8>,
    /// The transcript, as it has computed it.
    pub transcript: [u8; 32],
}

impl Agreed {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("signature").bytes(&self.signature);
        w.key("transcript").bytes(&self.transcript);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("agreed", bytes, |r| {
            let mut m = r.map(&["signature", "transcript"])?;
            let signature = m.field("signature")?.bytes(SIGNATURE)?.to_vec();
            let transcript = m.field("transcript")?.bytes_n()?;
            Ok(Self {
                signature,
                transcript,
            })
        })
    }
}

/// `mpc-deal`: that all have agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// As in [`Announce`].
    pub ceremony: [u8; 32],
    /// One per seat: of [`Agreed`].
    pub signatures: Vec<Vec<u8>>,
}

impl Deal {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("ceremony").bytes(&self.ceremony);
        signatures(w.key("signatures"), &self.signatures);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("deal", bytes, |r| {
            let mut m = r.map(&["ceremony", "signatures"])?;
            let ceremony = m.field("ceremony")?.bytes_n()?;
            let signatures = read_signatures(m.field("signatures")?)?;
            Ok(Self {
                ceremony,
                signatures,
            })
        })
    }
}

/// A secret from one seat for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The other seat: on its way out whom it is for, on its way in who sent it.
    pub seat: u32,
    /// What is in it.
    pub sealed: Sealed,
    /// The sender's identity, over [`parcel::statement`](crate::parcel::statement).
    pub signature: Vec<u8>,
}

impl Parcel {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(4);
        w.key("enc").bytes(&self.sealed.enc);
        w.key("seat").uint(self.seat.into());
        w.key("sealed").bytes(&self.sealed.sealed);
        w.key("signature").bytes(&self.signature);
    }

    pub(super) fn read(
        r: &mut evanesce_token::cbor::Reader<'_>,
    ) -> Result<Self, evanesce_token::Malformed> {
        let mut m = r.map(&["enc", "seat", "sealed", "signature"])?;
        let enc = m.field("enc")?.bytes_n()?;
        let seat = read_seat(m.field("seat")?)?;
        let sealed = m.field("sealed")?.bytes_n()?;
        Ok(Self {
            seat,
            sealed: Sealed { enc, sealed },
            signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
        })
    }
}

pub(super) fn write_parcels(w: &mut Writer, parcels: &[Parcel]) {
    w.array(parcels.len());
    for parcel in parcels {
        parcel.write(w);
    }
}

/// The answer to [`Deal`]: a share for every other seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dealt {
    /// In the order of the seats.
    pub parcels: Vec<Parcel>,
}

impl Dealt {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(1);
        write_parcels(w.key("parcels"), &self.parcels);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("dealt", bytes, |r| {
            let mut m = r.map(&["parcels"])?;
            let parcels = m.field("parcels")?.list(1..=SEATS, Parcel::read)?;
            Ok(Self { parcels })
        })
    }
}

/// `mpc-take`: the shares that the others have sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// As in [`Announce`].
    pub ceremony: [u8; 32],
    /// One of every other seat.
    pub parcels: Vec<Parcel>,
}

impl Take {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        write_parcels(w.key("parcels"), &self.parcels);
        w.key("ceremony").bytes(&self.ceremony);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("take", bytes, |r| {
            let mut m = r.map(&["parcels", "ceremony"])?;
            let parcels = m.field("parcels")?.list(1..=SEATS, Parcel::read)?;
            let ceremony = m.field("ceremony")?.bytes_n()?;
            Ok(Self { ceremony, parcels })
        })
    }
}

/// The answer to [`Take`]: what the new token is, and the agent's row in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The row's.
    pub epoch: u64,
    /// The token's.
    pub vector: Vec<Vec<u8>>,
    /// The row's.
    pub signature: Vec<u8>,
    /// The row's; none where shares are kept.
    pub correction: Option<[u8; 32]>,
    /// The token's.
    pub transcript: [u8; 32],
}

impl Taken {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(5);
        w.key("epoch").uint(self.epoch);
        signatures(w.key("vector"), &self.vector);
        w.key("signature").bytes(&self.signature);
        w.key("correction")
            .bytes_or_null(self.correction.as_ref().map(|c| &c[..]));
        w.key("transcript").bytes(&self.transcript);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("taken", bytes, |r| {
            let mut m = r.map(&["epoch", "vector", "signature", "correction", "transcript"])?;
            let epoch = m.field("epoch")?.uint()?;
            let vector = m
                .field("vector")?
                .list(2..=SEATS, |r| Ok(r.bytes(POINT)?.to_vec()))?;
            let signature = m.field("signature")?.bytes(SIGNATURE)?.to_vec();
            let correction = m.field("correction")?.or_null(|r| r.bytes_n())?;
            let transcript = m.field("transcript")?.bytes_n()?;
            Ok(Self {
                epoch,
                vector,
                signature,
                correction,
                transcript,
            })
        })
    }
}

/// `mpc-confirm`: whether the agent has its share from this row, of a token that it need not have been told of before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The token, whole.
    pub context: Context,
    /// The agent's row.
    pub row: SeatRow,
}

impl Confirm {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        self.row.write(w.key("row"));
        w.key("context");
        self.context.write(&mut w);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("confirm", bytes, |r| {
            let mut m = r.map(&["row", "context"])?;
            let row = SeatRow::read(m.field("row")?)?;
            let context = read_whole(m.field("context")?)?;
            Ok(Self { context, row })
        })
    }
}

/// The answer to [`Confirm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The agent's identity, over `TH("mpc-regenerated" or "mpc-kept", token id, u32(seat), u64(epoch))`.
    pub signature: Vec<u8>,
}

impl Confirmed {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(1);
        w.key("signature").bytes(&self.signature);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("confirmed", bytes, |r| {
            let mut m = r.map(&["signature"])?;
            let signature = m.field("signature")?.bytes(SIGNATURE)?.to_vec();
            Ok(Self { signature })
        })
    }
}

/// `mpc-forget`: that all have confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// As in [`Announce`].
    pub ceremony: [u8; 32],
    /// One per seat: the epochs of the rows.
    pub epochs: Vec<u64>,
    /// One per seat: of [`Confirmed`].
    pub signatures: Vec<Vec<u8>>,
}

impl Forget {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("epochs").array(self.epochs.len());
        for epoch in &self.epochs {
            w.uint(*epoch);
        }
        w.key("ceremony").bytes(&self.ceremony);
        signatures(w.key("signatures"), &self.signatures);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("forget", bytes, |r| {
            let mut m = r.map(&["epochs", "ceremony", "signatures"])?;
            let epochs = m.field("epochs")?.list(2..=SEATS, |r| r.uint())?;
            let ceremony = m.field("ceremony")?.bytes_n()?;
            let signatures = read_signatures(m.field("signatures")?)?;
            Ok(Self {
                ceremony,
                epochs,
                signatures,
            })
        })
    }
}

/// The answer to [`Forget`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgot {
    /// Shares of the old token that were kept here, and are not any more.
    pub removed: u64,
}

impl Forgot {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(1);
        w.key("removed").uint(self.removed);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("forgot", bytes, |r| {
            let mut m = r.map(&["removed"])?;
            let removed = m.field("removed")?.uint()?;
            Ok(Self { removed })
        })
    }
}
