//! What people must approve, at the product's own agents: done when all have, once, and not again after a restart.

mod common;

use std::sync::Arc;

use common::real::{Caller, Five, agents, spec};
use common::together::{SUITES, create, renewal};
use common::wait;
use evanesce_approval::{Asked, Statement};
use evanesce_policy::Payload;
use evanesce_quorum::*;
use evanesce_token::mpc::{self, Kind};
use evanesce_token::{Gate, Header, Token, formula};
use evanesce_wire::message::Evidence;

const PAYLOAD: &[u8] = b"{\"amount\":12500}";
const SALT: [u8; 32] = [5; 32];

/// What the approver signs now, for `caller`.
fn approved(token: &Token, caller: &Caller, approver: &Caller) -> Vec<u8> {
    let payload = Payload::read(PAYLOAD).unwrap();
    let input = formula::input_digest(&SALT, "sign", "ed25519", &[PAYLOAD]);
    let asked = Asked {
        token: token.id(),
        key: &token.body.header.name,
        action: "sign",
        suite: "ed25519",
        input: &input,
        caller: &caller.id,
        payload: Some(&payload),
    };
    signed(&asked, approver)
}

/// The same of what is done to the token as a whole.
fn approved_of(
    token: &Token,
    action: &str,
    inputs: &[&[u8]],
    caller: &Caller,
    approver: &Caller,
) -> Vec<u8> {
    let input = formula::input_digest(&SALT, action, "", inputs);
    let asked = Asked {
        token: token.id(),
        key: &token.body.header.name,
        action,
        suite: "",
        input: &input,
        caller: &caller.id,
        payload: None,
    };
    signed(&asked, approver)
}

fn signed(asked: &Asked<'_>, approver: &Caller) -> Vec<u8> {
    let mut nonce = [0; 16];
    evanesce_secret::random(&mut nonce);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let statement = Statement {
        text: asked.text("").unwrap(),
        input: *asked.input,
        nonce,
        suite: asked.suite.into(),
        token: *asked.token,
        action: asked.action.into(),
        caller: *asked.caller,
        expires: now.unwrap().as_secs() + 600,
    };
    statement.sign(&approver.identity()).unwrap().encode()
}

fn pay(
    reconstructor: &Reconstructor,
    token: &Arc<Token>,
    approvals: &[&[u8]],
) -> Result<Outcome, Error> {
    let payload = PAYLOAD.to_vec();
    let job = Job {
        salt: Some(SALT),
        ..Job::new("ed25519", OwnedInput::SignPayload { payload })
    };
    let operation = Operation {
        evidence: Evidence {
            approvals: approvals.iter().map(|one| one.to_vec()).collect(),
            ..Evidence::default()
        },
        ..Operation::new(token.clone(), vec![job])
    };
    wait(|done| reconstructor.submit(operation, done))
}

fn refused(found: Result<Outcome, Error>, what: &str) {
    let error = found.err().unwrap();
    assert_eq!(error.code, Code::Refused, "{error}");
    assert!(
        error.faults.iter().all(|fault| fault.detail.contains(what)),
        "{what}: {error}"
    );
}

#[test]
fn two_people_approve_and_no_agent_takes_their_word_twice_not_after_a_restart_either() {
    let (cfo, ceo) = (Caller::new("cfo"), Caller::new("ceo"));
    let mut three = agents(3, &[(&cfo, "\"approver\""), (&ceo, "\"approver\"")]);
    let policy = "permit(principal, action == Action::\"open\", resource);
        permit(principal, action == Action::\"sign\", resource)
        when { context.approvals.names.containsAll([\"cfo\", \"ceo\"]) };";
    let spec = MintSpec {
        quorum: Gate::parse("3 of (s0, s1, s2)").unwrap(),
        ..spec(policy)
    };
    let minted =
        wait(|done| three.reconstructor.mint(spec, done)).unwrap_or_else(|e| panic!("{e}"));
    let token = Arc::new(minted.token);
    let Five {
        reconstructor,
        caller,
        ..
    } = &three;
    let [by_cfo, by_ceo] = [&cfo, &ceo].map(|approver| approved(&token, caller, approver));
    refused(pay(reconstructor, &token, &[]), "does not permit");
    refused(pay(reconstructor, &token, &[&by_cfo]), "does not permit");
    let own = approved(&token, caller, caller);
    refused(
        pay(reconstructor, &token, &[&by_cfo, &own]),
        "an approver whom this agent does not know",
    );
    let outcome = pay(reconstructor, &token, &[&by_cfo, &by_ceo]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.salts, [SALT]);
    assert_eq!(outcome.receipts.len(), 3);
    for receipt in &outcome.receipts {
        let entry = receipt.verify().unwrap();
        let spent = entry
            .basis
            .approvals
            .iter()
            .map(|one| (one.name.as_str(), one.approver));
        assert_eq!(
            spent.collect::<Vec<_>>(),
            [("cfo", cfo.id), ("ceo", ceo.id)]
        );
    }
    refused(
        pay(reconstructor, &token, &[&by_cfo, &by_ceo]),
        "spent before",
    );

    for agent in 0..3 {
        three.stop(agent);
        three.start(agent);
    }
    let reconstructor = &three.reconstructor;
    refused(
        pay(reconstructor, &token, &[&by_cfo, &by_ceo]),
        "spent before",
    );
    let again = [&cfo, &ceo].map(|approver| approved(&token, &three.caller, approver));
    let again: Vec<&[u8]> = again.iter().map(Vec::as_slice).collect();
    pay(reconstructor, &token, &again).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_reshare_that_was_approved_has_the_header_that_was_approved_and_is_done_once() {
    let cfo = Caller::new("cfo");
    let three = agents(3, &[(&cfo, "\"approver\"")]);
    let Five {
        reconstructor,
        caller,
        ..
    } = &three;
    let policy = "permit(principal, action in [Action::\"open\", Action::\"reshare\", Action::\"retire\"], resource)
        when { context.approvals.names.contains(\"cfo\") };";
    let spec = MintSpec {
        quorum: Gate::parse("3 of (s0, s1, s2)").unwrap(),
        ..spec(policy)
    };
    let minted = wait(|done| reconstructor.mint(spec, done)).unwrap_or_else(|e| panic!("{e}"));
    let old = Arc::new(minted.token);
    let header = Header {
        nonce: [9; 32],
        created: 1_000_000,
        quorum: Gate::parse("2 of (s0, s1, s2)").unwrap(),
        replaces: Some(*old.id()),
        ..old.body.header.clone()
    };
    let reshare = |header: &Header, approvals: &[&[u8]]| {
        let anew = ReshareSpec {
            token: old.clone(),
            quorum: None,
            seats: Default::default(),
            policy: None,
            expires: None,
            policy_check: Box::new(evanesce_policy::check),
        };
        let settled = settled(approvals, Some(header.clone()));
        wait(|done| reconstructor.reshare_settled(anew, settled, done))
    };
    // Of another key, under another name, and of one that replaces nothing.
    for other in [
        Header {
            key: [1; 32],
            ..header.clone()
        },
        Header {
            name: "x".into(),
            ..header.clone()
        },
        Header {
            replaces: None,
            ..header.clone()
        },
    ] {
        assert_eq!(reshare(&other, &[]).err().unwrap().code, Code::BadInput);
    }
    let none = reshare(&header, &[]).err().unwrap();
    assert_eq!(none.code, Code::Refused, "{none}");
    let deal = formula::deal(&header.encode());
    let word = approved_of(&old, "reshare", &[&deal], caller, &cfo);
    let other = Header {
        nonce: [8; 32],
        ..header.clone()
    };
    let another = reshare(&other, &[&word]).err().unwrap();
    assert!(
        another.faults[0].detail.contains("another input"),
        "{another}"
    );
    let healed = reshare(&header, &[&word]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(healed.token.body.header, header);
    assert_eq!(healed.token.public, old.public);
    assert_eq!(healed.salt, SALT);
    // It counts once it was opened, and its policy waits for people then.
    assert_eq!(healed.unproven.unwrap().code, Code::Refused);
    let new = Arc::new(healed.token);
    let open = |approvals: &[&[u8]]| {
        let settled = settled(approvals, None);
        let table = wait(|done| reconstructor.check_settled(new.clone(), Some(settled), done));
        table.unwrap_or_else(|e| panic!("{e}"))
    };
    assert!(open(&[]).opened.unwrap().is_err());
    let word = approved_of(&new, "open", &[], caller, &cfo);
    let opened = open(&[&word]);
    assert!(opened.opened.unwrap().is_ok() && opened.salt == Some(SALT));
    let again = reshare(&header, &[&approved_of(&old, "retire", &[], caller, &cfo)]);
    assert!(again.err().unwrap().faults[0].detail.contains("another"));
    let word = approved_of(&old, "reshare", &[&deal], caller, &cfo);
    assert!(reshare(&header, &[&word]).is_ok());
    let twice = reshare(&header, &[&word]).err().unwrap();
    assert!(twice.faults[0].detail.contains("spent before"), "{twice}");
    let word = approved_of(&old, "retire", &[], caller, &cfo);
    let retired =
        wait(|done| reconstructor.retire_settled(old.clone(), settled(&[&word], None), done));
    assert!(retired.unwrap_or_else(|e| panic!("{e}")).dead);
}

#[test]
fn an_approved_repair_asks_only_those_for_help_that_are_there() {
    let cfo = Caller::new("cfo");
    let mut six = agents(6, &[(&cfo, "\"approver\"")]);
    let policy = "permit(principal, action == Action::\"repair\", resource)
        when { context.approvals.names.contains(\"cfo\") };";
    let token = create(
        &six,
        Kind::Kept,
        SUITES[0],
        "3 of (s0, s1, s2, s3, s4)",
        policy,
    );
    // s1 is lost, and s0 is away, which would be asked before any other
    six.stop(1);
    six.stop(0);
    let holder = six.holders[5].id;
    let asked = Asked {
        token: token.id(),
        key: &token.body.header.name,
        action: "repair",
        suite: "",
        input: &formula::input_digest(&SALT, "repair", "", &[&1u32.to_be_bytes(), &holder]),
        caller: &six.caller.id,
        payload: None,
    };
    let word = signed(&asked, &cfo);
    let repair = |approvals: &[&[u8]]| {
        let spec = ThresholdRepairSpec {
            token: token.clone(),
            seat: "s1".into(),
            holder: "s5".into(),
        };
        let settled = settled(approvals, None);
        let done = wait(|done| six.reconstructor.repair_threshold(spec, settled, done));
        done as Result<ThresholdRepaired, Error>
    };
    assert_eq!(repair(&[]).err().unwrap().code, Code::QuorumNotMet);
    let done = repair(&[&word]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.token.rows[1].holder, holder);
    let named: Vec<_> = done.faults.iter().map(|f| f.seat.as_deref()).collect();
    assert_eq!(named, [Some("s0")]);
    let again = repair(&[&word]).err().unwrap();
    assert!(
        again
            .faults
            .iter()
            .any(|f| f.detail.contains("spent before")),
        "{again}"
    );
}

#[test]
fn what_is_approved_of_a_key_for_another_quorum_is_who_has_it_then() {
    let cfo = Caller::new("cfo");
    let mut five = agents(5, &[(&cfo, "\"approver\"")]);
    let policy = "permit(principal, action == Action::\"reshare\", resource)
        when { context.approvals.names.contains(\"cfo\") };";
    let old = create(&five, Kind::Kept, SUITES[0], "2 of (s0, s1, s2)", policy);
    five.stop(1);
    let header = mpc::Header {
        nonce: [9; 32],
        created: 1_000_000,
        quorum: Gate::parse("3 of (s0, s2, new)").unwrap(),
        replaces: Some(*old.id()),
        ..old.body.header.clone()
    };
    let reshare = |header: &mpc::Header, holder: &str, approvals: &[&[u8]]| {
        let spec = RenewalSpec {
            seats: [("new".to_owned(), holder.to_owned())].into(),
            header: Some(header.clone()),
            ..renewal(&old)
        };
        let settled = settled(approvals, None);
        let done = wait(|done| five.reconstructor.renew_settled(spec, settled, done));
        done as Result<Renewed, Error>
    };
    for other in [
        mpc::Header {
            name: "x".into(),
            ..header.clone()
        },
        mpc::Header {
            suite: SUITES[1].into(),
            ..header.clone()
        },
    ] {
        let error = reshare(&other, "s3", &[]).err().unwrap();
        assert_eq!(error.code, Code::BadInput, "{error}");
    }
    let deal = mpc::formula::deal(Kind::Kept, &header.encode());
    let ids = [0, 2, 3].map(|agent: usize| five.holders[agent].id);
    let inputs = mpc::formula::reshare_inputs(&deal, &ids);
    let asked = Asked {
        token: old.id(),
        key: &old.body.header.name,
        action: "reshare",
        suite: "",
        input: &formula::input_digest(&SALT, "reshare", "", &inputs),
        caller: &five.caller.id,
        payload: None,
    };
    let word = signed(&asked, &cfo);
    let fails = |done: Result<Renewed, Error>, what: &str| {
        let error = done.err().unwrap();
        let says = |fault: &Fault| fault.detail.contains(what);
        assert!(!error.faults.is_empty(), "{error}");
        assert!(error.faults.iter().all(says), "{what}: {error}");
    };
    // The same header, and another agent at the new seat.
    fails(reshare(&header, "s4", &[&word]), "another input");
    let done = reshare(&header, "s3", &[&word]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.token.body.header, header);
    let holders: Vec<_> = done.token.rows.iter().map(|row| row.holder).collect();
    assert_eq!((holders.as_slice(), done.salt), (&ids[..], SALT));
    fails(reshare(&header, "s3", &[&word]), "spent before");
}

/// A key, and new shares of it for the same holders, which `cfo` has approved once.
struct Renewing {
    five: Five,
    old: Arc<mpc::Token>,
    header: mpc::Header,
    word: Vec<u8>,
}

impl Renewing {
    fn new() -> Self {
        let cfo = Caller::new("cfo");
        let five = agents(5, &[(&cfo, "\"approver\"")]);
        let policy = "permit(principal, action == Action::\"reshare\", resource)
            when { context.approvals.names.contains(\"cfo\") };";
        let old = create(&five, Kind::Kept, SUITES[0], "2 of (s0, s1, s2)", policy);
        let header = mpc::Header {
            nonce: [9; 32],
            created: 1_000_000,
            replaces: Some(*old.id()),
            ..old.body.header.clone()
        };
        let deal = mpc::formula::deal(Kind::Kept, &header.encode());
        let ids = [0, 1, 2].map(|agent: usize| five.holders[agent].id);
        let inputs = mpc::formula::reshare_inputs(&deal, &ids);
        let asked = Asked {
            token: old.id(),
            key: &old.body.header.name,
            action: "reshare",
            suite: "",
            input: &formula::input_digest(&SALT, "reshare", "", &inputs),
            caller: &five.caller.id,
            payload: None,
        };
        let word = signed(&asked, &cfo);
        Self {
            five,
            old,
            header,
            word,
        }
    }

    fn renew(&self, token: &Arc<mpc::Token>) -> Result<Renewed, Error> {
        let spec = RenewalSpec {
            header: Some(self.header.clone()),
            ..renewal(token)
        };
        let settled = settled(&[&self.word], None);
        wait(|done| self.five.reconstructor.renew_settled(spec, settled, done))
    }
}

#[test]
fn what_is_approved_of_new_shares_is_who_has_them_then_where_nobody_new_is_to() {
    let renewing = Renewing::new();
    // Rows are outside of the id: a coordinator writes agents of its own into them, and all else is as it was.
    for (seat, agent) in [(1, 3), (2, 4)] {
        let mut altered = mpc::Token::clone(&renewing.old);
        altered.rows[seat].holder = renewing.five.holders[agent].id;
        let error = renewing.renew(&Arc::new(altered)).err().unwrap();
        let says = |fault: &Fault| fault.detail.contains("another input");
        assert!(
            error.faults.iter().filter(|fault| says(fault)).count() >= 2,
            "{error}"
        );
    }
    let done = renewing
        .renew(&renewing.old)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.token.body.header, renewing.header);
    let holders: Vec<_> = done.token.rows.iter().map(|row| row.holder).collect();
    let ids = [0, 1, 2].map(|agent: usize| renewing.five.holders[agent].id);
    assert_eq!((holders.as_slice(), done.salt), (&ids[..], SALT));
}

#[test]
fn what_was_approved_of_new_shares_is_spent_where_they_come_to_nothing_afterwards() {
    let renewing = Renewing::new();
    let shares = renewing.five.place(1).join("shares");
    std::fs::remove_dir_all(shares).unwrap();
    let error = renewing.renew(&renewing.old).err().unwrap();
    assert_eq!(error.code, Code::Spent, "{error}");
    assert!(error.message.contains("mpc-take"), "{error}");
    assert!(error.hint.contains("The old token is as it was"), "{error}");
    assert!(error.hint.contains("ask people anew"), "{error}");
    let named: Vec<_> = error.faults.iter().map(|f| f.seat.as_deref()).collect();
    assert_eq!(named, [Some("s1")], "{error}");
}

#[test]
fn nothing_that_was_approved_is_taken_while_a_holder_is_away() {
    let mut renewing = Renewing::new();
    renewing.five.stop(1);
    let error = renewing.renew(&renewing.old).err().unwrap();
    assert_eq!(error.code, Code::QuorumNotMet, "{error}");
    renewing.five.start(1);
    let renewed = renewing.renew(&renewing.old);
    renewed.unwrap_or_else(|e| panic!("{e}"));
}

fn settled(approvals: &[&[u8]], header: Option<Header>) -> Settled {
    Settled {
        salt: Some(SALT),
        evidence: Evidence {
            approvals: approvals.iter().map(|one| one.to_vec()).collect(),
            ..Evidence::default()
        },
        header,
    }
}
