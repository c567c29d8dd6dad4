//! A lost seat's share given to a new holder by others: what is said in which turn.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};
use evanesce_token::hash::th;

use super::super::{Context, SEATS, SIGNATURE, decode, read_seat};
use super::ceremony::{Leave, Parcel, write_parcels};
use super::{POINT, read_whole, signatures};
use crate::{Id, WireError};

/// Bytes of the longest proof: a point and a scalar.
const PROOF: usize = POINT + 32;
/// Bytes of the longest identity key, SubjectPublicKeyInfo DER.
const SPKI: usize = 256;

/// `TH("mpc-repair", repair, token id, u32(lost seat), new holder's id, CBOR([helping seat…]))`: who helps whom.
pub fn repair_hash(
    repair: &[u8; 32],
    token: &Id,
    lost: u32,
    holder: &Id,
    helpers: &[u32],
) -> [u8; 32] {
    let mut seats = Writer::new();
    write_seats(&mut seats, helpers);
    let (lost, seats) = (lost.to_be_bytes(), seats.into_bytes());
    th("mpc-repair", &[repair, token, &lost, holder, &seats])
}

/// What a helper proves its share for: `TH("mpc-helping", repair hash, u32(seat), spki, box, CBOR([point…]))`.
pub fn helping_statement(
    repair: &[u8; 32],
    seat: u32,
    spki: &[u8],
    key: &[u8; 32],
    points: &[Vec<u8>],
) -> [u8; 32] {
    let mut all = Writer::new();
    signatures(&mut all, points);
    let (seat, all) = (seat.to_be_bytes(), all.into_bytes());
    th("mpc-helping", &[repair, &seat, spki, key, &all])
}

/// What the new holder signs: `TH("mpc-awaiting", repair hash, box)`.
pub fn awaiting_statement(repair: &[u8; 32], key: &[u8; 32]) -> [u8; 32] {
    th("mpc-awaiting", &[repair, key])
}

/// What parcels of a repair are sealed and signed for: `TH("mpc-repairing", repair hash, CBOR([helping…]), awaiting)`.
pub fn repairing(repair: &[u8; 32], helpers: &[Helping], holder: &Awaiting) -> [u8; 32] {
    let mut all = Writer::new();
    write_helping(&mut all, helpers);
    th(
        "mpc-repairing",
        &[repair, &all.into_bytes(), &holder.encode()],
    )
}

fn write_seats(w: &mut Writer, seats: &[u32]) {
    w.array(seats.len());
    for seat in seats {
        w.uint((*seat).into());
    }
}

fn write_helping(w: &mut Writer, helpers: &[Helping]) {
    w.array(helpers.len());
    for one in helpers {
        one.write(w);
    }
}

/// `mpc-help`: whether this agent helps, under the token's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// The token, one request of action `repair`, whose inputs are u32(lost seat) and the new holder's id, and the agent's row.
    pub leave: Leave,
    /// The lost seat.
    pub lost: u32,
    /// The new holder's id.
    pub holder: Id,
    /// Fresh and random; names the repair.
    pub repair: [u8; 32],
    /// The seats that help, this agent's among them; in any order, which counts.
    pub helpers: Vec<u32>,
}

impl Help {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(5);
        w.key("lost").uint(self.lost.into());
        w.key("leave");
        self.leave.write(&mut w);
        w.key("holder").bytes(&self.holder);
        w.key("repair").bytes(&self.repair);
        write_seats(w.key("helpers"), &self.helpers);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("help", bytes, |r| {
            let mut m = r.map(&["lost", "leave", "holder", "repair", "helpers"])?;
            Ok(Self {
                lost: read_seat(m.field("lost")?)?,
                leave: Leave::read(m.field("leave")?)?,
                holder: m.field("holder")?.bytes_n()?,
                repair: m.field("repair")?.bytes_n()?,
                helpers: m.field("helpers")?.list(2..=SEATS, read_seat)?,
            })
        })
    }
}

/// What one helper publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helping {
    /// Its box key, to which secrets for it are sealed.
    pub key: [u8; 32],
    /// Its identity key, SubjectPublicKeyInfo DER, which signs its parcels.
    pub spki: Vec<u8>,
    /// That it has its seat's share, over [`helping_statement`].
    pub proof: Vec<u8>,
    /// Its summands times G, in the order of the helpers.
    pub points: Vec<Vec<u8>>,
}

impl Helping {
    fn write(&self, w: &mut Writer) {
        w.map(4);
        w.key("box").bytes(&self.key);
        w.key("spki").bytes(&self.spki);
        w.key("proof").bytes(&self.proof);
        signatures(w.key("points"), &self.points);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["box", "spki", "proof", "points"])?;
        let key = m.field("box")?.bytes_n()?;
        let spki = m.field("spki")?.bytes(SPKI)?.to_vec();
        let proof = m.field("proof")?.bytes(PROOF)?.to_vec();
        let points = m.field("points")?;
        let points = points.list(2..=SEATS, |r| Ok(r.bytes(POINT)?.to_vec()))?;
        Ok(Self {
            key,
            spki,
            proof,
            points,
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
        decode("helping", bytes, Self::read)
    }
}

/// `mpc-await`: to the new holder, that a share is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Await {
    /// The token, whole.
    pub context: Context,
    /// The lost seat.
    pub lost: u32,
    /// As in [`Help`].
    pub repair: [u8; 32],
    /// As in [`Help`].
    pub helpers: Vec<u32>,
}

impl Await {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(4);
        w.key("lost").uint(self.lost.into());
        w.key("repair").bytes(&self.repair);
        w.key("context");
        self.context.write(&mut w);
        write_seats(w.key("helpers"), &self.helpers);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("await", bytes, |r| {
            let mut m = r.map(&["lost", "repair", "context", "helpers"])?;
            Ok(Self {
                lost: read_seat(m.field("lost")?)?,
                repair: m.field("repair")?.bytes_n()?,
                context: read_whole(m.field("context")?)?,
                helpers: m.field("helpers")?.list(2..=SEATS, read_seat)?,
            })
        })
    }
}

/// What the new holder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// Its box key.
    pub key: [u8; 32],
    /// Its identity key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// Over [`awaiting_statement`].
    pub signature: Vec<u8>,
}

impl Awaiting {
    fn write(&self, w: &mut Writer) {
        w.map(3);
        w.key("box").bytes(&self.key);
        w.key("spki").bytes(&self.spki);
        w.key("signature").bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["box", "spki", "signature"])?;
        let key = m.field("box")?.bytes_n()?;
        let spki = m.field("spki")?.bytes(SPKI)?.to_vec();
        let signature = m.field("signature")?.bytes(SIGNATURE)?.to_vec();
        Ok(Self {
            key,
            spki,
            signature,
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
        decode("awaiting", bytes, Self::read)
    }
}

/// `mpc-split`: to a helper, what all helpers have published, in their order, and the new holder. It answers with a summand for each other helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// As in [`Help`].
    pub repair: [u8; 32],
    /// The new holder.
    pub holder: Awaiting,
    /// One per helper.
    pub helpers: Vec<Helping>,
}

impl Split {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("holder");
        self.holder.write(&mut w);
        w.key("repair").bytes(&self.repair);
        write_helping(w.key("helpers"), &self.helpers);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("split", bytes, |r| {
            let mut m = r.map(&["holder", "repair", "helpers"])?;
            Ok(Self {
                holder: Awaiting::read(m.field("holder")?)?,
                repair: m.field("repair")?.bytes_n()?,
                helpers: m.field("helpers")?.list(2..=SEATS, Helping::read)?,
            })
        })
    }
}

/// `mpc-sum`: to a helper, the summands of the others. It answers with their sum, for the lost seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// As in [`Help`].
    pub repair: [u8; 32],
    /// One of every other helper.
    pub parcels: Vec<Parcel>,
}

impl Sum {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("repair").bytes(&self.repair);
        write_parcels(w.key("parcels"), &self.parcels);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("sum", bytes, |r| {
            let mut m = r.map(&["repair", "parcels"])?;
            let repair = m.field("repair")?.bytes_n()?;
            let parcels = m.field("parcels")?.list(1..=SEATS, Parcel::read)?;
            Ok(Self { repair, parcels })
        })
    }
}

/// `mpc-receive`: to the new holder, what all helpers have published, and their sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// As in [`Help`].
    pub repair: [u8; 32],
    /// One per helper.
    pub helpers: Vec<Helping>,
    /// One of every helper.
    pub parcels: Vec<Parcel>,
}

impl Receive {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("repair").bytes(&self.repair);
        write_helping(w.key("helpers"), &self.helpers);
        write_parcels(w.key("parcels"), &self.parcels);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("receive", bytes, |r| {
            let mut m = r.map(&["repair", "helpers", "parcels"])?;
            Ok(Self {
                repair: m.field("repair")?.bytes_n()?,
                helpers: m.field("helpers")?.list(2..=SEATS, Helping::read)?,
                parcels: m.field("parcels")?.list(2..=SEATS, Parcel::read)?,
            })
        })
    }
}

/// The answer to [`Receive`]: the seat's new row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The row's.
    pub epoch: u64,
    /// The row's.
    pub signature: Vec<u8>,
    /// The row's; none where shares are kept.
    pub correction: Option<[u8; 32]>,
}

impl Received {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("epoch").uint(self.epoch);
        w.key("signature").bytes(&self.signature);
        w.key("correction")
            .bytes_or_null(self.correction.as_ref().map(|c| &c[..]));
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("received", bytes, |r| {
            let mut m = r.map(&["epoch", "signature", "correction"])?;
            Ok(Self {
                epoch: m.field("epoch")?.uint()?,
                signature: m.field("signature")?.bytes(SIGNATURE)?.to_vec(),
                correction: m.field("correction")?.or_null(|r| r.bytes_n())?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Evidence, Opening, SeatRow};
    use super::*;
    use crate::parcel::Sealed;

    fn context() -> Context {
        Context::Second {
            header: vec![0xa0],
            vector: vec![vec![1; 33]; 2],
            transcript: [2; 32],
        }
    }

    #[test]
    fn every_message_decodes_to_what_was_encoded() {
        let row = SeatRow {
            seat: 1,
            epoch: 2,
            holder: [3; 32],
            correction: [4; 32],
        };
        let help = Help {
            leave: Leave {
                context: context(),
                opening: Opening {
                    context: 0,
                    requests: vec![vec![1]],
                    salts: vec![Some([1; 32])],
                    evidence: Evidence::default(),
                    rows: vec![row],
                },
            },
            lost: 2,
            holder: [5; 32],
            repair: [6; 32],
            helpers: vec![1, 0],
        };
        assert_eq!(Help::decode(&help.encode()).unwrap(), help);
        let helping = Helping {
            key: [1; 32],
            spki: vec![2; 44],
            proof: vec![3; 65],
            points: vec![vec![4; 33]; 2],
        };
        assert_eq!(Helping::decode(&helping.encode()).unwrap(), helping);
        let wait = Await {
            context: context(),
            lost: 2,
            repair: [6; 32],
            helpers: vec![1, 0],
        };
        assert_eq!(Await::decode(&wait.encode()).unwrap(), wait);
        let holder = Awaiting {
            key: [1; 32],
            spki: vec![2; 91],
            signature: vec![3; 72],
        };
        assert_eq!(Awaiting::decode(&holder.encode()).unwrap(), holder);
        let helpers = vec![helping; 2];
        let repair = [6; 32];
        let split = Split {
            repair,
            holder,
            helpers: helpers.clone(),
        };
        assert_eq!(Split::decode(&split.encode()).unwrap(), split);
        let parcel = Parcel {
            seat: 1,
            sealed: Sealed {
                enc: [2; 32],
                sealed: [3; 48],
            },
            signature: vec![4; 64],
        };
        let parcels = vec![parcel; 2];
        let sum = Sum {
            repair,
            parcels: parcels.clone(),
        };
        assert_eq!(Sum::decode(&sum.encode()).unwrap(), sum);
        let receive = Receive {
            repair,
            helpers,
            parcels,
        };
        assert_eq!(Receive::decode(&receive.encode()).unwrap(), receive);
        for correction in [None, Some([1; 32])] {
            let received = Received {
                epoch: 3,
                signature: vec![2; 64],
                correction,
            };
            assert_eq!(Received::decode(&received.encode()).unwrap(), received);
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_are_refused_in_good_order(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Help::decode(&bytes);
            let _ = Helping::decode(&bytes);
            let _ = Await::decode(&bytes);
            let _ = Awaiting::decode(&bytes);
            let _ = Split::decode(&bytes);
            let _ = Sum::decode(&bytes);
            let _ = Receive::decode(&bytes);
            let _ = Received::decode(&bytes);
        }
    }
}
