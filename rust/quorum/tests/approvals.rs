//! What people must approve, at the product's own agents: done when all have, once, and not again after a restart.

mod common;

use std::sync::Arc;

use common::real::{Caller, Five, agents, holder, spec};
use common::wait;
use evanesce_agent::Config;
use evanesce_approval::{Asked, Statement};
use evanesce_policy::Payload;
use evanesce_quorum::*;
use evanesce_token::{Gate, Token, formula};
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
    let mut nonce = [0; 16];
    evanesce_secret::random(&mut nonce);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let statement = Statement {
        text: asked.text("").unwrap(),
        input,
        nonce,
        suite: "ed25519".into(),
        token: *token.id(),
        action: "sign".into(),
        caller: caller.id,
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

    let mut holders = Vec::new();
    for (place, old) in three.holders.clone().into_iter().enumerate() {
        three.agents[place] = None;
        let at = three.folder.path().join(&old.name).join("agent.toml");
        let agent = evanesce_agent::spawn(Config::load(&at).unwrap()).unwrap();
        holders.push(holder(&old.name, old.id, agent.address().to_string()));
        three.agents[place] = Some(agent);
    }
    let reconstructor = three.caller.reconstructor(holders);
    refused(
        pay(&reconstructor, &token, &[&by_cfo, &by_ceo]),
        "spent before",
    );
    let again = [&cfo, &ceo].map(|approver| approved(&token, &three.caller, approver));
    let again: Vec<&[u8]> = again.iter().map(Vec::as_slice).collect();
    pay(&reconstructor, &token, &again).unwrap_or_else(|e| panic!("{e}"));
}
