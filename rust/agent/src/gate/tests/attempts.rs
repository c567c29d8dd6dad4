//! Whatever an agent was once right to accept, and everything that is made of it: replayed, stale, widened, altered, or
//! approved by whoever asks.
//!
//! One agent's memory goes through all of it. Before each attempt it accepts what is right, so that a refusal means something;
//! `EVANESCE_ATTEMPTS` says how many there are.

use std::cell::{Cell, RefCell};

use evanesce_approval::{AHEAD, Asked as Shown, Statement};
use evanesce_wire::FileIdentity;
use evanesce_wire::Identity;
use evanesce_wire::grant::{Grant, Must, PayloadBound, Signed, grant_id};
use proptest::test_runner::{TestCaseError, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::delegated::Grants;
use crate::tombstones::Retired;

const POLICY: &str = "@delegable(\"2\") @payload(\"{ amount: Long, currency: String }\")
    permit(principal == Caller::\"ops\", action == Action::\"sign\", resource)
    when { context.payload.amount <= 500 && context.approvals.count >= 1 };";
/// What the first grant lets through.
const GRANTED: u64 = 100;

const OPS: usize = 0;
const LEAD: usize = 1;
const BOT: usize = 2;
const CFO: usize = 3;

struct World {
    _dir: TempDir,
    people: Vec<FileIdentity>,
    directory: Directory,
    body: Body,
    policy: Compiled,
    /// OPS lets LEAD, LEAD lets BOT.
    chain: [Grant; 2],
    shown: Vec<Vec<u8>>,
    /// The agent's memory.
    grants: Grants,
    used: Used,
    replay: Replay,
    asked: u64,
    /// Of these, since the memory is as young as it is.
    lately: u64,
}

/// One request, and what comes with it.
#[derive(Clone)]
struct Asking {
    request: Request,
    salt: [u8; 32],
    grants: Vec<Vec<u8>>,
    approvals: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Attempt {
    /// The very same again.
    Replayed,
    /// Another request of the same, with the approval that was spent.
    SpentApproval,
    /// An approval that ended so long ago, or ends so far ahead.
    Stale(u64, bool),
    /// An approval with one bit flipped.
    AlteredApproval,
    /// An approval by whoever asks, or lets ask.
    SelfApproved(usize),
    /// A grant with one bit flipped.
    AlteredGrant(usize),
    /// A grant that its own grantor has made wider than what they were given, and a request of what only it would let through.
    Widened(u64),
    /// A grant that somebody else has signed in its grantor's place.
    Forged(usize, usize),
    /// A payload with one bit flipped, under its old digest or under its own.
    AlteredPayload(bool),
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["ops", "lead", "bot", "cfo"];
        let people: Vec<FileIdentity> = names
            .iter()
            .map(|name| FileIdentity::create(&dir.path().join(name)).unwrap())
            .collect();
        // All of them could approve, were it not for what they ask.
        let lines = names.iter().zip(&people).map(|(name, identity)| {
            let id = hex::encode(identity.caller_id());
            format!("[[identity]]\nname = \"{name}\"\nid = \"{id}\"\nroles = [\"caller\", \"reconstructor\", \"approver\"]\n")
        });
        let directory = Directory::parse(&lines.collect::<String>()).unwrap();
        let policy = Compiled::new(POLICY);
        assert_eq!(policy.invalid(), None);
        let body = body(POLICY, None);
        let first = Grant {
            token: body.id,
            grantor: people[OPS].caller_id(),
            delegate: people[LEAD].caller_id(),
            parent: None,
            further: true,
            actions: vec!["sign".into()],
            suites: vec!["ed25519".into()],
            bounds: vec![PayloadBound {
                at: vec!["amount".into()],
                must: Must::Range {
                    min: 1,
                    max: GRANTED,
                },
            }],
            count: None,
            not_before: NOW - 50,
            expires: NOW + 50,
            nonce: [0; 16],
        };
        let second = Grant {
            grantor: people[LEAD].caller_id(),
            delegate: people[BOT].caller_id(),
            parent: Some(grant_id(&first.encode())),
            further: false,
            ..first.clone()
        };
        let chain = [first, second];
        let shown = [OPS, LEAD]
            .iter()
            .zip(&chain)
            .map(|(who, grant)| Signed::new(grant, &people[*who]).unwrap().encode())
            .collect();
        Self {
            _dir: dir,
            people,
            directory,
            body,
            policy,
            chain,
            shown,
            grants: Grants::default(),
            used: Used::default(),
            replay: Replay::new(1 << 16, [0; 16]),
            asked: 0,
            lately: 0,
        }
    }

    /// A request that is right, of an amount of so much; `approver` approves it until `expires`.
    fn right(&mut self, amount: u64, approver: usize, expires: u64) -> Asking {
        self.asked += 1;
        self.lately += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.asked.to_be_bytes());
        let request = Request {
            id,
            caller: self.people[BOT].caller_id(),
            ..paid(
                &self.body,
                &format!("{{\"amount\":{amount},\"currency\":\"EUR\"}}"),
            )
        };
        let approval = self.approval(&request, approver, expires);
        Asking {
            request,
            salt: SALT,
            grants: self.shown.clone(),
            approvals: vec![approval],
        }
    }

    fn approval(&self, request: &Request, approver: usize, expires: u64) -> Vec<u8> {
        let payload = Payload::read(request.payload.as_ref().unwrap()).unwrap();
        let shown = Shown {
            token: &self.body.id,
            key: &self.body.header.name,
            action: &request.action,
            suite: &request.suite,
            input: &request.input,
            caller: &request.caller,
            payload: Some(&payload),
        };
        let statement = Statement {
            text: shown.text("").unwrap(),
            input: request.input,
            nonce: request.id,
            suite: request.suite.clone(),
            token: self.body.id,
            action: request.action.clone(),
            caller: request.caller,
            expires,
        };
        let approval = statement.sign(&self.people[approver]).unwrap();
        approval.encode()
    }

    /// As the agent judges it, spending what it spends.
    fn judge(&mut self, asking: &Asking) -> Result<(), Refusal> {
        let evidence = Evidence {
            proof: None,
            grants: asking.grants.clone(),
            approvals: asking.approvals.clone(),
        };
        let who = self.people[BOT].caller_id();
        let who = self.directory.find(&who).unwrap().clone();
        let delegated = self
            .grants
            .read(&asking.grants, &self.directory, &Retired::default());
        let (requests, salts) = ([asking.request.clone()], [Some(asking.salt)]);
        let case = Case {
            policy: Some(&self.policy),
            evidence: &evidence,
            directory: &self.directory,
            used: &self.used,
            delegated: delegated.as_ref().map(Option::as_ref),
            salts: &salts,
            ..case(Verb::Contribute, &who, &self.body, &requests)
        };
        let basis = case.decide(&mut self.replay)?;
        self.used.spend(&who.id, &basis.approvals, NOW);
        Ok(())
    }
}

/// What is made of something that was accepted, `at` and `bit` saying where it is flipped. `None` where that changes nothing.
fn attempt(
    world: &mut World,
    accepted: &Asking,
    attempt: Attempt,
    at: prop::sample::Index,
    bit: u8,
) -> Option<Asking> {
    let flip = |bytes: &mut Vec<u8>| {
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
    };
    let mut fresh = match attempt {
        Attempt::Replayed => return Some(accepted.clone()),
        Attempt::Stale(by, ahead) => {
            let expires = if ahead {
                NOW + AHEAD + 1 + by
            } else {
                NOW.saturating_sub(by)
            };
            return Some(world.right(1, CFO, expires));
        }
        Attempt::SelfApproved(who) => return Some(world.right(1, who, NOW + 60)),
        Attempt::Widened(by) => world.right(GRANTED + by, CFO, NOW + 60),
        _ => world.right(1, CFO, NOW + 60),
    };
    match attempt {
        Attempt::SpentApproval => {
            fresh.request = Request {
                id: fresh.request.id,
                ..accepted.request.clone()
            };
            fresh.approvals = accepted.approvals.clone();
        }
        Attempt::AlteredApproval => flip(&mut fresh.approvals[0]),
        Attempt::AlteredGrant(which) => flip(&mut fresh.grants[which]),
        Attempt::Widened(by) => {
            let mut wide = world.chain[1].clone();
            wide.bounds[0].must = Must::Range {
                min: 1,
                max: GRANTED + by,
            };
            fresh.grants[1] = Signed::new(&wide, &world.people[LEAD]).unwrap().encode();
        }
        Attempt::Forged(which, who) => {
            let grantor = [OPS, LEAD][which];
            if who == grantor {
                return None;
            }
            let mut wide = world.chain[which].clone();
            wide.bounds.clear();
            let bytes = wide.encode();
            let signature = world.people[who].sign(&grant_id(&bytes)).unwrap();
            let spki = world.people[[who, grantor][usize::from(bit & 1)]].spki();
            fresh.grants[which] = Signed {
                grant: bytes,
                spki: spki.to_vec(),
                signature,
            }
            .encode();
        }
        Attempt::AlteredPayload(own_digest) => {
            let payload = fresh.request.payload.as_mut()?;
            flip(payload);
            if own_digest {
                fresh.request.input = formula::input_digest(&SALT, "sign", "ed25519", &[payload]);
            }
        }
        _ => {}
    }
    Some(fresh)
}

fn kinds() -> impl Strategy<Value = Attempt> {
    prop_oneof![
        Just(Attempt::Replayed),
        Just(Attempt::SpentApproval),
        (0u64..2_000_000_000, any::<bool>()).prop_map(|(by, ahead)| Attempt::Stale(by, ahead)),
        Just(Attempt::AlteredApproval),
        prop_oneof![Just(OPS), Just(LEAD), Just(BOT)].prop_map(Attempt::SelfApproved),
        (0usize..2).prop_map(Attempt::AlteredGrant),
        (1u64..=400).prop_map(Attempt::Widened),
        (0usize..2, 0usize..4).prop_map(|(which, who)| Attempt::Forged(which, who)),
        any::<bool>().prop_map(Attempt::AlteredPayload),
    ]
}

#[test]
fn nothing_replayed_stale_widened_altered_or_approved_by_oneself_is_accepted() {
    let count = std::env::var("EVANESCE_ATTEMPTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2000);
    let world = RefCell::new(World::new());
    let tried = Cell::new(0u32);
    // A kind that cannot be made of what was drawn is not an attempt, so there are some cases more than attempts.
    let mut runner = TestRunner::new(ProptestConfig {
        max_global_rejects: count,
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    });
    let cases = (
        kinds(),
        1u64..=GRANTED,
        any::<prop::sample::Index>(),
        0u8..8,
    );
    let ended = runner.run(&cases, |(kind, amount, at, bit)| {
        let world = &mut *world.borrow_mut();
        // More than an agent remembers of one caller; let those of before have ended.
        if world.lately > 20_000 {
            (world.used, world.replay) = (Used::default(), Replay::new(1 << 16, [0; 16]));
            world.lately = 0;
        }
        let right = world.right(amount, CFO, NOW + 60);
        prop_assert_eq!(world.judge(&right), Ok(()), "what is right");
        let Some(wrong) = attempt(world, &right, kind, at, bit) else {
            return Err(TestCaseError::reject("nobody to do it"));
        };
        tried.set(tried.get() + 1);
        prop_assert!(world.judge(&wrong).is_err(), "{:?}", kind);
        Ok(())
    });
    ended.unwrap_or_else(|e| panic!("{e}"));
    println!("{} attempts, 0 accepted", tried.get());
    assert!(tried.get() >= count);
}
