//! The whole path from a request to its answer, without network or process: over a disk that fails, and with an
//! element that is watched.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use evanesce_element::{Description, Element, ElementError};
use evanesce_policy::Compiled;
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Body, Gate, Header, formula};
use evanesce_wire::message::{
    Code, Context, Entry, Opening, OpeningAnswer, Request, SeatAnswer, SeatFault, SeatResult,
    SeatRow,
};
use evanesce_wire::session::{PendingSession, SealingSession, answer};
use evanesce_wire::{FileIdentity, Id, Identity};

use super::*;
use crate::agent::{Agent, Me};
use crate::disk::Memory;
use crate::gate::Verb;
use crate::known::Directory;
use crate::limits::{Limits, OPERATIONS};
use crate::log::{ENTRIES, HEAD};
use crate::shown::{fill, missing};
use crate::tombstones::Tombstones;

const NOW: u64 = 1_800_000_000;
const SEED: [u8; 32] = [9; 32];

#[derive(Default)]
struct Watched(AtomicUsize);

impl Element for Watched {
    fn description(&self) -> Description {
        let (label, weaknesses) = ("watched".into(), vec!["wrap".into()]);
        Description {
            kind: "software",
            label,
            development: true,
            weaknesses,
        }
    }
    fn epochs(&self) -> Vec<u64> {
        vec![3]
    }
    fn current(&self) -> u64 {
        3
    }
    fn evaluate(&self, _: u64, input: &[u8; 32], y: &mut [u8; 32]) -> Result<(), ElementError> {
        self.0.fetch_add(1, Relaxed);
        hmac_sha256(&[1; 32], input, y);
        Ok(())
    }
}

struct World {
    disk: Memory,
    element: Arc<Watched>,
    agent: Agent,
    queue: Queue,
    metrics: Arc<Metrics>,
    session: Arc<SealingSession>,
    caller: Id,
    body: Body,
    row: SeatRow,
    asked: u64,
    /// The system's clock, in Unix seconds.
    now: u64,
}

/// An agent with one token seated, and its committer running on the present runtime.
fn world(commit: Commit, slow: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| FileIdentity::create(&dir.path().join(name)).unwrap();
    let (identity, caller) = (Arc::new(key("agent")), key("caller"));
    let me = identity.agent_id();
    let (pending, offer) = PendingSession::offer(&caller, me, NOW).unwrap();
    let (reply, session) = answer(&offer, caller.spki(), &*identity, NOW).unwrap();
    pending.accept(&reply, identity.spki()).unwrap();

    let disk = Memory::default();
    let signer = Arc::new(Signer::new(&me, Box::new(key("log"))).unwrap());
    let (log, _) = Log::open(&disk, &me, signer.public()).unwrap();
    let element = Arc::new(Watched::default());
    let shared: Arc<dyn crate::disk::Disk> = Arc::new(disk.clone());
    let metrics = Arc::new(Metrics::default());
    metrics.log_works.store(1, Relaxed);
    let committer = Committer {
        syncer: Syncer::start(log.journal(), shared, Events::silent()).unwrap(),
        log,
        signer,
        hands: Arc::new(Hands {
            element: element.clone(),
            identity,
            me,
        }),
        commit,
        tasks_at_once: if slow { 0 } else { 100 },
        tasks_per_job: 2,
        threads: 2,
        metrics: metrics.clone(),
        events: Events::silent(),
    };
    let (queue, committing) = committer.start();
    tokio::spawn(committing);

    let id = hex::encode(caller.caller_id());
    let directory = format!(
        "[[identity]]\nname = \"ops\"\nid = \"{id}\"\nroles = [\"caller\", \"reconstructor\"]\n"
    );
    let directory = Directory::parse(&directory).unwrap();
    let tombstones = Tombstones::open(&disk, "tombstones").unwrap();
    let about = Me {
        id: me,
        element: element.description(),
        epochs: element.epochs(),
    };
    let mut agent = Agent::new(about, directory, tombstones, &Limits::default(), 0, [0; 16]);

    let header = Header {
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suites: vec!["ed25519".into()],
        quorum: Gate::parse("1 of (a)").unwrap(),
        policy: String::new(),
        created: NOW,
        expires: None,
        replaces: None,
    };
    let bytes = header.encode();
    let deal = formula::deal(&bytes);
    let commitments = vec![formula::commitment(&deal, 0, &SEED)];
    let sealed = formula::sealed_hash(None);
    let catalogue = evanesce_suite::catalogue();
    let body = Body::new(bytes, [3; 32], commitments, [5; 32], sealed, catalogue).unwrap();
    let (mut y, mut correction) = ([0; 32], [0; 32]);
    hmac_sha256(&[1; 32], &formula::contribution(&body.id, 0), &mut y);
    formula::pad(&y, &mut correction);
    correction.iter_mut().zip(SEED).for_each(|(a, b)| *a ^= b);
    let row = SeatRow {
        seat: 0,
        holder: me,
        epoch: 3,
        correction,
    };
    let (id, caller) = (session.id, caller.caller_id());
    agent.sessions.keep(session, caller, NOW);
    let session = agent.session(&id, &caller, NOW * 1000).unwrap();
    World {
        disk,
        element,
        agent,
        queue,
        metrics,
        session,
        caller,
        body,
        row,
        asked: 0,
        now: NOW,
    }
}

/// What is other about another token.
type Change<'a> = &'a dyn Fn(&mut Header);

impl World {
    /// A request that nothing is wrong with.
    fn request(&mut self) -> Request {
        self.asked += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.asked.to_be_bytes());
        Request {
            token: self.body.id,
            action: "sign".into(),
            suite: "ed25519".into(),
            input: [6; 32],
            caller: self.caller,
            session: self.session.id,
            id,
            not_after: self.now + 60,
            payload: None,
        }
    }

    /// Another token than the one that is seated, shown in its place.
    fn change(&mut self, change: Change<'_>) {
        let Body {
            mut header,
            anchor,
            commitments,
            public_hash,
            sealed_hash,
            ..
        } = self.body.clone();
        change(&mut header);
        let bytes = header.encode();
        let catalogue = evanesce_suite::catalogue();
        self.body = Body::new(
            bytes,
            anchor,
            commitments,
            public_hash,
            sealed_hash,
            catalogue,
        )
        .unwrap();
    }

    fn opening(&self, requests: &[Request]) -> Opening {
        Opening {
            context: 0,
            requests: requests.iter().map(Request::encode).collect(),
            rows: vec![self.row.clone()],
        }
    }

    /// Openings of one caller's request, judged but not yet logged or done.
    fn judge(&mut self, verb: Verb, openings: Vec<Opening>) -> Work {
        let who = self.agent.directory.find(&self.caller).unwrap().clone();
        let body = &self.body;
        let context = Context::Full {
            header: body.header_bytes.clone(),
            anchor: body.anchor,
            commitments: body.commitments.clone(),
            public: body.public_hash,
            sealed: body.sealed_hash,
        };
        let mut ready = [self.agent.shown.prepare(context)];
        for (hash, body) in missing(&ready) {
            let policy = Ok(Arc::new(Compiled::new(&body.header.policy)));
            fill(&mut ready, &hash, &policy);
        }
        let mut work = Work::new(verb, who, self.session.clone(), openings.len());
        for opening in openings {
            self.agent
                .judge(&mut work, &ready[0], opening, self.now * 1000);
        }
        work
    }

    /// Asks for `openings` openings at once.
    async fn ask(&mut self, verb: Verb, openings: usize) -> (Vec<OpeningAnswer>, String) {
        let mut asked = Vec::new();
        for _ in 0..openings {
            let request = self.request();
            asked.push(match verb {
                Verb::Check => self.opening(&[]),
                _ => self.opening(&[request]),
            });
        }
        let work = self.judge(verb, asked);
        let answers = self.queue.run(work).await.unwrap().answers();
        (answers.openings, answers.checkpoint)
    }

    fn evaluations(&self) -> usize {
        self.element.0.load(Relaxed)
    }
}

fn released(answer: &OpeningAnswer) -> bool {
    answer
        .seats
        .iter()
        .any(|seat| matches!(seat.result, SeatResult::Share { .. }))
}

#[tokio::test]
async fn what_is_permitted_is_logged_done_and_answered_in_order() {
    for slow in [false, true] {
        let mut world = world(Commit::Process, slow);
        for openings in [1, 2, 7, 30] {
            let (answers, checkpoint) = world.ask(Verb::Contribute, openings).await;
            assert_eq!(answers.len(), openings);
            for answer in &answers {
                assert!(released(answer) && answer.code == Code::Done);
                assert!(!checkpoint.is_empty() && answer.receipt.is_some());
            }
            let indices: Vec<u64> = answers
                .iter()
                .map(|a| a.receipt.as_ref().unwrap().index)
                .collect();
            assert!(indices.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
        assert_eq!(world.evaluations(), 40);
    }
}

#[tokio::test]
async fn a_full_disk_leaves_the_element_unasked() {
    let mut world = world(Commit::Process, false);
    let used = world.disk.file(ENTRIES).len() + world.disk.file(HEAD).len();
    world.disk.set_room(Some(used + 100));
    let (answers, checkpoint) = world.ask(Verb::Contribute, 3).await;
    for answer in &answers {
        assert_eq!((answer.code, answer.seats.len()), (Code::Refused, 0));
        assert!(
            answer.reason.starts_with("the log cannot be written"),
            "{}",
            answer.reason
        );
        assert_eq!((&answer.receipt, checkpoint.as_str()), (&None, ""));
    }
    assert_eq!(world.evaluations(), 0);
    let (answers, _) = world.ask(Verb::Check, 1).await;
    assert_eq!(
        answers[0].seats[0].result,
        SeatResult::Good,
        "a check needs no log"
    );
    world.disk.set_room(None);
    assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
}

#[tokio::test]
async fn in_mode_power_nothing_is_released_before_its_sync() {
    let mut world = world(Commit::Power, false);
    let before = world.disk.syncs();
    assert!(released(&world.ask(Verb::Contribute, 4).await.0[0]));
    assert!(world.disk.syncs() > before);
    world.disk.set_unsyncable(true);
    let (answers, _) = world.ask(Verb::Contribute, 2).await;
    for answer in &answers {
        assert!(!released(answer) && answer.seats.is_empty() && answer.receipt.is_none());
        assert!(
            answer.reason.contains("the disk is gone"),
            "{}",
            answer.reason
        );
    }
    // Whether that write is on the disk is not known any more, even if the disk works again.
    world.disk.set_unsyncable(false);
    let asked = world.evaluations();
    let (answers, _) = world.ask(Verb::Contribute, 1).await;
    assert_eq!(
        (answers[0].code, world.evaluations()),
        (Code::Refused, asked)
    );
    assert!(
        answers[0].reason.contains("restart"),
        "{}",
        answers[0].reason
    );
}

#[tokio::test]
async fn in_mode_process_what_was_answered_is_synced_soon() {
    let mut world = world(Commit::Process, false);
    for round in 0..5 {
        let before = world.disk.syncs();
        assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
        let mut waited = 0;
        while world.disk.syncs() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
            waited += 1;
            // 10 ms are promised; a busy machine is forgiven.
            assert!(waited < 500, "round {round}");
        }
    }
    assert!(!world.disk.file(HEAD).is_empty());
}

#[tokio::test]
async fn what_one_caller_asks_for_fails_no_other_of_its_commit_group() {
    let mut world = world(Commit::Process, false);
    // Every word that has a place in an entry, as long as its form allows.
    let requests: Vec<Request> = (0..OPERATIONS)
        .map(|_| Request {
            action: "a".repeat(64),
            suite: "s".repeat(64),
            ..world.request()
        })
        .collect();
    let words = world.judge(Verb::Contribute, vec![world.opening(&requests)]);
    assert!(words.entries.is_empty(), "nothing to log");
    // And what no request is known to bring about: an entry over the bound, beside one that is not.
    let (first, second) = (world.request(), world.request());
    let openings = vec![world.opening(&[first]), world.opening(&[second])];
    let mut long = world.judge(Verb::Contribute, openings);
    long.entries[1] = vec![0; ENTRY + 1];
    let request = world.request();
    let good = world.judge(Verb::Contribute, vec![world.opening(&[request])]);

    let group = tokio::join!(
        world.queue.run(words),
        world.queue.run(long),
        world.queue.run(good)
    );
    assert_eq!(world.metrics.groups.load(Relaxed), 1, "one group");
    let [words, long, good] = [group.0, group.1, group.2].map(|work| work.unwrap().answers());
    let answer = &words.openings[0];
    assert_eq!(
        (answer.code, &answer.receipt),
        (Code::Malformed, &None),
        "{}",
        answer.reason
    );
    for answer in &long.openings {
        assert_eq!((answer.code, answer.seats.len()), (Code::Refused, 0));
        assert!(
            answer.reason.contains("its log entry has over 65535 bytes"),
            "{}",
            answer.reason
        );
        assert_eq!(answer.receipt, None);
    }
    assert!(released(&good.openings[0]));
    let receipt = good.openings[0].receipt.as_ref().unwrap();
    assert_eq!((receipt.index, world.evaluations()), (0, 1));
    let metrics = &world.metrics;
    let log = (
        metrics.log_works.load(Relaxed),
        metrics.log_failures.load(Relaxed),
    );
    assert_eq!(log, (1, 0), "what /healthz goes by");
    assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
}

#[tokio::test]
async fn an_opening_without_a_row_for_this_agent_is_decided_all_the_same() {
    let mut world = world(Commit::Process, false);
    let mut ask = async |change: &dyn Fn(&mut Agent, &mut Request)| {
        let mut request = world.request();
        change(&mut world.agent, &mut request);
        let mut opening = world.opening(&[request]);
        opening.rows[0].epoch += 1;
        let work = world.judge(Verb::Contribute, vec![opening]);
        let mut answers = world.queue.run(work).await.unwrap().answers();
        assert_eq!(world.evaluations(), 0);
        let answer = answers.openings.remove(0);
        let receipt = answer.receipt.clone();
        let logged = receipt.map(|proof| Entry::decode(&proof.entry).unwrap());
        (answer, logged)
    };
    let fault = |seat| SeatAnswer {
        seat,
        result: SeatResult::Fault(SeatFault::EpochNotHeld),
    };
    let (answer, logged) = ask(&|_, _| ()).await;
    assert_eq!(
        (answer.code, answer.seats),
        (Code::Unrouted, vec![fault(0)])
    );
    let entry = logged.unwrap();
    assert_eq!((entry.code.as_str(), entry.seats.len()), ("unrouted", 0));
    for (expected, change) in [
        (
            Code::Replayed,
            &(|_: &mut Agent, r: &mut Request| {
                r.id = [[0, 0, 0, 0, 0, 0, 0, 1], [0; 8]]
                    .concat()
                    .try_into()
                    .unwrap()
            }) as &dyn Fn(&mut Agent, &mut Request),
        ),
        (Code::Unfit, &|_, r| r.action = "mac".into()),
        (Code::Refused, &|_, r| {
            (r.action, r.suite) = ("repair".into(), String::new());
        }),
        (Code::Retired, &|agent, r| {
            agent.tombstones.add(&[r.token]).unwrap()
        }),
    ] {
        let (answer, logged) = ask(change).await;
        assert_eq!(
            (answer.code, answer.seats),
            (expected, vec![]),
            "{}",
            answer.reason
        );
        assert_eq!(logged.unwrap().code, expected.as_str());
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_brings_nothing_back() {
    const LATER: u64 = NOW + 500;
    let changes: [(Code, Change<'_>); 2] = [
        (Code::Expired, &|header| header.expires = Some(LATER)),
        (Code::Refused, &|header| {
            header.policy =
                format!("permit(principal, action, resource) when {{ context.now < {LATER} }};");
        }),
    ];
    for (after, change) in changes {
        let mut world = world(Commit::Process, false);
        world.change(change);
        let mut ask = async |system: u64, agent: u64| {
            world.now = agent;
            let requests = [world.request()];
            world.now = system;
            let work = world.judge(Verb::Contribute, vec![world.opening(&requests)]);
            let answers = world.queue.run(work).await.unwrap().answers();
            let entry = &answers.openings[0].receipt.as_ref().unwrap().entry;
            assert_eq!(Entry::decode(entry).unwrap().time, agent * 1000);
            answers.openings[0].code
        };
        assert_eq!(ask(NOW, NOW).await, Code::Done);
        assert_eq!(ask(LATER, LATER).await, after);
        assert_eq!(ask(NOW, LATER).await, after, "set back");
    }
    let mut world = world(Commit::Process, false);
    let (id, caller, end) = (world.session.id, world.caller, world.session.not_after);
    let agent = &mut world.agent;
    assert!(agent.session(&id, &caller, end * 1000 - 1).is_some());
    agent.clock.read(end * 1000);
    assert!(
        agent.session(&id, &caller, NOW * 1000).is_none(),
        "set back"
    );
}
