//! Stories of orders: tokens that are revoked, frozen and thawed, wherever their agents were meanwhile.

mod common;

use std::time::Duration;

use common::company::{Company, contribute, copy, id};
use common::{Caller, EVERY_ROLE, Minted, context, header, tell};
use evanesce_wire::Identity;
use evanesce_wire::client::{CallError, Way};
use evanesce_wire::message::{Code, Command, Obeyed, Order, SignedOrder, Status};

/// Milliseconds since the epoch.
fn millis() -> u64 {
    common::now() * 1000
}

/// An order about `token`, `ms` from now.
fn order(caller: &Caller, token: &Minted, command: Command, ms: i64) -> Order {
    let mut nonce = [0; 16];
    evanesce_secret::random(&mut nonce);
    Order {
        token: token.body.id,
        command,
        caller: caller.identity.caller_id(),
        issued: millis().saturating_add_signed(ms),
        nonce,
    }
}

fn sign(caller: &Caller, token: &Minted, order: &Order) -> SignedOrder {
    SignedOrder::sign(order, context(&token.body), &*caller.identity).unwrap()
}

/// Gives an agent an order, as `bearer`.
async fn give(
    all: &Company,
    n: usize,
    bearer: &Caller,
    signed: &SignedOrder,
) -> Result<Obeyed, CallError> {
    let connection = bearer.connect(all.addresses[n], id(&all.places[n])).await;
    let answer = connection.post("/v1/order", signed.encode()).await?;
    Ok(Obeyed::decode(&answer).unwrap())
}

async fn code(all: &Company, n: usize, bearer: &Caller, signed: &SignedOrder) -> Code {
    give(all, n, bearer, signed).await.unwrap().code
}

#[test]
fn an_agent_that_was_down_learns_of_a_revocation_before_it_answers_anything() {
    let mut all = Company::of(3, "");
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(2).await;
        let line = all.line(2).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        // Those that go on have heard from it.
        for n in [0, 1] {
            all.until_well(n).await;
        }
        all.stop([2]);
        let signed = sign(
            &all.ops,
            &token,
            &order(&all.ops, &token, Command::Revoke, 0),
        );
        let obeyed = give(&all, 0, &all.ops, &signed).await.unwrap();
        assert_eq!((obeyed.code, obeyed.reason.as_str()), (Code::Done, ""));
        // Its receipt says what was ordered.
        let line = all.line(0).await;
        let entry = line.receipt(obeyed.receipt.unwrap(), &obeyed.checkpoint);
        let entry = entry.verify().unwrap();
        assert_eq!((entry.verb.as_str(), entry.token), ("order", token.body.id));
        assert_eq!(entry.operations[0].action, "revoke");
        // The same again is no other.
        assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Done);
        let other = sign(
            &all.ops,
            &token,
            &order(&all.ops, &token, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &all.ops, &other).await, Code::Retired);
        // Who runs learns it soon, without holding a seat.
        all.until(1, "it has learnt it", |s| s.tombstones == 1)
            .await;
        all.start([2]);
        let status = all.until(2, "it answers", |s| s.standing.is_empty()).await;
        assert_eq!(status.tombstones, 1, "by then");
        let line = all.line(2).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Retired));
        all.stop([0, 1, 2]);
        all.start([0, 1, 2]);
        all.until_well(2).await;
        let line = all.line(2).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Retired));
        assert_eq!(all.places[2].tombstones(), 1);
    });
}

#[test]
fn what_was_retired_by_its_holders_is_revoked_as_well_so_that_others_are_told() {
    let mut all = Company::of(3, "");
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(0).await;
        let line = all.line(0).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let opening = line.opening(&token, "retire", "");
        let (retired, _) = line.one("retire", &token, opening).await;
        assert_eq!(retired.code, Code::Done);
        for command in [Command::Freeze, Command::Thaw] {
            let signed = sign(&all.ops, &token, &order(&all.ops, &token, command, 0));
            assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Retired);
        }
        let signed = sign(
            &all.ops,
            &token,
            &order(&all.ops, &token, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Done);
        assert_eq!(all.places[0].tombstones(), 1, "it has one already");
        for n in [1, 2] {
            all.until(n, "it has learnt it", |s| s.tombstones == 1)
                .await;
        }
    });
}

#[test]
fn a_token_is_frozen_everywhere_and_thawed_again_and_no_old_order_counts() {
    let mut all = Company::of(3, "");
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(1).await;
        let line = all.line(1).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let give_all = |command, ms| {
            let signed = sign(&all.ops, &token, &order(&all.ops, &token, command, ms));
            let all = &all;
            async move { (code(all, 0, &all.ops, &signed).await, signed) }
        };
        all.until_well(0).await;
        let (given, first_freeze) = give_all(Command::Freeze, -20_000).await;
        assert_eq!(given, Code::Done);
        all.until(1, "frozen", |s| s.frozen == 1).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Refused));
        let (given, first_thaw) = give_all(Command::Thaw, -10_000).await;
        assert_eq!(given, Code::Done);
        all.until(1, "thawed", |s| s.frozen == 0).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        // Once more the same, and one in between: the thaw holds, and neither of these.
        assert_eq!(code(&all, 0, &all.ops, &first_thaw).await, Code::Done);
        let given = code(&all, 0, &all.ops, &first_freeze).await;
        assert_eq!(given, Code::Replayed);
        let (given, _) = give_all(Command::Freeze, -15_000).await;
        assert_eq!(given, Code::Replayed);
        let (given, _) = give_all(Command::Freeze, -5_000).await;
        assert_eq!(given, Code::Done);
        let given = code(&all, 0, &all.ops, &first_thaw).await;
        assert_eq!(given, Code::Replayed, "it was obeyed, and is no more");
        let (given, _) = give_all(Command::Thaw, -6_000).await;
        assert_eq!(given, Code::Replayed, "an old thaw");
        all.until(1, "frozen", |s| s.frozen == 1).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Refused));
        // Across a start.
        all.stop([1]);
        all.start([1]);
        let status = all.until(1, "it answers", |s| s.standing.is_empty()).await;
        assert_eq!((status.frozen, status.tombstones), (1, 0));
        // What is frozen is revoked all the same, and then it is too late to thaw.
        let signed = sign(
            &all.ops,
            &token,
            &order(&all.ops, &token, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 1, &all.ops, &signed).await, Code::Done);
        let signed = sign(&all.ops, &token, &order(&all.ops, &token, Command::Thaw, 0));
        assert_eq!(code(&all, 1, &all.ops, &signed).await, Code::Retired);
    });
}

#[test]
fn whoever_may_not_retire_may_not_order_and_every_field_is_signed() {
    let mut all = Company::of(2, "needed = 1");
    let mallory = Caller::new("mallory", all.places[0].dir.path());
    let roles = "\"caller\", \"reconstructor\"";
    for place in &all.places {
        place.know(&[(&all.ops, EVERY_ROLE), (&mallory, roles)]);
    }
    tell(async {
        all.start([0, 1]);
        all.until_well(0).await;
        let line = all.line(0).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let may = "permit(principal, action, resource);\n\
                   permit(principal == Caller::\"mallory\", action == Action::\"retire\", resource);";
        let theirs = line.mint(header("1 of (a)", may)).await.unwrap();
        let good = order(&all.ops, &token, Command::Revoke, 0);
        // Of one who may not, of one who is unknown, and of another than the bearer.
        let not_theirs = order(&mallory, &token, Command::Freeze, 0);
        let signed = sign(&mallory, &token, &not_theirs);
        let refused = give(&all, 0, &mallory, &signed).await.unwrap();
        assert!(refused.reason.contains("minter role"), "{}", refused.reason);
        let stranger = Caller::new("stranger", all.places[0].dir.path());
        let unknown = sign(
            &stranger,
            &token,
            &order(&stranger, &token, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &all.ops, &unknown).await, Code::Refused);
        let signed = sign(&all.ops, &token, &good);
        assert_eq!(code(&all, 0, &mallory, &signed).await, Code::Refused);
        // In another's name.
        let forged = SignedOrder {
            signature: mallory.identity.sign(&signed.id()).unwrap(),
            ..signed.clone()
        };
        assert_eq!(code(&all, 0, &all.ops, &forged).await, Code::Malformed);
        let forged = SignedOrder {
            spki: mallory.identity.spki().to_vec(),
            ..forged
        };
        assert_eq!(code(&all, 0, &all.ops, &forged).await, Code::Malformed);
        // About another token than is shown, under whose policy they may.
        let shown = SignedOrder {
            context: context(&theirs.body),
            ..sign(&mallory, &token, &not_theirs)
        };
        assert_eq!(code(&all, 0, &mallory, &shown).await, Code::Refused);
        // Too old, and from the future.
        for ms in [-301_000, 302_000] {
            let signed = sign(
                &all.ops,
                &token,
                &order(&all.ops, &token, Command::Freeze, ms),
            );
            assert_eq!(
                code(&all, 0, &all.ops, &signed).await,
                Code::Refused,
                "{ms}"
            );
        }
        // Any bit of the order.
        for n in 0..signed.order.len() {
            let mut flipped = signed.clone();
            flipped.order[n] ^= 1;
            let answer = give(&all, 0, &all.ops, &flipped).await;
            assert!(
                !matches!(&answer, Ok(o) if o.code == Code::Done),
                "byte {n}: {answer:?}"
            );
        }
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        let status = all.status(0).await;
        assert_eq!((status.tombstones, status.frozen), (0, 0));
        // The policy of a token lets whom it names.
        let signed = sign(
            &mallory,
            &theirs,
            &order(&mallory, &theirs, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &mallory, &signed).await, Code::Done);
        assert_eq!(contribute(&line, &theirs).await, Ok(Code::Retired));
    });
}

#[test]
fn an_agent_without_peers_obeys_as_well_and_remembers_it() {
    let mut all = Company::of(1, "");
    tell(async {
        all.start([0]);
        let line = all.line(0).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let other = line.mint(header("1 of (a)", "")).await.unwrap();
        for (token, command) in [(&token, Command::Revoke), (&other, Command::Freeze)] {
            let signed = sign(&all.ops, token, &order(&all.ops, token, command, 0));
            assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Done);
        }
        all.stop([0]);
        // The order is there before its tombstone is.
        std::fs::write(all.places[0].path("tombstones"), "").unwrap();
        all.start([0]);
        let line = all.line(0).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Retired));
        assert_eq!(contribute(&line, &other).await, Ok(Code::Refused));
    });
}

#[test]
fn an_old_copy_whose_log_was_given_up_learns_again_what_was_ordered() {
    let mut all = Company::of(3, "");
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(0).await;
        let line = all.line(0).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        all.stop([0]);
        let copies = tempfile::tempdir().unwrap();
        copy(all.places[0].dir.path(), copies.path());
        all.start([0]);
        all.until_well(0).await;
        let signed = sign(
            &all.ops,
            &token,
            &order(&all.ops, &token, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Done);
        all.until(1, "it has learnt it", |s| s.tombstones == 1)
            .await;
        all.until(2, "it has learnt it", |s| s.tombstones == 1)
            .await;
        all.until_seen(0, 2).await;
        all.stop([0]);
        for file in ["tombstones", "orders", "log/entries", "log/head"] {
            std::fs::copy(copies.path().join(file), all.places[0].path(file)).unwrap();
        }
        all.start([0]);
        let lost = |s: &Status| s.standing.contains("restored from an old copy");
        let status = all.until(0, "it knows", lost).await;
        assert_eq!(
            (status.entries, status.tombstones),
            (1, 0),
            "nothing is written"
        );
        let line = all.line(0).await;
        assert!(contribute(&line, &token).await.is_err());
        all.stop([0]);
        let key = evanesce_wire::FileIdentity::open(&all.places[0].path("log/log.key")).unwrap();
        let key = hex::encode(key.spki().last_chunk::<32>().unwrap());
        std::fs::rename(all.places[0].path("log"), all.places[0].path("old-log")).unwrap();
        let file = all.file(&format!("former_logs = [\"{key}\"]"));
        std::fs::write(all.places[0].path("peers.toml"), file).unwrap();
        all.start([0]);
        let status = all.until(0, "it answers", |s| s.standing.is_empty()).await;
        assert_eq!(status.tombstones, 1);
        let line = all.line(0).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Retired));
    });
}

#[test]
fn hundreds_of_orders_are_handed_on_at_a_start() {
    let mut all = Company::of(3, "needed = 1");
    tell(async {
        all.start([0, 1]);
        all.until_well(0).await;
        let line = all.line(0).await;
        for n in 0..150 {
            let token = line.mint(header("1 of (a)", "")).await.unwrap();
            let signed = sign(
                &all.ops,
                &token,
                &order(&all.ops, &token, Command::Revoke, 0),
            );
            assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Done, "{n}");
        }
        // Whichever of them the third hears of first.
        all.until(1, "it has learnt them", |s| s.tombstones == 150)
            .await;
        all.start([2]);
        let status = all.until(2, "it answers", |s| s.standing.is_empty()).await;
        assert_eq!(status.tombstones, 150);
    });
}

#[test]
fn whoever_fills_their_share_of_the_orders_keeps_out_themselves_alone() {
    let mut all = Company::of(2, "needed = 1");
    let mallory = Caller::new("mallory", all.places[0].dir.path());
    for place in &all.places {
        place.know(&[(&all.ops, EVERY_ROLE), (&mallory, "\"caller\"")]);
    }
    tell(async {
        all.start([0, 1]);
        all.until_well(0).await;
        let line = all.line(0).await;
        let may = "permit(principal in Group::\"eu\", action == Action::\"retire\", resource);";
        let mut tokens = Vec::new();
        for _ in 0..5 {
            tokens.push(line.mint(header("1 of (a)", may)).await.unwrap());
        }
        let freeze = |who, token| sign(who, token, &order(who, token, Command::Freeze, 0));
        // Three for each of four, and a little.
        let most = 4 * (3 * (freeze(&mallory, &tokens[0]).encode().len() + 12) + 9);
        all.stop([0, 1]);
        for place in &all.places {
            let path = place.path("agent.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            let more = format!("{text}\n[limits]\norders_bytes = {most}\n");
            std::fs::write(path, more).unwrap();
        }
        all.start([0, 1]);
        all.until_well(0).await;
        for (n, token) in tokens.iter().enumerate().take(4) {
            let answer = give(&all, 0, &mallory, &freeze(&mallory, token))
                .await
                .unwrap();
            if n < 3 {
                assert_eq!((answer.code, answer.reason.as_str()), (Code::Done, ""));
            } else {
                assert_eq!(answer.code, Code::Refused);
                assert!(answer.reason.contains("orders_bytes"), "{}", answer.reason);
            }
        }
        let signed = sign(
            &all.ops,
            &tokens[4],
            &order(&all.ops, &tokens[4], Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &all.ops, &signed).await, Code::Done);
        let knows = |s: &Status| s.tombstones == 1 && s.frozen == 3;
        all.until(1, "it has learnt them", knows).await;
        // A start finds it as full.
        all.stop([0]);
        all.start([0]);
        all.until_well(0).await;
        assert!(knows(&all.status(0).await));
        let again = freeze(&mallory, &tokens[3]);
        assert_eq!(code(&all, 0, &mallory, &again).await, Code::Refused);
    });
}

#[test]
fn an_order_of_one_who_is_gone_is_taken_from_a_majority_that_has_obeyed_but_no_thaw() {
    let mut all = Company::of(4, "");
    let gone = Caller::new("gone", all.places[0].dir.path());
    let know = |all: &Company, which: &[usize]| {
        for n in which {
            let mut callers = vec![(&all.ops, EVERY_ROLE)];
            if *n < 3 {
                callers.push((&gone, EVERY_ROLE));
            }
            all.places[*n].know(&callers);
        }
    };
    know(&all, &[0, 1, 2]);
    tell(async {
        all.start([0, 1, 2, 3]);
        all.until_well(3).await;
        let line = all.line(3).await;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(line.mint(header("1 of (a)", "")).await.unwrap());
        }
        let give_all = |token, command, ms| sign(&gone, token, &order(&gone, token, command, ms));
        // Those that go on have heard from it.
        for n in [0, 1, 2] {
            all.until_well(n).await;
        }
        all.stop([3]);
        for (token, command, ms) in [
            (&tokens[0], Command::Revoke, 0),
            (&tokens[1], Command::Freeze, -9000),
            (&tokens[1], Command::Thaw, 0),
            (&tokens[2], Command::Freeze, 0),
        ] {
            let signed = give_all(token, command, ms);
            assert_eq!(code(&all, 0, &gone, &signed).await, Code::Done);
        }
        for n in [1, 2] {
            all.until(n, "it has learnt them", |s| {
                s.tombstones == 1 && s.frozen == 1
            })
            .await;
        }
        all.start([3]);
        let knows = |s: &Status| s.standing.is_empty() && s.tombstones == 1 && s.frozen == 2;
        all.until(3, "it has followed them", knows).await;
        let line = all.line(3).await;
        assert_eq!(contribute(&line, &tokens[0]).await, Ok(Code::Retired));
        assert_eq!(contribute(&line, &tokens[2]).await, Ok(Code::Refused));
        // Somebody whom it knows thaws what it has not heard to be thawed.
        assert_eq!(contribute(&line, &tokens[1]).await, Ok(Code::Refused));
        let thaw = sign(
            &all.ops,
            &tokens[1],
            &order(&all.ops, &tokens[1], Command::Thaw, 1000),
        );
        assert_eq!(code(&all, 3, &all.ops, &thaw).await, Code::Done);
        assert_eq!(contribute(&line, &tokens[1]).await, Ok(Code::Done));
    });
}

#[test]
fn an_order_of_a_stranger_that_one_peer_holds_is_not_taken() {
    let mut all = Company::of(4, "");
    let stranger = Caller::new("stranger", all.places[0].dir.path());
    all.places[0].know(&[(&all.ops, EVERY_ROLE), (&stranger, EVERY_ROLE)]);
    tell(async {
        all.start([0, 1, 2, 3]);
        for n in 0..4 {
            all.until_well(n).await;
        }
        let line = all.line(3).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let signed = sign(
            &stranger,
            &token,
            &order(&stranger, &token, Command::Revoke, 0),
        );
        assert_eq!(code(&all, 0, &stranger, &signed).await, Code::Done);
        // Ten exchanges later.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for n in 1..4 {
            assert_eq!(all.status(n).await.tombstones, 0, "agent {n}");
        }
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        // Once it is known to the others, they learn it all the same.
        let know = |n: usize| {
            all.places[n].know(&[(&all.ops, EVERY_ROLE), (&stranger, EVERY_ROLE)]);
        };
        know(1);
        all.stop([1]);
        all.start([1]);
        for n in [1, 2, 3] {
            all.until(n, "it has learnt it", |s| s.tombstones == 1)
                .await;
        }
    });
}
