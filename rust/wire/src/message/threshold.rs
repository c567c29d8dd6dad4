//! The verbs of the second kind of token, whose key is never put together (docs/threshold-api.md).
//!
//! Every one is sealed as the others are, and is answered by a [`Reply`], whose value is another map for each verb. Agents do not talk to
//! each other: the coordinator carries what they say, and can alter nothing that is not noticed.

mod ceremony;
mod once;
mod repair;
mod reply;
mod sign;

pub use ceremony::{
    Agree, Agreed, Announce, Announced, Base, Confirm, Confirmed, Deal, Dealt, Forget, Forgot,
    Leave, Parcel, Take, Taken, agreed_statement, announced_statement, ceremony_hash,
};
pub use once::{Once, Prepare, Signed};
pub use repair::{
    Await, Awaiting, Help, Helping, Receive, Received, Split, Sum, awaiting_statement,
    helping_statement, repair_hash, repairing,
};
pub use reply::{Blame, Reply};
pub use sign::{Commit, Committed, Place, Sign};

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};

use super::{Context, SEATS, SIGNATURE};

/// Bytes of the longest point.
const POINT: usize = 33;
/// Longest announcement: 255 points, a proof, and heads.
const ANNOUNCEMENT: usize = 10 * 1024;

fn signatures(w: &mut Writer, list: &[Vec<u8>]) {
    w.array(list.len());
    for one in list {
        w.bytes(one);
    }
}

fn read_signatures(r: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    r.list(2..=SEATS, |r| Ok(r.bytes(SIGNATURE)?.to_vec()))
}

/// A context that is given whole.
fn read_whole(r: &mut Reader<'_>) -> Result<Context, Malformed> {
    match Context::read(r)? {
        Context::Known(_) => Err(r.malformed("the token is given whole here")),
        full => Ok(full),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, Evidence, Opening, SeatFault, SeatRow};
    use super::*;
    use crate::parcel::Sealed;

    fn parcel(seat: u32) -> Parcel {
        let (enc, sealed) = ([2; 32], [3; 48]);
        Parcel {
            seat,
            sealed: Sealed { enc, sealed },
            signature: vec![4; 64],
        }
    }

    #[test]
    fn every_message_decodes_to_what_was_encoded() {
        let context = Context::Second {
            header: vec![0xa0],
            vector: vec![vec![1; 33]; 2],
            transcript: [2; 32],
        };
        let row = SeatRow {
            seat: 1,
            epoch: 2,
            holder: [3; 32],
            correction: [4; 32],
        };
        let leave = Leave {
            context: context.clone(),
            opening: Opening {
                context: 0,
                requests: vec![vec![1]],
                salts: vec![Some([1; 32])],
                evidence: Evidence::default(),
                rows: vec![row.clone()],
            },
        };
        let givers = Some(vec![(0, 254), (2, 1)]);
        for (opening, givers, fits) in [
            (Some(&leave.opening), None, true),
            (Some(&leave.opening), givers.clone(), true),
            (None, givers, true),
            (None, None, false),
            (None, Some(vec![(0, 1), (1, 255)]), false),
        ] {
            let base = Base {
                context: context.clone(),
                opening: opening.cloned(),
                givers,
            };
            let announce = Announce {
                ceremony: [1; 32],
                header: vec![2; 300],
                agents: vec![[3; 32]; 3],
                seat: 2,
                base: Some(base),
            };
            let decoded = Announce::decode(&announce.encode());
            assert_eq!(decoded.ok(), fits.then(|| announce.clone()));
            let fresh = Announce {
                base: None,
                ..announce
            };
            assert_eq!(Announce::decode(&fresh.encode()).unwrap(), fresh);
        }
        let announced = Announced {
            spki: vec![1; 44],
            key: [2; 32],
            announcement: vec![3; 100],
            signature: vec![4; 72],
        };
        assert_eq!(Announced::decode(&announced.encode()).unwrap(), announced);
        let agree = Agree {
            ceremony: [1; 32],
            announcements: vec![announced; 2],
        };
        assert_eq!(Agree::decode(&agree.encode()).unwrap(), agree);
        let agreed = Agreed {
            signature: vec![1; 64],
            transcript: [2; 32],
        };
        assert_eq!(Agreed::decode(&agreed.encode()).unwrap(), agreed);
        let deal = Deal {
            ceremony: [1; 32],
            signatures: vec![vec![2; 64]; 2],
        };
        assert_eq!(Deal::decode(&deal.encode()).unwrap(), deal);
        let parcels = vec![parcel(0), parcel(254)];
        let dealt = Dealt {
            parcels: parcels.clone(),
        };
        assert_eq!(Dealt::decode(&dealt.encode()).unwrap(), dealt);
        let take = Take {
            ceremony: [1; 32],
            parcels,
        };
        assert_eq!(Take::decode(&take.encode()).unwrap(), take);
        for correction in [None, Some([1; 32])] {
            let taken = Taken {
                epoch: 3,
                vector: vec![vec![1; 33]; 2],
                signature: vec![2; 64],
                correction,
                transcript: [3; 32],
            };
            assert_eq!(Taken::decode(&taken.encode()).unwrap(), taken);
        }
        let confirm = Confirm {
            context: context.clone(),
            row: row.clone(),
        };
        assert_eq!(Confirm::decode(&confirm.encode()).unwrap(), confirm);
        let confirmed = Confirmed {
            signature: vec![1; 64],
        };
        assert_eq!(Confirmed::decode(&confirmed.encode()).unwrap(), confirmed);
        let forget = Forget {
            ceremony: [1; 32],
            epochs: vec![1, 2],
            signatures: vec![vec![3; 64]; 2],
        };
        assert_eq!(Forget::decode(&forget.encode()).unwrap(), forget);
        let forgot = Forgot { removed: 1 };
        assert_eq!(Forgot::decode(&forgot.encode()).unwrap(), forgot);

        let place = |seat| Place {
            seat,
            points: vec![1; 66],
        };
        let places = vec![vec![place(0), place(1)]; 2];
        let commit = Commit {
            context,
            opening: Opening {
                context: 0,
                requests: vec![vec![1], vec![2]],
                salts: vec![Some([1; 32]); 2],
                evidence: Evidence::default(),
                rows: vec![row],
            },
            messages: vec![Some(vec![1; 100]), None],
        };
        assert_eq!(Commit::decode(&commit.encode()).unwrap(), commit);
        let once = Once {
            commit: commit.clone(),
            commitments: places.clone(),
        };
        assert_eq!(Once::decode(&once.encode()).unwrap(), once);
        let short = Once {
            commitments: places[..1].to_vec(),
            ..once
        };
        assert!(Once::decode(&short.encode()).is_err());
        for (count, fits) in [(1, true), (64, true), (0, false), (65, false)] {
            let prepare = Prepare {
                context: commit.context.clone(),
                row: commit.opening.rows[0].clone(),
                count,
            };
            let decoded = Prepare::decode(&prepare.encode());
            assert_eq!(decoded.ok(), fits.then_some(prepare), "{count}");
        }
        for prepared in [vec![], vec![vec![1; 64]; 2]] {
            let signed = Signed {
                shares: vec![[2; 32]; 2],
                prepared,
            };
            assert_eq!(Signed::decode(&signed.encode()).unwrap(), signed);
        }
        let uneven = Commit {
            messages: vec![None],
            ..commit
        };
        assert!(Commit::decode(&uneven.encode()).is_err());
        let sign = Sign {
            request: [1; 32],
            commitments: places,
        };
        assert_eq!(Sign::decode(&sign.encode()).unwrap(), sign);
        for committed in [
            Committed::Points(vec![vec![1; 64]; 2]),
            Committed::Shares(vec![[2; 32]]),
        ] {
            assert_eq!(Committed::decode(&committed.encode()).unwrap(), committed);
        }
        let done = Reply::done(vec![1]);
        let refused = Reply {
            code: Code::Refused,
            value: None,
            reason: "its share does not fit".into(),
            culprits: vec![Blame {
                seat: 1,
                reason: "wrong".into(),
            }],
            ..Reply::done(vec![])
        };
        for reply in [&done, &refused] {
            assert_eq!(Reply::decode(&reply.encode()).unwrap(), *reply);
        }
        let faulty = Reply {
            fault: Some(SeatFault::CannotRegenerate),
            value: None,
            ..done.clone()
        };
        assert_eq!(Reply::decode(&faulty.encode()).unwrap(), faulty);
        let neither = Reply {
            value: None,
            ..done
        };
        assert!(Reply::decode(&neither.encode()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_are_refused_in_good_order(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Announce::decode(&bytes);
            let _ = Agree::decode(&bytes);
            let _ = Deal::decode(&bytes);
            let _ = Take::decode(&bytes);
            let _ = Confirm::decode(&bytes);
            let _ = Forget::decode(&bytes);
            let _ = Commit::decode(&bytes);
            let _ = Sign::decode(&bytes);
            let _ = Prepare::decode(&bytes);
            let _ = Once::decode(&bytes);
            let _ = Signed::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }
    }
}
