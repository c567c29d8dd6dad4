//! Healing as its callers meet it: refreshed, reshared and repaired keys, and what happens where it fails.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::real::{self, Caller};
use common::{Behaviour, Quorum, check, mint, retire, run, sign, wait};
use evanesce_quorum::*;
use evanesce_secret::SecretVec;
use evanesce_suite::{Output, catalogue};
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Gate, Row, Token, formula, sharing};
use evanesce_wire::message::Code as Word;

const THREE_OF_FIVE: &str = "3 of (s0, s1, s2, s3, s4)";

fn anew(token: &Arc<Token>) -> ReshareSpec {
    ReshareSpec {
        token: token.clone(),
        quorum: None,
        seats: BTreeMap::new(),
        policy: None,
        expires: None,
        policy_check: Box::new(evanesce_policy::check),
    }
}

fn reshare(reconstructor: &Reconstructor, spec: ReshareSpec) -> Result<Healed, Error> {
    wait(|done| reconstructor.reshare(spec, done))
}

fn to(token: &Arc<Token>, seat: &str, holder: &str) -> RepairSpec {
    RepairSpec {
        token: token.clone(),
        seat: seat.into(),
        holder: holder.into(),
        even_if_it_sits: false,
    }
}

fn repair(reconstructor: &Reconstructor, spec: RepairSpec) -> Result<Healed, Error> {
    wait(|done| reconstructor.repair(spec, done))
}

fn good<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|e| panic!("{e}"))
}

fn mac(reconstructor: &Reconstructor, token: &Arc<Token>) -> Vec<u8> {
    let input = OwnedInput::Mac {
        message: b"m".to_vec(),
    };
    let jobs = vec![Job::new("hmac-sha256", input)];
    match &good(run(reconstructor, token, jobs)).outputs[0] {
        Output::Public(bytes) => bytes.clone(),
        _ => panic!("no tag"),
    }
}

#[test]
fn a_refreshed_key_is_the_same_key_under_other_shares() {
    let quorum = Quorum::of(5);
    let suites = ["ed25519", "ml-dsa-65", "x25519", "hmac-sha256"];
    let old = quorum.mint(THREE_OF_FIVE, &suites);
    let tag = mac(&quorum.reconstructor, &old);
    let healed = good(reshare(&quorum.reconstructor, anew(&old)));
    let new = Arc::new(healed.token);
    assert_ne!(new.id(), old.id());
    assert_eq!(new.public, old.public);
    let (header, before) = (&new.body.header, &old.body.header);
    assert_eq!(
        (header.key, &header.quorum, &header.name),
        (before.key, &before.quorum, &before.name)
    );
    assert_ne!(header.nonce, before.nonce);
    assert_eq!(header.replaces, Some(*old.id()));
    assert!(
        new.body
            .commitments
            .iter()
            .all(|new| !old.body.commitments.contains(new))
    );
    assert_eq!(
        mac(&quorum.reconstructor, &new),
        tag,
        "symmetric keys have no public half that shows it"
    );
    sign(&quorum.reconstructor, &new).unwrap();
    sign(&quorum.reconstructor, &old).unwrap();
    assert!(retire(&quorum.reconstructor, &old).unwrap().dead);
    sign(&quorum.reconstructor, &new).unwrap();
    assert!(sign(&quorum.reconstructor, &old).is_err());
}

#[test]
fn old_and_new_shares_do_not_go_together() {
    let quorum = Quorum::of(3);
    let old = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let new = good(reshare(&quorum.reconstructor, anew(&old))).token;
    let mut mixed = Token::clone(&new);
    mixed.rows[0] = old.rows[0].clone();
    let table = check(&quorum.reconstructor, &Arc::new(mixed), false);
    let faulty: Vec<bool> = table.rows.iter().map(|row| row.fault.is_some()).collect();
    assert_eq!(faulty, [true, false, false]);
}

#[test]
fn a_reshared_key_has_another_quorum_other_holders_and_another_policy() {
    let quorum = Quorum::of(7);
    let old = quorum.mint("2 of (s0, s1, s2)", &["ed25519", "hmac-sha256"]);
    let tag = mac(&quorum.reconstructor, &old);
    let policy = "permit(principal, action in [Action::\"sign\", Action::\"mac\", Action::\"open\"], resource);";
    let spec = ReshareSpec {
        quorum: Some(Gate::parse("2 of (s1, chair, 2 of (s4, s5, s6))").unwrap()),
        seats: BTreeMap::from([("chair".into(), "s3".into())]),
        policy: Some(policy.into()),
        expires: Some(Some(common::now() + 1000)),
        ..anew(&old)
    };
    let healed = good(reshare(&quorum.reconstructor, spec));
    assert!(
        healed
            .warnings
            .iter()
            .any(|warning| warning.contains("nobody may ever reshare")),
        "{:?}",
        healed.warnings
    );
    let new = Arc::new(healed.token);
    let holders: Vec<_> = new.rows.iter().map(|row| row.holder).collect();
    let expected: Vec<_> = [1, 3, 4, 5, 6].map(|place| quorum.holders[place].id).into();
    assert_eq!(holders, expected);
    assert_eq!(
        (&new.body.header.policy[..], &new.public),
        (policy, &old.public)
    );
    for place in [0, 2, 3] {
        quorum.behave(&[(place, Behaviour::Refuses(Word::Refused, "as the test says"))]);
    }
    assert_eq!(
        mac(&quorum.reconstructor, &new),
        tag,
        "s1 and two of s4, s5, s6 are a quorum now"
    );
}

#[test]
fn an_imported_key_is_sealed_anew_under_the_new_deal() {
    let quorum = Quorum::of(3);
    let mut spec = quorum.spec("2 of (s0, s1, s2)", &["hmac-sha256"]);
    spec.imported = Some(SecretVec::from_slice(&[7; 40]).unwrap());
    let old = Arc::new(good(mint(&quorum.reconstructor, spec)).token);
    let mut expected = [0; 32];
    hmac_sha256(&[7; 40], b"m", &mut expected);
    assert_eq!(mac(&quorum.reconstructor, &old), expected);
    let new = Arc::new(good(reshare(&quorum.reconstructor, anew(&old))).token);
    assert_ne!(new.sealed, old.sealed);
    assert_eq!(mac(&quorum.reconstructor, &new), expected);
}

#[test]
fn a_lost_seat_is_given_to_a_new_holder_and_nothing_else_changes() {
    let mut quorum = Quorum::of(6);
    let old = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    quorum.agents[1].stop();
    let healed = good(repair(&quorum.reconstructor, to(&old, "s1", "s5")));
    let new = Arc::new(healed.token);
    assert_eq!(
        (new.id(), &new.body, &new.public),
        (old.id(), &old.body, &old.public)
    );
    for (seat, (after, before)) in new.rows.iter().zip(&old.rows).enumerate() {
        assert_eq!(after == before, seat != 1);
    }
    assert_eq!(new.rows[1].holder, quorum.holders[5].id);
    let table = check(&quorum.reconstructor, &new, true);
    assert!(table.rows.iter().all(|row| row.fault.is_none()) && table.opened.unwrap().is_ok());
    // The new holder counts: without two others it is needed.
    quorum.agents[0].stop();
    quorum.agents[2].stop();
    sign(&quorum.reconstructor, &new).unwrap();
    assert!(sign(&quorum.reconstructor, &old).is_err());
}

#[test]
fn a_seat_deep_in_a_tree_is_repaired_through_the_gates_above_it() {
    let mut quorum = Quorum::of(7);
    let old = quorum.mint("2 of (s0, s1, 2 of (s2, s3, 2 of (s4, s5)))", &["ed25519"]);
    quorum.agents[5].stop();
    let new = Arc::new(good(repair(&quorum.reconstructor, to(&old, "s5", "s6"))).token);
    let table = check(&quorum.reconstructor, &new, true);
    assert!(table.rows.iter().all(|row| row.fault.is_none()) && table.opened.unwrap().is_ok());
    // Through the inner gates alone, the repaired seat among them.
    quorum.agents[1].stop();
    quorum.agents[3].stop();
    sign(&quorum.reconstructor, &new).unwrap();
}

#[test]
fn a_seat_that_no_quorum_can_reach_is_said_to_be_lost_in_time() {
    let mut quorum = Quorum::of(5);
    let old = quorum.mint("2 of (s0, s1, 2 of (s2, s3))", &["ed25519"]);
    quorum.agents[2].stop();
    let error = repair(&quorum.reconstructor, to(&old, "s3", "s4"))
        .err()
        .unwrap();
    assert_eq!(error.code, Code::QuorumNotMet, "{error}");
    assert!(
        error
            .faults
            .iter()
            .any(|fault| fault.seat.as_deref() == Some("s2")),
        "{error}"
    );
    sign(&quorum.reconstructor, &old).unwrap();
}

#[test]
fn a_seat_that_every_quorum_needs_is_said_to_be_lost_at_once() {
    let quorum = Quorum::of(5);
    let old = quorum.mint("2 of (s0, 2 of (s1, s2, s3))", &["ed25519"]);
    let error = repair(&quorum.reconstructor, to(&old, "s0", "s4"))
        .err()
        .unwrap();
    assert_eq!(error.code, Code::QuorumNotMet, "{error}");
    assert_eq!(error.faults.len(), 1);
    assert_eq!(error.faults[0].seat.as_deref(), Some("s0"));
    assert!(error.message.contains("without seat s0"), "{error}");
    assert!(repair(&quorum.reconstructor, to(&old, "s1", "s4")).is_ok());
}

#[test]
fn a_holder_that_sits_already_takes_a_second_seat_only_when_told() {
    let quorum = Quorum::of(3);
    let old = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let error = repair(&quorum.reconstructor, to(&old, "s1", "s2"))
        .err()
        .unwrap();
    assert_eq!(error.code, Code::BadInput);
    assert!(error.message.contains("sits at s2 already"), "{error}");
    let told = RepairSpec {
        even_if_it_sits: true,
        ..to(&old, "s1", "s2")
    };
    let healed = good(repair(&quorum.reconstructor, told));
    assert!(
        healed.warnings.iter().any(|w| w.contains("s2 alone")),
        "{:?}",
        healed.warnings
    );
    for (seat, holder, word) in [("s9", "s0", "no seat"), ("s1", "nobody", "no agent named")] {
        let error = repair(&quorum.reconstructor, to(&old, seat, holder))
            .err()
            .unwrap();
        assert!(
            error.code == Code::BadInput && error.message.contains(word),
            "{error}"
        );
    }
    // A holder whose element was made anew takes its own seat again.
    quorum.agents[1].set_roots(&[(1, [9; 32])]);
    let again = Arc::new(good(repair(&quorum.reconstructor, to(&old, "s1", "s1"))).token);
    assert!(
        check(&quorum.reconstructor, &again, false)
            .rows
            .iter()
            .all(|row| row.fault.is_none())
    );
}

/// Each agent misbehaves at each step in turn; afterwards the old token is as it was.
#[test]
fn whatever_fails_on_the_way_the_old_token_is_as_good_as_before() {
    let quorum = Quorum::of(5);
    let old = quorum.mint("2 of (s0, s1, s2, s3)", &["ed25519"]);
    let faults = [
        Behaviour::Refuses(Word::Refused, "no"),
        Behaviour::Problem(403, "role"),
        Behaviour::Garbage,
        Behaviour::BadRowSignature,
        Behaviour::ElementGone,
        Behaviour::Flood,
    ];
    for (place, fault) in (0..5).flat_map(|place| faults.iter().map(move |fault| (place, fault))) {
        quorum.behave(&[(place, fault.clone())]);
        let refreshed = reshare(&quorum.reconstructor, anew(&old));
        let repaired = repair(&quorum.reconstructor, to(&old, "s1", "s4"));
        quorum.behave(&[(place, Behaviour::Honest)]);
        // A fault of a holder that is to be seated ends a reshare; s4 is in no seat of it.
        let name = format!("s{place}");
        match refreshed {
            Err(error) => {
                assert!(
                    error.faults.iter().any(|fault| fault.holder == name),
                    "{fault:?}: {error}"
                );
                assert!(
                    place < 4 && error.hint.contains("old token is as it was"),
                    "{fault:?}: {error}"
                );
            }
            Ok(_) => assert_eq!(place, 4, "{fault:?}"),
        }
        // Only the new holder must be well for a repair; any two of the others open.
        match repaired {
            Err(error) => {
                assert!(place == 4, "{fault:?}: {error}");
                assert_eq!(error.faults[0].holder, "s4", "{error}");
            }
            Ok(_) => assert_ne!(place, 4, "{fault:?}"),
        }
        let table = check(&quorum.fresh(Settings::default()), &old, true);
        assert!(
            table.rows.iter().all(|row| row.fault.is_none()),
            "{name} {fault:?}"
        );
        assert!(table.opened.unwrap().is_ok());
    }
}

/// A token dealt by hand: these shares, this anchor's seed, these public keys.
struct ByHand {
    quorum: Quorum,
    seed: [u8; 32],
    shares: Vec<[u8; 32]>,
    honest: Arc<Token>,
}

impl ByHand {
    fn new() -> Self {
        let quorum = Quorum::of(4);
        for (agent, root) in quorum.agents.iter().zip(1..) {
            agent.set_roots(&[(1, [root; 32])]);
        }
        let honest = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
        let seed = [5; 32];
        let gate = &honest.body.header.quorum;
        let dealt = sharing::split(&seed, gate, &mut |out| out.fill(77)).unwrap();
        let shares = dealt.iter().map(|share| *share.expose()).collect();
        Self {
            quorum,
            seed,
            shares,
            honest,
        }
    }

    fn token(&self, public: bool) -> Arc<Token> {
        let header = &self.honest.body.header;
        let deal = formula::deal(&header.encode());
        let commitments: Vec<_> = (0..)
            .zip(&self.shares)
            .map(|(seat, share)| formula::commitment(&deal, seat, share))
            .collect();
        let anchor = formula::anchor(&deal, &self.seed);
        let public = match public {
            false => self.honest.public.clone(),
            true => {
                let mut material = [0; 32];
                formula::material(&self.seed, &header.key, "ed25519", &mut material);
                let suite = evanesce_suite::find("ed25519").unwrap();
                let material = evanesce_suite::Material::Derived(&material);
                let spki = evanesce_secret::on_crucible(|| suite.public_key(&material));
                BTreeMap::from([("ed25519".into(), spki.unwrap())])
            }
        };
        let rows = |id: &[u8; 32]| {
            let row = |(place, share): (usize, &[u8; 32])| {
                let (mut y, mut correction) = ([0; 32], [0; 32]);
                let input = formula::contribution(id, place as u32);
                hmac_sha256(&[place as u8 + 1; 32], &input, &mut y);
                formula::pad(&y, &mut correction);
                correction.iter_mut().zip(share).for_each(|(c, s)| *c ^= s);
                let holder = self.quorum.holders[place].id;
                Row {
                    holder,
                    epoch: 1,
                    correction,
                    signature: vec![0; 64],
                }
            };
            self.shares.iter().enumerate().map(row).collect::<Vec<_>>()
        };
        let assemble = |rows| {
            let parts = (commitments.clone(), public.clone());
            Token::assemble(header, anchor, parts.0, parts.1, None, rows, catalogue()).unwrap()
        };
        let id = *assemble(rows(&[0; 32])).id();
        Arc::new(assemble(rows(&id)))
    }
}

#[test]
fn a_dishonest_deal_is_neither_minted_anew_nor_repaired() {
    let mut deal = ByHand::new();
    let sound = deal.token(true);
    let at = &deal.quorum.reconstructor;
    sign(at, &sound).unwrap();
    let inconsistent = |result: Result<Healed, Error>, what: &str| {
        let error = result.err().unwrap();
        assert!(
            error.code == Code::Inconsistent && error.message.contains(what),
            "{error}"
        );
    };
    // Public keys of another seed: nothing about a check or a bare opening shows it.
    let foreign = deal.token(false);
    inconsistent(reshare(at, anew(&foreign)), "other public keys");
    // A share that is committed to and does not lie on the polynomial.
    deal.shares[2] = [99; 32];
    let crooked = deal.token(true);
    let at = &deal.quorum.reconstructor;
    deal.quorum
        .behave(&[(2, Behaviour::Refuses(Word::Refused, "away"))]);
    sign(at, &crooked).unwrap();
    inconsistent(repair(at, to(&crooked, "s2", "s3")), "lost seat's share");
    // What two honest seats open is dealt anew, and well.
    deal.quorum.behave(&[(2, Behaviour::Honest)]);
    let seats = BTreeMap::from([("s2".into(), "s3".into())]);
    deal.quorum
        .behave(&[(2, Behaviour::Refuses(Word::Refused, "away"))]);
    let straight = Arc::new(
        good(reshare(
            at,
            ReshareSpec {
                seats,
                ..anew(&crooked)
            },
        ))
        .token,
    );
    assert!(
        check(at, &straight, true)
            .rows
            .iter()
            .all(|row| row.fault.is_none())
    );
    // An anchor of another seed.
    deal.quorum.behave(&[(2, Behaviour::Honest)]);
    deal.seed = [6; 32];
    let adrift = deal.token(true);
    let at = &deal.quorum.reconstructor;
    inconsistent(reshare(at, anew(&adrift)), "anchor");
    inconsistent(repair(at, to(&adrift, "s1", "s3")), "anchor");
}

#[test]
fn real_agents_decide_who_may_reshare_and_repair() {
    let clerk = Caller::new("clerk");
    let five = real::agents(6, &[(&clerk, "\"caller\", \"reconstructor\"")]);
    let clerks = clerk.reconstructor(five.holders.clone());
    let minted = |policy: &str| {
        let minted = wait(|done| five.reconstructor.mint(real::spec(policy), done));
        Arc::new(good(minted).token)
    };
    // An empty policy grants neither to anyone but a minter.
    let plain = minted("");
    let error = reshare(&clerks, anew(&plain)).err().unwrap();
    assert_eq!(error.code, Code::Refused, "{error}");
    assert!(
        error.to_string().contains("reshare needs the minter role"),
        "{error}"
    );
    let error = repair(&clerks, to(&plain, "s1", "s5")).err().unwrap();
    assert!(
        error.to_string().contains("repair needs the minter role"),
        "{error}"
    );
    let healed = good(reshare(&five.reconstructor, anew(&plain)));
    real::sign(&five.reconstructor, &Arc::new(healed.token)).unwrap();
    // Nor does a policy that does not permit it, whoever asks.
    let narrow = minted("permit(principal, action == Action::\"sign\", resource);");
    for at in [&clerks, &five.reconstructor] {
        for error in [
            reshare(at, anew(&narrow)).err(),
            repair(at, to(&narrow, "s1", "s5")).err(),
        ] {
            assert_eq!(error.unwrap().code, Code::Refused);
        }
    }
    // One that names the actions opens for a caller that is none; seating is a minter's still.
    let wide = minted(
        "permit(principal == Caller::\"clerk\", action in [Action::\"reshare\", Action::\"repair\"], resource);",
    );
    let error = repair(&clerks, to(&wide, "s1", "s5")).err().unwrap();
    assert_eq!(error.code, Code::Role, "{error}");
    assert_eq!(error.faults[0].holder, "s5");
    let error = reshare(&clerks, anew(&wide)).err().unwrap();
    assert_eq!(error.code, Code::Role, "{error}");
    let table = good(wait(|done| {
        five.reconstructor.check(wide.clone(), false, done)
    }));
    assert!(table.rows.iter().all(|row| row.fault.is_none()));
}

#[test]
fn what_real_agents_log_of_a_healing_names_the_new_deal_the_seat_and_the_holder() {
    let five = real::agents(6, &[]);
    let minted = wait(|done| five.reconstructor.mint(real::spec(""), done));
    let old = Arc::new(good(minted).token);
    let entries = |healed: &Healed, action: &str| {
        let verified = healed
            .receipts
            .iter()
            .map(|receipt| receipt.verify().unwrap());
        let mine = verified.filter(|entry| entry.operations.iter().any(|o| o.action == action));
        let mine: Vec<_> = mine.collect();
        let agents: BTreeSet<_> = mine.iter().map(|entry| entry.agent).collect();
        assert_eq!(agents.len(), mine.len(), "each was asked once");
        let what = mine
            .iter()
            .map(|entry| (entry.token, entry.operations[0].input));
        what.collect::<Vec<_>>()
    };
    let healed = good(reshare(&five.reconstructor, anew(&old)));
    let deal = formula::deal(&healed.token.body.header_bytes);
    let digest = formula::input_digest(&healed.salt, "reshare", "", &[&deal]);
    // Of a quorum, or of one more, who was asked because another let us wait.
    let only = |named: Vec<_>, entry| {
        assert!((3..=6).contains(&named.len()), "{}", named.len());
        assert_eq!(named, vec![entry; named.len()]);
    };
    only(entries(&healed, "reshare"), (*old.id(), digest));
    let opened = entries(&healed, "open").len();
    assert!((3..=6).contains(&opened), "the new token was opened once");
    let repaired = good(repair(&five.reconstructor, to(&old, "s1", "s5")));
    let holder = five.holders[5].id;
    let inputs: [&[u8]; 2] = [&1u32.to_be_bytes(), &holder];
    let digest = formula::input_digest(&repaired.salt, "repair", "", &inputs);
    only(entries(&repaired, "repair"), (*old.id(), digest));
}

#[test]
fn a_new_policy_under_which_the_new_token_cannot_be_opened_by_us_does_not_count() {
    let five = real::agents(5, &[]);
    let old = Arc::new(good(wait(|done| five.reconstructor.mint(real::spec(""), done))).token);
    let policy = |text: &str| ReshareSpec {
        policy: Some(text.into()),
        ..anew(&old)
    };
    let narrow = policy("permit(principal, action == Action::\"sign\", resource);");
    let error = reshare(&five.reconstructor, narrow).err().unwrap();
    assert!(
        error.code == Code::Refused && error.hint.contains("Action::\"open\""),
        "{error}"
    );
    let broken = policy("permit(principal, action == Action::\"dance\", resource);");
    assert_eq!(
        reshare(&five.reconstructor, broken).err().unwrap().code,
        Code::Policy
    );
    real::sign(&five.reconstructor, &old).unwrap();
}

#[test]
fn how_many_repairs_there_are_in_a_second() {
    let five = real::agents(6, &[]);
    let tokens: Vec<_> = (0..200)
        .map(|_| Arc::new(good(wait(|done| five.reconstructor.mint(real::spec(""), done))).token))
        .collect();
    let begun = std::time::Instant::now();
    let (tell, told) = std::sync::mpsc::channel();
    for token in &tokens {
        let tell = tell.clone();
        let done = Box::new(move |result: Result<Healed, Error>| tell.send(result).unwrap());
        five.reconstructor.repair(to(token, "s1", "s5"), done);
    }
    drop(tell);
    let healed: Vec<Healed> = told.iter().map(good).collect();
    assert_eq!(healed.len(), tokens.len());
    let rate = healed.len() as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} repairs/s");
}
