//! What a caller lives through: dead, slow, silent, lying and refusing holders, over real connections.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use common::*;
use evanesce_quorum::{Code as E, FaultKind, Settings};
use evanesce_suite::Output;
use evanesce_wire::message::Code;

fn faults_of(faults: &[evanesce_quorum::Fault]) -> Vec<(&str, FaultKind)> {
    faults
        .iter()
        .map(|fault| (fault.seat.as_deref().unwrap_or(""), fault.kind))
        .collect()
}

fn code_and_faults(error: &evanesce_quorum::Error) -> (E, Vec<(&str, FaultKind)>) {
    (error.code, faults_of(&error.faults))
}

const THREE_OF_FIVE: &str = "3 of (s0, s1, s2, s3, s4)";

#[test]
fn a_quorum_mints_and_signs_and_three_are_enough() {
    let mut quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519", "hmac-sha256"]);
    assert!(
        sign(&quorum.reconstructor, &token)
            .unwrap()
            .faults
            .is_empty()
    );
    quorum.agents[0].stop();
    quorum.agents[3].stop();
    sign(&quorum.reconstructor, &token).unwrap();
    sign(&quorum.fresh(Settings::default()), &token).unwrap();
    quorum.agents[1].stop();
    let error = sign(&quorum.reconstructor, &token).err().unwrap();
    let down = FaultKind::Unreachable;
    assert_eq!(
        code_and_faults(&error),
        (
            E::QuorumNotMet,
            vec![("s0", down), ("s1", down), ("s3", down)]
        ),
        "{error}"
    );
    quorum.agents[3].resume();
    sign(&quorum.reconstructor, &token).unwrap();
}

#[test]
fn one_silent_holder_is_made_up_for_and_named() {
    let quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    for _ in 0..20 {
        sign(&quorum.reconstructor, &token).unwrap();
    }
    let mut named = 0;
    for silent in 0..5 {
        quorum.behave(&[(silent, Behaviour::Silent)]);
        let outcome = sign(&quorum.reconstructor, &token).unwrap();
        for fault in &outcome.faults {
            assert_eq!(
                (fault.seat.as_deref(), fault.kind),
                (Some(&*format!("s{silent}")), FaultKind::Slow)
            );
            named += 1;
        }
        sign(&quorum.reconstructor, &token).unwrap();
        quorum.behave(&[(silent, Behaviour::Honest)]);
    }
    // Three of five are asked at a time, so that some of the five in turn were asked and missed.
    assert!(named > 0, "nobody was named");
}

#[test]
fn a_holder_that_completes_no_connection_is_unreachable_and_not_slow() {
    let mut quorum = Quorum::of(3);
    let token = quorum.mint("3 of (s0, s1, s2)", &["ed25519"]);
    quorum.agents[1].stop();
    // The kernel completes TCP for it, and nobody speaks.
    let _mute = std::net::TcpListener::bind(quorum.agents[1].address).unwrap();
    let caller = quorum.fresh(Settings {
        deadline: Duration::from_millis(300),
        ..Settings::default()
    });
    let error = sign(&caller, &token).err().unwrap();
    assert_eq!(
        code_and_faults(&error),
        (E::QuorumNotMet, vec![("s1", FaultKind::Unreachable)]),
        "{error}"
    );
}

#[test]
fn a_request_that_nobody_waits_for_any_more_is_reset_long_before_the_deadline() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let caller = quorum.fresh(Settings {
        deadline: Duration::from_secs(10),
        ..Settings::default()
    });
    for _ in 0..20 {
        sign(&caller, &token).unwrap();
    }
    // Two of them are asked first.
    for agent in &quorum.agents[..2] {
        let shared = &agent.shared;
        let counts = || [&shared.connections, &shared.offers].map(|count| count.load(SeqCst));
        let (ways, asked) = (counts(), shared.requests.load(SeqCst));
        agent.behave(Behaviour::Silent);
        sign(&caller, &token).unwrap();
        let begun = Instant::now();
        let asked = shared.requests.load(SeqCst) > asked;
        while asked && shared.resets.load(SeqCst) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "not reset");
            std::thread::sleep(Duration::from_millis(1));
        }
        agent.behave(Behaviour::Honest);
        assert_eq!(
            counts(),
            ways,
            "one request lost is no reason to connect anew"
        );
    }
    let resets = |agent: &FakeAgent| agent.shared.resets.load(SeqCst);
    assert!(quorum.agents.iter().map(resets).sum::<usize>() > 0);
}

#[test]
fn silent_from_the_first_moment_two_of_five_are_made_up_for_within_the_deadline() {
    let quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    quorum.behave(&[(0, Behaviour::Silent), (1, Behaviour::Silent)]);
    sign(&quorum.fresh(Settings::default()), &token).unwrap();
}

#[test]
fn too_many_silent_end_at_the_deadline() {
    let quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    quorum.behave(&[
        (0, Behaviour::Silent),
        (2, Behaviour::Silent),
        (4, Behaviour::Silent),
    ]);
    let settings = Settings {
        deadline: Duration::from_millis(600),
        ..Settings::default()
    };
    let begun = Instant::now();
    let error = sign(&quorum.fresh(settings.clone()), &token).err().unwrap();
    let slow = FaultKind::Slow;
    assert_eq!(
        code_and_faults(&error),
        (
            E::QuorumNotMet,
            vec![("s0", slow), ("s2", slow), ("s4", slow)]
        ),
        "{error}"
    );
    let took = begun.elapsed();
    assert!(
        settings.deadline <= took && took < 5 * settings.deadline,
        "{took:?}"
    );
}

#[test]
fn refusals_are_made_up_for_or_explained() {
    let quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    let no = || Behaviour::Refuses(Code::Refused, "policy \u{1b}[31mforbids");
    quorum.behave(&[(0, no()), (1, no())]);
    let outcome = sign(&quorum.fresh(Settings::default()), &token).unwrap();
    assert_eq!(
        faults_of(&outcome.faults),
        [("s0", FaultKind::Refused), ("s1", FaultKind::Refused)]
    );
    assert!(
        outcome.faults[0]
            .detail
            .contains("policy \\u{1b}[31mforbids"),
        "{}",
        outcome.faults[0].detail
    );
    quorum.behave(&[(2, no()), (3, no()), (4, no())]);
    let error = sign(&quorum.reconstructor, &token).err().unwrap();
    assert_eq!(error.code, E::Refused, "{error}");
}

#[test]
fn each_way_of_saying_no_has_its_code() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let cases = [
        (Behaviour::Refuses(Code::Expired, ""), E::Expired),
        (Behaviour::Refuses(Code::Retired, ""), E::Refused),
        (Behaviour::Refuses(Code::Unfit, ""), E::Refused),
        (Behaviour::Refuses(Code::Malformed, ""), E::Refused),
        (Behaviour::Refuses(Code::Replayed, ""), E::Refused),
        (Behaviour::Refuses(Code::Overloaded, ""), E::Overloaded),
        (Behaviour::Problem(401, "unknown-identity"), E::Identity),
        (Behaviour::Problem(403, "role"), E::Role),
        (Behaviour::Problem(429, "overloaded"), E::Overloaded),
        (Behaviour::Problem(503, "stopping"), E::QuorumNotMet),
        (Behaviour::ElementGone, E::QuorumNotMet),
    ];
    for (behaviour, expected) in cases {
        quorum.behave(&[
            (0, behaviour.clone()),
            (1, behaviour.clone()),
            (2, behaviour.clone()),
        ]);
        let error = sign(&quorum.fresh(Settings::default()), &token)
            .err()
            .unwrap();
        assert_eq!(error.code, expected, "{behaviour:?}: {error}");
    }
}

#[test]
fn whoever_lies_is_named_and_the_operation_goes_on() {
    let quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    let lies = [
        Behaviour::Lies,
        Behaviour::SealsWrongly,
        Behaviour::ForeignSeat,
        Behaviour::Twice,
        Behaviour::NoSeat,
        Behaviour::OneTooMany,
        Behaviour::Garbage,
        Behaviour::SaysGood,
        Behaviour::NeverKnows,
        Behaviour::Disowns,
    ];
    for lie in lies {
        quorum.behave(&[(0, lie.clone()), (2, lie.clone())]);
        let outcome = sign(&quorum.fresh(Settings::default()), &token).unwrap();
        let lied = FaultKind::Lied;
        assert_eq!(
            faults_of(&outcome.faults),
            [("s0", lied), ("s2", lied)],
            "{lie:?}"
        );
        // A lie is never counted as a share: with three liars there is no quorum, and nothing is made.
        quorum.behave(&[(4, lie.clone())]);
        let error = sign(&quorum.fresh(Settings::default()), &token)
            .err()
            .unwrap();
        assert_eq!(error.code, E::QuorumNotMet, "{lie:?}: {error}");
        quorum.behave(&[(4, Behaviour::Honest)]);
    }
}

#[test]
fn a_flood_is_cut_off() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    quorum.behave(&[(0, Behaviour::Flood)]);
    let outcome = sign(&quorum.fresh(Settings::default()), &token).unwrap();
    assert_eq!(faults_of(&outcome.faults)[0].0, "s0");
}

#[test]
fn an_altered_row_is_told_from_a_lost_root() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let mut altered = (*token).clone();
    altered.rows[0].correction[0] ^= 1;
    let outcome = sign(&quorum.reconstructor, &Arc::new(altered.clone())).unwrap();
    assert_eq!(faults_of(&outcome.faults), [("s0", FaultKind::RowAltered)]);
    quorum.agents[1].set_roots(&[(2, [7; 32])]);
    let error = sign(&quorum.reconstructor, &Arc::new(altered))
        .err()
        .unwrap();
    let expected = vec![
        ("s0", FaultKind::RowAltered),
        ("s1", FaultKind::EpochNotHeld),
    ];
    assert_eq!(
        code_and_faults(&error),
        (E::QuorumNotMet, expected),
        "{error}"
    );
    quorum.agents[1].set_roots(&[(1, [7; 32])]);
    let table = check(&quorum.reconstructor, &token, true);
    assert_eq!(
        table.rows[1].fault.as_ref().unwrap().kind,
        FaultKind::CannotRegenerate
    );
    assert!(table.rows[0].fault.is_none() && table.sufficient && table.opened.unwrap().is_ok());
}

#[test]
fn any_change_to_what_the_id_covers_is_an_altered_token() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let mut altered = (*token).clone();
    altered.body.commitments[0][0] ^= 1;
    let bytes = altered.encode();
    let altered = evanesce_token::Token::decode(&bytes, evanesce_suite::catalogue()).unwrap();
    let error = sign(&quorum.reconstructor, &Arc::new(altered))
        .err()
        .unwrap();
    assert_eq!(error.code, E::TokenAltered, "{error}");
    assert_eq!(
        error.faults.len(),
        3,
        "everyone was asked before that was said"
    );
}

#[test]
fn an_agent_that_restarts_or_forgets_sessions_is_met_again_without_a_fault() {
    let mut quorum = Quorum::of(3);
    let token = quorum.mint("3 of (s0, s1, s2)", &["ed25519"]);
    sign(&quorum.reconstructor, &token).unwrap();
    quorum.agents[1].stop();
    quorum.agents[1].resume();
    assert!(
        sign(&quorum.reconstructor, &token)
            .unwrap()
            .faults
            .is_empty()
    );
    quorum.behave(&[(0, Behaviour::Forgetful)]);
    for _ in 0..3 {
        assert!(
            sign(&quorum.reconstructor, &token)
                .unwrap()
                .faults
                .is_empty()
        );
    }
    assert_eq!(
        quorum.agents[0].shared.connections.load(SeqCst),
        1,
        "a new session needs no new connection"
    );
}

#[test]
fn a_dead_holder_costs_the_others_nothing() {
    let mut quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    quorum.agents[0].stop();
    let begun = Instant::now();
    let outcome = sign(&quorum.reconstructor, &token).unwrap();
    assert!(
        outcome
            .faults
            .iter()
            .all(|fault| fault.kind == FaultKind::Unreachable)
    );
    for _ in 0..50 {
        assert!(sign(&quorum.reconstructor, &token).unwrap().faults.len() <= 1);
    }
    // Were it waited for each time, they would take their deadlines.
    assert!(begun.elapsed() < 10 * Settings::default().deadline);
}

#[test]
fn a_batch_is_one_opening_and_a_hybrid_two_signatures() {
    let quorum = Quorum::of(3);
    let token = quorum.mint(
        "2 of (s0, s1, s2)",
        &["ed25519", "ml-dsa-44", "hmac-sha256"],
    );
    let before: usize = quorum
        .agents
        .iter()
        .map(|a| a.shared.openings.load(SeqCst))
        .sum();
    let mut jobs: Vec<_> = (0..100u8).map(|i| sign_job("ed25519", &[i])).collect();
    jobs.push(sign_job("ml-dsa-44", b"hybrid"));
    let outcome = run(&quorum.reconstructor, &token, jobs).unwrap();
    let after: usize = quorum
        .agents
        .iter()
        .map(|a| a.shared.openings.load(SeqCst))
        .sum();
    assert_eq!(
        (outcome.outputs.len(), after - before, outcome.salts.len()),
        (101, 2, 101)
    );
    let suite = evanesce_suite::find("ml-dsa-44").unwrap();
    let Output::Public(signature) = &outcome.outputs[100] else {
        panic!()
    };
    suite
        .verify(&token.public["ml-dsa-44"], b"hybrid", signature)
        .unwrap();
    for (i, output) in outcome.outputs[..100].iter().enumerate() {
        let Output::Public(signature) = output else {
            panic!()
        };
        let suite = evanesce_suite::find("ed25519").unwrap();
        suite
            .verify(&token.public["ed25519"], &[i as u8], signature)
            .unwrap();
    }
}

#[test]
fn a_job_that_cannot_be_done_is_an_error_with_its_code() {
    use evanesce_quorum::{Job, OwnedInput};
    let quorum = Quorum::of(2);
    let token = quorum.mint(
        "1 of (s0, s1)",
        &["ed25519", "aes-256-gcm", "x25519", "hmac-sha256"],
    );
    let fails = |suite: &str, input| {
        let job = Job::new(suite, input);
        run(&quorum.reconstructor, &token, vec![job])
            .err()
            .unwrap()
            .code
    };
    let message = b"m".to_vec();
    assert_eq!(
        fails(
            "ecdsa-p256",
            OwnedInput::Sign {
                message: message.clone()
            }
        ),
        E::SuiteNotInToken
    );
    assert_eq!(
        fails(
            "no such suite",
            OwnedInput::Sign {
                message: message.clone()
            }
        ),
        E::SuiteNotInToken
    );
    assert_eq!(
        fails(
            "ed25519",
            OwnedInput::Mac {
                message: message.clone()
            }
        ),
        E::UnfitOperation
    );
    assert_eq!(
        fails(
            "aes-256-gcm",
            OwnedInput::Decrypt {
                ciphertext: vec![0; 64],
                aad: vec![]
            }
        ),
        E::DecryptionFailed
    );
    assert_eq!(
        fails("x25519", OwnedInput::Agree { peer: vec![0; 32] }),
        E::BadInput
    );
    assert_eq!(
        fails(
            "hmac-sha256",
            OwnedInput::VerifyMac {
                message,
                mac: vec![0; 32]
            }
        ),
        E::InvalidSignature
    );
    assert_eq!(
        run(&quorum.reconstructor, &token, vec![])
            .err()
            .unwrap()
            .code,
        E::BadInput
    );
}

#[test]
fn secrets_come_back_as_the_caller_gave_them() {
    use evanesce_quorum::{Job, OwnedInput};
    let quorum = Quorum::of(2);
    let token = quorum.mint("2 of (s0, s1)", &["xaes-256-gcm", "hkdf-sha256"]);
    let input = OwnedInput::Encrypt {
        plaintext: b"attack at dawn".to_vec(),
        aad: b"x".to_vec(),
    };
    let job = Job::new("xaes-256-gcm", input);
    let outcome = run(&quorum.reconstructor, &token, vec![job]).unwrap();
    let Output::Public(ciphertext) = &outcome.outputs[0] else {
        panic!()
    };
    let input = OwnedInput::Decrypt {
        ciphertext: ciphertext.clone(),
        aad: b"x".to_vec(),
    };
    let job = Job::new("xaes-256-gcm", input);
    let outcome = run(&quorum.reconstructor, &token, vec![job]).unwrap();
    let Output::Secret(plain) = &outcome.outputs[0] else {
        panic!()
    };
    assert_eq!(plain.expose(), b"attack at dawn");
    let job = Job::new(
        "hkdf-sha256",
        OwnedInput::Derive {
            context: b"disk".to_vec(),
            length: 40,
        },
    );
    let outcome = run(&quorum.reconstructor, &token, vec![job]).unwrap();
    assert!(matches!(&outcome.outputs[0], Output::Secret(key) if key.len() == 40));
}

#[test]
fn a_mint_names_everyone_who_is_down_and_leaves_nothing() {
    let mut quorum = Quorum::of(5);
    quorum.agents[1].stop();
    quorum.agents[4].stop();
    let error = mint(
        &quorum.reconstructor,
        quorum.spec(THREE_OF_FIVE, &["ed25519"]),
    )
    .err()
    .unwrap();
    let down: Vec<_> = error
        .faults
        .iter()
        .map(|fault| (fault.holder.as_str(), fault.kind))
        .collect();
    assert_eq!(
        down,
        [
            ("s1", FaultKind::Unreachable),
            ("s4", FaultKind::Unreachable)
        ]
    );
    let requests: usize = quorum
        .agents
        .iter()
        .map(|agent| agent.shared.requests.load(SeqCst))
        .sum();
    assert_eq!(requests, 0, "nobody was seated");
    quorum.agents[1].resume();
    quorum.agents[4].resume();
    quorum.behave(&[
        (0, Behaviour::Refuses(Code::Refused, "no minter")),
        (2, Behaviour::BadRowSignature),
    ]);
    let error = mint(
        &quorum.reconstructor,
        quorum.spec(THREE_OF_FIVE, &["ed25519"]),
    )
    .err()
    .unwrap();
    assert_eq!(
        faults_of(&error.faults),
        [("s0", FaultKind::Refused), ("s2", FaultKind::Lied)],
        "{error}"
    );
    quorum.behave(&[(0, Behaviour::Problem(403, "role")), (2, Behaviour::Honest)]);
    let error = mint(
        &quorum.reconstructor,
        quorum.spec(THREE_OF_FIVE, &["ed25519"]),
    )
    .err()
    .unwrap();
    assert_eq!(
        code_and_faults(&error),
        (E::Role, vec![("s0", FaultKind::Refused)]),
        "{error}"
    );
}

#[test]
fn the_deadline_bounds_each_verb_as_a_whole_and_who_is_silent_is_named() {
    let quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    let budget = Duration::from_millis(300);
    let caller = quorum.fresh(Settings {
        deadline: budget,
        mint_deadline: budget,
        ..Settings::default()
    });
    quorum.behave(&[(0, Behaviour::Silent)]);
    let silent = vec![("s0", FaultKind::Slow)];
    let in_time = |begun: Instant| {
        let took = begun.elapsed();
        assert!(took < 5 * budget, "{took:?}");
    };
    let begun = Instant::now();
    let table = check(&caller, &token, true);
    in_time(begun);
    let faults: Vec<_> = table.rows.into_iter().filter_map(|row| row.fault).collect();
    assert_eq!(faults_of(&faults), silent);
    assert!(
        table.opened.unwrap().is_ok(),
        "the silent one leaves time to open"
    );
    let begun = Instant::now();
    let error = mint(&caller, quorum.spec(THREE_OF_FIVE, &["ed25519"]))
        .err()
        .unwrap();
    in_time(begun);
    assert_eq!(code_and_faults(&error), (E::QuorumNotMet, silent.clone()));
    let begun = Instant::now();
    let all = wait(|done| caller.status(done)).unwrap_or_else(|e| panic!("{e}"));
    in_time(begun);
    let lost: Vec<_> = all.iter().filter_map(|a| a.answer.as_ref().err()).collect();
    assert_eq!(
        (lost.len(), &*lost[0].holder, lost[0].kind),
        (1, "s0", FaultKind::Slow)
    );
    let begun = Instant::now();
    let retirement = retire(&caller, &token).unwrap();
    in_time(begun);
    assert_eq!(faults_of(&retirement.missing), silent);
}

#[test]
fn a_mint_says_all_that_is_wrong_with_it_at_once() {
    let quorum = Quorum::of(2);
    let mut spec = quorum.spec("2 of (s0, s1, nobody)", &["ed25519", "rot13"]);
    spec.expires = Some(1);
    spec.seats.insert("s1".into(), "elsewhere".into());
    spec.policy_check = Box::new(|_| Err("unknown action".into()));
    let error = mint(&quorum.reconstructor, spec).err().unwrap();
    for problem in ["nobody", "rot13", "expired", "elsewhere", "unknown action"] {
        assert!(error.message.contains(problem), "{problem}: {error}");
    }
    let mut spec = quorum.spec("1 of (s0, s1)", &["ed25519"]);
    spec.policy_check = Box::new(|_| Err("unknown action".into()));
    assert_eq!(
        mint(&quorum.reconstructor, spec).err().unwrap().code,
        E::Policy
    );
    let spec = quorum.spec("1 of (s0, s1)", &["rsa-pss-sha256"]);
    assert_eq!(
        mint(&quorum.reconstructor, spec).err().unwrap().code,
        E::BadInput
    );
}

#[test]
fn a_mint_warns_of_thin_margins_and_passes_on_the_policys_warnings() {
    let quorum = Quorum::of(3);
    let mut spec = quorum.spec("2 of (s0, s1)", &["ed25519"]);
    spec.policy_check = Box::new(|_| Ok(vec!["nobody may reshare".into()]));
    let minted = mint(&quorum.reconstructor, spec).unwrap();
    assert_eq!(minted.warnings.len(), 3, "{:?}", minted.warnings);
    let mut spec = quorum.spec("2 of (ceo, cfo, board)", &["ed25519"]);
    spec.seats = [("ceo", "s0"), ("cfo", "s0"), ("board", "s1")]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
    let minted = mint(&quorum.reconstructor, spec).unwrap();
    assert!(
        minted.warnings.iter().any(|w| w.contains("s0 alone")),
        "{:?}",
        minted.warnings
    );
    sign(&quorum.reconstructor, &Arc::new(minted.token)).unwrap();
}

#[test]
fn an_imported_key_signs_and_its_public_half_is_computed() {
    let quorum = Quorum::of(3);
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let mut spec = quorum.spec("2 of (s0, s1, s2)", &["ed25519"]);
    spec.imported = Some(evanesce_secret::SecretVec::from_slice(pem.as_bytes()).unwrap());
    let token = Arc::new(
        mint(&quorum.reconstructor, spec)
            .map_err(|e| e.to_string())
            .unwrap()
            .token,
    );
    // RFC 8410 §10.1.
    let public =
        "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    assert_eq!(hex::encode(&token.public["ed25519"]), public);
    sign(&quorum.reconstructor, &token).unwrap();
    let mut spec = quorum.spec("2 of (s0, s1, s2)", &["ecdsa-p256"]);
    spec.imported = Some(evanesce_secret::SecretVec::from_slice(pem.as_bytes()).unwrap());
    assert_eq!(
        mint(&quorum.reconstructor, spec).err().unwrap().code,
        E::BadInput
    );
}

#[test]
fn a_check_asks_every_seat_and_releases_nothing() {
    let mut quorum = Quorum::of(4);
    let token = quorum.mint("2 of (s0, s1, s2, s3)", &["ed25519"]);
    quorum.agents[0].stop();
    quorum.behave(&[
        (1, Behaviour::ElementGone),
        (2, Behaviour::Slow(Duration::from_millis(30))),
    ]);
    let table = check(&quorum.reconstructor, &token, false);
    let kinds: Vec<_> = table
        .rows
        .iter()
        .map(|row| row.fault.as_ref().map(|fault| fault.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            Some(FaultKind::Unreachable),
            Some(FaultKind::ElementUnavailable),
            None,
            None
        ]
    );
    assert!(table.sufficient && table.opened.is_none());
    assert!(table.rows[2].latency.unwrap() >= 30_000 && table.rows[0].latency.is_none());
    assert!(
        check(&quorum.reconstructor, &token, true)
            .opened
            .unwrap()
            .is_ok()
    );
    quorum.agents[3].stop();
    let table = check(&quorum.reconstructor, &token, true);
    assert!(!table.sufficient && table.opened.unwrap().is_err());
}

#[test]
fn retiring_says_when_the_token_is_dead_and_who_is_missing() {
    let mut quorum = Quorum::of(5);
    let token = quorum.mint(THREE_OF_FIVE, &["ed25519"]);
    quorum.agents[..3].iter_mut().for_each(FakeAgent::stop);
    let retirement = retire(&quorum.reconstructor, &token).unwrap();
    assert_eq!((retirement.tombstoned.len(), retirement.dead), (2, false));
    assert_eq!(
        faults_of(&retirement.missing)
            .iter()
            .map(|(seat, _)| *seat)
            .collect::<Vec<_>>(),
        ["s0", "s1", "s2"]
    );
    quorum.agents[..3].iter_mut().for_each(FakeAgent::resume);
    sign(&quorum.reconstructor, &token).unwrap();
    // Those that have it already say so, and the rest follow.
    let retirement = retire(&quorum.reconstructor, &token).unwrap();
    assert!(retirement.tombstoned.len() == 5 && retirement.dead && retirement.missing.is_empty());
    assert_eq!(
        sign(&quorum.reconstructor, &token).err().unwrap().code,
        E::Refused
    );
}

#[test]
fn agents_outside_the_directory_are_not_asked() {
    let quorum = Quorum::of(4);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    let known = |places: &[usize]| places.iter().map(|&i| quorum.holders[i].clone()).collect();
    let two = quorum.fresh_with(known(&[1, 2, 3]), Settings::default());
    assert!(sign(&two, &token).unwrap().faults.is_empty());
    let one = quorum.fresh_with(known(&[1, 3]), Settings::default());
    let error = sign(&one, &token).err().unwrap();
    let unknown = FaultKind::UnknownHolder;
    assert_eq!(
        code_and_faults(&error),
        (E::QuorumNotMet, vec![("s0", unknown), ("s2", unknown)])
    );
    assert!(check(&one, &token, false).rows[1].fault.is_none());
}

#[test]
fn an_impostor_at_an_agents_address_gets_nothing() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1)", &["ed25519"]);
    let mut holders = quorum.holders.clone();
    holders[1].address = quorum.holders[2].address.clone();
    let error = sign(&quorum.fresh_with(holders, Settings::default()), &token)
        .err()
        .unwrap();
    assert_eq!(faults_of(&error.faults), [("s1", FaultKind::Unreachable)]);
    assert!(error.faults[0].detail.contains("identity"), "{error}");
    assert_eq!(quorum.agents[2].shared.offers.load(SeqCst), 0);
}

#[test]
fn an_expired_token_is_refused_without_asking() {
    let quorum = Quorum::of(2);
    let mut spec = quorum.spec("1 of (s0, s1)", &["ed25519"]);
    spec.expires = Some(now() + 1);
    let token = Arc::new(mint(&quorum.reconstructor, spec).unwrap().token);
    std::thread::sleep(Duration::from_millis(2100));
    let before: usize = quorum
        .agents
        .iter()
        .map(|a| a.shared.requests.load(SeqCst))
        .sum();
    assert_eq!(
        sign(&quorum.reconstructor, &token).err().unwrap().code,
        E::Expired
    );
    let after: usize = quorum
        .agents
        .iter()
        .map(|a| a.shared.requests.load(SeqCst))
        .sum();
    assert_eq!(before, after);
}

#[test]
fn long_headers_travel_once() {
    let quorum = Quorum::of(2);
    let mut spec = quorum.spec("2 of (s0, s1)", &["ed25519"]);
    spec.policy = "x".repeat(20_000);
    let token = Arc::new(mint(&quorum.reconstructor, spec).unwrap().token);
    let caller = quorum.fresh(Settings::default());
    let whole = || quorum.agents[0].shared.full_contexts.load(SeqCst);
    let before = whole();
    for _ in 0..5 {
        assert!(sign(&caller, &token).unwrap().faults.is_empty());
    }
    assert_eq!(whole() - before, 1);
    quorum.agents[0].forget_contexts();
    assert!(sign(&caller, &token).unwrap().faults.is_empty());
    assert_eq!(whole() - before, 2);
}

#[test]
fn the_last_clone_takes_the_thread_along_only_when_all_is_done() {
    let quorum = Quorum::of(2);
    let token = quorum.mint("1 of (s0, s1)", &["ed25519"]);
    let outcome = wait(|done| {
        let passing = quorum.fresh(Settings::default());
        let jobs = vec![sign_job("ed25519", b"m")];
        passing.submit(evanesce_quorum::Operation::new(token.clone(), jobs), done);
    });
    assert!(outcome.is_ok());
}

#[test]
fn status_tells_of_every_agent_up_or_down() {
    let mut quorum = Quorum::of(3);
    quorum.agents[1].stop();
    let all = wait(|done| quorum.reconstructor.status(done)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(all.len(), 3);
    assert!(all[0].answer.is_ok() && all[0].clock_offset.unwrap().abs() < 2_000);
    assert_eq!(
        all[1].answer.as_ref().err().unwrap().kind,
        FaultKind::Unreachable
    );
}

#[test]
fn a_signature_may_be_verified_before_it_is_released() {
    let quorum = Quorum::of(2);
    let suites = [
        "ed25519",
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-secp256k1",
        "ml-dsa-65",
    ];
    let token = quorum.mint("2 of (s0, s1)", &suites);
    let settings = Settings {
        verify_before_release: true,
        hedge: false,
        ..Settings::default()
    };
    let jobs = suites.map(|suite| sign_job(suite, b"m")).into();
    let outcome = run(&quorum.fresh(settings), &token, jobs).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.outputs.len(), 5);
}

#[test]
fn many_tokens_in_one_call_are_each_opened_for_themselves() {
    let quorum = Quorum::of(3);
    let tokens: Vec<_> = (0..20)
        .map(|_| quorum.mint("2 of (s0, s1, s2)", &["ed25519"]))
        .collect();
    let (tell, told) = std::sync::mpsc::channel();
    let operation = |token: &Arc<evanesce_token::Token>| {
        let (tell, public) = (tell.clone(), token.public["ed25519"].clone());
        let jobs = vec![sign_job("ed25519", b"m")];
        let operation = evanesce_quorum::Operation::new(token.clone(), jobs);
        let done = move |result: Result<evanesce_quorum::Outcome, evanesce_quorum::Error>| {
            tell.send((public, result)).unwrap();
        };
        (operation, Box::new(done) as evanesce_quorum::Done<_>)
    };
    quorum
        .reconstructor
        .submit_all(tokens.iter().map(operation).collect());
    let suite = evanesce_suite::find("ed25519").unwrap();
    for _ in &tokens {
        let (public, result) = told.recv_timeout(Duration::from_secs(5)).unwrap();
        let Output::Public(signature) = &result.unwrap_or_else(|e| panic!("{e}")).outputs[0] else {
            panic!()
        };
        suite.verify(&public, b"m", signature).unwrap();
    }
    let requests: usize = quorum
        .agents
        .iter()
        .map(|agent| agent.shared.requests.load(SeqCst))
        .sum();
    // Of which 6 a mint; the openings of one call share theirs.
    assert!(requests - 20 * 6 <= 10, "{requests}");
}
