//! Every body that crosses the wire, as a type with a strict decoder.
//!
//! Bodies are CBOR as PROTOCOL §2 narrows it; `docs/agent-api.md` lists each map key by key. Decoding checks
//! form alone: counts, lengths and types are bounded before anything is allocated. What a value means, and
//! whether the sender may say it, is judged by the agent and the reconstructor.

mod contribute;
mod evidence;
mod log;
mod operate;
mod order;
mod peer;
mod proof;
mod seat;
mod serving;
mod session;
mod status;
pub mod threshold;
mod word;

use evanesce_token::Malformed;
use evanesce_token::cbor::{Limits, Reader, Writer};
use evanesce_token::hash::th;

pub use contribute::{
    Answers, Batch, Code, Context, Envelope, Opening, OpeningAnswer, Request, SeatAnswer,
    SeatFault, SeatResult, SeatRow,
};
pub use evidence::{Basis, Counted, Evidence, Spent};
pub use log::{Entry, EntryOperation, LogProof, Receipt};
pub use operate::{
    Addressed, Operate, OperateFault, OperateJob, OperateOutput, OperateProblem, Operated,
    Sessions, Standing, result_aad,
};
pub use order::{Command, Obeyed, Order, SIGNED, SignedOrder};
pub use peer::{Exchange, Exchanged, Head, IDS, Kept, LOGS, WANTED, seen_statement};
pub use proof::Proof;
pub use seat::{SeatShare, Seated, SeatedResult, SeatedRow, Seating};
pub use serving::Serving;
pub use session::SessionAnswer;
pub use status::{Problem, Status};
pub use word::Word;

use crate::{Id, WireError, limits};

/// Additional data under which a request of `verb` is sealed to `agent`.
pub fn envelope_aad(verb: &str, agent: &Id) -> [u8; 32] {
    th("sealed-request", &[verb.as_bytes(), agent])
}

/// What stands for the request hash where a share is sealed to an agent to be seated.
pub fn seat_hash(token: &Id, seat: u32) -> [u8; 32] {
    th("seat", &[token, &seat.to_be_bytes()])
}

/// What an agent's identity signs to endorse its log's key.
pub fn log_key_statement(agent: &Id, log_key: &[u8; 32]) -> [u8; 32] {
    th("log-key", &[agent, log_key])
}

/// Longest text of a code, a label or a reason, in bytes.
const TEXT: usize = 4096;
/// Longest signature, in bytes (ECDSA P-256 DER is at most 72).
const SIGNATURE: usize = 72;
/// Longest Merkle path: a log of 2^53 entries.
const PATH: usize = 64;
/// Longest log entry, in bytes.
const ENTRY: usize = 1 << 20;
/// Longest checkpoint, in bytes.
const CHECKPOINT: usize = 4096;
/// Most seats of one token (PROTOCOL §3).
const SEATS: usize = 255;

fn decode<T>(
    root: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, WireError> {
    let mut reader = Reader::new(
        root,
        bytes,
        Limits {
            bytes: limits::BODY,
            depth: limits::DEPTH,
        },
    )?;
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

fn hashes(w: &mut Writer, list: &[[u8; 32]]) {
    w.array(list.len());
    for hash in list {
        w.bytes(hash);
    }
}

fn texts(w: &mut Writer, list: &[String]) {
    w.array(list.len());
    for text in list {
        w.text(text);
    }
}

fn read_texts(r: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    r.list(0..=SEATS, |r| Ok(r.text(TEXT)?.to_owned()))
}

fn read_seat(r: &mut Reader<'_>) -> Result<u32, Malformed> {
    match r.uint()? {
        seat if seat < SEATS as u64 => Ok(seat as u32),
        seat => Err(r.malformed(format_args!("seat {seat}, must be below {SEATS}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Answer;

    fn proof() -> LogProof {
        let entry = Entry {
            agent: [1; 32],
            time: 1_700_000_000_000,
            verb: "contribute".into(),
            token: [2; 32],
            key_name: "treasury \u{202e}".into(),
            seats: vec![0, 254],
            caller: [3; 32],
            caller_name: "ops".into(),
            operations: vec![EntryOperation {
                action: "sign".into(),
                suite: "ed25519".into(),
                input: [4; 32],
                request: [5; 32],
            }],
            code: "done".into(),
            reason: String::new(),
            element: "software (development element)".into(),
            weaknesses: vec!["wrap".into()],
            basis: Basis {
                grants: vec![[7; 32]],
                approvals: vec![Spent {
                    id: [8; 32],
                    name: "cfo".into(),
                    approver: [9; 32],
                }],
                reconstructor: Some([10; 32]),
                uses: Some(Counted {
                    of: [11; 32],
                    key: 7,
                    caller: 5,
                }),
            },
        };
        let encoded = entry.encode();
        assert_eq!(Entry::decode(&encoded).unwrap(), entry);
        LogProof {
            entry: encoded,
            index: 7,
            path: vec![[6; 32]; 3],
        }
    }

    #[test]
    fn every_message_decodes_to_what_was_encoded() {
        let full = Context::Full {
            header: vec![0xa0],
            anchor: [1; 32],
            commitments: vec![[2; 32]; 3],
            public: [3; 32],
            sealed: [4; 32],
        };
        let request = Request {
            token: [1; 32],
            action: "sign".into(),
            suite: "ed25519".into(),
            input: [2; 32],
            caller: [3; 32],
            session: [4; 32],
            id: [5; 16],
            not_after: 1_800_000_000,
            payload: None,
        };
        let paid = Request {
            payload: Some(b"{}".to_vec()),
            ..request.clone()
        };
        for request in [&request, &paid] {
            assert_eq!(Request::decode(&request.encode()).unwrap(), *request);
        }
        let row = SeatRow {
            seat: 3,
            holder: [7; 32],
            epoch: (1 << 53) - 1,
            correction: [8; 32],
        };
        let batch = Batch {
            contexts: vec![Context::Known([9; 32]), full.clone()],
            openings: vec![Opening {
                context: 1,
                requests: vec![request.encode(), paid.encode()],
                salts: vec![None, Some([6; 32])],
                evidence: Evidence {
                    proof: Some(vec![1; 3]),
                    grants: vec![vec![2; 4]],
                    approvals: vec![vec![3; 5], vec![]],
                },
                rows: vec![row],
            }],
        };
        assert_eq!(Batch::decode(&batch.encode()).unwrap(), batch);
        let contexts: Vec<Vec<u8>> = batch.contexts.iter().map(Context::encode).collect();
        let parts = Batch::encode_parts(contexts.iter().map(Vec::as_slice), batch.openings.iter());
        assert_eq!(parts, batch.encode());

        let seats = [
            SeatResult::Share {
                counter: 1,
                sealed: [1; 48],
            },
            SeatResult::Good,
            SeatResult::Fault(SeatFault::CannotRegenerate),
        ];
        let seats = seats
            .into_iter()
            .map(|result| SeatAnswer { seat: 1, result })
            .collect();
        let answers = Answers {
            checkpoint: "note".into(),
            openings: vec![
                OpeningAnswer {
                    code: Code::Done,
                    reason: String::new(),
                    seats,
                    receipt: Some(proof()),
                },
                OpeningAnswer {
                    code: Code::Refused,
                    reason: "policy".into(),
                    seats: vec![],
                    receipt: None,
                },
            ],
        };
        assert_eq!(Answers::decode(&answers.encode()).unwrap(), answers);

        let seating = Seating {
            contexts: vec![full],
            seats: vec![SeatShare {
                context: 0,
                seat: 1,
                counter: 2,
                sealed: [3; 48],
            }],
        };
        assert_eq!(Seating::decode(&seating.encode()).unwrap(), seating);
        let row = SeatedResult::Row {
            epoch: 0,
            correction: [1; 32],
            signature: vec![2; 64],
        };
        let refused = SeatedResult::Refused {
            reason: "no minter".into(),
        };
        let seated = Seated {
            checkpoint: String::new(),
            seats: [row, refused]
                .into_iter()
                .map(|result| SeatedRow {
                    seat: 1,
                    result,
                    receipt: Some(proof()),
                })
                .collect(),
        };
        assert_eq!(Seated::decode(&seated.encode()).unwrap(), seated);

        let head = Head {
            log_key: [1; 32],
            checkpoint: "note".into(),
            endorsement: vec![2; 64],
        };
        let exchange = Exchange {
            from: 3,
            life: [6; 16],
            want: vec![[7; 32]; WANTED],
            head: head.clone(),
            after: Some([5; 32]),
            clock: 7,
        };
        assert_eq!(Exchange::decode(&exchange.encode()).unwrap(), exchange);
        for signature in [None, Some(vec![3; 72])] {
            let exchanged = Exchanged {
                ids: vec![[1; 32]; IDS],
                life: [2; 16],
                count: 5000,
                orders: vec![vec![1]; WANTED],
                seen: vec![head.clone(); LOGS],
                clock: 8,
                signature,
            };
            assert_eq!(Exchanged::decode(&exchanged.encode()).unwrap(), exchanged);
        }
        for command in [Command::Revoke, Command::Freeze, Command::Thaw] {
            let order = Order {
                token: [1; 32],
                command,
                caller: [2; 32],
                issued: 3,
                nonce: [4; 16],
            };
            assert_eq!(Order::decode(&order.encode()).unwrap(), order);
            let signed = SignedOrder {
                order: order.encode(),
                spki: vec![5; 44],
                signature: vec![6; 64],
                context: batch.contexts[1].clone(),
            };
            assert_eq!(SignedOrder::decode(&signed.encode()).unwrap(), signed);
            let word = Word::Order(signed.clone());
            assert_eq!(Word::decode(&word.encode()).unwrap(), word);
            let by_id = SignedOrder {
                context: batch.contexts[0].clone(),
                ..signed
            };
            assert!(SignedOrder::decode(&by_id.encode()).is_err());
        }
        let revocation = crate::grant::Revocation {
            grant: vec![1; 90],
            signature: vec![2; 64],
        };
        let word = Word::Revocation(revocation);
        assert_eq!(Word::decode(&word.encode()).unwrap(), word);
        assert!(word.id().is_err(), "it holds no grant");
        let obeyed = Obeyed {
            code: Code::Done,
            reason: String::new(),
            receipt: Some(proof()),
            checkpoint: "note".into(),
        };
        assert_eq!(Obeyed::decode(&obeyed.encode()).unwrap(), obeyed);
        let kept = Kept(vec![([4; 32], head)]);
        assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);

        let answer = SessionAnswer {
            answer: Answer {
                enc: [1; 32],
                signature: vec![2; 64],
            },
            log_key: [3; 32],
            endorsement: vec![4; 72],
        };
        assert_eq!(SessionAnswer::decode(&answer.encode()).unwrap(), answer);
        let envelope = Envelope {
            session: [1; 32],
            counter: 2,
            sealed: vec![3; 100],
        };
        assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
        let problem = Problem {
            code: "role".into(),
            message: "not a minter".into(),
        };
        assert_eq!(Problem::decode(&problem.encode()).unwrap(), problem);
    }

    #[test]
    fn a_context_that_is_not_there_is_refused() {
        let opening = Opening {
            context: 1,
            requests: vec![],
            salts: vec![],
            evidence: Evidence::default(),
            rows: vec![SeatRow {
                seat: 0,
                holder: [0; 32],
                epoch: 0,
                correction: [0; 32],
            }],
        };
        let batch = Batch {
            contexts: vec![Context::Known([9; 32])],
            openings: vec![opening],
        };
        assert!(Batch::decode(&batch.encode()).is_err());
    }

    #[test]
    fn there_are_as_many_salts_as_requests() {
        for (salts, fine) in [
            (vec![None], false),
            (vec![None; 2], true),
            (vec![None; 3], false),
        ] {
            let row = SeatRow {
                seat: 0,
                holder: [0; 32],
                epoch: 0,
                correction: [0; 32],
            };
            let batch = Batch {
                contexts: vec![Context::Known([9; 32])],
                openings: vec![Opening {
                    context: 0,
                    requests: vec![vec![1], vec![2]],
                    salts,
                    evidence: Evidence::default(),
                    rows: vec![row],
                }],
            };
            assert_eq!(Batch::decode(&batch.encode()).is_ok(), fine);
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_are_refused_in_good_order(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Batch::decode(&bytes);
            let _ = Answers::decode(&bytes);
            let _ = Seating::decode(&bytes);
            let _ = Seated::decode(&bytes);
            let _ = Receipt::decode(&bytes);
            let _ = Status::decode(&bytes);
            let _ = Exchange::decode(&bytes);
            let _ = SignedOrder::decode(&bytes);
            let _ = Word::decode(&bytes).and_then(|word| word.id());
            let _ = Order::decode(&bytes);
            let _ = Obeyed::decode(&bytes);
            let _ = Exchanged::decode(&bytes);
            let _ = Kept::decode(&bytes);
        }
    }
}
