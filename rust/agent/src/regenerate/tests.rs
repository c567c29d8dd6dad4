//! What a job leaves in a task, byte for byte: nothing that lay on its stack.

use std::hint::black_box;
use std::os::unix::fs::FileExt;

use evanesce_element::Description;
use evanesce_secret::on_crucible;
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Gate, Header};
use evanesce_wire::FileIdentity;
use evanesce_wire::session::{PendingSession, answer};

use super::*;
use crate::log::{Signed, Signer};

const NOW: u64 = 1_800_000_000;
const SHARE: [u8; 32] = [9; 32];
/// What the stack is full of; no result has four of them in a row but by a chance of 2^-26.
const LEFT: u8 = 0xe7;

struct Root;

impl Element for Root {
    fn description(&self) -> Description {
        unreachable!("not asked")
    }
    fn epochs(&self) -> Vec<u64> {
        vec![3]
    }
    fn current(&self) -> u64 {
        3
    }
    fn evaluate(&self, epoch: u64, input: &[u8; 32], y: &mut [u8; 32]) -> Result<(), ElementError> {
        if epoch != 3 {
            return Err(ElementError::EpochNotHeld(epoch));
        }
        hmac_sha256(&[1; 32], input, y);
        Ok(())
    }
}

/// Leaves [`LEFT`] all over `depth` frames.
#[inline(never)]
fn plant(depth: usize) {
    let mut frame = [LEFT; 1024];
    black_box(&mut frame);
    if depth > 0 {
        plant(depth - 1);
    }
    black_box(&frame);
}

/// Every byte of `value` in memory, padding included.
fn bytes<T>(value: &T) -> Vec<u8> {
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0; size_of::<T>()];
    memory
        .read_exact_at(&mut bytes, (&raw const *value).addr() as u64)
        .unwrap();
    bytes
}

fn left<T>(value: &T) -> bool {
    bytes(value).windows(4).any(|window| window == [LEFT; 4])
}

#[test]
fn a_task_brings_nothing_of_its_jobs_stack_along() {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| FileIdentity::create(&dir.path().join(name)).unwrap();
    let (identity, caller) = (Arc::new(key("agent")), key("caller"));
    let me = identity.agent_id();
    let (pending, offer) = PendingSession::offer(&caller, me, NOW).unwrap();
    let (reply, session) = answer(&offer, caller.spki(), &*identity, NOW).unwrap();
    let hers = pending.accept(&reply, identity.spki()).unwrap();
    let header = Header {
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suites: vec!["ed25519".into()],
        quorum: Gate::parse("1 of (a)").unwrap(),
        policy: String::new(),
        created: NOW,
        expires: None,
        replaces: None,
    };
    let header = header.encode();
    let commitments = vec![formula::commitment(&formula::deal(&header), 0, &SHARE)];
    let sealed = formula::sealed_hash(None);
    let catalogue = evanesce_suite::catalogue();
    let body = Body::new(header, [3; 32], commitments, [5; 32], sealed, catalogue);
    let (body, session) = (Arc::new(body.unwrap()), Arc::new(session));
    let (mut y, mut correction) = ([0; 32], [0; 32]);
    hmac_sha256(&[1; 32], &formula::contribution(&body.id, 0), &mut y);
    formula::pad(&y, &mut correction);
    correction.iter_mut().zip(SHARE).for_each(|(a, b)| *a ^= b);
    let seat = |share: [u8; 32]| {
        let aad = formula::share_aad(&seat_hash(&body.id, 0), &body.id, 0, &me);
        let mut sealed = [0; SEALED_SHARE];
        sealed[..32].copy_from_slice(&share);
        let (counter, tag) = hers.seal(&aad, &mut sealed[..32]).unwrap();
        sealed[32..].copy_from_slice(&tag);
        Ask::Seat { counter, sealed }
    };
    let request = [6; 32];
    let share = |epoch, correction| Ask::Share {
        epoch,
        correction,
        request,
    };
    let prove = |epoch, correction| Ask::Prove { epoch, correction };
    let asks = [
        share(3, correction),
        share(3, [0; 32]),
        share(4, correction),
        prove(3, correction),
        prove(3, [0; 32]),
        prove(4, correction),
        seat(SHARE),
        seat([8; 32]),
    ];
    let task = |ask| Task {
        session: session.clone(),
        body: body.clone(),
        seat: 0,
        ask,
        done: Done::default(),
    };
    let mut tasks: Vec<Task> = asks.into_iter().map(task).collect();
    assert!(!tasks.iter().any(left));
    let element = Arc::new(Root);
    let hands = Hands {
        element,
        identity,
        me,
        shelf: crate::threshold::Shelf::open(Arc::new(crate::disk::Memory::default())).unwrap(),
        groups: Default::default(),
    };
    let log = Signer::new(&me, Box::new(key("log"))).unwrap();
    let (mut planted, mut signed) = (false, Signed::default());
    on_crucible(|| {
        for task in &mut tasks {
            plant(30);
            hands.perform(task);
        }
        plant(30);
        log.sign(1, &[0; 32], &mut signed);
        planted = left(&[LEFT; 8]);
    });
    assert!(planted, "what is there is found");
    let said: Vec<&str> = tasks
        .iter()
        .map(|task| match task.done.outcome() {
            Outcome::Seat(SeatResult::Share { .. }, None) => "share",
            Outcome::Seat(SeatResult::Good, None) => "good",
            Outcome::Seat(SeatResult::Fault(fault), _) => fault.as_str(),
            Outcome::Row {
                epoch: 3,
                correction: row,
                ..
            } if row == correction => "row",
            Outcome::NotSeated(_) => "not seated",
            _ => "else",
        })
        .collect();
    let (cannot, held) = ("cannot-regenerate", "epoch-not-held");
    assert_eq!(
        said,
        [
            "share",
            cannot,
            held,
            "good",
            cannot,
            held,
            "row",
            "not seated"
        ]
    );
    for (task, said) in tasks.iter().zip(said) {
        assert!(!left(task), "{said}: {}", hex::encode(bytes(task)));
    }
    assert!(!left(&signed));
    assert!(signed.checkpoint().is_ok_and(|text| !text.is_empty()));
}
