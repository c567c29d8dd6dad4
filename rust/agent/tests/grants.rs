//! Stories of grants that were revoked, wherever their agents were meanwhile.

mod common;

use common::company::{Company, copy, id};
use common::{Caller, EVERY_ROLE, Line, Minted, header, now, problem, tell};
use evanesce_wire::client::Way;
use evanesce_wire::grant::{Grant, Revocation, Signed};
use evanesce_wire::message::{Code, Status};
use evanesce_wire::{FileIdentity, Identity};

const POLICY: &str = "@delegable(\"1\") permit(principal == Caller::\"ops\", action, resource);";

/// A grant of `from` to `to` for half an hour, signed.
fn granted(from: &Caller, to: &Caller, token: &Minted, expires: u64) -> Vec<u8> {
    let mut nonce = [0; 16];
    evanesce_secret::random(&mut nonce);
    let grant = Grant {
        token: token.body.id,
        grantor: from.identity.caller_id(),
        delegate: to.identity.caller_id(),
        parent: None,
        further: false,
        actions: vec!["sign".into()],
        suites: vec!["ed25519".into()],
        bounds: vec![],
        count: None,
        not_before: 0,
        expires,
        nonce,
    };
    Signed::new(&grant, &*from.identity).unwrap().encode()
}

async fn under(line: &Line, token: &Minted, grant: &[u8]) -> (Code, String) {
    let mut opening = line.opening(token, "sign", "ed25519");
    opening.evidence.grants = vec![grant.to_vec()];
    let (answer, _) = line.one("contribute", token, opening).await;
    (answer.code, answer.reason)
}

/// Three agents that know the grantor and whoever it lets ask.
fn company(bot: &mut Option<Caller>) -> Company {
    let all = Company::of(3, "");
    let bot = bot.insert(Caller::new("bot", all.places[0].dir.path()));
    for place in &all.places {
        place.know(&[
            (&all.ops, EVERY_ROLE),
            (&*bot, "\"caller\", \"reconstructor\""),
        ]);
    }
    all
}

#[test]
fn an_agent_that_was_down_learns_that_a_grant_was_revoked_before_it_answers_anything() {
    let mut bot = None;
    let mut all = company(&mut bot);
    let bot = bot.unwrap();
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(2).await;
        let token = all.line(2).await.mint(header("1 of (a)", POLICY)).await;
        let token = token.unwrap();
        let grant = granted(&all.ops, &bot, &token, now() + 1800);
        let other = granted(&all.ops, &bot, &token, now() + 1800);
        let line = bot.open(all.addresses[2], id(&all.places[2])).await;
        assert_eq!(under(&line, &token, &grant).await.0, Code::Done);
        // Those that go on have heard from it.
        for n in [0, 1] {
            all.until_well(n).await;
        }
        all.stop([2]);
        // Whoever carries the word, it is the grantor's.
        let word = Revocation::new(&grant, &*all.ops.identity).unwrap();
        let to = bot.connect(all.addresses[0], id(&all.places[0])).await;
        let forged = Revocation {
            signature: bot.identity.sign(&[7; 32]).unwrap(),
            ..word.clone()
        };
        let answer = to.post("/v1/revoke-grant", forged.encode()).await;
        assert_eq!(problem(answer), (400, "malformed".into()));
        assert_eq!(all.status(0).await.entries, 0);
        for _ in 0..2 {
            to.post("/v1/revoke-grant", word.encode()).await.unwrap();
            assert_eq!(all.status(0).await.entries, 1, "it is logged once");
        }
        all.until(1, "it has learnt it", |s| s.entries == 1).await;
        all.start([2]);
        all.until_well(2).await;
        let line = bot.open(all.addresses[2], id(&all.places[2])).await;
        let (code, why) = under(&line, &token, &grant).await;
        assert_eq!(
            (code, why.as_str()),
            (Code::Refused, "the grant was revoked")
        );
        assert_eq!(under(&line, &token, &other).await.0, Code::Done);
        all.stop([0, 1, 2]);
        all.start([0, 1, 2]);
        all.until_well(2).await;
        let line = bot.open(all.addresses[2], id(&all.places[2])).await;
        assert_eq!(under(&line, &token, &grant).await.0, Code::Refused);
    });
}

#[test]
fn a_revoked_grant_outlives_an_old_copy_of_the_agent() {
    let mut bot = None;
    let mut all = company(&mut bot);
    let bot = bot.unwrap();
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(0).await;
        let token = all.line(0).await.mint(header("1 of (a)", POLICY)).await;
        let token = token.unwrap();
        let grant = granted(&all.ops, &bot, &token, now() + 1800);
        all.stop([0]);
        let copies = tempfile::tempdir().unwrap();
        copy(all.places[0].dir.path(), copies.path());
        all.start([0]);
        all.until_well(0).await;
        let word = Revocation::new(&grant, &*all.ops.identity).unwrap();
        let to = all.ops.connect(all.addresses[0], id(&all.places[0])).await;
        to.post("/v1/revoke-grant", word.encode()).await.unwrap();
        for n in [1, 2] {
            all.until(n, "it has learnt it", |s| s.entries == 1).await;
        }
        all.until_seen(0, 2).await;
        all.stop([0]);
        for file in ["orders", "log/entries", "log/head"] {
            std::fs::copy(copies.path().join(file), all.places[0].path(file)).unwrap();
        }
        all.start([0]);
        let lost = |s: &Status| s.standing.contains("restored from an old copy");
        all.until(0, "it knows", lost).await;
        all.stop([0]);
        let key = FileIdentity::open(&all.places[0].path("log/log.key")).unwrap();
        let key = hex::encode(key.spki().last_chunk::<32>().unwrap());
        std::fs::rename(all.places[0].path("log"), all.places[0].path("old-log")).unwrap();
        let file = all.file(&format!("former_logs = [\"{key}\"]"));
        std::fs::write(all.places[0].path("peers.toml"), file).unwrap();
        all.start([0]);
        all.until_well(0).await;
        let line = bot.open(all.addresses[0], id(&all.places[0])).await;
        let (code, why) = under(&line, &token, &grant).await;
        assert_eq!(
            (code, why.as_str()),
            (Code::Refused, "the grant was revoked")
        );
    });
}

#[test]
fn nothing_is_kept_of_a_grant_that_is_long_past_or_of_a_stranger() {
    let mut bot = None;
    let mut all = company(&mut bot);
    let bot = bot.unwrap();
    let stranger = Caller::new("stranger", all.places[0].dir.path());
    tell(async {
        all.start([0, 1, 2]);
        all.until_well(0).await;
        let token = all.line(0).await.mint(header("1 of (a)", POLICY)).await;
        let token = token.unwrap();
        let to = bot.connect(all.addresses[0], id(&all.places[0])).await;
        let past = granted(&all.ops, &bot, &token, now() - 2 * 24 * 3600);
        let word = Revocation::new(&past, &*all.ops.identity).unwrap();
        to.post("/v1/revoke-grant", word.encode()).await.unwrap();
        let theirs = granted(&stranger, &bot, &token, now() + 1800);
        let word = Revocation::new(&theirs, &*stranger.identity).unwrap();
        let answer = to.post("/v1/revoke-grant", word.encode()).await;
        assert_eq!(problem(answer), (403, "role".into()));
        assert_eq!(all.status(0).await.entries, 1, "the seat's alone");
        assert_eq!(std::fs::read(all.places[0].path("orders")).unwrap(), b"");
    });
}
