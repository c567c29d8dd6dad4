//! Who asks under whose grant, and everything that is then still refused.

use std::cell::OnceCell;

use evanesce_wire::grant::{Grant, Must, PayloadBound, Signed};
use evanesce_wire::{FileIdentity, Identity};
use tempfile::TempDir;

use super::*;
use crate::delegated::Grants;
use crate::tombstones::Retired;

const POLICY: &str = "@delegable(\"2\") @payload(\"{ amount: Long, currency: String }\")
    permit(principal == Caller::\"ops\", action == Action::\"sign\", resource) when { context.payload.amount <= 500 };
    permit(principal == Caller::\"ops\", action == Action::\"open\", resource);
    forbid(principal in Group::\"suspended\", action, resource);";

struct World {
    _dir: TempDir,
    people: Vec<FileIdentity>,
    directory: Directory,
    revoked: Retired,
    body: Body,
    policy: Compiled,
}

const OPS: usize = 0;
const LEAD: usize = 1;
const BOT: usize = 2;
const GONE: usize = 3;
const STRANGER: usize = 4;

impl World {
    fn new(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["ops", "lead", "bot", "gone", "stranger"];
        let person = |name| FileIdentity::create(&dir.path().join(name)).unwrap();
        let people: Vec<FileIdentity> = names.into_iter().map(person).collect();
        let lines = names.iter().zip(&people).take(4).map(|(name, identity)| {
            let group = if *name == "gone" { "\"suspended\"" } else { "" };
            format!(
                "[[identity]]\nname = \"{name}\"\nid = \"{}\"\nroles = [\"caller\", \"minter\", \"reconstructor\"]\ngroups = [{group}]\n",
                hex::encode(identity.caller_id())
            )
        });
        let directory = Directory::parse(&lines.collect::<String>()).unwrap();
        Self {
            _dir: dir,
            people,
            directory,
            revoked: Retired::default(),
            body: body(policy, None),
            policy: Compiled::new(policy),
        }
    }

    fn grant(&self, from: usize, to: usize) -> Grant {
        Grant {
            token: self.body.id,
            grantor: self.people[from].caller_id(),
            delegate: self.people[to].caller_id(),
            parent: None,
            further: true,
            actions: vec!["sign".into(), "open".into(), "reshare".into()],
            suites: vec!["ed25519".into()],
            bounds: vec![
                PayloadBound {
                    at: vec!["amount".into()],
                    must: Must::Range { min: 1, max: 100 },
                },
                PayloadBound {
                    at: vec!["currency".into()],
                    must: Must::Among(vec!["EUR".into(), "USD".into()]),
                },
            ],
            count: None,
            not_before: NOW - 50,
            expires: NOW + 50,
            nonce: [0; 16],
        }
    }

    fn passed_on(&self, parent: &Grant, to: usize) -> Grant {
        Grant {
            grantor: parent.delegate,
            delegate: self.people[to].caller_id(),
            parent: Some(evanesce_wire::grant::grant_id(&parent.encode())),
            further: false,
            ..parent.clone()
        }
    }

    /// Signs each by whoever it names as its grantor.
    fn signed(&self, grants: &[&Grant]) -> Vec<Vec<u8>> {
        let sign = |grant: &&Grant| {
            let grantor = self
                .people
                .iter()
                .find(|one| one.caller_id() == grant.grantor);
            Signed::new(grant, grantor.unwrap()).unwrap().encode()
        };
        grants.iter().map(sign).collect()
    }

    fn asked(&self, who: usize, payload: &str) -> Request {
        Request {
            caller: self.people[who].caller_id(),
            ..paid(&self.body, payload)
        }
    }

    fn judge(&self, who: usize, shown: &[Vec<u8>], request: Request) -> Result<(), (Code, String)> {
        let stranger = known("\"caller\", \"reconstructor\"");
        let who = match self.directory.find(&self.people[who].caller_id()) {
            Some(known) => known.clone(),
            None => stranger,
        };
        let evidence = Evidence {
            grants: shown.to_vec(),
            ..Evidence::default()
        };
        let mut grants = Grants::default();
        let delegated = grants.read(shown, &self.directory, &self.revoked);
        let salts = [request.payload.as_ref().map(|_| SALT)];
        let requests = [request];
        let case = Case {
            policy: Some(&self.policy),
            evidence: &evidence,
            delegated: delegated.as_ref().map(Option::as_ref),
            salts: &salts,
            ..case(Verb::Contribute, &who, &self.body, &requests)
        };
        let verdict = case.decide(&mut Replay::new(64, [0; 16]));
        let verdict = verdict.map(drop);
        verdict.map_err(|refusal| (refusal.code, refusal.reason))
    }
}

const FINE: &str = "{\"amount\":100,\"currency\":\"EUR\"}";

#[test]
fn a_delegate_may_what_its_grantor_may_within_the_grants_bounds() {
    let world = World::new(POLICY);
    let grant = world.grant(OPS, BOT);
    let shown = world.signed(&[&grant]);
    assert_eq!(world.judge(BOT, &shown, world.asked(BOT, FINE)), Ok(()));
    let refused = |who, shown: &[Vec<u8>], request: Request, what: &str| {
        let (code, why) = world.judge(who, shown, request).unwrap_err();
        assert!(
            code == Code::Refused && why.contains(what),
            "{what}: {code:?} {why}"
        );
    };
    let asked = |payload: &str| world.asked(BOT, payload);
    refused(BOT, &[], asked(FINE), "does not permit");
    refused(
        BOT,
        &shown,
        asked("{\"amount\":101,\"currency\":\"EUR\"}"),
        "bound of \"amount\"",
    );
    refused(
        BOT,
        &shown,
        asked("{\"amount\":0,\"currency\":\"EUR\"}"),
        "bound of \"amount\"",
    );
    refused(
        BOT,
        &shown,
        asked("{\"amount\":-5,\"currency\":\"EUR\"}"),
        "bound of \"amount\"",
    );
    refused(
        BOT,
        &shown,
        asked("{\"amount\":5,\"currency\":\"CHF\"}"),
        "bound of \"currency\"",
    );
    refused(
        BOT,
        &shown,
        asked("{\"amount\":\"5\",\"currency\":\"EUR\"}"),
        "bound of \"amount\"",
    );
    refused(
        BOT,
        &shown,
        asked("{\"currency\":\"EUR\"}"),
        "bound of \"amount\"",
    );
    let bare = |action: &str| Request {
        caller: world.people[BOT].caller_id(),
        ..request(&world.body, action, "")
    };
    refused(BOT, &shown, bare("open"), "there is none");
    // The role of the grantor, or of the delegate, is not passed on.
    refused(BOT, &shown, bare("reshare"), "never granted");
    refused(LEAD, &shown, world.asked(LEAD, FINE), "another caller's");
    let mac = Request {
        action: "mac".into(),
        suite: "hmac-sha256".into(),
        input: formula::input_digest(&SALT, "mac", "hmac-sha256", &[FINE.as_bytes()]),
        ..asked(FINE)
    };
    refused(BOT, &shown, mac, "not for \"mac\"");
    let changed = |change: &dyn Fn(&mut Grant)| {
        let mut changed = grant.clone();
        change(&mut changed);
        world.signed(&[&changed])
    };
    refused(
        BOT,
        &changed(&|g| g.token = [9; 32]),
        asked(FINE),
        "another key",
    );
    refused(
        BOT,
        &changed(&|g| g.suites.clear()),
        asked(FINE),
        "not for the suite",
    );
    refused(
        BOT,
        &changed(&|g| g.not_before = NOW + 1),
        asked(FINE),
        "holds in 1 s",
    );
    refused(
        BOT,
        &changed(&|g| g.expires = NOW),
        asked(FINE),
        "has expired",
    );
    // Whoever grants must be permitted by the policy, now.
    let shown = world.signed(&[&world.grant(LEAD, BOT)]);
    refused(BOT, &shown, asked(FINE), "does not permit");
    let wide = changed(&|g| g.bounds.clear());
    assert_eq!(
        world.judge(BOT, &wide, asked("{\"amount\":500,\"currency\":\"CHF\"}")),
        Ok(())
    );
    refused(
        BOT,
        &wide,
        asked("{\"amount\":501,\"currency\":\"CHF\"}"),
        "does not permit",
    );
    assert_eq!(world.judge(BOT, &wide, bare("open")), Ok(()));
    // Whoever takes part must be known, and not one whom the policy keeps out.
    let shown = world.signed(&[&world.grant(STRANGER, BOT)]);
    refused(BOT, &shown, asked(FINE), "no caller that this agent knows");
    let shown = world.signed(&[&world.grant(OPS, GONE)]);
    refused(GONE, &shown, world.asked(GONE, FINE), "forbids it");
    world
        .revoked
        .extend([evanesce_wire::grant::grant_id(&grant.encode())]);
    refused(BOT, &world.signed(&[&grant]), asked(FINE), "was revoked");
}

#[test]
fn a_grant_that_was_passed_on_ends_with_the_one_before_it() {
    let world = World::new(POLICY);
    let first = world.grant(OPS, LEAD);
    let second = world.passed_on(&first, BOT);
    let shown = world.signed(&[&first, &second]);
    assert_eq!(world.judge(BOT, &shown, world.asked(BOT, FINE)), Ok(()));
    let refused = |shown: &[Vec<u8>], what: &str| {
        let (_, why) = world.judge(BOT, shown, world.asked(BOT, FINE)).unwrap_err();
        assert!(why.contains(what), "{what}: {why}");
    };
    refused(&shown[..1], "another caller's");
    refused(&shown[1..], "is missing");
    refused(&[shown[1].clone(), shown[0].clone()], "is missing");
    let wider = Grant {
        expires: first.expires + 1,
        ..second.clone()
    };
    refused(&world.signed(&[&first, &wider]), "a longer time");
    // Somebody between is kept out, or is nobody any more.
    let (through, end) = (world.grant(OPS, GONE), |parent: &Grant| {
        world.passed_on(parent, BOT)
    });
    refused(&world.signed(&[&through, &end(&through)]), "forbids it");
    let through = world.grant(OPS, STRANGER);
    refused(
        &world.signed(&[&through, &end(&through)]),
        "no caller that this agent knows",
    );
    let once = World {
        policy: Compiled::new(&POLICY.replace("\"2\"", "\"1\"")),
        ..World::new(POLICY)
    };
    let first_there = once.grant(OPS, LEAD);
    let both = once.signed(&[&first_there, &once.passed_on(&first_there, BOT)]);
    let (_, why) = once.judge(BOT, &both, once.asked(BOT, FINE)).unwrap_err();
    assert!(why.contains("lets 1 grant follow"), "{why}");
    world
        .revoked
        .extend([evanesce_wire::grant::grant_id(&first.encode())]);
    refused(&shown, "the grant was revoked");
}

#[test]
fn a_policy_that_does_not_say_so_lets_nobody_delegate() {
    for policy in ["", &POLICY.replace("@delegable(\"2\")", "")] {
        let mut world = World::new(POLICY);
        world.policy = Compiled::new(policy);
        let shown = world.signed(&[&world.grant(OPS, BOT)]);
        let (_, why) = world
            .judge(BOT, &shown, world.asked(BOT, FINE))
            .unwrap_err();
        assert!(why.contains("delegate") || why.contains("invalid"), "{why}");
    }
}

thread_local!(static WORLD: OnceCell<World> = const { OnceCell::new() });

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("EVANESCE_GRANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
    ))]
    /// Generated chains that were tampered with in any way after they were signed, or signed by somebody else: none is
    /// accepted, whatever it says.
    #[test]
    fn no_forged_grant_is_accepted(
        length in 1usize..3, which: prop::sample::Index, place: prop::sample::Index, bit in 0u8..8, forger in 0usize..5, resign: bool,
    ) {
        WORLD.with(|world| {
            let world = world.get_or_init(|| World::new(POLICY));
            let first = world.grant(OPS, if length == 1 { BOT } else { LEAD });
            let second = world.passed_on(&first, BOT);
            let chain = [&first, &second];
            let mut shown = world.signed(&chain[..length]);
            prop_assert_eq!(world.judge(BOT, &shown, world.asked(BOT, FINE)), Ok(()));
            let link = which.index(length);
            if resign {
                let mut signed = Signed::decode(&shown[link]).unwrap();
                let own = world.people[forger].caller_id() == chain[link].grantor;
                let at = place.index(signed.grant.len());
                // A field of the grant changed, and signed by whoever it is.
                signed.grant[at] ^= 1 << bit;
                signed.signature = world.people[forger].sign(&evanesce_wire::grant::grant_id(&signed.grant)).unwrap();
                signed.spki = world.people[forger].spki().to_vec();
                shown[link] = signed.encode();
                if own {
                    // Their own grant, changed: what it lets through is theirs to say, but nothing beyond the other link.
                    return Ok(());
                }
            } else {
                let at = place.index(shown[link].len());
                shown[link][at] ^= 1 << bit;
            }
            let verdict = world.judge(BOT, &shown, world.asked(BOT, FINE));
            prop_assert!(verdict.is_err(), "link {} of {}", link, length);
            Ok(())
        })?;
    }
}
