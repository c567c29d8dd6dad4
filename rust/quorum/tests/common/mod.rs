//! A quorum in one process: agents that keep the protocol, or break it in a way of the test's choosing.
//!
//! These agents are not the product's: they have no log, no policy and no protection. They exist to do what a
//! real agent never does.
#![allow(dead_code)]

pub mod callers;
pub mod counted;
pub mod proxy;
pub mod real;
pub mod together;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use evanesce_quorum::{
    CheckTable, Error, Holder, Job, MintSpec, Minted, Operation, Outcome, OwnedInput,
    Reconstructor, Retirement, Settings,
};
use evanesce_suite::{Output, catalogue};
use evanesce_token::{Body, Gate, Token, formula, hash::hmac_sha256, mpc};
use evanesce_wire::message::threshold::{Blame, Confirm, Confirmed, Help, Reply};
use evanesce_wire::message::*;
use evanesce_wire::session::{self, SealingSession, TAG};
use evanesce_wire::{FileIdentity, Id, Identity, tls};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What an agent does.
#[derive(Clone, Debug)]
pub enum Behaviour {
    Honest,
    /// Answers after this long.
    Slow(Duration),
    /// Takes requests and never answers.
    Silent,
    Refuses(Code, &'static str),
    /// Answers with this HTTP status and problem.
    Problem(u16, &'static str),
    /// Releases another share than its own.
    Lies,
    /// Seals shares under other additional data.
    SealsWrongly,
    /// Answers for a seat that it was not asked for.
    ForeignSeat,
    /// Answers for its seat twice.
    Twice,
    /// Answers for no seat.
    NoSeat,
    /// Answers with one opening too many.
    OneTooMany,
    /// Answers with bytes that are no CBOR.
    Garbage,
    /// Answers with more than a body may hold.
    Flood,
    /// Says "good" where a share is asked.
    SaysGood,
    /// Says that it holds no context, whatever it is given.
    NeverKnows,
    ElementGone,
    /// Forgets its sessions after each request.
    Forgetful,
    /// Says that the row is not its own.
    Disowns,
    /// Makes rows that it does not sign rightly.
    BadRowSignature,
    /// Says that it has its share of a key that is never put together, and of whoever else is to help that it lies.
    Accuses,
}

pub struct Shared {
    identity: Arc<FileIdentity>,
    pub id: Id,
    roots: Mutex<BTreeMap<u64, [u8; 32]>>,
    behaviour: Mutex<Behaviour>,
    sessions: Mutex<HashMap<Id, Arc<SealingSession>>>,
    contexts: Mutex<HashMap<Id, Arc<Body>>>,
    tombstones: Mutex<HashSet<Id>>,
    pub connections: AtomicUsize,
    pub offers: AtomicUsize,
    pub requests: AtomicUsize,
    pub openings: AtomicUsize,
    pub full_contexts: AtomicUsize,
    /// Requests whose stream was reset before they were answered.
    pub resets: AtomicUsize,
}

/// Counts when it is dropped.
struct Counts<'a>(&'a AtomicUsize);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// One agent, alive until it is stopped or dropped.
pub struct FakeAgent {
    pub shared: Arc<Shared>,
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl FakeAgent {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(FileIdentity::create(&folder.path().join("identity.key")).unwrap());
        let mut root = [0; 32];
        evanesce_secret::random(&mut root);
        let shared = Arc::new(Shared {
            id: identity.agent_id(),
            identity,
            roots: Mutex::new(BTreeMap::from([(1, root)])),
            behaviour: Mutex::new(Behaviour::Honest),
            sessions: Mutex::default(),
            contexts: Mutex::default(),
            tombstones: Mutex::default(),
            connections: AtomicUsize::default(),
            offers: AtomicUsize::default(),
            requests: AtomicUsize::default(),
            openings: AtomicUsize::default(),
            full_contexts: AtomicUsize::default(),
            resets: AtomicUsize::default(),
        });
        let mut agent = Self {
            shared,
            address: "127.0.0.1:0".parse().unwrap(),
            stop: None,
            thread: None,
            _folder: folder,
        };
        agent.resume();
        agent
    }

    /// Listens (again).
    pub fn resume(&mut self) {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (shared, address) = (self.shared.clone(), self.address);
        self.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind(address).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(shared, listener) => {}
                    _ = stopped => {}
                }
            });
            // Connections end with the runtime, as when a process is killed.
        }));
        self.address = told.recv().unwrap();
        self.stop = Some(stop);
    }

    /// As if killed.
    pub fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.shared.sessions.lock().unwrap().clear();
        self.shared.contexts.lock().unwrap().clear();
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    pub fn set_roots(&self, roots: &[(u64, [u8; 32])]) {
        *self.shared.roots.lock().unwrap() = roots.iter().copied().collect();
    }

    pub fn forget_contexts(&self) {
        self.shared.contexts.lock().unwrap().clear();
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let config = tls::server(shared.identity.clone()).unwrap();
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        shared.connections.fetch_add(1, SeqCst);
        let (shared, acceptor) = (shared.clone(), TlsAcceptor::from(config.clone()));
        tokio::spawn(async move {
            tcp.set_nodelay(true).unwrap();
            let Ok(stream) = acceptor.accept(tcp).await else {
                return;
            };
            let caller = tls::peer_spki(stream.get_ref().1.peer_certificates()).unwrap();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let (shared, caller) = (shared.clone(), caller.clone());
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await?.to_bytes();
                    let (status, body) = shared.answer(&path, &body, &caller).await;
                    let status = StatusCode::from_u16(status).unwrap();
                    Ok::<_, hyper::Error>(
                        Response::builder()
                            .status(status)
                            .body(Full::new(Bytes::from(body)))
                            .unwrap(),
                    )
                }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn problem(status: u16, code: &str) -> (u16, Vec<u8>) {
    (
        status,
        Problem {
            code: code.into(),
            message: "as the test says".into(),
        }
        .encode(),
    )
}

impl Shared {
    async fn answer(&self, path: &str, body: &[u8], caller: &[u8]) -> (u16, Vec<u8>) {
        let behaviour = self.behaviour.lock().unwrap().clone();
        if path == "/v1/session" {
            self.offers.fetch_add(1, SeqCst);
            let offer = session::Offer::decode(body).unwrap();
            let (answer, session) =
                session::answer(&offer, caller, &*self.identity, now()).unwrap();
            self.sessions
                .lock()
                .unwrap()
                .insert(session.id, Arc::new(session));
            return (
                200,
                SessionAnswer {
                    answer,
                    log_key: [0; 32],
                    endorsement: vec![0; 64],
                }
                .encode(),
            );
        }
        self.requests.fetch_add(1, SeqCst);
        match behaviour {
            Behaviour::Slow(delay) => tokio::time::sleep(delay).await,
            Behaviour::Silent => {
                let _reset = Counts(&self.resets);
                std::future::pending().await
            }
            Behaviour::Problem(status, code) => return problem(status, code),
            Behaviour::Garbage => return (200, b"nonsense".to_vec()),
            Behaviour::Flood => return (200, vec![0; evanesce_wire::limits::BODY + 1]),
            _ => {}
        }
        if path == "/v1/status" {
            return (200, self.status().encode());
        }
        let envelope = Envelope::decode(body).unwrap();
        let session = self
            .sessions
            .lock()
            .unwrap()
            .get(&envelope.session)
            .cloned();
        let Some(session) = session else {
            return problem(409, "session");
        };
        if matches!(behaviour, Behaviour::Forgetful) {
            self.sessions.lock().unwrap().clear();
        }
        let verb = path.strip_prefix("/v1/").unwrap();
        let mut sealed = envelope.sealed;
        let plain = session
            .open(envelope.counter, &envelope_aad(verb, &self.id), &mut sealed)
            .unwrap();
        if verb == "seat" {
            return (
                200,
                self.seat(&Seating::decode(plain).unwrap(), &session, &behaviour)
                    .encode(),
            );
        }
        if matches!(behaviour, Behaviour::Accuses) {
            return (200, self.accuse(verb, plain).encode());
        }
        let batch = Batch::decode(plain).unwrap();
        (200, self.batch(verb, &batch, &session, &behaviour).encode())
    }

    fn accuse(&self, verb: &str, told: &[u8]) -> Reply {
        if verb == "mpc-confirm" {
            let Confirm { context, row } = Confirm::decode(told).unwrap();
            let Context::Second {
                header,
                vector,
                transcript,
            } = context
            else {
                panic!("a key of the first kind");
            };
            let body = mpc::Body::new(header, vector, transcript).unwrap();
            let kind = body.header.kind;
            let statement =
                mpc::formula::regenerated_statement(kind, &body.id, row.seat, row.epoch);
            let signature = self.identity.sign(&statement).unwrap();
            return Reply::done(Confirmed { signature }.encode());
        }
        let told = Help::decode(told).unwrap();
        let own = told.leave.opening.rows[0].seat;
        let of = told.helpers.into_iter().find(|seat| *seat != own).unwrap();
        Reply {
            code: Code::Refused,
            value: None,
            reason: "what was sent is wrong".into(),
            culprits: vec![Blame {
                seat: of,
                reason: "it has not proven to have that seat's share".into(),
            }],
            ..Reply::done(Vec::new())
        }
    }

    fn context(&self, context: &Context) -> Option<Arc<Body>> {
        match context {
            Context::Known(id) => self.contexts.lock().unwrap().get(id).cloned(),
            Context::Full {
                header,
                anchor,
                commitments,
                public,
                sealed,
            } => {
                self.full_contexts.fetch_add(1, SeqCst);
                let body = Body::new(
                    header.clone(),
                    *anchor,
                    commitments.clone(),
                    *public,
                    *sealed,
                    catalogue(),
                )
                .unwrap();
                let body = Arc::new(body);
                self.contexts.lock().unwrap().insert(body.id, body.clone());
                Some(body)
            }
            Context::Second { .. } => None,
        }
    }

    fn pad(&self, epoch: u64, token: &Id, seat: u32) -> Option<[u8; 32]> {
        let root = *self.roots.lock().unwrap().get(&epoch)?;
        let (mut y, mut pad) = ([0; 32], [0; 32]);
        hmac_sha256(&root, &formula::contribution(token, seat), &mut y);
        formula::pad(&y, &mut pad);
        Some(pad)
    }

    fn batch(
        &self,
        verb: &str,
        batch: &Batch,
        session: &SealingSession,
        behaviour: &Behaviour,
    ) -> Answers {
        let contexts: Vec<_> = batch
            .contexts
            .iter()
            .map(|context| self.context(context))
            .collect();
        let mut openings: Vec<_> = batch
            .openings
            .iter()
            .map(|opening| {
                self.opening(
                    verb,
                    opening,
                    contexts[opening.context].as_deref(),
                    session,
                    behaviour,
                )
            })
            .collect();
        if matches!(behaviour, Behaviour::OneTooMany) {
            openings.push(openings[0].clone());
        }
        Answers {
            checkpoint: String::new(),
            openings,
        }
    }

    fn opening(
        &self,
        verb: &str,
        opening: &Opening,
        context: Option<&Body>,
        session: &SealingSession,
        behaviour: &Behaviour,
    ) -> OpeningAnswer {
        self.openings.fetch_add(1, SeqCst);
        let no = |code: Code, reason: &str| OpeningAnswer {
            code,
            reason: reason.into(),
            seats: Vec::new(),
            receipt: None,
        };
        if let Behaviour::Refuses(code, why) = behaviour {
            return no(*code, why);
        }
        let Some(body) = context else {
            return no(Code::ContextUnknown, "");
        };
        if matches!(behaviour, Behaviour::NeverKnows) {
            return no(Code::ContextUnknown, "");
        }
        if body.header.expired_at(now()) {
            return no(Code::Expired, "");
        }
        if self.tombstones.lock().unwrap().contains(&body.id) {
            return no(Code::Retired, "");
        }
        let requests: Vec<&[u8]> = opening.requests.iter().map(Vec::as_slice).collect();
        for request in &requests {
            let request = Request::decode(request).unwrap();
            assert_eq!((request.token, request.session), (body.id, session.id));
            assert!(request.not_after > now());
        }
        let hash = formula::request_hash(&requests);
        let mut seats: Vec<_> = opening
            .rows
            .iter()
            .map(|row| SeatAnswer {
                seat: row.seat,
                result: self.row(verb, row, body, &hash, session, behaviour),
            })
            .collect();
        match behaviour {
            Behaviour::ForeignSeat => {
                seats[0].seat = (seats[0].seat + 1) % body.commitments.len() as u32
            }
            Behaviour::Twice => seats.push(seats[0].clone()),
            Behaviour::NoSeat => seats.clear(),
            _ => {}
        }
        if verb == "retire" && seats.iter().all(|seat| seat.result == SeatResult::Good) {
            self.tombstones.lock().unwrap().insert(body.id);
        }
        OpeningAnswer {
            code: Code::Done,
            reason: String::new(),
            seats,
            receipt: None,
        }
    }

    fn row(
        &self,
        verb: &str,
        row: &SeatRow,
        body: &Body,
        hash: &[u8; 32],
        session: &SealingSession,
        behaviour: &Behaviour,
    ) -> SeatResult {
        match behaviour {
            Behaviour::ElementGone => return SeatResult::Fault(SeatFault::ElementUnavailable),
            Behaviour::Disowns => return SeatResult::Fault(SeatFault::NotMine),
            Behaviour::SaysGood => return SeatResult::Good,
            _ => {}
        }
        if row.holder != self.id {
            return SeatResult::Fault(SeatFault::NotMine);
        }
        let Some(pad) = self.pad(row.epoch, &body.id, row.seat) else {
            return SeatResult::Fault(SeatFault::EpochNotHeld);
        };
        let mut share = row.correction;
        share.iter_mut().zip(pad).for_each(|(s, p)| *s ^= p);
        let committed = formula::commitment(&body.deal, row.seat, &share)
            == body.commitments[row.seat as usize];
        if !committed && !matches!(behaviour, Behaviour::Lies) {
            return SeatResult::Fault(SeatFault::CannotRegenerate);
        }
        if verb != "contribute" {
            return SeatResult::Good;
        }
        if matches!(behaviour, Behaviour::Lies) {
            share[7] ^= 1;
        }
        let mut aad = formula::share_aad(hash, &body.id, row.seat, &self.id);
        if matches!(behaviour, Behaviour::SealsWrongly) {
            aad[0] ^= 1;
        }
        let mut sealed = [0; 32 + TAG];
        sealed[..32].copy_from_slice(&share);
        let (counter, tag) = session.seal(&aad, &mut sealed[..32]).unwrap();
        sealed[32..].copy_from_slice(&tag);
        SeatResult::Share { counter, sealed }
    }

    fn seat(&self, seating: &Seating, session: &SealingSession, behaviour: &Behaviour) -> Seated {
        let contexts: Vec<_> = seating
            .contexts
            .iter()
            .map(|context| self.context(context).unwrap())
            .collect();
        let seat = |seat: &SeatShare| {
            let body = &contexts[seat.context];
            if let Behaviour::Refuses(_, reason) = behaviour {
                let result = SeatedResult::Refused {
                    reason: (*reason).into(),
                };
                return SeatedRow {
                    seat: seat.seat,
                    result,
                    receipt: None,
                };
            }
            let aad = formula::share_aad(
                &seat_hash(&body.id, seat.seat),
                &body.id,
                seat.seat,
                &self.id,
            );
            let mut sealed = seat.sealed;
            let share = session.open(seat.counter, &aad, &mut sealed).unwrap();
            let epoch = *self.roots.lock().unwrap().last_key_value().unwrap().0;
            let mut correction = self.pad(epoch, &body.id, seat.seat).unwrap();
            correction
                .iter_mut()
                .zip(share.iter())
                .for_each(|(c, s)| *c ^= s);
            let statement = formula::row_statement(&body.id, seat.seat, epoch, &correction);
            let mut signature = self.identity.sign(&statement).unwrap();
            if matches!(behaviour, Behaviour::BadRowSignature) {
                signature[0] ^= 1;
            }
            SeatedRow {
                seat: seat.seat,
                result: SeatedResult::Row {
                    epoch,
                    correction,
                    signature,
                },
                receipt: None,
            }
        };
        Seated {
            checkpoint: String::new(),
            seats: seating.seats.iter().map(seat).collect(),
        }
    }

    fn status(&self) -> Status {
        Status {
            name: "fake".into(),
            agent: self.id,
            version: "0".into(),
            clock: now() * 1000,
            element: "none".into(),
            development: true,
            weaknesses: Vec::new(),
            epochs: self.roots.lock().unwrap().keys().copied().collect(),
            current: 1,
            entries: 0,
            tombstones: 0,
            frozen: 0,
            shares: 0,
            peers: 0,
            heard: 0,
            standing: String::new(),
            commit: "process".into(),
            memory: "none".into(),
            caller: "test".into(),
            roles: vec!["caller".into()],
        }
    }
}

pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Agents and a reconstructor that knows them as "s0", "s1", ….
pub struct Quorum {
    pub agents: Vec<FakeAgent>,
    pub reconstructor: Reconstructor,
    pub holders: Vec<Holder>,
    folder: tempfile::TempDir,
}

impl Quorum {
    pub fn of(agents: usize) -> Self {
        Self::with(agents, Settings::default())
    }

    pub fn with(agents: usize, settings: Settings) -> Self {
        let agents: Vec<FakeAgent> = (0..agents).map(|_| FakeAgent::start()).collect();
        let holder = |(i, agent): (usize, &FakeAgent)| Holder {
            name: format!("s{i}"),
            id: agent.shared.id,
            address: agent.address.to_string(),
            site: String::new(),
            vendor: String::new(),
        };
        let holders: Vec<Holder> = agents.iter().enumerate().map(holder).collect();
        let folder = tempfile::tempdir().unwrap();
        FileIdentity::create(&folder.path().join("caller.key")).unwrap();
        let reconstructor = reconstructor(folder.path(), holders.clone(), settings);
        Self {
            agents,
            reconstructor,
            holders,
            folder,
        }
    }

    /// Another reconstructor of the same caller, that has never met an agent.
    pub fn fresh(&self, settings: Settings) -> Reconstructor {
        self.fresh_with(self.holders.clone(), settings)
    }

    pub fn fresh_with(&self, holders: Vec<Holder>, settings: Settings) -> Reconstructor {
        reconstructor(self.folder.path(), holders, settings)
    }

    pub fn behave(&self, behaviours: &[(usize, Behaviour)]) {
        for (agent, behaviour) in behaviours {
            self.agents[*agent].behave(behaviour.clone());
        }
    }

    pub fn spec(&self, quorum: &str, suites: &[&str]) -> MintSpec {
        MintSpec {
            name: "a test key".into(),
            suites: suites.iter().map(|&suite| suite.into()).collect(),
            quorum: Gate::parse(quorum).unwrap(),
            seats: BTreeMap::new(),
            policy: String::new(),
            expires: None,
            key: None,
            replaces: None,
            imported: None,
            policy_check: Box::new(|_| Ok(Vec::new())),
        }
    }

    pub fn mint(&self, quorum: &str, suites: &[&str]) -> Arc<Token> {
        let minted = mint(&self.reconstructor, self.spec(quorum, suites));
        Arc::new(minted.map_err(|e| e.to_string()).unwrap().token)
    }
}

fn reconstructor(
    folder: &std::path::Path,
    holders: Vec<Holder>,
    settings: Settings,
) -> Reconstructor {
    let path = folder.join("caller.key");
    let identity =
        move || FileIdentity::open(&path).map(|identity| Arc::new(identity) as Arc<dyn Identity>);
    Reconstructor::new(Box::new(identity), holders, settings).unwrap()
}

/// Waits for a callback.
pub fn wait<T: Send + 'static>(begin: impl FnOnce(Box<dyn FnOnce(T) + Send>)) -> T {
    let (tell, told) = mpsc::channel();
    begin(Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(30))
        .expect("no answer in 30 s")
}

pub fn mint(reconstructor: &Reconstructor, spec: MintSpec) -> Result<Minted, Error> {
    wait(|done| reconstructor.mint(spec, done))
}

pub fn check(reconstructor: &Reconstructor, token: &Arc<Token>, open: bool) -> CheckTable {
    wait(|done| reconstructor.check(token.clone(), open, done))
        .map_err(|e: Error| e.to_string())
        .unwrap()
}

pub fn retire(reconstructor: &Reconstructor, token: &Arc<Token>) -> Result<Retirement, Error> {
    wait(|done| reconstructor.retire(token.clone(), done))
}

pub fn sign_job(suite: &str, message: &[u8]) -> Job {
    let message = message.to_vec();
    Job::new(suite, OwnedInput::Sign { message })
}

pub fn run(
    reconstructor: &Reconstructor,
    token: &Arc<Token>,
    jobs: Vec<Job>,
) -> Result<Outcome, Error> {
    let operation = Operation::new(token.clone(), jobs);
    wait(|done| reconstructor.submit(operation, done))
}

/// Signs with Ed25519 and verifies.
pub fn sign(reconstructor: &Reconstructor, token: &Arc<Token>) -> Result<Outcome, Error> {
    let outcome = run(
        reconstructor,
        token,
        vec![sign_job("ed25519", b"a message")],
    )?;
    let Output::Public(signature) = &outcome.outputs[0] else {
        panic!("no signature")
    };
    let suite = evanesce_suite::find("ed25519").unwrap();
    suite
        .verify(&token.public["ed25519"], b"a message", signature)
        .unwrap();
    Ok(outcome)
}
