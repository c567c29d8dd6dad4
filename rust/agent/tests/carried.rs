//! Stories of a reconstructor that carries what callers ask for: what it can do with their proofs, and what not.

mod common;

use common::{Caller, Line, Minted, Place, header, now, problem, tell};
use evanesce_agent::spawn;
use evanesce_wire::message::{
    Batch, Code, Entry, Evidence, Opening, OpeningAnswer, Proof, Request,
};
use evanesce_wire::{Id, Identity};

const POLICY: &str = "permit(principal == Caller::\"ops\", action == Action::\"sign\", resource);";

/// A request of `caller`'s under the session of another.
fn request(line: &Line, token: &Minted, caller: &dyn Identity) -> Request {
    Request {
        caller: caller.caller_id(),
        ..line.request(&token.body, "sign", "ed25519")
    }
}

fn hash(request: &Request) -> Id {
    evanesce_token::formula::request_hash(&[&request.encode()])
}

fn opening(token: &Minted, request: &Request, proof: Option<&Proof>) -> Opening {
    Opening {
        context: 0,
        requests: vec![request.encode()],
        salts: vec![None],
        evidence: Evidence {
            proof: proof.map(Proof::encode),
            ..Evidence::default()
        },
        rows: token.rows.clone(),
    }
}

fn entry(line: &Line, (answer, checkpoint): (OpeningAnswer, String)) -> (Code, String, Entry) {
    let receipt = line.receipt(answer.receipt.unwrap(), &checkpoint);
    (answer.code, answer.reason, receipt.verify().unwrap())
}

/// Two agents that know a minter, a caller, a caller of the same rights and a reconstructor that is no caller.
struct Scene {
    place: Place,
    other: Place,
    minter: Caller,
    ops: Caller,
    eve: Caller,
    service: Caller,
}

fn scene() -> Scene {
    let (place, other) = (Place::new(""), Place::new(""));
    let caller = |name: &str| Caller::new(name, place.dir.path());
    let (minter, ops, eve) = (caller("minter"), caller("ops"), caller("eve"));
    let service = caller("service");
    for at in [&place, &other] {
        at.know(&[
            (&minter, "\"minter\""),
            (&ops, "\"caller\""),
            (&eve, "\"caller\", \"reconstructor\""),
            (&service, "\"reconstructor\""),
        ]);
    }
    Scene {
        place,
        other,
        minter,
        ops,
        eve,
        service,
    }
}

#[test]
fn a_reconstructor_carries_what_a_caller_has_proven_and_nothing_else() {
    let scene = scene();
    let agent = spawn(scene.place.config()).unwrap();
    let second = spawn(scene.other.config()).unwrap();
    tell(async {
        let minting = scene.minter.open(agent.address(), agent.id()).await;
        let token = minting.mint(header("1 of (a)", POLICY)).await.unwrap();
        let line = scene.service.open(agent.address(), agent.id()).await;
        let ops = &*scene.ops.identity;

        // What the caller has proven is decided as the caller's, and logged as carried.
        let asked = request(&line, &token, ops);
        let proof = Proof::sign(ops, vec![hash(&asked), [7; 32]]).unwrap();
        let good = opening(&token, &asked, Some(&proof));
        let (code, why, said) = entry(&line, line.one("contribute", &token, good.clone()).await);
        assert_eq!((code, &why[..]), (Code::Done, ""));
        assert_eq!(
            (said.caller, &said.caller_name[..]),
            (ops.caller_id(), "ops")
        );
        let carrier = Some(scene.service.identity.caller_id());
        assert_eq!(said.basis.reconstructor, carrier);

        // Again: it was answered.
        let (code, ..) = entry(&line, line.one("contribute", &token, good).await);
        assert_eq!(code, Code::Replayed);

        // Under another session of the same reconstructor, or at another agent: the request names neither.
        let again = scene.service.open(agent.address(), agent.id()).await;
        let elsewhere = scene.service.open(second.address(), second.id()).await;
        for line in [&again, &elsewhere] {
            let fresh = request(&again, &token, ops);
            let stale = Request {
                session: [1; 32],
                ..fresh
            };
            let proof = Proof::sign(ops, vec![hash(&stale)]).unwrap();
            let answer = line.one("contribute", &token, opening(&token, &stale, Some(&proof)));
            let (code, why, said) = entry(line, answer.await);
            assert_eq!(code, Code::Refused);
            assert!(why.contains("another session"), "{why}");
            assert_eq!(said.basis.reconstructor, carrier, "proven, and yet refused");
        }

        // Another reconstructor that came by the proof: its session is another.
        let thief = scene.eve.open(agent.address(), agent.id()).await;
        let asked = request(&line, &token, ops);
        let proof = Proof::sign(ops, vec![hash(&asked)]).unwrap();
        let stolen = opening(&token, &asked, Some(&proof));
        let (code, why, _) = entry(&thief, thief.one("contribute", &token, stolen).await);
        assert!(
            code == Code::Refused && why.contains("another session"),
            "{why}"
        );

        // Without a proof, or with one that does not hold, it is the reconstructor's own doing, and it is no caller.
        let mine = line.request(&token.body, "sign", "ed25519");
        for (asked, proof, what) in [
            (mine.clone(), None, "a caller's to ask for"),
            (asked.clone(), None, "a caller's to ask for"),
            (mine, Some(proof.clone()), "of other requests"),
            (
                asked,
                Some(Proof {
                    signature: vec![0; 64],
                    ..proof
                }),
                "not signed by its caller",
            ),
        ] {
            let answer = line.one(
                "contribute",
                &token,
                opening(&token, &asked, proof.as_ref()),
            );
            let (code, why, said) = entry(&line, answer.await);
            assert_eq!(code, Code::Refused);
            assert!(why.contains(what), "{what}: {why}");
            assert_eq!(
                (&said.caller_name[..], said.basis.reconstructor),
                ("service", None)
            );
        }

        // Another caller's proof asks as that caller, whom the policy does not permit.
        let eve = &*scene.eve.identity;
        let asked = request(&line, &token, eve);
        let proof = Proof::sign(eve, vec![hash(&asked)]).unwrap();
        let answer = line.one("contribute", &token, opening(&token, &asked, Some(&proof)));
        let (code, why, said) = entry(&line, answer.await);
        assert!(code == Code::Refused && why.contains("policy"), "{why}");
        assert_eq!(said.caller_name, "eve");
        // And cannot stand under a request in the first one's name.
        let asked = request(&line, &token, ops);
        let proof = Proof::sign(eve, vec![hash(&asked)]).unwrap();
        let answer = line.one("contribute", &token, opening(&token, &asked, Some(&proof)));
        let (code, why, _) = entry(&line, answer.await);
        assert!(
            code == Code::Refused && why.contains("another caller"),
            "{why}"
        );
    });
}

#[test]
fn a_caller_that_is_no_reconstructor_is_sent_no_share() {
    let scene = scene();
    let agent = spawn(scene.place.config()).unwrap();
    tell(async {
        let minting = scene.minter.open(agent.address(), agent.id()).await;
        let token = minting.mint(header("1 of (a)", POLICY)).await.unwrap();
        let line = scene.ops.open(agent.address(), agent.id()).await;
        let ops = &*scene.ops.identity;
        let asked = request(&line, &token, ops);
        let proof = Proof::sign(ops, vec![hash(&asked)]).unwrap();
        for proof in [None, Some(&proof)] {
            let batch = Batch {
                contexts: vec![token.context()],
                openings: vec![opening(&token, &asked, proof)],
            };
            let refused = line.send("contribute", batch.encode()).await;
            assert_eq!(problem(refused), (403, "role".into()));
        }
        // A minter that is proven is not a caller for that.
        let line = scene.service.open(agent.address(), agent.id()).await;
        let minter = &*scene.minter.identity;
        let asked = request(&line, &token, minter);
        let proof = Proof::sign(minter, vec![hash(&asked)]).unwrap();
        let answer = line.one("contribute", &token, opening(&token, &asked, Some(&proof)));
        let (code, why, _) = entry(&line, answer.await);
        assert!(
            code == Code::Refused && why.contains("a caller's to ask for"),
            "{why}"
        );
        // What has ended is too late, proven or not.
        let late = Request {
            not_after: now() - 1,
            ..request(&line, &token, ops)
        };
        let proof = Proof::sign(ops, vec![hash(&late)]).unwrap();
        let answer = line.one("contribute", &token, opening(&token, &late, Some(&proof)));
        assert_eq!(entry(&line, answer.await).0, Code::Replayed);
    });
}
