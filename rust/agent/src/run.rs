//! An agent from its configuration to its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use evanesce_element::pkcs11::{self, P256Identity, Pkcs11Element};
use evanesce_element::software::SoftwareElement;
use evanesce_element::{Element, ElementError};
use evanesce_secret::Backing;
use evanesce_wire::message::{Status, log_key_statement};
use evanesce_wire::{FileIdentity, Id, Identity, WireError, tls};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::agent::{Agent, Me};
use crate::commit::Committer;
use crate::config::{Commit, Config, ConfigError, ElementSource, IdentitySource};
use crate::disk::{Disk, Folder};
use crate::events::{Event, Events};
use crate::known::Directory;
use crate::limits;
use crate::log::{self, Log, LogError, Signer};
use crate::metrics::Metrics;
use crate::observe::observe;
use crate::regenerate::Hands;
use crate::server::{Server, serve};
use crate::sync::Syncer;
use crate::text::cut;
use crate::tombstones::Tombstones;

/// Why an agent does not start: what is wrong, and where the operator puts it right.
#[derive(Debug)]
pub enum AgentError {
    /// A file of the configuration.
    Config(ConfigError),
    /// The element: roots missing, locked, weak or away.
    Element(ElementError),
    /// The identity key.
    Identity(WireError),
    /// The folder's log or tombstones.
    Storage(String),
    /// Another agent has this folder.
    InUse(String),
    /// An address that cannot be listened at.
    Listen(String, io::Error),
    /// The operating system.
    System(&'static str, io::Error),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(e) => e.fmt(f),
            Self::Element(e) => e.fmt(f),
            Self::Identity(e) => e.fmt(f),
            Self::Storage(why) => f.write_str(why),
            Self::InUse(folder) => write!(
                f,
                "another agent runs in {folder}: stop it, or give this one a folder of its own"
            ),
            Self::Listen(address, e) => {
                write!(
                    f,
                    "cannot listen at {address}: {e}; see listen and observe in agent.toml"
                )
            }
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
        }
    }
}

impl std::error::Error for AgentError {}

impl AgentError {
    /// What is at fault, in one word: `config`, `element`, `identity`, `log` or `io`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Element(_) => "element",
            Self::Identity(_) => "identity",
            Self::Storage(_) | Self::InUse(_) => "log",
            Self::Listen(..) | Self::System(..) => "io",
        }
    }
}

/// Runs an agent until SIGTERM or SIGINT; SIGHUP reads `known.toml` again. `ready` is told the address.
pub fn run(config: Config, ready: impl FnOnce(SocketAddr)) -> Result<(), AgentError> {
    let (stop, stopped) = watch::channel(false);
    runtime()?.block_on(async {
        let parts = start(&config).await?;
        let on = |kind| signal(kind).map_err(|e| AgentError::System("wait for signals", e));
        let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let mut hup = on(SignalKind::hangup())?;
        let (server, path) = (parts.server.clone(), config.path("known.toml"));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                    _ = hup.recv() => reload(&server, &path),
                }
            }
            stop.send_replace(true);
        });
        ready(parts.address);
        parts.run(stopped).await;
        Ok(())
    })
}

/// An agent on a thread of its own, inside another program. It handles no signals.
pub struct Handle {
    address: SocketAddr,
    id: Id,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Starts an agent on a thread of its own, and returns once it answers.
pub fn spawn(config: Config) -> Result<Handle, AgentError> {
    let (stop, stopped) = watch::channel(false);
    let (tell, told) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("evanesce-agent".into())
        .spawn(move || {
            let result = runtime().map(|runtime| {
                runtime.block_on(async {
                    match start(&config).await {
                        Ok(parts) => {
                            let _ = tell.send(Ok((parts.address, parts.server.status.agent)));
                            parts.run(stopped).await;
                        }
                        Err(e) => drop(tell.send(Err(e))),
                    }
                });
            });
            if let Err(e) = result {
                let _ = tell.send(Err(e));
            }
        });
    let thread = thread.map_err(|e| AgentError::System("start a thread", e))?;
    let died = || AgentError::System("start an agent", io::Error::other("its thread has ended"));
    let (address, id) = told.recv().map_err(|_| died())??;
    Ok(Handle {
        address,
        id,
        stop,
        thread: Some(thread),
    })
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The agent's id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Stops it, in good order; dropping the handle does the same.
    pub fn stop(self) {}
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, AgentError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|e| AgentError::System("start a runtime", e))
}

fn reload(server: &Server, path: &Path) {
    match Directory::read(path) {
        Ok(directory) => {
            server.events.emit(Event::DirectoryRead {
                identities: directory.len(),
            });
            server.agent().know(directory);
        }
        Err(e) => server.events.emit(Event::DirectoryBroken {
            why: &e.to_string(),
        }),
    }
}

/// An agent that is ready to answer.
struct Parts {
    server: Arc<Server>,
    listener: TcpListener,
    address: SocketAddr,
    observe: Option<TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    committer: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Parts {
    async fn run(self, stopped: watch::Receiver<bool>) {
        let (events, server) = (self.server.events.clone(), self.server);
        let committing = tokio::spawn(self.committer);
        if let Some(listener) = self.observe {
            tokio::spawn(observe(listener, server.metrics.clone()));
        }
        let unfinished = serve(server, self.listener, self.tls, stopped).await;
        // The committer ends with the last request's clone of the queue; what hangs is left behind.
        let _ = tokio::time::timeout(limits::STOPPING, committing).await;
        events.emit(Event::Stopped { unfinished });
    }
}

async fn start(config: &Config) -> Result<Parts, AgentError> {
    evanesce_secret::init();
    let events = if config.quiet {
        Events::silent()
    } else {
        Events::to_stderr(&config.name)
    };
    let directory = Directory::read(&config.path("known.toml")).map_err(AgentError::Config)?;
    let (element, identity) = open_element(config)?;
    let me = Me {
        id: identity.agent_id(),
        element: describe(&*element),
        epochs: element.epochs(),
    };

    let folder = Folder::open(&config.folder).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => AgentError::InUse(config.folder.display().to_string()),
        _ => AgentError::Storage(format!("{}: {e}", config.path("log").display())),
    })?;
    let key = log_key(&folder, &config.folder)?;
    let signer = Arc::new(Signer::new(&me.id, Box::new(key)).map_err(AgentError::Identity)?);
    let disk: Arc<dyn Disk> = Arc::new(folder);
    let storage =
        |what: String| AgentError::Storage(format!("{}: {what}", config.folder.display()));
    let tombstones = Tombstones::open(&*disk, "tombstones").map_err(|e| storage(e.to_string()))?;
    let (log, recovered) =
        Log::open(&*disk, &me.id, signer.public()).map_err(|e: LogError| storage(e.to_string()))?;
    let endorsement = identity
        .sign(&log_key_statement(&me.id, signer.public()))
        .map_err(AgentError::Identity)?;

    let listener = bind(&config.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|e| AgentError::Listen(config.listen.clone(), e))?;
    let observe = match &config.observe {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let tls = tls::server(identity.clone()).map_err(AgentError::Identity)?;

    let metrics = Arc::new(Metrics::default());
    metrics.log_works.store(1, Relaxed);
    metrics.entries.store(log.size(), Relaxed);
    metrics.tombstones.store(tombstones.len() as u64, Relaxed);
    if recovered != log::Recovered::default() {
        events.emit(Event::Recovered {
            replayed: recovered.replayed,
            torn_bytes: recovered.torn,
        });
    }
    for weakness in &me.element.weaknesses {
        events.emit(Event::WeakElement { weakness });
    }
    events.emit(Event::Started {
        agent: &hex::encode(me.id),
        address: &address.to_string(),
        element: &me.element.label,
        weaknesses: me.element.weaknesses.len(),
        entries: log.size(),
    });
    let status = status(config, &me, element.current());
    let log_key = (*signer.public(), endorsement);
    let syncer = Syncer::start(log.journal(), disk, events.clone())
        .map_err(|e| AgentError::System("start a thread", e))?;
    let software = me.element.kind == "software";
    let committer = Committer {
        syncer,
        signer,
        // A software element is done before another thread would have woken; a module may take its time.
        tasks_at_once: if software { 128 } else { 0 },
        tasks_per_job: if software { 128 } else { 2 },
        threads: evanesce_secret::report().crucible_threads,
        hands: Arc::new(Hands {
            element,
            identity: identity.clone(),
            me: me.id,
        }),
        log,
        commit: config.commit,
        metrics: metrics.clone(),
        events: events.clone(),
    };
    let (queue, committer) = committer.start();
    let server = Server {
        agent: Mutex::new(Agent::new(me, directory, tombstones, &config.limits)),
        queue,
        identity,
        log_key,
        status,
        limits: config.limits.clone(),
        metrics,
        events,
        buffered: AtomicUsize::new(0),
    };
    let committer = Box::pin(committer);
    Ok(Parts {
        server: Arc::new(server),
        listener,
        address,
        observe,
        tls,
        committer,
    })
}

async fn bind(address: &str) -> Result<TcpListener, AgentError> {
    TcpListener::bind(address)
        .await
        .map_err(|e| AgentError::Listen(address.to_owned(), e))
}

pub(crate) fn open_element(
    config: &Config,
) -> Result<(Arc<dyn Element>, Arc<dyn Identity>), AgentError> {
    let file = |path: &Path| -> Result<Arc<dyn Identity>, AgentError> {
        Ok(Arc::new(
            FileIdentity::open(&config.path(path)).map_err(AgentError::Identity)?,
        ))
    };
    match &config.element {
        ElementSource::Software { roots, passphrase } => {
            let passphrase = read_by(config, passphrase.as_ref(), "passphrase")?;
            let element = SoftwareElement::open(&config.path(roots), passphrase.as_ref())
                .map_err(AgentError::Element)?;
            let IdentitySource::File(path) = &config.identity else {
                return Err(not_inside());
            };
            Ok((Arc::new(element), file(path)?))
        }
        ElementSource::Pkcs11 { .. } => {
            let inside = module(config)?;
            let element = Pkcs11Element::open(&inside).map_err(AgentError::Element)?;
            let identity: Arc<dyn Identity> = match &config.identity {
                IdentitySource::File(path) => file(path)?,
                IdentitySource::Element { element: label } => Arc::new(Inside(
                    pkcs11::open_identity(&inside, label).map_err(AgentError::Element)?,
                )),
            };
            Ok((Arc::new(element), identity))
        }
    }
}

pub(crate) fn not_inside() -> AgentError {
    AgentError::Element(ElementError::Config(
        "an identity inside the element needs a PKCS#11 element".into(),
    ))
}

/// Where a PIN or passphrase is read from.
pub(crate) fn read_by(
    config: &Config,
    source: Option<&crate::config::Source>,
    what: &str,
) -> Result<Option<evanesce_element::SecretSource>, AgentError> {
    let source = source.map(|source| config.source(source, what)).transpose();
    source.map_err(|why| AgentError::Element(ElementError::Config(why)))
}

/// The PKCS#11 module of the configuration, which must name one.
pub(crate) fn module(config: &Config) -> Result<pkcs11::Config, AgentError> {
    let ElementSource::Pkcs11 {
        module,
        token,
        slot,
        pin,
        root_label,
        accept_weak_element,
        init_args,
        sessions,
    } = &config.element
    else {
        return Err(not_inside());
    };
    Ok(pkcs11::Config {
        module: config.path(module),
        token_label: token.clone(),
        slot: *slot,
        pin: read_by(config, pin.as_ref(), "PIN")?,
        root_label: root_label.clone(),
        accept_weak_element: *accept_weak_element,
        init_args: init_args.clone(),
        sessions: *sessions,
    })
}

/// An identity key that never leaves the element.
struct Inside(P256Identity);

impl Identity for Inside {
    fn spki(&self) -> &[u8] {
        self.0.spki()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        self.0
            .sign(message)
            .map_err(|e| WireError::Identity(e.to_string()))
    }
}

/// The log's key, made on first start. Entries without their key are not gone on from.
fn log_key(folder: &Folder, shown: &Path) -> Result<FileIdentity, AgentError> {
    let path = folder.path(log::KEY);
    if path.exists() {
        return FileIdentity::open(&path).map_err(AgentError::Identity);
    }
    let entries = folder
        .path(log::ENTRIES)
        .metadata()
        .map_or(0, |meta| meta.len());
    if entries > 0 {
        return Err(AgentError::Storage(format!(
            "{}: {} is missing, but {} holds entries: restore the key, or move log/ away to begin a \
             new log",
            shown.display(),
            log::KEY,
            log::ENTRIES
        )));
    }
    FileIdentity::create(&path).map_err(AgentError::Identity)
}

/// What the element says of itself, cut so that every entry can hold it.
fn describe(element: &dyn Element) -> evanesce_element::Description {
    let mut description = element.description();
    description.label = cut(&description.label, limits::ELEMENT_TEXT);
    let more = description
        .weaknesses
        .len()
        .saturating_sub(limits::WEAKNESSES);
    description.weaknesses.truncate(limits::WEAKNESSES);
    for weakness in &mut description.weaknesses {
        *weakness = cut(weakness, limits::ELEMENT_TEXT);
    }
    if more > 0 {
        description.weaknesses.push(format!("and {more} more"));
    }
    description
}

fn status(config: &Config, me: &Me, current: u64) -> Status {
    let memory = match evanesce_secret::report().backing {
        Backing::MemfdSecret => "memfd_secret".to_owned(),
        Backing::LockedMemory { why } => format!("locked memory ({why})"),
        Backing::Audit => "audit build: not protected".to_owned(),
    };
    Status {
        name: config.name.clone(),
        agent: me.id,
        version: env!("CARGO_PKG_VERSION").into(),
        clock: 0,
        element: me.element.label.clone(),
        development: me.element.development,
        weaknesses: me.element.weaknesses.clone(),
        epochs: me.epochs.clone(),
        current,
        entries: 0,
        tombstones: 0,
        commit: match config.commit {
            Commit::Process => "process".into(),
            Commit::Power => "power".into(),
        },
        memory,
        caller: String::new(),
        roles: Vec::new(),
    }
}
