//! An agent put together from its configuration and its folder.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use evanesce_secret::Backing;
use evanesce_wire::message::{Status, log_key_statement};
use evanesce_wire::{FileIdentity, tls};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::{Agent, Me};
use crate::api::{Api, now};
use crate::commit::Committer;
use crate::config::{Commit, Config};
use crate::disk::{Disk, Folder};
use crate::error::AgentError;
use crate::events::{Event, Events};
use crate::hardware::{describe, open_element};
use crate::known::Directory;
use crate::limits;
use crate::log::{self, Log, Recovered, Signer};
use crate::metrics::Metrics;
use crate::observe::observe;
use crate::regenerate::Hands;
use crate::room::Rooms;
use crate::server::serve;
use crate::sync::Syncer;
use crate::tombstones::Tombstones;

/// An agent that is ready to answer.
pub struct Parts {
    /// What answers.
    pub api: Arc<Api>,
    listener: TcpListener,
    /// Where.
    pub address: SocketAddr,
    observe: Option<TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    committer: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Parts {
    /// Answers until `stopped` is set, and then ends in good order within a bounded time.
    pub async fn run(self, stopped: watch::Receiver<bool>) {
        let (events, api) = (self.api.events.clone(), self.api);
        let committing = tokio::spawn(self.committer);
        if let Some(listener) = self.observe {
            tokio::spawn(observe(listener, api.metrics.clone()));
        }
        let unfinished = serve(api, self.listener, self.tls, stopped).await;
        // The committer ends with the last request's clone of the queue. What hung once is not waited for again.
        let patience = if unfinished == 0 {
            limits::STOPPING
        } else {
            limits::SYNC_AFTER
        };
        let _ = tokio::time::timeout(patience, committing).await;
        events.emit(Event::Stopped { unfinished });
    }
}

/// Opens all that a configuration names, recovers, and listens. Nothing is answered yet.
pub async fn start(config: &Config) -> Result<Parts, AgentError> {
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
        Log::open(&*disk, &me.id, signer.public()).map_err(|e| storage(e.to_string()))?;
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
    let retired = tombstones.retired();
    metrics.tombstones.store(retired.len() as u64, Relaxed);
    if recovered != Recovered::default() {
        events.emit(Event::Recovered {
            replayed: recovered.replayed,
            torn_bytes: recovered.torn,
        });
    }
    for weakness in &me.element.weaknesses {
        events.emit(Event::WeakElement { weakness });
    }
    let status = status(config, &me, element.current());
    events.emit(Event::Started {
        agent: &hex::encode(me.id),
        address: &address.to_string(),
        element: &me.element.label,
        weaknesses: me.element.weaknesses.len(),
        memory: &status.memory,
        entries: log.size(),
    });
    let since = match config.accept_earlier_clock {
        true => 0,
        false => log.time(),
    };
    let behind = since.saturating_sub(now()) / 1000;
    if behind > 0 {
        let hint = "set the system's clock; or, if it was ahead before and is right now, start once with \
                    accept_earlier_clock = true";
        events.emit(Event::ClockBehind {
            seconds: behind,
            hint,
        });
    }
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
        tombstones,
        commit: config.commit,
        queued: config.limits.pending,
        metrics: metrics.clone(),
        events: events.clone(),
    };
    let (queue, committer) = committer.start();
    let mut chance = [0; 16];
    evanesce_secret::random(&mut chance);
    let api = Api {
        agent: Mutex::new(Agent::new(
            me,
            directory,
            retired,
            &config.limits,
            since,
            chance,
        )),
        queue,
        identity,
        log_key,
        status,
        limits: config.limits.clone(),
        rooms: Rooms::new(&config.limits, metrics.clone()),
        metrics,
        events,
    };
    let committer = Box::pin(committer);
    Ok(Parts {
        api: Arc::new(api),
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
