//! Two agents of five are somebody else's: their identities, all that they were ever sent, in the clear. What the honest three
//! make of it, over real TLS.

mod common;

use common::{Caller, EVERY_ROLE, Line, Minted, Place, context, header, now, problem, tell};
use evanesce_agent::{Handle, spawn};
use evanesce_token::{Header, formula};
use evanesce_wire::client::{CallError, Connection, Way};
use evanesce_wire::message::{
    Answers, Batch, Code, Envelope, SeatFault, SeatResult, SeatShare, Seated, SeatedResult,
    Seating, SessionAnswer, Status, envelope_aad, seat_hash,
};
use evanesce_wire::session::PendingSession;
use evanesce_wire::{FileIdentity, tls};
use std::sync::Arc;

const CORRUPT: usize = 2;

/// Five agents that know one caller, a token of 3 in 5, and what the corrupt two were sent.
struct Scene {
    places: Vec<Place>,
    agents: Vec<Handle>,
    ops: Caller,
}

/// What somebody at a corrupt agent has of one request.
struct Sent {
    verb: &'static str,
    envelope: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let places: Vec<Place> = (0..5).map(|_| Place::new("")).collect();
        let ops = Caller::new("ops", places[4].dir.path());
        places
            .iter()
            .for_each(|place| place.know(&[(&ops, EVERY_ROLE)]));
        let agents = places.iter().map(|place| spawn(place.config()).unwrap());
        Self {
            agents: agents.collect(),
            places,
            ops,
        }
    }

    /// The identity of a corrupt agent, in whoever's hands.
    fn stolen(&self, agent: usize) -> Caller {
        let identity = FileIdentity::open(&self.places[agent].path("identity.key")).unwrap();
        Caller {
            name: "intruder".into(),
            identity: Arc::new(identity),
        }
    }

    async fn line(&self, agent: usize) -> Line {
        let agent = &self.agents[agent];
        self.ops.open(agent.address(), agent.id()).await
    }

    /// A token whose seat n is held by agent n.
    async fn mint(&self, header: Header) -> Minted {
        let dealt = common::Dealt::new(&header);
        let mut rows = Vec::new();
        for (agent, share) in dealt.shares.iter().enumerate() {
            let (line, seat) = (self.line(agent).await, agent as u32);
            let token = &dealt.body.id;
            let aad = formula::share_aad(&seat_hash(token, seat), token, seat, &line.agent);
            let mut sealed = [0; 48];
            sealed[..32].copy_from_slice(share.expose());
            let (counter, tag) = line.session.seal(&aad, &mut sealed[..32]).unwrap();
            sealed[32..].copy_from_slice(&tag);
            let share = SeatShare {
                context: 0,
                seat,
                counter,
                sealed,
            };
            let seating = Seating {
                contexts: vec![context(&dealt.body)],
                seats: vec![share],
            };
            let seated = line.send("seat", seating.encode()).await.unwrap();
            let SeatedResult::Row {
                epoch, correction, ..
            } = Seated::decode(&seated).unwrap().seats.remove(0).result
            else {
                panic!("not seated")
            };
            rows.push(evanesce_wire::message::SeatRow {
                seat,
                holder: line.agent,
                epoch,
                correction,
            });
        }
        Minted {
            body: dealt.body,
            shares: dealt.shares,
            rows,
        }
    }

    /// What honest agents have decided, by their own count.
    async fn entries(&self) -> Vec<u64> {
        let mut entries = Vec::new();
        for agent in CORRUPT..5 {
            let status = self.line(agent).await.connection.get("/v1/status").await;
            entries.push(Status::decode(&status.unwrap()).unwrap().entries);
        }
        entries
    }
}

fn batch(line: &Line, token: &Minted, action: &str, suite: &str) -> Batch {
    Batch {
        contexts: vec![token.context()],
        openings: vec![line.opening(token, action, suite)],
    }
}

/// Unknown, whatever is asked; or the way was closed on it for having asked before.
fn is_turned_away(result: Result<Vec<u8>, CallError>) -> bool {
    match result {
        Err(CallError::Problem(status, problem)) => {
            (status, &*problem.code) == (401, "unknown-identity")
        }
        Err(CallError::Wire(_)) => true,
        Ok(_) => false,
    }
}

async fn way(intruder: &Caller, agent: &Handle) -> Option<Connection> {
    let tls = tls::client(intruder.identity.clone(), agent.id()).unwrap();
    Connection::open(&agent.address().to_string(), tls)
        .await
        .ok()
}

#[test]
fn two_agents_keys_and_all_that_they_were_sent_move_no_honest_agent() {
    let scene = Scene::new();
    tell(async {
        let token = scene.mint(header("3 of (a, b, c, d, e)", "")).await;
        let mut sent = Vec::new();
        for agent in 0..CORRUPT {
            let line = scene.line(agent).await;
            for (verb, action, suite) in [
                ("contribute", "sign", "ed25519"),
                ("contribute", "open", ""),
                ("check", "", ""),
            ] {
                let mut batch = batch(&line, &token, action, suite);
                if verb == "check" {
                    batch.openings[0].requests.clear();
                    batch.openings[0].salts.clear();
                }
                let envelope = line.envelope(verb, &batch);
                let path = format!("/v1/{verb}");
                let answer = line.connection.post(&path, envelope.clone()).await;
                let answer = Answers::decode(&answer.unwrap()).unwrap();
                assert_eq!(answer.openings[0].code, Code::Done);
                // Its own seat, and no other's.
                let shares = answer.openings[0].seats.iter();
                let others = shares.filter(|seat| seat.seat != agent as u32);
                assert!(
                    others
                        .map(|seat| &seat.result)
                        .all(|result| *result == SeatResult::Fault(SeatFault::NotMine))
                );
                sent.push(Sent { verb, envelope });
            }
        }
        let before = scene.entries().await;
        for corrupt in 0..CORRUPT {
            let intruder = scene.stolen(corrupt);
            for honest in &scene.agents[CORRUPT..] {
                // What was recorded, as it is.
                for old in &sent {
                    let way = way(&intruder, honest).await.expect("TLS is for anyone");
                    let path = format!("/v1/{}", old.verb);
                    assert!(is_turned_away(way.post(&path, old.envelope.clone()).await));
                }
                // A session of its own.
                let (_, offer) =
                    PendingSession::offer(&*intruder.identity, honest.id(), now()).unwrap();
                let connection = way(&intruder, honest).await.unwrap();
                let answer = connection.post("/v1/session", offer.encode()).await;
                assert!(is_turned_away(answer));
                let connection = way(&intruder, honest).await.unwrap();
                assert!(is_turned_away(connection.get("/v1/status").await));
            }
        }
        assert_eq!(
            scene.entries().await,
            before,
            "nothing was so much as decided"
        );
    });
}

/// The same bytes from the caller's own hands: what a corrupt agent could have somebody send, were it to find one.
#[test]
fn what_was_sealed_to_one_agent_is_nothing_to_another() {
    let scene = Scene::new();
    tell(async {
        let token = scene.mint(header("3 of (a, b, c, d, e)", "")).await;
        let corrupt = scene.line(0).await;
        let asked = batch(&corrupt, &token, "sign", "ed25519");
        let envelope = corrupt.envelope("contribute", &asked);
        let before = scene.entries().await;
        for agent in CORRUPT..5 {
            let line = scene.line(agent).await;
            // As it is: a session that the agent does not have.
            let answer = line.connection.post("/v1/contribute", envelope.clone());
            assert_eq!(problem(answer.await), (409, "session".into()));
            // Under the name of the session that it has.
            let mut other = Envelope::decode(&envelope).unwrap();
            other.session = line.session.id;
            let answer = line.connection.post("/v1/contribute", other.encode());
            assert_eq!(problem(answer.await), (400, "malformed".into()));
            // Sealed for the corrupt agent under the right key.
            let aad = envelope_aad("contribute", &corrupt.agent);
            let (counter, sealed) = line.session.seal_message(&aad, asked.encode()).unwrap();
            let misled = Envelope {
                session: line.session.id,
                counter,
                sealed,
            };
            let answer = line.connection.post("/v1/contribute", misled.encode());
            assert_eq!(problem(answer.await), (400, "malformed".into()));
            // The offer that the corrupt agent was made.
            let (_, offer) =
                PendingSession::offer(&*scene.ops.identity, corrupt.agent, now()).unwrap();
            let answer = line.connection.post("/v1/session", offer.encode()).await;
            assert_eq!(problem(answer), (403, "wrong-peer".into()));
        }
        assert_eq!(scene.entries().await, before);
        for agent in CORRUPT..5 {
            // The request itself, sealed anew: it names another session, and that is refused and written down.
            let line = scene.line(agent).await;
            let answers = line.ask("contribute", &asked).await;
            assert_eq!(
                answers.openings[0].code,
                Code::Refused,
                "{:?}",
                answers.openings[0].reason
            );
            assert!(answers.openings[0].seats.is_empty());
        }
    });
}

#[test]
fn a_corrupt_agent_in_an_honest_ones_place_is_not_spoken_to() {
    let scene = Scene::new();
    tell(async {
        let (corrupt, honest) = (&scene.agents[0], &scene.agents[CORRUPT]);
        let tls = tls::client(scene.ops.identity.clone(), honest.id()).unwrap();
        assert!(
            Connection::open(&corrupt.address().to_string(), tls)
                .await
                .is_err()
        );
        // Nor can it answer for the honest one in a session of its own: that answer is signed by the wrong key.
        let (_, offer) = PendingSession::offer(&*scene.ops.identity, honest.id(), now()).unwrap();
        let line = scene.ops.connect(corrupt.address(), corrupt.id()).await;
        assert!(line.post("/v1/session", offer.encode()).await.is_err());
        let forged = evanesce_wire::session::answer(
            &offer,
            scene.ops.identity.spki(),
            &*scene.stolen(0).identity,
            now(),
        );
        assert!(forged.is_err(), "an offer is for one agent");
        let (pending, offer) =
            PendingSession::offer(&*scene.ops.identity, corrupt.id(), now()).unwrap();
        let answer = line.post("/v1/session", offer.encode()).await.unwrap();
        let answer = SessionAnswer::decode(&answer).unwrap();
        let spki = {
            let way = scene.ops.connect(honest.address(), honest.id()).await;
            way.peer_spki().to_vec()
        };
        assert!(pending.accept(&answer.answer, &spki).is_err());
    });
}
