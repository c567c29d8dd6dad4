//! Stories of one agent and those who ask it, over real TLS on loopback.

mod common;

use common::{Caller, EVERY_ROLE, Minted, Place, context, header, now, problem, tell};
use evanesce_agent::{AgentError, Handle, spawn};
use evanesce_secret::on_crucible;
use evanesce_token::{Body, formula};
use evanesce_wire::client::{CallError, Way};
use evanesce_wire::merkle::leaf_hash;
use evanesce_wire::message::{
    Basis, Batch, Code, Context, Entry, Evidence, Opening, Request, SeatFault, SeatResult, Status,
};
use evanesce_wire::session::{Offer, PendingSession};
use std::collections::BTreeSet;

#[test]
fn a_share_is_seated_checked_released_once_and_to_its_session_alone() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let policy = "permit(principal in Group::\"eu\", action == Action::\"sign\", resource == Key::\"treasury\");";
        let token = line.mint(header("2 of (a, b, c)", policy)).await.unwrap();

        let check = Opening {
            context: 0,
            requests: vec![],
            salts: vec![],
            evidence: Evidence::default(),
            rows: token.rows.clone(),
        };
        let (answer, checkpoint) = line.one("check", &token, check).await;
        assert_eq!(
            (answer.code, checkpoint.as_str(), answer.receipt),
            (Code::Done, "", None)
        );
        assert!(
            answer
                .seats
                .iter()
                .all(|seat| seat.result == SeatResult::Good)
        );

        let opening = line.opening(&token, "sign", "ed25519");
        let (answer, checkpoint) = line.one("contribute", &token, opening.clone()).await;
        assert_eq!(
            (answer.code, answer.seats.len()),
            (Code::Done, 3),
            "{}",
            answer.reason
        );
        let request = formula::request_hash(&[&opening.requests[0]]);
        for seat in &answer.seats {
            let SeatResult::Share {
                counter,
                mut sealed,
            } = seat.result
            else {
                panic!()
            };
            let aad = formula::share_aad(&request, &token.body.id, seat.seat, &agent.id());
            let good = on_crucible(|| {
                let share = line.session.open(counter, &aad, &mut sealed).unwrap();
                *share == token.shares[seat.seat as usize].expose()[..]
            });
            assert!(good, "seat {}", seat.seat);
        }
        let entry = line
            .receipt(answer.receipt.unwrap(), &checkpoint)
            .verify()
            .unwrap();
        assert_eq!(
            (entry.code.as_str(), entry.caller_name.as_str()),
            ("done", "ops")
        );
        assert_eq!(
            (entry.seats, entry.operations[0].request),
            (vec![0, 1, 2], request)
        );
        assert!(entry.element.contains("software"), "{}", entry.element);

        let (answer, checkpoint) = line.one("contribute", &token, opening).await;
        assert_eq!((answer.code, answer.seats.len()), (Code::Replayed, 0));
        let entry = line
            .receipt(answer.receipt.unwrap(), &checkpoint)
            .verify()
            .unwrap();
        assert_eq!(
            (entry.code.as_str(), entry.verb.as_str()),
            ("replayed", "contribute")
        );
        let denied = line.opening(&token, "mac", "hmac-sha256");
        let (answer, _) = line.one("contribute", &token, denied).await;
        assert_eq!(answer.code, Code::Refused);
        assert!(
            answer.reason.contains("policy does not permit"),
            "{}",
            answer.reason
        );
    });
}

#[test]
fn whatever_is_changed_in_a_token_yields_no_share() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let token = line.mint(header("1 of (a, b)", "")).await.unwrap();
        let ask = async |body: Body, change: &dyn Fn(&mut Opening)| {
            let rows = token.rows.clone();
            let changed = Minted {
                body,
                shares: vec![],
                rows,
            };
            let mut opening = line.opening(&changed, "sign", "ed25519");
            change(&mut opening);
            line.one("contribute", &changed, opening).await.0
        };
        let good = async |change: &dyn Fn(&mut Body)| {
            let mut body = token.body.clone();
            change(&mut body);
            let Body {
                header,
                anchor,
                commitments,
                public_hash,
                sealed_hash,
                ..
            } = body;
            let catalogue = evanesce_suite::catalogue();
            let header = header.encode();
            Body::new(
                header,
                anchor,
                commitments,
                public_hash,
                sealed_hash,
                catalogue,
            )
            .unwrap()
        };
        let cannot = SeatResult::Fault(SeatFault::CannotRegenerate);
        let changes: [&dyn Fn(&mut Body); 6] = [
            &|b| b.header.policy = "permit(principal, action, resource);".into(),
            &|b| b.header.suites.truncate(1),
            &|b| b.header.quorum.t = 2,
            &|b| b.anchor[0] ^= 1,
            &|b| b.commitments[1][0] ^= 1,
            &|b| b.public_hash[0] ^= 1,
        ];
        for change in changes {
            let answer = ask(good(change).await, &|_| ()).await;
            assert_eq!(answer.code, Code::Done);
            assert!(
                answer.seats.iter().all(|seat| seat.result == cannot),
                "{:?}",
                answer.seats
            );
        }
        let body = || token.body.clone();
        let answer = ask(body(), &|o| o.rows[0].correction[3] ^= 1).await;
        assert_eq!(answer.seats[0].result, cannot);
        assert!(matches!(answer.seats[1].result, SeatResult::Share { .. }));
        let answer = ask(body(), &|o| o.rows[0].epoch += 1).await;
        assert_eq!(
            answer.seats[0].result,
            SeatResult::Fault(SeatFault::EpochNotHeld)
        );
        let answer = ask(body(), &|o| {
            o.rows.iter_mut().for_each(|row| row.holder[0] ^= 1)
        })
        .await;
        assert_eq!(answer.code, Code::Unrouted);
        let not_mine = SeatResult::Fault(SeatFault::NotMine);
        assert!(answer.seats.iter().all(|seat| seat.result == not_mine));
        let answer = ask(body(), &|o| o.rows[0].seat = 2).await;
        assert_eq!((answer.code, answer.receipt), (Code::Malformed, None));
        let answer = ask(body(), &|o| o.requests[0].push(0)).await;
        assert_eq!((answer.code, answer.receipt), (Code::Malformed, None));
    });
}

#[test]
fn a_token_can_be_named_once_it_was_shown() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        // So long that it is better named.
        let policy = format!("permit(principal, action, resource);{}", " ".repeat(4096));
        let token = line.mint(header("1 of (a)", &policy)).await.unwrap();
        let opening = line.opening(&token, "open", "");
        let mut batch = Batch {
            contexts: vec![Context::Known([9; 32])],
            openings: vec![opening],
        };
        let answers = line.ask("contribute", &batch).await;
        assert_eq!(answers.openings[0].code, Code::ContextUnknown);
        assert_eq!(answers.checkpoint, "", "nothing was decided");
        // The same request may then come with the whole context, or by the right id.
        batch.contexts = vec![Context::Known(token.body.id)];
        let answers = line.ask("contribute", &batch).await;
        assert_eq!(answers.openings[0].code, Code::Done);
    });
}

#[test]
fn a_policy_that_cannot_be_enforced_is_not_seated_and_one_that_errs_refuses() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let unknown = "permit(principal, action, resource) when { context.no_such_thing > 1 };";
        let why = line.mint(header("1 of (a)", unknown)).await.err().unwrap();
        assert!(why.contains("policy cannot be enforced"), "{why}");
        let overflows = "permit(principal, action, resource);\
             forbid(principal, action, resource) when { context.now * 9223372036854775807 > 1 };";
        let token = line.mint(header("1 of (a)", overflows)).await.unwrap();
        let opening = line.opening(&token, "sign", "ed25519");
        let (answer, _) = line.one("contribute", &token, opening).await;
        assert_eq!(answer.code, Code::Refused);
        assert!(answer.reason.contains("errs"), "{}", answer.reason);
    });
}

#[test]
fn what_was_retired_stays_retired() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    let eve = Caller::new("eve", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE), (&eve, "\"caller\", \"reconstructor\"")]);
    let agent = spawn(place.config()).unwrap();
    let token = tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let other = line.mint(header("1 of (a)", "")).await.unwrap();
        // Neither a caller without the role, nor a row that proves nothing, retires anything.
        let hers = eve.open(agent.address(), agent.id()).await;
        let (answer, _) = hers
            .one("retire", &token, hers.opening(&token, "retire", ""))
            .await;
        assert_eq!(answer.code, Code::Refused, "{}", answer.reason);
        let mut opening = line.opening(&token, "retire", "");
        opening.rows[0].correction[0] ^= 1;
        let (answer, _) = line.one("retire", &token, opening).await;
        assert_eq!(
            answer.seats[0].result,
            SeatResult::Fault(SeatFault::CannotRegenerate)
        );
        let (answer, _) = line
            .one("contribute", &token, line.opening(&token, "open", ""))
            .await;
        assert_eq!(answer.code, Code::Done);

        let (answer, _) = line
            .one("retire", &token, line.opening(&token, "retire", ""))
            .await;
        assert_eq!(
            (answer.code, answer.seats[0].result.clone()),
            (Code::Done, SeatResult::Good)
        );
        for verb in ["contribute", "retire"] {
            let action = if verb == "retire" { verb } else { "open" };
            let (answer, _) = line
                .one(verb, &token, line.opening(&token, action, ""))
                .await;
            assert_eq!((answer.code, answer.seats.len()), (Code::Retired, 0));
        }
        let (answer, _) = line
            .one("contribute", &other, line.opening(&other, "open", ""))
            .await;
        assert_eq!(answer.code, Code::Done);
        token
    });
    agent.stop();
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let (answer, _) = line
            .one("contribute", &token, line.opening(&token, "open", ""))
            .await;
        assert_eq!(answer.code, Code::Retired);
        let check = Opening {
            context: 0,
            requests: vec![],
            salts: vec![],
            evidence: Evidence::default(),
            rows: token.rows.clone(),
        };
        assert_eq!(line.one("check", &token, check).await.0.code, Code::Retired);
        let status = line.connection.get("/v1/status").await.unwrap();
        let status = Status::decode(&status).unwrap();
        assert_eq!((status.tombstones, status.caller.as_str()), (1, "ops"));
        assert_eq!(status.roles, ["caller", "minter", "reconstructor"]);
        assert!(
            status.entries >= 8 && status.development,
            "{}",
            status.entries
        );
    });
}

#[test]
fn an_expired_token_is_refused_by_the_agents_own_clock() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let mut old = header("1 of (a)", "");
        old.expires = Some(now() - 1);
        let token = line.mint(old).await.unwrap();
        let (answer, _) = line
            .one("contribute", &token, line.opening(&token, "open", ""))
            .await;
        assert_eq!(answer.code, Code::Expired);
    });
}

#[test]
fn every_problem_has_its_status_and_code() {
    let place = Place::new("---\n[limits]\nchecks_per_second = 1\n");
    let ops = Caller::new("ops", place.dir.path());
    let minter = Caller::new("minter", place.dir.path());
    let stranger = Caller::new("stranger", place.dir.path());
    place.know(&[
        (&ops, "\"caller\", \"reconstructor\""),
        (&minter, "\"minter\""),
    ]);
    let agent = spawn(place.config()).unwrap();
    let (address, id) = (agent.address(), agent.id());
    tell(async {
        let unknown = stranger.connect(address, id).await;
        let said = problem(unknown.get("/v1/status").await);
        assert_eq!(said, (401, "unknown-identity".into()));

        let line = ops.open(address, id).await;
        let dealt = line.mint(header("1 of (a)", "")).await;
        assert!(dealt.err().unwrap().contains("role (403)"));
        let minting = minter.open(address, id).await;
        let token = minting.mint(header("1 of (a, b)", "")).await.unwrap();
        let opening = minting.opening(&token, "open", "");
        let batch = Batch {
            contexts: vec![token.context()],
            openings: vec![opening],
        };
        let said = problem(minting.send("contribute", batch.encode()).await);
        assert_eq!(said, (403, "role".into()));

        let connection = &line.connection;
        assert_eq!(problem(connection.get("/v1/contribute").await).0, 404);
        assert_eq!(problem(connection.post("/v1/nothing", vec![]).await).0, 404);
        let said = problem(connection.post("/v1/contribute", vec![0xff; 100]).await);
        assert_eq!(said, (400, "malformed".into()));
        let said = problem(
            connection
                .post("/v1/contribute", vec![0; (4 << 20) + 1])
                .await,
        );
        assert_eq!(said, (413, "too-large".into()));
        assert_eq!(
            problem(line.send("contribute", vec![1, 2, 3]).await),
            (400, "malformed".into())
        );

        // Another's session, an ended one, and an envelope that was sent before.
        let stolen = common::Line {
            session: minting.session,
            ..ops.open(address, id).await
        };
        assert_eq!(
            problem(stolen.send("check", batch.encode()).await),
            (409, "session".into())
        );
        let (_, offer) = PendingSession::offer(&*ops.identity, id, now()).unwrap();
        connection
            .post("/v1/session", offer.encode())
            .await
            .unwrap();
        let said = problem(connection.post("/v1/session", offer.encode()).await);
        assert_eq!(said, (409, "session".into()));
        let (_, old) = PendingSession::offer(&*ops.identity, id, now() - 3601).unwrap();
        assert_eq!(
            problem(connection.post("/v1/session", old.encode()).await),
            (409, "session".into())
        );
        let (_, hers) = PendingSession::offer(&*minter.identity, id, now()).unwrap();
        assert_eq!(
            problem(connection.post("/v1/session", hers.encode()).await).0,
            403
        );
        let other = Offer {
            agent: [1; 32],
            ..offer
        };
        assert_eq!(
            problem(connection.post("/v1/session", other.encode()).await).0,
            403
        );

        let check = Batch {
            contexts: vec![token.context()],
            openings: vec![Opening {
                context: 0,
                requests: vec![],
                salts: vec![],
                evidence: Evidence::default(),
                rows: token.rows.clone(),
            }],
        };
        let mut said = BTreeSet::new();
        for _ in 0..4 {
            said.insert(
                line.send("check", check.encode())
                    .await
                    .map_err(|e| problem(Err(e)))
                    .err(),
            );
        }
        assert!(
            said.contains(&Some((429, "overloaded".into()))) && said.contains(&None),
            "{said:?}"
        );
    });
}

#[test]
fn too_much_is_answered_at_once() {
    let place = Place::new("---\n[limits]\npending = 0\nconnections = 2\n");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        assert_eq!(
            problem(line.send("check", vec![]).await),
            (429, "overloaded".into())
        );
        let second = ops.connect(agent.address(), agent.id()).await;
        // Its place is its own once the agent has seen its key.
        second.get("/v1/status").await.unwrap();
        let tls = evanesce_wire::tls::client(ops.identity.clone(), agent.id()).unwrap();
        let third =
            evanesce_wire::client::Connection::open(&agent.address().to_string(), tls).await;
        assert!(third.is_err(), "a third connection of two");
        drop(second);
    });
}

#[test]
fn what_queues_shares_a_checkpoint() {
    for commit in ["process", "power"] {
        let place = Place::new(&format!("commit = \"{commit}\"\nobserve = \"127.0.0.1:0\""));
        let ops = Caller::new("ops", place.dir.path());
        place.know(&[(&ops, EVERY_ROLE)]);
        let agent = spawn(place.config()).unwrap();
        tell(async {
            let line = ops.open(agent.address(), agent.id()).await;
            let token = line.mint(header("1 of (a)", "")).await.unwrap();
            let batches: Vec<Vec<u8>> = (0..200)
                .map(|_| Batch {
                    contexts: vec![token.context()],
                    openings: vec![line.opening(&token, "sign", "ed25519")],
                })
                .map(|batch| batch.encode())
                .collect();
            let line = std::rc::Rc::new(line);
            let local = tokio::task::LocalSet::new();
            let asked = local.run_until(async {
                let tasks: Vec<_> = batches
                    .into_iter()
                    .map(|batch| {
                        let line = line.clone();
                        tokio::task::spawn_local(
                            async move { line.send("contribute", batch).await },
                        )
                    })
                    .collect();
                let mut answers = Vec::new();
                for task in tasks {
                    answers.push(task.await.unwrap().unwrap_or_else(|e| panic!("{e}")));
                }
                answers
            });
            let mut checkpoints = BTreeSet::new();
            let mut indices = BTreeSet::new();
            for answer in asked.await {
                let mut answers = evanesce_wire::message::Answers::decode(&answer).unwrap();
                let proof = answers.openings.remove(0).receipt.unwrap();
                indices.insert(proof.index);
                line.receipt(proof, &answers.checkpoint).verify().unwrap();
                checkpoints.insert(answers.checkpoint);
            }
            assert_eq!(indices.len(), 200);
            assert!(
                checkpoints.len() < 100,
                "{} groups ({commit})",
                checkpoints.len()
            );
        });
    }
}

#[test]
fn two_agents_do_not_share_a_folder_and_what_is_missing_is_named() {
    let place = Place::new("");
    let first = spawn(place.config()).unwrap();
    assert!(matches!(
        spawn(place.config()).err(),
        Some(AgentError::InUse(_))
    ));
    drop(first);
    let missing = |name: &str, what: &str| {
        let place = Place::new("");
        std::fs::remove_file(place.path(name)).unwrap();
        let why = spawn(place.config()).err().unwrap().to_string();
        assert!(why.contains(name) && why.contains(what), "{why}");
    };
    missing("identity.key", "identity");
    missing("roots", "");
    drop(spawn(place.config()).unwrap());
    std::fs::remove_file(place.path("log/log.key")).unwrap();
    drop(spawn(place.config()).unwrap());
    std::fs::write(place.path("known.toml"), "[[identity]]\nname = \"x\"\n").unwrap();
    let why = spawn(place.config()).err().unwrap().to_string();
    assert!(
        why.contains("known.toml") && why.contains("missing field"),
        "{why}"
    );
}

#[test]
fn a_context_is_judged_before_what_is_asked_of_it() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let Context::Full {
            header,
            anchor,
            commitments,
            public,
            sealed,
        } = context(&token.body)
        else {
            panic!()
        };
        let longer = Context::Full {
            header: [&header[..], &[0]].concat(),
            anchor,
            commitments: commitments.clone(),
            public,
            sealed,
        };
        let too_few = Context::Full {
            header,
            anchor,
            commitments: vec![],
            public,
            sealed,
        };
        for (context, what) in [(longer, "header"), (too_few, "commitments")] {
            let opening = line.opening(&token, "open", "");
            let batch = Batch {
                contexts: vec![context],
                openings: vec![opening],
            };
            match line.send("contribute", batch.encode()).await {
                Ok(bytes) => {
                    let answer = evanesce_wire::message::Answers::decode(&bytes).unwrap();
                    let opening = &answer.openings[0];
                    assert_eq!(opening.code, Code::Malformed);
                    assert!(opening.reason.contains(what), "{}", opening.reason);
                }
                Err(e) => assert_eq!(problem(Err(e)).0, 400),
            }
        }
        let request = Request {
            token: [0; 32],
            ..line.request(&token.body, "open", "")
        };
        let opening = Opening {
            context: 0,
            requests: vec![request.encode()],
            salts: vec![None],
            evidence: Evidence::default(),
            rows: token.rows.clone(),
        };
        let (answer, _) = line.one("contribute", &token, opening).await;
        assert_eq!((answer.code, answer.seats.len()), (Code::Refused, 0));
    });
}

#[test]
fn a_start_goes_on_from_the_logs_time_unless_the_operator_says_otherwise() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let day = 24 * 3600;
    let agent = spawn(place.config()).unwrap();
    let id = agent.id();
    agent.stop();
    // What it would have left behind had its clock been a day ahead.
    let entry = Entry {
        agent: id,
        time: (now() + day) * 1000,
        verb: "seat".into(),
        token: [1; 32],
        key_name: String::new(),
        seats: vec![],
        caller: [2; 32],
        caller_name: String::new(),
        operations: vec![],
        code: "done".into(),
        reason: String::new(),
        element: String::new(),
        weaknesses: vec![],
        basis: Basis::default(),
    };
    let entry = entry.encode();
    let length = (entry.len() as u16).to_be_bytes();
    let frame = [&length, &leaf_hash(&entry)[..8], &entry].concat();
    std::fs::write(place.path("log/entries"), frame).unwrap();
    let clock = |agent: &Handle| {
        tell(async {
            let connection = ops.connect(agent.address(), id).await;
            let status = connection.get("/v1/status").await.unwrap();
            Status::decode(&status).unwrap().clock / 1000
        })
    };
    // Twice, so that the second start finds it by the head that the first has left.
    for _ in 0..2 {
        let agent = spawn(place.config()).unwrap();
        assert!(clock(&agent) >= now() + day - 60);
        tell(async {
            let connection = ops.connect(agent.address(), id).await;
            let (_, offer) = PendingSession::offer(&*ops.identity, id, now()).unwrap();
            let said = problem(connection.post("/v1/session", offer.encode()).await);
            assert_eq!(said, (409, "session".into()), "it has long ended");
        });
    }
    place.configure("accept_earlier_clock = true");
    let agent = spawn(place.config()).unwrap();
    assert!(clock(&agent) <= now());
    tell(async {
        let line = ops.open(agent.address(), id).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let opening = line.opening(&token, "open", "");
        let (answer, _) = line.one("contribute", &token, opening).await;
        assert_eq!(answer.code, Code::Done);
    });
    agent.stop();
    place.configure("");
    let agent = spawn(place.config()).unwrap();
    assert!(
        clock(&agent) <= now(),
        "the newest entry's time is right again"
    );
}

#[test]
fn what_all_callers_share_is_not_one_callers_to_use_up() {
    let place = Place::new("---\n[limits]\npending = 5\noperations_per_second = 20\n");
    let ops = Caller::new("ops", place.dir.path());
    let eve = Caller::new("eve", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE), (&eve, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let hers = eve.open(agent.address(), agent.id()).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let open = |line: &common::Line, operations: usize| {
            let mut opening = line.opening(&token, "open", "");
            let request = || line.request(&token.body, "open", "").encode();
            opening.requests = (0..operations).map(|_| request()).collect();
            opening.salts = vec![None; operations];
            Batch {
                contexts: vec![token.context()],
                openings: vec![opening],
            }
            .encode()
        };
        let mut several = tokio::task::JoinSet::new();
        let local = tokio::task::LocalSet::new();
        let eves = std::rc::Rc::new(hers);
        let asked = local.run_until(async {
            for _ in 0..30 {
                let (eves, body) = (eves.clone(), open(&eves, 1));
                several.spawn_local(async move { eves.send("contribute", body).await });
            }
            // Two of five would fit, were the others hers.
            let (first, second) = tokio::join!(
                line.send("check", check(&token)),
                line.send("check", check(&token))
            );
            assert!(first.is_ok() && second.is_ok());
            several.join_all().await
        });
        let (done, turned): (Vec<_>, Vec<_>) = asked.await.into_iter().partition(Result::is_ok);
        assert!(!done.is_empty() && !turned.is_empty());
        for answer in turned {
            match answer {
                Err(CallError::Problem(429, problem)) => {
                    assert_eq!(problem.message, "eve has too many requests in flight");
                }
                other => panic!("{other:?}"),
            }
        }
        // Eighty operations at once, and no more; the other caller has its own.
        let line = ops.open(agent.address(), agent.id()).await;
        assert!(line.send("contribute", open(&line, 100)).await.is_ok());
        let said = problem(line.send("contribute", open(&line, 1)).await);
        assert_eq!(said, (429, "overloaded".into()));
        assert!(eves.send("contribute", open(&eves, 1)).await.is_ok());
    });
}

/// A batch that has every seat of `token` checked.
fn check(token: &common::Minted) -> Vec<u8> {
    let opening = Opening {
        context: 0,
        requests: vec![],
        salts: vec![],
        evidence: Evidence::default(),
        rows: token.rows.clone(),
    };
    Batch {
        contexts: vec![token.context()],
        openings: vec![opening],
    }
    .encode()
}
