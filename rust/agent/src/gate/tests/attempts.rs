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
/// The same, but nobody need approve: what refuses a replay or an altered payload here is not an approval that does not fit.
const PLAIN: &str = "@delegable(\"2\") @payload(\"{ amount: Long, currency: String }\")
    permit(principal == Caller::\"ops\", action == Action::\"sign\", resource)
    when { context.payload.amount <= 500 };";
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
    /// A grant that its own grantor has made wider than what they were given, in this, by so much. What is asked for would
    /// have been let through without.
    Widened(Wider, u64),
    /// The same in its amount, and a request of what only it would let through.
    Exceeding(u64),
    /// A grant that somebody else has signed in its grantor's place.
    Forged(usize, usize),
    /// A payload with one bit flipped, under its old digest or under its own.
    AlteredPayload(bool),
}

/// In what a grant is wider than the one before it.
#[derive(Clone, Copy, Debug)]
enum Wider {
    Amount,
    Unbounded,
    Actions,
    Suites,
    Begin,
    End,
    Count,
    Uncounted,
}

impl Wider {
    const ALL: [Wider; 8] = [
        Wider::Amount,
        Wider::Unbounded,
        Wider::Actions,
        Wider::Suites,
        Wider::Begin,
        Wider::End,
        Wider::Count,
        Wider::Uncounted,
    ];

    fn make(self, grant: &mut Grant, by: u64) {
        match self {
            Wider::Amount => {
                grant.bounds[0].must = Must::Range {
                    min: 1,
                    max: GRANTED + by,
                }
            }
            Wider::Unbounded => grant.bounds.clear(),
            Wider::Actions => grant.actions.insert(0, "mac".into()),
            Wider::Suites => grant.suites.push("hmac-sha256".into()),
            Wider::Begin => grant.not_before -= by,
            Wider::End => grant.expires += by,
            Wider::Count => grant.count = grant.count.map(|count| count + by),
            Wider::Uncounted => grant.count = None,
        }
    }
}

impl Attempt {
    /// What the agent says to it: that it was refused for something else would show nothing of this.
    fn is_why(self, refusal: &Refusal, plain: bool) -> bool {
        let says = |words: &[&str]| words.iter().any(|word| refusal.reason.contains(word));
        match self {
            Attempt::Replayed if plain => refusal.code == Code::Replayed,
            Attempt::Replayed => refusal.code == Code::Replayed || says(&["spent before"]),
            Attempt::SpentApproval => says(&["spent before"]),
            Attempt::Stale(_, ahead) => says(match ahead {
                false => &["ended"],
                true => &["from now: compare clocks"],
            }),
            Attempt::SelfApproved(_) => says(&["whoever asks cannot approve it"]),
            Attempt::Widened(..) | Attempt::Exceeding(_) => {
                says(&["gives what its grantor has not"])
            }
            // One bit may make anything of it, but never what was signed.
            Attempt::AlteredApproval | Attempt::AlteredGrant(_) | Attempt::Forged(..) => true,
            Attempt::AlteredPayload(_) => true,
        }
    }
}

impl World {
    fn new(text: &'static str) -> Self {
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
        let policy = Compiled::new(text);
        assert_eq!(policy.invalid(), None);
        let body = body(text, None);
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
            count: Some(1 << 40),
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
        Attempt::Exceeding(by) => world.right(GRANTED + by, CFO, NOW + 60),
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
        Attempt::Widened(wider, by) => {
            let mut wide = world.chain[1].clone();
            wider.make(&mut wide, by);
            fresh.grants[1] = Signed::new(&wide, &world.people[LEAD]).unwrap().encode();
        }
        Attempt::Exceeding(by) => {
            let mut wide = world.chain[1].clone();
            Wider::Amount.make(&mut wide, by);
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
        (prop::sample::select(&Wider::ALL[..]), 1u64..=400)
            .prop_map(|(wider, by)| Attempt::Widened(wider, by)),
        (1u64..=400).prop_map(Attempt::Exceeding),
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
    let (world, plain) = (
        RefCell::new(World::new(POLICY)),
        RefCell::new(World::new(PLAIN)),
    );
    let tried = Cell::new(0u32);
    // A kind that cannot be made of what was drawn is not an attempt, so there are some cases more than attempts.
    let mut runner = TestRunner::new(ProptestConfig {
        max_global_rejects: count,
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    });
    let cases = (
        (kinds(), any::<bool>()),
        1u64..=GRANTED,
        any::<prop::sample::Index>(),
        0u8..8,
    );
    let ended = runner.run(&cases, |((kind, without), amount, at, bit)| {
        // Whatever is wrong with an approval is tried where one is asked for, all else in both. Without one, another payload under
        // its own digest is another request.
        let of_approval = matches!(
            kind,
            Attempt::SpentApproval
                | Attempt::Stale(..)
                | Attempt::AlteredApproval
                | Attempt::SelfApproved(_)
                | Attempt::AlteredPayload(true)
        );
        let without = without && !of_approval;
        let world = &mut *[&world, &plain][usize::from(without)].borrow_mut();
        // More than an agent remembers of one caller; let those of before have ended.
        if world.lately > 20_000 {
            (world.used, world.replay) = (Used::default(), Replay::new(1 << 16, [0; 16]));
            world.lately = 0;
        }
        let mut right = world.right(amount, CFO, NOW + 60);
        if without {
            right.approvals.clear();
        }
        prop_assert_eq!(world.judge(&right), Ok(()), "what is right");
        let Some(mut wrong) = attempt(world, &right, kind, at, bit) else {
            return Err(TestCaseError::reject("nobody to do it"));
        };
        if without {
            wrong.approvals.clear();
        }
        tried.set(tried.get() + 1);
        let refusal = world.judge(&wrong).err();
        let why = |refusal: &Refusal| kind.is_why(refusal, without);
        prop_assert!(
            refusal.as_ref().is_some_and(why),
            "{:?}: {:?}",
            kind,
            refusal
        );
        Ok(())
    });
    ended.unwrap_or_else(|e| panic!("{e}"));
    println!("{} attempts, 0 accepted", tried.get());
    assert!(tried.get() >= count);
}
