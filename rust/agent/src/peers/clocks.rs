//! Stories of clocks: whole agents, each with a clock of its own that can be turned.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use evanesce_element::software::SoftwareElement;
use evanesce_token::{Body, Gate, Header};
use evanesce_wire::client::{CallError, Dial, Pending, Way};
use evanesce_wire::message::{
    Answers, Batch, Code, Command, Context, Envelope, Evidence, Obeyed, Opening, Order, Problem,
    Request, SeatRow, SessionAnswer, SignedOrder, Status, envelope_aad,
};
use evanesce_wire::session::PendingSession;
use evanesce_wire::{FileIdentity, Id, Identity, System, WireError, World};
use http::Method;

use super::{Peer, Peers};
use crate::assemble::{Assembled, Parts, assemble};
use crate::config::Config;
use crate::disk::Memory;
use crate::events::Events;
use crate::known::Directory;
use crate::sync::SyncThread;

const PLAIN: &str = "permit(principal, action == Action::\"retire\", resource);";
const TIMED: &str =
    "permit(principal, action == Action::\"retire\", resource) when { context.now > 0 };";

/// The system's clock, turned.
#[derive(Default)]
struct Turned(AtomicI64);

impl World for Turned {
    fn unix(&self) -> Duration {
        let millis = System.unix_millis();
        Duration::from_millis(millis.saturating_add_signed(self.0.load(Relaxed)))
    }

    fn random(&self, out: &mut [u8]) {
        System.random(out);
    }
}

/// Every agent by its id.
type Agents = Arc<Mutex<HashMap<Id, (Weak<Assembled>, Vec<u8>)>>>;

/// The way from one agent to the others, without a network.
struct Near {
    agents: Agents,
    from: Arc<FileIdentity>,
}

struct Nearby {
    to: Weak<Assembled>,
    spki: Vec<u8>,
    from: Arc<FileIdentity>,
}

impl Dial for Near {
    fn dial<'a>(&'a self, _: &'a str, agent: Id) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        let (to, spki) = self.agents.lock().unwrap()[&agent].clone();
        let from = self.from.clone();
        Box::pin(async move { Ok(Arc::new(Nearby { to, spki, from }) as Arc<dyn Way>) })
    }
}

impl Way for Nearby {
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(async move {
            let to = self.to.upgrade();
            let to = to.ok_or_else(|| WireError::Unreachable("it has ended".into()))?;
            let (id, spki) = (self.from.caller_id(), self.from.spki());
            match to.handle(&id, spki, &Method::POST, path, body).await {
                (200, body) => Ok(body),
                (status, body) => Err(CallError::Problem(status, Problem::decode(&body)?)),
            }
        })
    }

    fn get<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(async { Err(WireError::Unreachable("nobody asks".into()).into()) })
    }

    fn peer_spki(&self) -> &[u8] {
        &self.spki
    }

    fn is_closed(&self) -> bool {
        self.to.strong_count() == 0
    }
}

struct Quorum {
    agents: Vec<Arc<Assembled>>,
    keys: Vec<Arc<FileIdentity>>,
    clocks: Vec<Arc<Turned>>,
    ops: FileIdentity,
}

impl Quorum {
    /// Each of them with the others as its peers, and exchanging.
    fn of(count: usize, folder: &Path) -> Self {
        let key = |name: &str| FileIdentity::create(&folder.join(name)).unwrap();
        let ops = key("ops");
        let known = format!(
            "[[identity]]\nname = \"ops\"\nid = \"{}\"\nroles = [\"caller\", \"minter\", \"reconstructor\"]\n",
            hex::encode(ops.caller_id())
        );
        let keys: Vec<_> = (0..count).map(|n| Arc::new(key(&n.to_string()))).collect();
        let shared: Agents = Arc::default();
        let (mut agents, mut clocks) = (Vec::new(), Vec::new());
        for (n, own) in keys.iter().enumerate() {
            let text =
                "name = \"a\"\nlisten = \"\"\nidentity = \"i\"\n[element]\nkind = \"software\"\n";
            let clock = Arc::new(Turned::default());
            let others = keys.iter().enumerate().filter(|(other, _)| *other != n);
            let all = others.map(|(other, key)| Peer {
                name: other.to_string(),
                id: key.agent_id(),
                address: String::new(),
            });
            let peers = Peers {
                needed: count / 2,
                every: Duration::from_millis(50),
                former_logs: vec![],
                all: all.collect(),
            };
            let near = Near {
                agents: shared.clone(),
                from: own.clone(),
            };
            let roots = folder.join(format!("roots-{n}"));
            let parts = Parts {
                config: &Config::parse(text, folder).unwrap(),
                element: Arc::new(SoftwareElement::create(&roots, None).unwrap()),
                identity: own.clone(),
                log_key: Box::new(key(&format!("log-{n}"))),
                directory: Directory::parse(&known).unwrap(),
                disk: Arc::new(Memory::default()),
                syncer: Box::new(|duty| Ok(Box::new(SyncThread::start(duty)?))),
                world: clock.clone(),
                events: Events::silent(),
                peers: Some((peers, Arc::new(near))),
            };
            let (agent, committing) = assemble(parts).unwrap();
            tokio::spawn(committing);
            let agent = Arc::new(agent);
            let place = (Arc::downgrade(&agent), own.spki().to_vec());
            shared.lock().unwrap().insert(own.agent_id(), place);
            agents.push(agent);
            clocks.push(clock);
        }
        for agent in &agents {
            agent
                .exchanges()
                .into_iter()
                .for_each(|task| drop(tokio::spawn(task)));
        }
        Self {
            agents,
            keys,
            clocks,
            ops,
        }
    }

    /// The status of an answer to nothing at all, and its words: what does not get as far as the body says so.
    async fn ask(&self, n: usize, verb: &str) -> (u16, String) {
        let (id, path) = (self.ops.caller_id(), format!("/v1/{verb}"));
        let agent = &self.agents[n];
        let answer = agent.handle(&id, self.ops.spki(), &Method::POST, &path, vec![0]);
        let (status, body) = answer.await;
        (status, Problem::decode(&body).unwrap().message)
    }

    /// What agent `n` decides about retiring a token under this policy, with so many approvals, none of them good. It has no
    /// row, so that nothing is retired.
    async fn retires(&self, n: usize, policy: &str, approvals: usize) -> (Code, String) {
        let (agent, caller) = (&self.agents[n], self.ops.caller_id());
        let post = async |path: &str, body: Vec<u8>| {
            let answered = agent.handle(&caller, self.ops.spki(), &Method::POST, path, body);
            let (status, body) = answered.await;
            assert_eq!(status, 200, "{:?}", Problem::decode(&body));
            body
        };
        let near = &self.keys[n];
        let now = self.clocks[n].unix_millis() / 1000;
        let (pending, offer) = PendingSession::offer(&self.ops, near.agent_id(), now).unwrap();
        let answer = SessionAnswer::decode(&post("/v1/session", offer.encode()).await).unwrap();
        let session = pending.accept(&answer.answer, near.spki()).unwrap();
        let (body, context) = token(policy, 0);
        let mut id = [0; 16];
        System.random(&mut id);
        let request = Request {
            token: body.id,
            action: "retire".into(),
            suite: String::new(),
            input: [6; 32],
            caller,
            session: session.id,
            id,
            not_after: now + 60,
            payload: None,
        };
        let batch = Batch {
            contexts: vec![context],
            openings: vec![Opening {
                context: 0,
                requests: vec![request.encode()],
                salts: vec![None],
                evidence: Evidence {
                    approvals: vec![vec![0xa0]; approvals],
                    ..Evidence::default()
                },
                rows: vec![SeatRow {
                    seat: 0,
                    holder: [9; 32],
                    epoch: 0,
                    correction: [0; 32],
                }],
            }],
        };
        let aad = envelope_aad("retire", &near.agent_id());
        let (counter, sealed) = session.seal_message(&aad, batch.encode()).unwrap();
        let envelope = Envelope {
            session: session.id,
            counter,
            sealed,
        };
        let answers = post("/v1/retire", envelope.encode()).await;
        let answer = Answers::decode(&answers).unwrap().openings.remove(0);
        (answer.code, answer.reason)
    }

    /// What agent `n` does at the word of a caller about the token of that number under this policy.
    async fn orders(&self, n: usize, command: Command, policy: &str, number: u8) -> Obeyed {
        let (body, context) = token(policy, number);
        let mut nonce = [0; 16];
        System.random(&mut nonce);
        let order = Order {
            token: body.id,
            command,
            caller: self.ops.caller_id(),
            issued: System.unix_millis(),
            nonce,
        };
        let signed = SignedOrder::sign(&order, context, &self.ops).unwrap();
        let (id, spki) = (self.ops.caller_id(), self.ops.spki());
        let agent = &self.agents[n];
        let answer = agent.handle(&id, spki, &Method::POST, "/v1/order", signed.encode());
        let (status, body) = answer.await;
        assert_eq!(status, 200, "{:?}", Problem::decode(&body));
        Obeyed::decode(&body).unwrap()
    }

    async fn status(&self, n: usize) -> Status {
        let id = self.ops.caller_id();
        let agent = &self.agents[n];
        let answer = agent.handle(&id, self.ops.spki(), &Method::GET, "/v1/status", vec![]);
        Status::decode(&answer.await.1).unwrap()
    }

    async fn standing(&self, n: usize) -> String {
        self.status(n).await.standing
    }

    async fn has_retired(&self, n: usize, tombstones: u64) {
        for _ in 0..500 {
            if self.status(n).await.tombstones == tombstones {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", self.status(n).await);
    }

    async fn until(&self, n: usize, good: impl Fn(&str) -> bool) {
        for _ in 0..500 {
            if good(&self.standing(n).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}", self.standing(n).await);
    }
}

/// A token of one seat under this policy, and what shows it.
fn token(policy: &str, number: u8) -> (Body, Context) {
    let header = Header {
        key: [1; 32],
        nonce: [number; 32],
        name: "k".into(),
        suites: vec!["hmac-sha256".into()],
        quorum: Gate::parse("1 of (a)").unwrap(),
        policy: policy.into(),
        created: 0,
        expires: None,
        replaces: None,
    };
    let (header, commitments) = (header.encode(), vec![[4; 32]]);
    let [anchor, public, sealed] = [[3; 32], [5; 32], [6; 32]];
    let catalogue = evanesce_suite::catalogue();
    let body = Body::new(
        header.clone(),
        anchor,
        commitments.clone(),
        public,
        sealed,
        catalogue,
    );
    let context = Context::Full {
        header,
        anchor,
        commitments,
        public,
        sealed,
    };
    (body.unwrap(), context)
}

/// What agent `n` does once it knows that it is `off`, in its standing's word; empty for one whose clock is right.
async fn decides(quorum: &Quorum, n: usize, off: &str) {
    let wrong = !off.is_empty();
    quorum.until(n, |why| why.is_empty() != wrong).await;
    assert!(quorum.standing(n).await.contains(off));
    for verb in [
        "contribute",
        "check",
        "mpc-announce",
        "mpc-commit",
        "mpc-sign",
        "mpc-once",
        "mpc-help",
    ] {
        let (status, why) = quorum.ask(n, verb).await;
        assert_eq!(status, if wrong { 503 } else { 400 }, "{verb}: {why}");
        assert!(why.contains(off), "{why}");
    }
    // What makes an end of something is not put off as such.
    for verb in [
        "retire",
        "order",
        "mpc-confirm",
        "mpc-forget",
        "mpc-prepare",
        "mpc-split",
        "mpc-sum",
        "mpc-receive",
    ] {
        let (status, why) = quorum.ask(n, verb).await;
        assert_eq!(status, 400, "{verb}: {why}");
    }
}

/// Long enough for every agent to have heard of every other's clock.
async fn heard() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn an_agent_whose_clock_is_31_s_ahead_decides_nothing_that_time_is_for() {
    evanesce_secret::init();
    let folder = tempfile::tempdir().unwrap();
    let quorum = Quorum::of(5, folder.path());
    decides(&quorum, 0, "").await;
    quorum.clocks[0].0.store(29_000, Relaxed);
    heard().await;
    decides(&quorum, 0, "").await;
    quorum.clocks[0].0.store(31_000, Relaxed);
    // At once, without another exchange.
    assert_eq!(quorum.ask(0, "contribute").await.0, 503);
    decides(&quorum, 0, "ahead of the median").await;
    // One that is wrong stops nobody else.
    heard().await;
    decides(&quorum, 1, "").await;
}

#[tokio::test]
async fn a_retirement_is_put_off_for_a_wrong_clock_only_where_the_time_is_part_of_what_permits_it()
{
    evanesce_secret::init();
    let folder = tempfile::tempdir().unwrap();
    let quorum = Quorum::of(5, folder.path());
    decides(&quorum, 0, "").await;
    for policy in [PLAIN, TIMED, ""] {
        assert_eq!(
            quorum.retires(0, policy, 0).await.0,
            Code::Unrouted,
            "{policy}"
        );
    }
    assert_eq!(quorum.retires(0, PLAIN, 1).await.0, Code::Malformed);
    quorum.clocks[0].0.store(31_000, Relaxed);
    decides(&quorum, 0, "ahead of the median").await;
    for policy in [PLAIN, ""] {
        assert_eq!(
            quorum.retires(0, policy, 0).await.0,
            Code::Unrouted,
            "{policy}"
        );
    }
    for (policy, approvals) in [(TIMED, 0), (PLAIN, 1), ("", 1)] {
        let (code, why) = quorum.retires(0, policy, approvals).await;
        assert_eq!(code, Code::Unavailable, "{policy}");
        assert!(why.contains("ahead of the median"), "{why}");
    }
}

#[tokio::test]
async fn an_agent_whose_clock_is_31_s_behind_decides_nothing_that_time_is_for() {
    evanesce_secret::init();
    let folder = tempfile::tempdir().unwrap();
    let quorum = Quorum::of(5, folder.path());
    decides(&quorum, 0, "").await;
    // An agent's clock never goes back, so all others' go on.
    let others = |off| {
        quorum.clocks[1..]
            .iter()
            .for_each(|clock| clock.0.store(off, Relaxed))
    };
    others(29_000);
    heard().await;
    decides(&quorum, 0, "").await;
    others(31_000);
    heard().await;
    decides(&quorum, 0, "behind the median").await;
    quorum.clocks[0].0.store(31_000, Relaxed);
    decides(&quorum, 0, "").await;
}

#[tokio::test]
async fn an_order_is_put_off_for_a_wrong_clock_only_where_the_policy_looks_at_the_time() {
    evanesce_secret::init();
    let folder = tempfile::tempdir().unwrap();
    let quorum = Quorum::of(5, folder.path());
    decides(&quorum, 0, "").await;
    for policy in [PLAIN, TIMED] {
        let frozen = quorum.orders(0, Command::Freeze, policy, 1).await;
        assert_eq!(frozen.code, Code::Done, "{policy}");
    }
    quorum.clocks[0].0.store(31_000, Relaxed);
    decides(&quorum, 0, "ahead of the median").await;
    for command in [Command::Thaw, Command::Freeze, Command::Revoke] {
        let put_off = quorum.orders(0, command, TIMED, 1).await;
        assert_eq!(put_off.code, Code::Unavailable, "{command:?}");
        assert!(put_off.reason.contains("ahead of the median"));
        let done = quorum.orders(0, command, PLAIN, 1).await;
        assert_eq!(done.code, Code::Done, "{command:?}");
        // Empty, it is a minter's to order.
        assert_eq!(quorum.orders(0, command, "", 1).await.code, Code::Done);
    }
    assert_eq!(quorum.status(0).await.tombstones, 2);
}

#[tokio::test]
async fn an_order_that_peers_hand_on_to_a_wrong_clock_is_judged_once_it_is_right_and_keeps_no_other_back()
 {
    evanesce_secret::init();
    let folder = tempfile::tempdir().unwrap();
    let quorum = Quorum::of(5, folder.path());
    decides(&quorum, 0, "").await;
    quorum.clocks[0].0.store(31_000, Relaxed);
    decides(&quorum, 0, "ahead of the median").await;
    quorum.until(1, str::is_empty).await;
    for (policy, number) in [(TIMED, 1), (PLAIN, 2)] {
        let revoked = quorum.orders(1, Command::Revoke, policy, number).await;
        assert_eq!(revoked.code, Code::Done, "{}", revoked.reason);
    }
    quorum.has_retired(2, 2).await;
    quorum.has_retired(0, 1).await;
    heard().await;
    quorum.has_retired(0, 1).await;
    // Its own never goes back.
    for clock in &quorum.clocks[1..] {
        clock.0.store(31_000, Relaxed);
    }
    quorum.has_retired(0, 2).await;
}
