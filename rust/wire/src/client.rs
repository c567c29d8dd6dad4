//! One HTTP/2 connection to one agent, over TLS pinned to that agent's key; and the two traits by which a simulator
//! can stand in for both.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::message::Problem;
use crate::{Id, Identity, WireError, limits, tls};

/// Media type of every body.
pub const CBOR: &str = "application/cbor";
/// HTTP/2 flow-control window for a stream and for the connection, in bytes: one whole body.
const WINDOW: u32 = limits::BODY as u32;

/// Why a call brought no answer.
#[derive(Debug)]
pub enum CallError {
    /// The connection, the peer or the answer's form.
    Wire(WireError),
    /// The agent answered with an HTTP status other than 200 and said why.
    Problem(u16, Problem),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wire(e) => e.fmt(f),
            Self::Problem(status, problem) => {
                write!(f, "{} ({status}): {}", problem.code, problem.message)
            }
        }
    }
}

impl From<WireError> for CallError {
    fn from(e: WireError) -> Self {
        Self::Wire(e)
    }
}

/// What a trait's method begins and the caller awaits.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to one agent: bodies go, answers come.
pub trait Way: Send + Sync {
    /// Posts a CBOR body to `path` and gives the answer's.
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>>;
    /// Gets a CBOR body.
    fn get<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>>;
    /// The key the agent has proven, SubjectPublicKeyInfo DER.
    fn peer_spki(&self) -> &[u8];
    /// Whether the way has ended.
    fn is_closed(&self) -> bool;
}

/// What makes ways to agents.
pub trait Dial: Send + Sync {
    /// A way to the agent of that id at `address` ("host:port").
    fn dial<'a>(
        &'a self,
        address: &'a str,
        agent: Id,
    ) -> Pending<'a, Result<Arc<dyn Way>, WireError>>;
}

/// Dials over TCP and TLS, pinned to each agent's key.
pub struct TlsDial {
    identity: Arc<dyn Identity>,
    /// One configuration per agent for all connections: making it takes a signature.
    configs: Mutex<Vec<(Id, Arc<rustls::ClientConfig>)>>,
}

impl TlsDial {
    /// As this identity.
    pub fn new(identity: Arc<dyn Identity>) -> Self {
        Self {
            identity,
            configs: Mutex::default(),
        }
    }

    fn config(&self, agent: Id) -> Result<Arc<rustls::ClientConfig>, WireError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(id, _)| *id == agent) {
            return Ok(config.clone());
        }
        let config = tls::client(self.identity.clone(), agent)?;
        configs.push((agent, config.clone()));
        Ok(config)
    }
}

impl Dial for TlsDial {
    fn dial<'a>(
        &'a self,
        address: &'a str,
        agent: Id,
    ) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        Box::pin(async move {
            let connection = Connection::open(address, self.config(agent)?).await?;
            Ok(Arc::new(connection) as Arc<dyn Way>)
        })
    }
}

/// An open connection; cheap to clone, all clones share it.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    ended: Arc<AtomicBool>,
    peer_spki: Arc<[u8]>,
}

impl Connection {
    /// Connects to `address` ("host:port"). Must be called inside a tokio runtime, which then drives it.
    pub async fn open(address: &str, config: Arc<rustls::ClientConfig>) -> Result<Self, WireError> {
        let unreachable =
            |what: &str, e: &dyn std::fmt::Display| WireError::Unreachable(format!("{what}: {e}"));
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|e| unreachable(address, &e))?;
        tcp.set_nodelay(true)
            .map_err(|e| unreachable(address, &e))?;
        // Only the key is judged, so the name is a placeholder; SNI is off.
        let name = ServerName::try_from("agent.invalid").map_err(|e| unreachable("name", &e))?;
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|e| {
                let pinned = e
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match pinned {
                    Some(rustls::Error::InvalidCertificate(_)) => WireError::WrongPeer(format!(
                        "{address} proves another identity than the agent's"
                    )),
                    _ => unreachable(address, &e),
                }
            })?;
        let peer_spki = tls::peer_spki(stream.get_ref().1.peer_certificates())
            .ok_or_else(|| WireError::WrongPeer("the agent presented no certificate".into()))?;
        let (sender, driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream)
            .await
            .map_err(|e| unreachable(address, &e))?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        tokio::spawn(async move {
            // The driver's end shows itself to every waiting call; there is nothing to add here.
            let _ = driver.await;
            end.store(true, Ordering::Relaxed);
        });
        Ok(Self {
            sender,
            ended,
            peer_spki: peer_spki.into(),
        })
    }

    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let broken = |e: &dyn std::fmt::Display| {
            WireError::Unreachable(format!("the connection broke: {e}"))
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://agent.invalid{path}"))
            .header(CONTENT_TYPE, CBOR)
            .body(())
            .map_err(|e| WireError::Malformed(e.to_string()))?;
        let mut sender = self.sender.clone().ready().await.map_err(|e| broken(&e))?;
        // Head and body are queued together, before the connection's own task runs: they leave in one write, and
        // wake the agent once.
        let (answer, mut stream) = sender
            .send_request(request, body.is_empty())
            .map_err(|e| broken(&e))?;
        if !body.is_empty() {
            stream
                .send_data(body.into(), true)
                .map_err(|e| broken(&e))?;
        }
        let answer = answer.await.map_err(|e| broken(&e))?;
        let (status, mut incoming) = (answer.status(), answer.into_body());
        let mut body = Vec::new();
        while let Some(data) = incoming.data().await {
            let data = data.map_err(|e| broken(&e))?;
            if body.len() + data.len() > limits::BODY {
                let why = format!("a body is at most {} bytes", limits::BODY);
                return Err(WireError::Malformed(why).into());
            }
            body.extend_from_slice(&data);
            // Of a connection that broke meanwhile the next turn tells.
            let _ = incoming.flow_control().release_capacity(data.len());
        }
        if status == StatusCode::OK {
            return Ok(body);
        }
        let problem = Problem::decode(&body).unwrap_or_else(|_| Problem {
            code: "unexplained".into(),
            message: "the agent gave a status without words".into(),
        });
        Err(CallError::Problem(status.as_u16(), problem))
    }
}

impl Way for Connection {
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(self.call(Method::POST, path, body))
    }

    fn get<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(self.call(Method::GET, path, Vec::new()))
    }

    fn peer_spki(&self) -> &[u8] {
        &self.peer_spki
    }

    fn is_closed(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
