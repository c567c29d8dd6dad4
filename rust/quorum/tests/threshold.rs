//! Keys that are never put together, made and used with the product's own agents: both suites, both kinds, and others in the place of
//! whoever is silent, refuses, or is not what it was.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use common::counted::Counts;
use common::proxy::delaying;
use common::real::{agents, agents_that_prepare};
use common::together::*;
use common::wait;
use evanesce_quorum::*;
use evanesce_token::mpc::{Kind, Token};
use evanesce_wire::message::Command;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_key_is_made_among_agents_and_its_signatures_are_those_of_any_other_key() {
    let five = agents(3, &[]);
    for suite in SUITES {
        for kind in Kind::ALL {
            let token = create(&five, kind, suite, "2 of (s0, s1, s2)", "");
            let decoded = Token::decode(&token.encode()).unwrap();
            assert_eq!(decoded, *token);
            let messages: [&[u8]; 3] = [b"one", b"", b"three"];
            let sign = || sign(&five, &token, messages.map(message).into());
            let signed = undisturbed(|| sign().unwrap_or_else(|e| panic!("{e}")));
            for (message, output) in messages.iter().zip(&signed.outputs) {
                assert!(verifies(&token, message, output), "{suite}");
                assert!(!verifies(&token, b"another", output));
            }
            assert_eq!(signed.receipts.len(), 2);
            for receipt in &signed.receipts {
                let entry = receipt.verify().unwrap();
                assert_eq!(
                    (entry.verb.as_str(), entry.code.as_str()),
                    ("mpc-commit", "done")
                );
                assert_eq!(entry.operations.len(), 3);
                assert!(entry.operations.iter().all(|one| one.action == "sign"));
            }
            let table = wait(|done| five.reconstructor.check_threshold(token.clone(), done));
            let table: CheckTable = table.unwrap();
            assert!(table.sufficient && table.rows.iter().all(|row| row.fault.is_none()));
        }
    }
    // of the four keys, two are of the kind whose shares are kept
    assert!((0..3).all(|agent| kept(&five, agent) == 2));
}

/// What comes of it where nobody was taken for slow, as on a machine that stalls, where it is tried again.
fn undisturbed(sign: impl Fn() -> Outcome) -> Outcome {
    let mut signed = (0..5).map(|_| sign());
    signed.find(|one| one.faults.is_empty()).unwrap()
}

#[test]
fn whoever_is_away_or_not_what_it_was_is_named_and_others_sign() {
    let mut five = agents(4, &[]);
    for kind in Kind::ALL {
        let token = create(&five, kind, SUITES[0], "2 of (s0, s1, s2, s3)", "");
        let mut kinds = Vec::new();
        // whoever is nearest is asked first: it is among the one two or the other
        for two in [0..2, 2..4] {
            let mut altered = Token::clone(&token);
            for row in &mut altered.rows[two] {
                row.correction[0] ^= 1;
                row.epoch += 1;
            }
            let signed = sign(&five, &Arc::new(altered), vec![message(b"m")]);
            let signed = signed.unwrap_or_else(|e| panic!("{e}"));
            assert!(verifies(&token, b"m", &signed.outputs[0]));
            kinds.extend(signed.faults.iter().map(|fault| fault.kind));
        }
        // a machine that stalls
        kinds.retain(|kind| *kind != FaultKind::Slow);
        assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == FaultKind::RowAltered));
    }
    let quorum = "2 of (s0, s1, s2, s3)";
    let token = create(&five, Kind::Regenerated, SUITES[1], quorum, "");
    five.stop(0);
    five.stop(2);
    for _ in 0..2 {
        let signed = sign(&five, &token, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(&token, b"m", &signed.outputs[0]));
    }
    five.stop(3);
    let error = sign(&five, &token, vec![message(b"m")]).err().unwrap();
    assert_eq!(error.code, Code::QuorumNotMet, "{error}");
    assert!(error.faults.len() >= 2, "{error}");
}

#[test]
fn those_who_are_far_away_are_waited_for() {
    let five = agents(3, &[]);
    let token = create(&five, Kind::Regenerated, SUITES[0], "2 of (s0, s1, s2)", "");
    // A second round takes longer than a holder nearby is given, every time.
    let mut far = five.holders.clone();
    for holder in &mut far {
        let near = holder.address.parse().unwrap();
        holder.address = delaying(near, Duration::from_millis(400)).to_string();
    }
    let reconstructor = five.caller.reconstructor(far);
    let signed = sign_at(&reconstructor, &token, vec![message(b"m")], Some(MINUTE));
    let signed = signed.unwrap_or_else(|e| panic!("{e}"));
    assert!(verifies(&token, b"m", &signed.outputs[0]));
}

#[test]
fn those_who_sign_slowly_are_given_more_time_with_each_try() {
    let five = agents(3, &[]);
    let token = create(&five, Kind::Regenerated, SUITES[0], "2 of (s0, s1, s2)", "");
    let counts = Arc::new(Counts::default());
    let holders = five.holders.clone();
    let reconstructor = five.caller.reconstructor_over(counts.dial(), holders);
    // Longer than whoever commits at once is waited for at first.
    counts.late.store(1000, SeqCst);
    let signed = sign_at(&reconstructor, &token, vec![message(b"m")], Some(MINUTE));
    let signed = signed.unwrap_or_else(|e| panic!("{e}"));
    assert!(verifies(&token, b"m", &signed.outputs[0]));
    let asked = counts.posts()["/v1/mpc-sign"];
    assert!((2..=8).contains(&asked), "{asked}");
}

fn verbs(outcome: &Outcome) -> Vec<String> {
    let entries = outcome.receipts.iter().map(|one| one.verify().unwrap());
    entries.map(|entry| entry.verb).collect()
}

/// Signs until nonces that were prepared in nobody's time are signed under.
fn until_in_one_round(sign: impl Fn() -> Outcome) {
    let begun = Instant::now();
    while verbs(&sign()) != ["mpc-once", "mpc-once"] {
        assert!(begun.elapsed() < MINUTE);
    }
}

#[test]
fn where_agents_prepare_nonces_each_is_asked_once_for_a_signature_and_two_rounds_remain() {
    let five = agents_that_prepare(2);
    let counts = Arc::new(Counts::default());
    let holders = five.holders.clone();
    let reconstructor = five.caller.reconstructor_over(counts.dial(), holders);
    for suite in SUITES {
        // Nobody could sign in the place of another, so that nobody is taken for slow.
        let token = create(&five, Kind::Regenerated, suite, "2 of (s0, s1)", "");
        let sign = |inputs| {
            let signed = sign_at(&reconstructor, &token, inputs, Some(MINUTE));
            let signed = signed.unwrap_or_else(|e| panic!("{e}"));
            assert!(signed.faults.is_empty(), "{:?}", signed.faults);
            assert!(verifies(&token, b"m", &signed.outputs[0]));
            signed
        };
        let first = verbs(&sign(vec![message(b"m")]));
        assert_eq!(first, ["mpc-commit", "mpc-commit"]);
        until_in_one_round(|| sign(vec![message(b"m")]));
        counts.posts();
        for n in 1..5 {
            let signed = sign((0..n).map(|_| message(b"m")).collect());
            assert_eq!(verbs(&signed), ["mpc-once", "mpc-once"]);
            let posts = counts.posts();
            assert_eq!(posts, [("/v1/mpc-once".to_owned(), 2)].into());
        }
        // One that breaks off costs a round, and nobody is named for it.
        counts.broken.store(1, SeqCst);
        let signed = sign(vec![message(b"m")]);
        assert_eq!(verbs(&signed).last().unwrap(), "mpc-commit");
        assert_eq!(counts.posts()["/v1/mpc-sign"], 2);
        assert_eq!(counts.broken.load(SeqCst), 0);
    }
}

#[test]
fn whoever_leaves_one_round_unanswered_is_named_and_not_asked_for_another() {
    let five = agents_that_prepare(3);
    let counts = Arc::new(Counts::default());
    let holders = five.holders.clone();
    let reconstructor = five.caller.reconstructor_over(counts.dial(), holders);
    let named = || {
        let token = create(&five, Kind::Kept, SUITES[0], "2 of (s0, s1, s2)", "");
        let sign = || {
            let signed = sign_at(&reconstructor, &token, vec![message(b"m")], Some(MINUTE));
            let signed = signed.unwrap_or_else(|e| panic!("{e}"));
            assert!(verifies(&token, b"m", &signed.outputs[0]));
            signed
        };
        until_in_one_round(sign);
        counts.silence_next();
        let signed = sign();
        let (agent, asked) = counts.silenced().unwrap();
        assert_eq!(asked, 1);
        for _ in 0..3 {
            sign();
        }
        assert_eq!(counts.silenced(), Some((agent, 1)));
        let mut faults = signed.faults.iter();
        faults.any(|fault| fault.holder_id == agent && fault.kind == FaultKind::Slow)
    };
    // On a machine where the others are slow as well, all of them are asked again.
    assert!((0..5).any(|_| named()));
}

#[test]
fn who_refuses_in_one_round_is_not_asked_in_two() {
    let five = agents_that_prepare(2);
    let counts = Arc::new(Counts::default());
    let holders = five.holders.clone();
    let reconstructor = five.caller.reconstructor_over(counts.dial(), holders);
    let policy = "@payload(\"{amount: Long}\")\npermit(principal, action == Action::\"sign\", resource) when { context.payload.amount < 100 };";
    let (kind, suite) = (Kind::Regenerated, SUITES[0]);
    let token = create(&five, kind, suite, "2 of (s0, s1)", policy);
    let sign = |payload: &[u8]| {
        let payload = payload.to_vec();
        let inputs = vec![OwnedInput::SignPayload { payload }];
        sign_at(&reconstructor, &token, inputs, Some(MINUTE))
    };
    until_in_one_round(|| sign(b"{\"amount\":99}").unwrap_or_else(|e| panic!("{e}")));
    counts.posts();
    let error = sign(b"{\"amount\":100}").err().unwrap();
    assert_eq!(error.code, Code::Refused, "{error}");
    assert_eq!(error.faults.len(), 2, "{error}");
    assert_eq!(counts.posts(), [("/v1/mpc-once".to_owned(), 2)].into());
}

#[test]
fn agents_that_prepare_nothing_are_asked_for_it_once_and_sign_in_two_rounds() {
    let five = agents(2, &[]);
    let counts = Arc::new(Counts::default());
    let holders = five.holders.clone();
    let reconstructor = five.caller.reconstructor_over(counts.dial(), holders);
    let token = create(&five, Kind::Kept, SUITES[0], "2 of (s0, s1)", "");
    let (begun, mut prepares, mut after) = (Instant::now(), 0, 0);
    // until what goes on in nobody's time has been done as well, and some more
    while after < 3 && begun.elapsed() < MINUTE {
        let signed = sign_at(&reconstructor, &token, vec![message(b"m")], Some(MINUTE));
        let signed = signed.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(verbs(&signed), ["mpc-commit", "mpc-commit"]);
        let posts = counts.posts();
        prepares += posts.get("/v1/mpc-prepare").copied().unwrap_or(0);
        assert!(!posts.contains_key("/v1/mpc-once"));
        after += usize::from(prepares == 2);
    }
    assert_eq!(prepares, 2, "each once");
}

#[test]
fn agents_sign_what_their_policy_permits_and_nothing_else() {
    let five = agents(3, &[]);
    let policy = "@payload(\"{amount: Long}\")\npermit(principal, action == Action::\"sign\", resource) when { context.payload.amount < 100 };";
    let token = create(
        &five,
        Kind::Regenerated,
        SUITES[0],
        "2 of (s0, s1, s2)",
        policy,
    );
    let payload = |amount: u64| OwnedInput::SignPayload {
        payload: format!("{{\"amount\":{amount}}}").into_bytes(),
    };
    let signed = sign(&five, &token, vec![payload(99)]).unwrap_or_else(|e| panic!("{e}"));
    assert!(verifies(&token, b"{\"amount\":99}", &signed.outputs[0]));
    for refused in [
        vec![payload(100)],
        vec![payload(1), payload(100)],
        vec![message(b"m")],
    ] {
        let error = sign(&five, &token, refused).err().unwrap();
        assert_eq!(error.code, Code::Refused, "{error}");
    }
}

#[test]
fn an_order_ends_or_stops_a_key_and_what_was_kept_of_it_is_gone() {
    let five = agents(3, &[]);
    for kind in Kind::ALL {
        let token = create(&five, kind, SUITES[1], "2 of (s0, s1, s2)", "");
        let order = |command| {
            let versions = vec![token.clone()];
            let ordered = wait(|done| five.reconstructor.order_threshold(versions, command, done));
            let ordered: Ordered = ordered.unwrap_or_else(|e: Error| panic!("{e}"));
            assert!(ordered.settled);
        };
        order(Command::Freeze);
        let error = sign(&five, &token, vec![message(b"m")]).err().unwrap();
        assert_eq!(error.code, Code::Refused, "{error}");
        assert!(
            error
                .faults
                .iter()
                .all(|fault| fault.detail.contains("frozen"))
        );
        order(Command::Thaw);
        sign(&five, &token, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        order(Command::Revoke);
        let error = sign(&five, &token, vec![message(b"m")]).err().unwrap();
        assert_eq!(error.code, Code::Refused, "{error}");
        assert!(
            error
                .faults
                .iter()
                .all(|fault| fault.detail.contains("retired"))
        );
    }
    assert!((0..3).all(|agent| kept(&five, agent) == 0));
}

#[test]
fn nothing_is_left_of_a_key_that_not_all_would_make() {
    let mut five = agents(3, &[]);
    let whole = spec(Kind::Kept, SUITES[0], "2 of (s0, s1, s2)", "");
    five.stop(1);
    let made = wait(|done| five.reconstructor.create_threshold(whole, done));
    let error: Error = made.err().unwrap();
    assert!(
        error.faults.iter().all(|fault| fault.holder == "s1"),
        "{error}"
    );
    assert_eq!(kept(&five, 0) + kept(&five, 2), 0);
    for (quorum, suite, why) in [
        ("1 of (s0, s2)", SUITES[0], "2 or more"),
        ("2 of (s0, 1 of (s1, s2))", SUITES[0], "flat"),
        ("2 of (s0, s2)", "ed25519", "no threshold suite"),
    ] {
        let spec = spec(Kind::Regenerated, suite, quorum, "");
        let made = wait(|done| five.reconstructor.create_threshold(spec, done));
        let error: Error = made.err().unwrap();
        assert!(
            error.code == Code::BadInput && error.message.contains(why),
            "{error}"
        );
    }
}

#[test]
fn kept_shares_become_regenerated_ones_of_the_same_key_and_go_only_then() {
    let five = agents(3, &[]);
    let policy = "permit(principal, action, resource);";
    for suite in SUITES {
        let old = create(&five, Kind::Kept, suite, "2 of (s0, s1, s2)", policy);
        let renewed = renew(&five, &old, Some(Kind::Regenerated)).unwrap_or_else(|e| panic!("{e}"));
        let new = renewed.token.clone();
        assert_eq!(new.body.vector[0], old.body.vector[0]);
        assert!(new.id() != old.id() && new.body.header.replaces == Some(*old.id()));
        let verbs: Vec<_> = renewed
            .receipts
            .iter()
            .map(|r| r.verify().unwrap().verb)
            .collect();
        assert_eq!(
            verbs.iter().filter(|verb| *verb == "mpc-announce").count(),
            3
        );
        // as long as it is not ended, both are there
        for token in [&old, &new] {
            let signed = sign(&five, token, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
            assert!(verifies(&old, b"m", &signed.outputs[0]));
        }
        assert!((0..3).all(|agent| kept(&five, agent) == 1));
        let end = wait(|done| five.reconstructor.finish_renewal(Arc::new(renewed), done));
        let end: Renewal = end.unwrap_or_else(|e: Error| panic!("{e}"));
        assert!(end.removed == 3 && end.faults.is_empty());
        assert!((0..3).all(|agent| kept(&five, agent) == 0));
        let error = sign(&five, &old, vec![message(b"m")]).err().unwrap();
        assert_eq!(error.code, Code::TokenAltered, "{error}");
        let signed = sign(&five, &new, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(&old, b"m", &signed.outputs[0]));
        // and again, from regenerated to regenerated
        let again = renew(&five, &new, None)
            .unwrap_or_else(|e| panic!("{e}"))
            .token;
        assert!(again.body.vector[0] == old.body.vector[0] && again.body.vector != new.body.vector);
        let signed = sign(&five, &again, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(&old, b"m", &signed.outputs[0]));
    }
    // shares of one policy are renewed as that policy has it
    let policy = "permit(principal, action == Action::\"sign\", resource);";
    let token = create(&five, Kind::Kept, SUITES[0], "2 of (s0, s1, s2)", policy);
    let error = renew(&five, &token, Some(Kind::Regenerated)).err().unwrap();
    assert_eq!(error.code, Code::Refused, "{error}");
    assert!(error.hint.contains("The old token is as it was"), "{error}");
    assert!((0..3).all(|agent| kept(&five, agent) == 1));
}
