//! An agent in a folder of its own, a caller, and tokens made by hand: what the stories are told with.

#![allow(dead_code, reason = "each file of stories uses a part of this")]

pub mod company;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use evanesce_agent::Config;
use evanesce_element::software::SoftwareElement;
use evanesce_secret::{Secret, on_crucible};
use evanesce_token::{Body, Gate, Header, formula, sharing};
use evanesce_wire::client::{CallError, Connection, Way};
use evanesce_wire::message::{
    Answers, Batch, Context, Envelope, Evidence, Opening, OpeningAnswer, Receipt, Request, SeatRow,
    SeatShare, Seated, SeatedResult, Seating, SessionAnswer, envelope_aad, seat_hash,
};
use evanesce_wire::session::{PendingSession, SealingSession};
use evanesce_wire::{FileIdentity, Id, Identity, tls};
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An agent's folder.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    /// A folder with a root, an identity and `agent.toml`; `more` goes before its `[element]`.
    pub fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        SoftwareElement::create(&place.path("roots"), None).unwrap();
        FileIdentity::create(&place.path("identity.key")).unwrap();
        place.configure(more);
        place
    }

    pub fn configure(&self, more: &str) {
        let (top, tables) = more.split_once("---").unwrap_or((more, ""));
        let text = format!(
            "name = \"agent-1\"\nlisten = \"127.0.0.1:0\"\nidentity = \"identity.key\"\n{top}\n\
             [element]\nkind = \"software\"\n{tables}\n"
        );
        std::fs::write(self.path("agent.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many lines the agent's tombstones have.
    pub fn tombstones(&self) -> usize {
        let text = std::fs::read_to_string(self.path("tombstones"));
        text.map_or(0, |text| text.lines().count())
    }

    pub fn config(&self) -> Config {
        let mut config = Config::load(&self.path("agent.toml")).unwrap();
        config.quiet = true;
        config
    }

    /// Writes `known.toml`.
    pub fn know(&self, callers: &[(&Caller, &str)]) {
        let lines = callers.iter().map(|(caller, roles)| {
            let (name, id) = (&caller.name, hex::encode(caller.identity.caller_id()));
            format!("[[identity]]\nname = \"{name}\"\nid = \"{id}\"\nroles = [{roles}]\ngroups = [\"eu\"]\n")
        });
        std::fs::write(self.path("known.toml"), lines.collect::<String>()).unwrap();
    }
}

pub const EVERY_ROLE: &str = "\"caller\", \"minter\", \"reconstructor\"";

/// An identity that asks agents.
pub struct Caller {
    pub name: String,
    pub identity: Arc<dyn Identity>,
}

impl Caller {
    pub fn new(name: &str, folder: &Path) -> Self {
        let identity = FileIdentity::create(&folder.join(format!("{name}.key"))).unwrap();
        Self {
            name: name.into(),
            identity: Arc::new(identity),
        }
    }

    pub async fn connect(&self, address: SocketAddr, agent: Id) -> Connection {
        let tls = tls::client(self.identity.clone(), agent).unwrap();
        Connection::open(&address.to_string(), tls).await.unwrap()
    }

    /// A connection whose peer may send so many bytes of each answer until it is told otherwise.
    pub async fn connect_raw(
        &self,
        address: SocketAddr,
        agent: Id,
        window: u32,
    ) -> SendRequest<Bytes> {
        let stream = self.connect_tls(address, agent).await;
        let handshake = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake(stream);
        let (sender, driver) = handshake.await.unwrap();
        tokio::spawn(driver);
        sender
    }

    pub async fn connect_tls(&self, address: SocketAddr, agent: Id) -> TlsStream<TcpStream> {
        let tls = tls::client(self.identity.clone(), agent).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = "agent.invalid".try_into().unwrap();
        TlsConnector::from(tls).connect(name, tcp).await.unwrap()
    }

    /// Connects and opens a session.
    pub async fn open(&self, address: SocketAddr, agent: Id) -> Line {
        let connection = self.connect(address, agent).await;
        let (pending, offer) = PendingSession::offer(&*self.identity, agent, now()).unwrap();
        let answer = connection
            .post("/v1/session", offer.encode())
            .await
            .unwrap();
        let answer = SessionAnswer::decode(&answer).unwrap();
        let session = pending
            .accept(&answer.answer, connection.peer_spki())
            .unwrap();
        Line {
            connection,
            session,
            answer,
            agent,
            caller: self.identity.caller_id(),
        }
    }
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A connection with an open session.
pub struct Line {
    pub connection: Connection,
    pub session: SealingSession,
    pub answer: SessionAnswer,
    pub agent: Id,
    pub caller: Id,
}

impl Line {
    /// A batch as it travels.
    pub fn envelope(&self, verb: &str, batch: &Batch) -> Vec<u8> {
        let aad = envelope_aad(verb, &self.agent);
        let sealed = self.session.seal_message(&aad, batch.encode());
        let (counter, sealed) = sealed.unwrap();
        Envelope {
            session: self.session.id,
            counter,
            sealed,
        }
        .encode()
    }

    pub async fn send(&self, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let aad = envelope_aad(verb, &self.agent);
        let (counter, sealed) = self.session.seal_message(&aad, body).unwrap();
        let envelope = Envelope {
            session: self.session.id,
            counter,
            sealed,
        };
        self.connection
            .post(&format!("/v1/{verb}"), envelope.encode())
            .await
    }

    pub async fn ask(&self, verb: &str, batch: &Batch) -> Answers {
        let answer = self.send(verb, batch.encode()).await;
        Answers::decode(&answer.unwrap_or_else(|e| panic!("{verb}: {e}"))).unwrap()
    }

    pub fn request(&self, body: &Body, action: &str, suite: &str) -> Request {
        let mut id = [0; 16];
        evanesce_secret::random(&mut id);
        Request {
            token: body.id,
            action: action.into(),
            suite: suite.into(),
            input: [6; 32],
            caller: self.caller,
            session: self.session.id,
            id,
            not_after: now() + 60,
            payload: None,
        }
    }

    /// One opening of every row of `token` for `action`.
    pub fn opening(&self, token: &Minted, action: &str, suite: &str) -> Opening {
        let request = self.request(&token.body, action, suite);
        Opening {
            context: 0,
            requests: vec![request.encode()],
            salts: vec![None],
            evidence: Evidence::default(),
            rows: token.rows.clone(),
        }
    }

    /// Asks for one opening; gives its answer and the checkpoint.
    pub async fn one(
        &self,
        verb: &str,
        token: &Minted,
        opening: Opening,
    ) -> (OpeningAnswer, String) {
        let batch = Batch {
            contexts: vec![token.context()],
            openings: vec![opening],
        };
        let mut answers = self.ask(verb, &batch).await;
        (answers.openings.remove(0), answers.checkpoint)
    }

    /// Has every seat of a new token seated at this agent.
    pub async fn mint(&self, header: Header) -> Result<Minted, String> {
        let dealt = Dealt::new(&header);
        let seats = dealt.shares.iter().zip(0..).map(|(share, seat)| {
            let token = &dealt.body.id;
            let aad = formula::share_aad(&seat_hash(token, seat), token, seat, &self.agent);
            let mut sealed = [0; 48];
            sealed[..32].copy_from_slice(share.expose());
            let (counter, tag) = self.session.seal(&aad, &mut sealed[..32]).unwrap();
            sealed[32..].copy_from_slice(&tag);
            SeatShare {
                context: 0,
                seat,
                counter,
                sealed,
            }
        });
        let seating = Seating {
            contexts: vec![context(&dealt.body)],
            seats: seats.collect(),
        };
        let answer = self
            .send("seat", seating.encode())
            .await
            .map_err(|e| e.to_string())?;
        let seated = Seated::decode(&answer).unwrap();
        let mut rows = Vec::new();
        for seat in seated.seats {
            match seat.result {
                SeatedResult::Row {
                    epoch,
                    correction,
                    signature,
                } => {
                    let statement =
                        formula::row_statement(&dealt.body.id, seat.seat, epoch, &correction);
                    let spki = self.connection.peer_spki();
                    assert!(evanesce_wire::verify_statement(
                        spki, &statement, &signature
                    ));
                    rows.push(SeatRow {
                        seat: seat.seat,
                        holder: self.agent,
                        epoch,
                        correction,
                    });
                }
                SeatedResult::Refused { reason } => return Err(reason),
            }
            let receipt = self.receipt(seat.receipt.unwrap(), &seated.checkpoint);
            assert_eq!(receipt.verify().unwrap().verb, "seat");
        }
        Ok(Minted {
            body: dealt.body,
            shares: dealt.shares,
            rows,
        })
    }

    pub fn receipt(&self, proof: evanesce_wire::message::LogProof, checkpoint: &str) -> Receipt {
        Receipt {
            agent: self.agent,
            agent_spki: self.connection.peer_spki().to_vec(),
            log_key: self.answer.log_key,
            endorsement: self.answer.endorsement.clone(),
            entry: proof.entry,
            index: proof.index,
            path: proof.path,
            checkpoint: checkpoint.into(),
        }
    }
}

pub fn header(quorum: &str, policy: &str) -> Header {
    let mut nonce = [0; 32];
    evanesce_secret::random(&mut nonce);
    Header {
        key: [1; 32],
        nonce,
        name: "treasury".into(),
        suites: vec!["ed25519".into(), "hmac-sha256".into()],
        quorum: Gate::parse(quorum).unwrap(),
        policy: policy.into(),
        created: now(),
        expires: None,
        replaces: None,
    }
}

pub struct Dealt {
    pub body: Body,
    pub shares: Vec<Secret<32>>,
}

impl Dealt {
    pub fn new(header: &Header) -> Self {
        let bytes = header.encode();
        let deal = formula::deal(&bytes);
        let mut anchor = [0; 32];
        let shares = on_crucible(|| {
            let mut seed = [0; 32];
            evanesce_secret::random(&mut seed);
            anchor = formula::anchor(&deal, &seed);
            sharing::split(&seed, &header.quorum, &mut evanesce_secret::random).unwrap()
        });
        let commitments = shares
            .iter()
            .zip(0..)
            .map(|(s, n)| formula::commitment(&deal, n, s.expose()));
        let sealed = formula::sealed_hash(None);
        let catalogue = evanesce_suite::catalogue();
        let body = Body::new(
            bytes,
            anchor,
            commitments.collect(),
            [5; 32],
            sealed,
            catalogue,
        )
        .unwrap();
        Self { body, shares }
    }
}

pub struct Minted {
    pub body: Body,
    pub shares: Vec<Secret<32>>,
    pub rows: Vec<SeatRow>,
}

impl Minted {
    pub fn context(&self) -> Context {
        context(&self.body)
    }
}

pub fn context(body: &Body) -> Context {
    Context::Full {
        header: body.header_bytes.clone(),
        anchor: body.anchor,
        commitments: body.commitments.clone(),
        public: body.public_hash,
        sealed: body.sealed_hash,
    }
}

pub fn problem(result: Result<Vec<u8>, CallError>) -> (u16, String) {
    match result {
        Err(CallError::Problem(status, problem)) => (status, problem.code),
        Err(CallError::Wire(e)) => panic!("{e}"),
        Ok(_) => panic!("answered"),
    }
}

/// Runs a story on a runtime of its own.
pub fn tell<F: Future>(story: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(story)
}
