//! The whole path from a request to its answer, without network or process: over a disk that fails, and with an
//! element that is watched.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use evanesce_element::{Description, Element, ElementError};
use evanesce_policy::Compiled;
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Body, Gate, Header, formula};
use evanesce_wire::message::{
    Basis, Code, Context, Entry, Evidence, Opening, OpeningAnswer, Order, Request, SeatAnswer,
    SeatFault, SeatResult, SeatRow, SeatShare, SeatedResult, SignedOrder, Word,
};
use evanesce_wire::session::{PendingSession, SealingSession, answer};
use evanesce_wire::{FileIdentity, Id, Identity};
use tokio::task::JoinHandle;

use super::*;
use crate::agent::{Agent, Kept, Me};
use crate::approvals::Used;
use crate::disk::Memory;
use crate::gate::{Refusal, Verb};
use crate::known::Directory;
use crate::limits::{Limits, OPERATIONS};
use crate::log::{ENTRIES, HEAD};
use crate::room::Rooms;
use crate::shown::{Ready, fill, missing};
use crate::sync::{Duty, SyncThread};
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
            notes: Vec::new(),
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
    metrics: Arc<Metrics>,
    agent: Agent,
    queue: Queue,
    committing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    session: Arc<SealingSession>,
    caller: Id,
    tokens: [(Body, SeatRow); 2],
    asked: u64,
    /// The system's clock, in Unix seconds.
    now: u64,
    /// The log's public key.
    signer_key: [u8; 32],
}

/// An agent with two tokens seated, and its committer running on the present runtime.
fn world(commit: Commit, slow: bool) -> World {
    let mut world = waiting_world(commit, slow);
    world.start();
    world
}

/// The same, with a committer that has not begun.
fn waiting_world(commit: Commit, slow: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| FileIdentity::create(&dir.path().join(name)).unwrap();
    let (identity, caller) = (Arc::new(key("agent")), key("caller"));
    let me = identity.agent_id();
    let (pending, offer) = PendingSession::offer(&caller, me, NOW).unwrap();
    let (reply, session) = answer(&offer, caller.spki(), &*identity, NOW).unwrap();
    pending.accept(&reply, identity.spki()).unwrap();

    let disk = Memory::default();
    let signer = Arc::new(Signer::new(&me, Box::new(key("log"))).unwrap());
    let signer_key = *signer.public();
    let (log, _) = Log::open(&disk, &me, &signer_key).unwrap();
    let counts = Keeper::open(Arc::new(disk.clone()), &*log.journal(), log.place(), &me).unwrap();
    let uses = counts.uses().clone();
    let element = Arc::new(Watched::default());
    let shared: Arc<dyn crate::disk::Disk> = Arc::new(disk.clone());
    let metrics = Arc::new(Metrics::default());
    metrics.log_works.store(1, Relaxed);
    let committer = Committer {
        syncer: Box::new(
            SyncThread::start(Duty::new(log.journal(), shared, Events::silent())).unwrap(),
        ),
        log,
        tombstones: Tombstones::open(&disk, "tombstones").unwrap(),
        orders: Orders::open(&disk, NOW).unwrap(),
        counts,
        signer,
        hands: Arc::new(Hands {
            element: element.clone(),
            identity,
            me,
            shelf: crate::threshold::Shelf::open(Arc::new(disk.clone())).unwrap(),
            groups: Default::default(),
        }),
        commit,
        queued: 100,
        tasks_at_once: if slow { 0 } else { 100 },
        tasks_per_job: 2,
        threads: 2,
        metrics: metrics.clone(),
        events: Events::silent(),
    };
    let retired = committer.tombstones.retired();
    let book = committer.orders.book();
    let (queue, committing) = committer.start();

    let directory = directory(&caller.caller_id(), &["caller", "minter", "reconstructor"]);
    let about = Me {
        id: me,
        element: element.description(),
        epochs: element.epochs(),
    };
    let limits = Limits::default();
    let kept = Kept {
        tombstones: retired,
        orders: book,
        uses,
        used: Used::default(),
    };
    let mut agent = Agent::new(about, directory, kept, &limits, 0, [0; 16]);

    let (id, caller) = (session.id, caller.caller_id());
    agent.sessions.keep(session, caller, NOW);
    let session = agent.session(&id, &caller, NOW * 1000).unwrap();
    World {
        disk,
        element,
        metrics,
        agent,
        queue,
        committing: Some(Box::pin(committing)),
        session,
        caller,
        tokens: [2, 3].map(|nonce| seated(me, nonce)),
        asked: 0,
        now: NOW,
        signer_key,
    }
}

fn directory(caller: &Id, roles: &[&str]) -> Directory {
    let id = hex::encode(caller);
    let text = format!("[[identity]]\nname = \"ops\"\nid = \"{id}\"\nroles = {roles:?}\n");
    Directory::parse(&text).unwrap()
}

fn seated(holder: Id, nonce: u8) -> (Body, SeatRow) {
    seated_under(holder, nonce, "", None)
}

/// A token of that policy that replaces another.
fn seated_under(holder: Id, nonce: u8, policy: &str, replaces: Option<Id>) -> (Body, SeatRow) {
    let header = Header {
        key: [1; 32],
        nonce: [nonce; 32],
        name: "treasury".into(),
        suites: vec!["ed25519".into()],
        quorum: Gate::parse("1 of (a)").unwrap(),
        policy: policy.into(),
        created: NOW,
        expires: None,
        replaces,
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
        holder,
        epoch: 3,
        correction,
    };
    (body, row)
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
            token: self.tokens[0].0.id,
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
        } = self.tokens[0].0.clone();
        change(&mut header);
        let bytes = header.encode();
        let catalogue = evanesce_suite::catalogue();
        self.tokens[0].0 = Body::new(
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
            salts: vec![None; requests.len()],
            evidence: Evidence::default(),
            rows: vec![self.tokens[0].1.clone()],
        }
    }

    /// Openings of the first token in one request, judged but not yet logged or done.
    fn judge(&mut self, verb: Verb, openings: Vec<Opening>) -> Work {
        let (mut work, ready) = (self.work(verb), self.ready(0));
        for opening in openings {
            self.agent
                .judge(&mut work, &ready, opening, self.now * 1000);
        }
        work
    }

    fn start(&mut self) {
        tokio::spawn(self.committing.take().unwrap());
    }

    /// Asks for `openings` openings at once.
    async fn ask(&mut self, verb: Verb, openings: usize) -> (Vec<OpeningAnswer>, String) {
        let work = self.judged(verb, &vec![0; openings]);
        let answers = self.queue.run(work).await.unwrap().answers();
        (answers.openings, answers.checkpoint)
    }

    /// One opening for each of `tokens`, judged now.
    fn judged(&mut self, verb: Verb, tokens: &[usize]) -> Work {
        let mut work = self.work(verb);
        for token in tokens {
            let ready = self.ready(*token);
            let (body, row) = &self.tokens[*token];
            let (id, row) = (body.id, row.clone());
            let (action, suite) = match verb {
                Verb::Retire => ("retire", ""),
                _ => ("sign", "ed25519"),
            };
            let request = Request {
                token: id,
                action: action.into(),
                suite: suite.into(),
                ..self.request()
            };
            let requests = if verb == Verb::Check {
                vec![]
            } else {
                vec![request.encode()]
            };
            let opening = Opening {
                context: 0,
                salts: vec![None; requests.len()],
                evidence: Evidence::default(),
                requests,
                rows: vec![row],
            };
            self.agent
                .judge(&mut work, &ready, opening, self.now * 1000);
        }
        work
    }

    fn judged_seat(&mut self, token: usize) -> Work {
        let mut work = self.work(Verb::Seat);
        let ready = self.ready(token);
        let share = SeatShare {
            context: 0,
            seat: 0,
            counter: 0,
            sealed: [0; 48],
        };
        self.agent.judge_seat(&mut work, &ready, &share, NOW * 1000);
        work
    }

    fn work(&self, verb: Verb) -> Work {
        let who = self.agent.directory.find(&self.caller).unwrap().clone();
        Work::new(verb, who, self.session.clone(), 1)
    }

    fn ready(&mut self, token: usize) -> Result<Ready, Refusal> {
        let body = &self.tokens[token].0;
        let context = Context::Full {
            header: body.header_bytes.clone(),
            anchor: body.anchor,
            commitments: body.commitments.clone(),
            public: body.public_hash,
            sealed: body.sealed_hash,
        };
        let mut ready = [self.agent.shown.prepare(context)];
        for (hash, body) in missing(&ready) {
            let policy = Ok(Arc::new(Compiled::new(body.judged().policy())));
            fill(&mut ready, &hash, &policy);
        }
        let [ready] = ready;
        ready
    }

    /// Hands work in, and lets it reach the queue.
    async fn send(&self, work: Work) -> JoinHandle<Option<Work>> {
        let queue = self.queue.clone();
        let sent = tokio::spawn(async move { queue.run(work).await });
        tokio::task::yield_now().await;
        sent
    }

    fn tombstoned(&self, token: usize) -> bool {
        let line = hex::encode(self.tokens[token].0.id) + "\n";
        String::from_utf8(self.disk.file("tombstones"))
            .unwrap()
            .contains(&line)
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
        assert_eq!((answer.code, answer.seats.len()), (Code::Unavailable, 0));
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
        (Code::Unavailable, asked)
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
async fn what_was_written_last_is_in_a_head_soon_though_nothing_follows() {
    let mut world = world(Commit::Process, false);
    for _ in 0..3 {
        assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
    }
    let length = format!("\nlength {}\n", world.disk.file(ENTRIES).len());
    let asked = Instant::now();
    while !String::from_utf8_lossy(&world.disk.file(HEAD)).contains(&length) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(asked.elapsed() < HEAD_EVERY + Duration::from_secs(5));
    }
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
        (Code::Refused, &|agent, r| {
            agent.know(directory(&r.caller, &["caller", "reconstructor"]));
            (r.action, r.suite) = ("repair".into(), String::new());
        }),
        (Code::Retired, &|agent, r| {
            agent.tombstones.extend([r.token])
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

fn entry(answer: &OpeningAnswer) -> Entry {
    Entry::decode(&answer.receipt.as_ref().unwrap().entry).unwrap()
}

#[tokio::test]
async fn what_was_permitted_before_its_token_was_retired_is_refused_after() {
    for commit in [Commit::Process, Commit::Power] {
        let mut world = world(commit, false);
        let before = world.judged(Verb::Contribute, &[0, 1, 0]);
        let (again, seat) = (world.judged(Verb::Retire, &[0]), world.judged_seat(0));
        let syncs = world.disk.syncs();
        let (answers, _) = world.ask(Verb::Retire, 1).await;
        assert_eq!(answers[0].seats[0].result, SeatResult::Good);
        // The entry's, and then the tombstone's.
        assert!(world.tombstoned(0) && world.disk.syncs() >= syncs + 2);

        let asked = world.evaluations();
        let answers = world.queue.run(before).await.unwrap().answers().openings;
        let codes: Vec<Code> = answers.iter().map(|answer| answer.code).collect();
        assert_eq!(codes, [Code::Retired, Code::Done, Code::Retired]);
        let released: Vec<bool> = answers.iter().map(released).collect();
        assert_eq!(released, [false, true, false]);
        for answer in &answers {
            let entry = entry(answer);
            assert_eq!(
                (entry.code.as_str(), &entry.reason),
                (answer.code.as_str(), &answer.reason)
            );
            assert_eq!(entry.operations.len(), 1);
        }
        let again = world.queue.run(again).await.unwrap().answers();
        assert_eq!(again.openings[0].code, Code::Retired);
        let seated = world.queue.run(seat).await.unwrap().seated();
        let SeatedResult::Refused { reason } = &seated.seats[0].result else {
            panic!("seated")
        };
        assert!(reason.contains("retired here"), "{reason}");
        let entry = Entry::decode(&seated.seats[0].receipt.as_ref().unwrap().entry).unwrap();
        assert_eq!(
            (entry.verb.as_str(), entry.code.as_str()),
            ("seat", "refused")
        );
        assert_eq!(world.evaluations(), asked + 1, "for the other token alone");
        assert_eq!(world.ask(Verb::Check, 1).await.0[0].code, Code::Retired);
    }
}

#[tokio::test]
async fn what_queued_before_a_retire_is_done_and_what_queued_behind_it_is_not() {
    for slow in [false, true] {
        let mut world = waiting_world(Commit::Process, slow);
        let mut sent = Vec::new();
        for verb in [
            Verb::Contribute,
            Verb::Retire,
            Verb::Contribute,
            Verb::Check,
        ] {
            let work = world.judged(verb, &[0]);
            sent.push(world.send(work).await);
        }
        world.start();
        let mut answers = Vec::new();
        for sent in sent {
            answers.push(sent.await.unwrap().unwrap().answers().openings.remove(0));
        }
        let codes: Vec<Code> = answers.iter().map(|answer| answer.code).collect();
        assert_eq!(
            codes,
            [Code::Done, Code::Done, Code::Retired, Code::Retired]
        );
        assert!(released(&answers[0]) && !released(&answers[2]));
        assert_eq!(entry(&answers[2]).code, "retired");
    }
}

#[tokio::test]
async fn a_retire_whose_asker_has_gone_is_done_all_the_same() {
    let mut world = waiting_world(Commit::Process, false);
    let (retire, behind) = (
        world.judged(Verb::Retire, &[0]),
        world.judged(Verb::Contribute, &[0]),
    );
    let asker = world.send(retire).await;
    asker.abort();
    assert!(asker.await.is_err_and(|e| e.is_cancelled()));
    world.start();
    let answers = world.queue.run(behind).await.unwrap().answers();
    assert_eq!(answers.openings[0].code, Code::Retired);
    assert!(world.tombstoned(0));
    assert_eq!(world.metrics.tombstones.load(Relaxed), 1);
    let text = world.metrics.text();
    assert!(text.contains("{verb=\"retire\",code=\"done\"} 1"), "{text}");
}

#[tokio::test]
async fn a_tombstone_that_cannot_be_written_is_said_to_be_missing() {
    // The entry fits the disk, the tombstone does not; then the disk takes nothing more for good.
    for unsyncable in [false, true] {
        let mut world = world(Commit::Process, false);
        let retire = world.judged(Verb::Retire, &[0]);
        let room = world.disk.file(ENTRIES).len() + retire.entries[0].len() + 10;
        world.disk.set_room((!unsyncable).then_some(room + 64));
        world.disk.set_unsyncable(unsyncable);
        let answer = world.queue.run(retire).await.unwrap().answers();
        let answer = &answer.openings[0];
        assert_eq!((answer.code, answer.seats.len()), (Code::Unavailable, 0));
        let why = "the tombstone cannot be written: ";
        assert!(answer.reason.starts_with(why), "{}", answer.reason);
        assert_eq!(entry(answer).code, "done", "what was decided");
        if !unsyncable {
            world.disk.set_room(None);
            assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
            assert_eq!(world.ask(Verb::Retire, 1).await.0[0].code, Code::Done);
            assert!(world.tombstoned(0));
        }
        let (answers, _) = world.ask(Verb::Contribute, 1).await;
        assert_ne!(answers[0].code, Code::Done);
    }
}

/// An order about the token of that number, as if it had been judged.
fn ordered(world: &World, token: usize, command: Command) -> Ordered {
    let body = &world.tokens[token].0;
    let order = Order {
        token: body.id,
        command,
        caller: world.caller,
        issued: NOW * 1000,
        nonce: [token as u8; 16],
    };
    let signed = SignedOrder {
        order: order.encode(),
        spki: vec![1; 44],
        signature: vec![2; 64],
        context: Context::Full {
            header: body.header_bytes.clone(),
            anchor: body.anchor,
            commitments: body.commitments.clone(),
            public: body.public_hash,
            sealed: body.sealed_hash,
        },
    };
    let me = &world.agent.me;
    let entry = Entry {
        agent: me.id,
        time: NOW * 1000,
        verb: "order".into(),
        token: body.id,
        key_name: "k".into(),
        seats: vec![],
        caller: world.caller,
        caller_name: "ops".into(),
        operations: vec![],
        code: "done".into(),
        reason: String::new(),
        element: me.element.label.clone(),
        weaknesses: vec![],
        basis: Basis::default(),
    };
    let word = Word::Order(signed);
    Ordered {
        line: crate::orders::Line::of(&word).unwrap(),
        signed: word.encode(),
        entry: entry.encode(),
    }
}

#[tokio::test]
async fn an_order_holds_once_it_is_written_and_against_what_was_judged_before() {
    for (command, barred) in [
        (Command::Freeze, Code::Refused),
        (Command::Revoke, Code::Retired),
    ] {
        let mut world = world(Commit::Process, false);
        let before = world.judged(Verb::Contribute, &[0, 1, 0]);
        // The entry fits the disk, the order does not.
        let order = ordered(&world, 0, command);
        let room = world.disk.file(ENTRIES).len() + order.entry.len() + 20;
        world.disk.set_room(Some(room));
        let obeyed = world.queue.order(order).await.unwrap();
        assert_eq!(obeyed.code, Code::Unavailable, "{}", obeyed.reason);
        world.disk.set_room(None);
        assert!(released(&world.ask(Verb::Contribute, 1).await.0[0]));
        let obeyed = world
            .queue
            .order(ordered(&world, 0, command))
            .await
            .unwrap();
        assert_eq!(obeyed.code, Code::Done, "{}", obeyed.reason);
        let entry_of = |proof: &LogProof| Entry::decode(&proof.entry).unwrap();
        assert_eq!(entry_of(obeyed.receipt.as_ref().unwrap()).verb, "order");
        // The same again is there, and is not logged once more.
        let again = world
            .queue
            .order(ordered(&world, 0, command))
            .await
            .unwrap();
        assert_eq!((again.code, again.receipt), (Code::Done, None));

        let asked = world.evaluations();
        let answers = world.queue.run(before).await.unwrap().answers().openings;
        let codes: Vec<Code> = answers.iter().map(|answer| answer.code).collect();
        assert_eq!(codes, [barred, Code::Done, barred]);
        assert_eq!(entry(&answers[0]).code, barred.as_str());
        assert_eq!(world.evaluations(), asked + 1, "for the other token alone");
        assert_eq!(world.ask(Verb::Check, 1).await.0[0].code, barred);
        // As a start finds it.
        let orders = Orders::open(&world.disk.copy(), NOW).unwrap();
        let token = &world.tokens[0].0.id;
        assert_eq!(orders.book().is_frozen(token), command == Command::Freeze);
        assert_eq!(orders.revoked().contains(token), command == Command::Revoke);
        assert_eq!(world.tombstoned(0), command == Command::Revoke);
        // A frozen token is retired all the same.
        let retired = world.ask(Verb::Retire, 1).await.0[0].code;
        let expected = match command {
            Command::Freeze => Code::Done,
            _ => Code::Retired,
        };
        assert_eq!(retired, expected);
    }
}

#[tokio::test]
async fn what_was_decided_under_a_grant_is_refused_behind_its_revocation() {
    let mut world = world(Commit::Process, false);
    let mut before = world.judged(Verb::Contribute, &[0, 0, 0]);
    before.decisions[0].grants = vec![[7; 32]];
    before.decisions[1].grants = vec![[8; 32], [9; 32]];
    world.agent.orders.ended().extend([[9; 32], [6; 32]]);
    let answers = world.queue.run(before).await.unwrap().answers().openings;
    let codes: Vec<Code> = answers.iter().map(|answer| answer.code).collect();
    assert_eq!(codes, [Code::Done, Code::Refused, Code::Done]);
    assert_eq!(answers[1].reason, "the grant was revoked");
    assert_eq!(entry(&answers[1]).code, "refused");
    assert_eq!(world.evaluations(), 2);
}

#[tokio::test]
async fn what_nobody_waits_for_is_neither_logged_nor_asked_and_takes_up_its_room_until_then() {
    let mut world = waiting_world(Commit::Process, false);
    let limits = Limits {
        pending: 80,
        buffered_bytes: 2000,
        ..Limits::default()
    };
    let rooms = Rooms::new(&limits, world.metrics.clone());
    let who = world.agent.directory.find(&world.caller).unwrap().clone();
    for n in 0..20 {
        let mut work = world.judged(Verb::Contribute, &[n % 2, 0]);
        let mut room = rooms.request(&who).unwrap();
        assert!(room.grow(100));
        work.room = Some(room);
        let asker = world.send(work).await;
        asker.abort();
        assert!(asker.await.is_err_and(|e| e.is_cancelled()));
    }
    assert!(rooms.request(&who).is_err() && !rooms.bytes(None).grow(1));
    assert_eq!(world.metrics.pending.load(Relaxed), 20);

    let waited_for = world.judged(Verb::Contribute, &[1]);
    let waited_for = world.send(waited_for).await;
    world.start();
    let answers = waited_for.await.unwrap().unwrap().answers();
    assert!(released(&answers.openings[0]));
    assert_eq!(answers.openings[0].receipt.as_ref().unwrap().index, 0);
    assert_eq!(world.evaluations(), 1);
    assert_eq!(world.metrics.entries.load(Relaxed), 1);
    assert_eq!(world.metrics.pending.load(Relaxed), 0);
    assert!(rooms.bytes(None).grow(2000));
}

mod limits;
