//! Stories of clocks: whole agents, each with a clock of its own that can be turned.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use evanesce_element::software::SoftwareElement;
use evanesce_wire::client::{CallError, Dial, Pending, Way};
use evanesce_wire::message::{Problem, Status};
use evanesce_wire::{FileIdentity, Id, Identity, System, WireError, World};
use http::Method;

use super::{Peer, Peers};
use crate::assemble::{Assembled, Parts, assemble};
use crate::config::Config;
use crate::disk::Memory;
use crate::events::Events;
use crate::known::Directory;
use crate::sync::SyncThread;

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

    async fn standing(&self, n: usize) -> String {
        let id = self.ops.caller_id();
        let agent = &self.agents[n];
        let answer = agent.handle(&id, self.ops.spki(), &Method::GET, "/v1/status", vec![]);
        Status::decode(&answer.await.1).unwrap().standing
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

/// What agent `n` does once it knows that it is `off`, in its standing's word; empty for one whose clock is right.
async fn decides(quorum: &Quorum, n: usize, off: &str) {
    let wrong = !off.is_empty();
    quorum.until(n, |why| why.is_empty() != wrong).await;
    assert!(quorum.standing(n).await.contains(off));
    for verb in ["contribute", "check"] {
        let (status, why) = quorum.ask(n, verb).await;
        assert_eq!(status, if wrong { 503 } else { 400 }, "{verb}: {why}");
        assert!(why.contains(off), "{why}");
    }
    // What makes an end of something is not put off.
    for verb in ["retire", "order"] {
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
