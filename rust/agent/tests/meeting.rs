//! Stories of agents that compare with one another: who was away, and who was restored from an old copy.

mod common;

use common::company::{Company, contribute, copy, id};
use common::{Caller, header, problem, tell};
use evanesce_wire::client::Way;
use evanesce_wire::message::{Code, Status};
use evanesce_wire::{FileIdentity, Identity};

#[test]
fn an_agent_that_reaches_too_few_peers_refuses_and_names_who_is_missing() {
    let mut all = Company::of(4, "");
    tell(async {
        all.start([0]);
        let line = all.line(0).await;
        let why = line.mint(header("1 of (a)", "")).await.err().unwrap();
        assert!(
            why.contains("unavailable (503)") && why.contains("0 of 2 needed"),
            "{why}"
        );
        let status = all
            .until(0, "it was asked", |s| !s.standing.contains("not asked"))
            .await;
        assert_eq!((status.peers, status.heard), (3, 0));
        for name in ["agent-2", "agent-3", "agent-4"] {
            assert!(status.standing.contains(name), "{}", status.standing);
        }
        // A check would say that all is well, and everything else is asked of the same agent.
        for verb in ["contribute", "check", "retire", "seat"] {
            let asked = line.send(verb, vec![0xa0]).await;
            assert_eq!(problem(asked), (503, "unavailable".into()), "{verb}");
        }
        all.start([1]);
        let status = all.until(0, "one is heard", |s| s.heard == 1).await;
        assert!(!status.standing.contains("agent-2 "), "{}", status.standing);
        assert_eq!(status.entries, 0, "nothing was decided");
        all.start([2]);
        all.until_well(0).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        // Who was heard since the start may go again.
        all.stop([1, 2]);
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        // A start begins anew.
        all.stop([0]);
        all.start([0]);
        let line = all.line(0).await;
        let why = contribute(&line, &token).await.unwrap_err();
        assert!(why.contains("0 of 2 needed"), "{why}");
        all.start([1, 2]);
        all.until_well(0).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
    });
}

#[test]
fn an_agent_that_was_restored_from_an_old_copy_answers_nothing_until_its_operator_has_acted() {
    let mut all = Company::of(3, "");
    let copies = tempfile::tempdir().unwrap();
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(0).await;
        let line = all.line(0).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let other = line.mint(header("1 of (a)", "")).await.unwrap();
        all.stop([0]);
        copy(all.places[0].dir.path(), copies.path());
        all.start([0]);
        all.until_well(0).await;
        let line = all.line(0).await;
        let (retired, _) = line
            .one("retire", &token, line.opening(&token, "retire", ""))
            .await;
        assert_eq!(retired.code, Code::Done);
        all.until_seen(0, 3).await;
        all.stop([0]);
        // The peers know it across their own starts.
        all.stop([1, 2]);
        all.start([1, 2]);
        let newest = tempfile::tempdir().unwrap();
        copy(all.places[0].dir.path(), newest.path());
        for file in ["tombstones", "log/entries", "log/head"] {
            std::fs::copy(copies.path().join(file), all.places[0].path(file)).unwrap();
        }
        all.start([0]);
        let lost = |s: &Status| s.standing.contains("restored from an old copy");
        let status = all.until(0, "it knows", lost).await;
        assert!(
            status.standing.contains("has seen 3 entries")
                && status.standing.contains("which has 2"),
            "{}",
            status.standing
        );
        let line = all.line(0).await;
        for token in [&token, &other] {
            let why = contribute(&line, token).await.unwrap_err();
            assert!(
                why.contains("unavailable (503)") && why.contains("old copy"),
                "{why}"
            );
        }
        assert!(line.mint(header("1 of (a)", "")).await.is_err());
        assert_eq!(all.status(0).await.entries, 2, "and its log is as it was");
        // The newest state is well.
        all.stop([0]);
        for file in ["tombstones", "log/entries", "log/head"] {
            std::fs::copy(newest.path().join(file), all.places[0].path(file)).unwrap();
        }
        all.start([0]);
        all.until_well(0).await;
        let line = all.line(0).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Retired));
        assert_eq!(contribute(&line, &other).await, Ok(Code::Done));
        // A log that was begun anew is one more way to forget, unless the operator says so.
        all.stop([0]);
        let key = FileIdentity::open(&all.places[0].path("log/log.key")).unwrap();
        let key = hex::encode(key.spki().last_chunk::<32>().unwrap());
        std::fs::rename(all.places[0].path("log"), all.places[0].path("old-log")).unwrap();
        all.start([0]);
        let other_log = |s: &Status| s.standing.contains("another log");
        let status = all.until(0, "it is found out", other_log).await;
        assert!(status.standing.contains(&key), "{}", status.standing);
        all.stop([0]);
        let file = all.file(&format!("former_logs = [\"{key}\"]"));
        std::fs::write(all.places[0].path("peers.toml"), file).unwrap();
        all.start([0]);
        all.until_well(0).await;
        let line = all.line(0).await;
        assert_eq!(contribute(&line, &other).await, Ok(Code::Done));
    });
}

#[test]
fn a_log_that_went_on_from_an_old_copy_is_a_fork_and_is_found_out_at_any_size() {
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
        let line = all.line(0).await;
        assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        all.until_seen(0, 2).await;
        all.stop([0]);
        for file in ["tombstones", "log/entries", "log/head"] {
            std::fs::copy(copies.path().join(file), all.places[0].path(file)).unwrap();
        }
        // Alone it goes on where it was, which is what peers are for.
        let peers = std::fs::read(all.places[0].path("peers.toml")).unwrap();
        std::fs::remove_file(all.places[0].path("peers.toml")).unwrap();
        all.start([0]);
        let line = all.line(0).await;
        for _ in 0..5 {
            assert_eq!(contribute(&line, &token).await, Ok(Code::Done));
        }
        all.stop([0]);
        std::fs::write(all.places[0].path("peers.toml"), peers).unwrap();
        all.start([0]);
        let forked = |s: &Status| s.standing.contains("other entries");
        all.until(0, "it is found out", forked).await;
        let line = all.line(0).await;
        assert!(contribute(&line, &token).await.is_err());
    });
}

#[test]
fn a_peer_may_exchange_and_nothing_else_and_nobody_else_may() {
    let mut all = Company::of(2, "");
    tell(async {
        all.start([0]);
        let identity = FileIdentity::open(&all.places[1].path("identity.key")).unwrap();
        let peer = Caller {
            name: "agent-2".into(),
            identity: std::sync::Arc::new(identity),
        };
        let to = id(&all.places[0]);
        let connection = peer.connect(all.addresses[0], to).await;
        assert_eq!(
            problem(connection.post("/v1/peer", vec![0xa0]).await).0,
            400
        );
        for path in ["session", "contribute", "check", "retire", "seat"] {
            let answer = connection.post(&format!("/v1/{path}"), vec![0xa0]).await;
            assert_eq!(problem(answer), (401, "unknown-identity".into()), "{path}");
        }
        let connection = all.ops.connect(all.addresses[0], to).await;
        let answer = connection.post("/v1/peer", vec![0xa0]).await;
        assert_eq!(problem(answer), (404, "not-found".into()));
        let stranger = Caller::new("stranger", all.places[0].dir.path());
        let connection = stranger.connect(all.addresses[0], to).await;
        let answer = connection.post("/v1/peer", vec![0xa0]).await;
        assert_eq!(problem(answer), (401, "unknown-identity".into()));
    });
}
