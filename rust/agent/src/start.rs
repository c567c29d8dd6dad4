//! An agent of the real world: its configuration, folder and addresses opened, and its parts put together.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use evanesce_wire::client::{Dial, TlsDial};
use evanesce_wire::{FileIdentity, System, World, tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::assemble::{self, Assembled, Committing, assemble};
use crate::config::Config;
use crate::disk::Folder;
use crate::error::AgentError;
use crate::events::{Event, Events};
use crate::hardware::open_element;
use crate::known::Directory;
use crate::limits;
use crate::log;
use crate::observe::observe;
use crate::peers::{Exchanging, Peers};
use crate::server::serve;
use crate::sync::SyncThread;

/// Where an operator names the agent's peers.
const PEERS: &str = "peers.toml";

/// An agent that is ready to answer.
pub struct Listening {
    /// What answers.
    pub api: Arc<Api>,
    listener: TcpListener,
    /// Where.
    pub address: SocketAddr,
    observe: Option<TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    committer: Committing,
    exchanges: Vec<Exchanging>,
}

impl Listening {
    /// Answers until `stopped` is set, and then ends in good order within a bounded time.
    pub async fn run(self, stopped: watch::Receiver<bool>) {
        let (events, api) = (self.api.events.clone(), self.api);
        let committing = tokio::spawn(self.committer);
        let mut exchanging: JoinSet<()> = self.exchanges.into_iter().collect();
        if let Some(listener) = self.observe {
            tokio::spawn(observe(listener, api.metrics.clone()));
        }
        let unfinished = serve(api, self.listener, self.tls, stopped).await;
        exchanging.abort_all();
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
pub async fn start(config: &Config) -> Result<Listening, AgentError> {
    evanesce_secret::init();
    let world: Arc<dyn World> = Arc::new(System);
    let events = if config.quiet {
        Events::silent()
    } else {
        Events::to_stderr(&config.name, world.clone())
    };
    let directory = Directory::read(&config.path("known.toml")).map_err(AgentError::Config)?;
    let (element, identity) = open_element(config)?;
    let folder = Folder::open(&config.folder).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => AgentError::InUse(config.folder.display().to_string()),
        _ => AgentError::Storage(format!("{}: {e}", config.path("log").display())),
    })?;
    let key = log_key(&folder, &config.folder)?;
    let tls = tls::server(identity.clone()).map_err(AgentError::Identity)?;
    let peers =
        Peers::read(&config.path(PEERS), &identity.agent_id()).map_err(AgentError::Config)?;
    let peers = peers.map(|peers| {
        let dial: Arc<dyn Dial> = Arc::new(TlsDial::new(identity.clone()));
        (peers, dial)
    });
    let (assembled, committer) = assemble(assemble::Parts {
        config,
        element,
        identity,
        log_key: Box::new(key),
        directory,
        disk: Arc::new(folder),
        syncer: Box::new(|duty| Ok(Box::new(SyncThread::start(duty)?))),
        world,
        events,
        peers,
    })?;
    listen(config, assembled, tls, committer).await
}

async fn listen(
    config: &Config,
    assembled: Assembled,
    tls: Arc<rustls::ServerConfig>,
    committer: Committing,
) -> Result<Listening, AgentError> {
    let listener = bind(&config.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|e| AgentError::Listen(config.listen.clone(), e))?;
    let observe = match &config.observe {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    assembled.announce(&address.to_string());
    if let Some(why) = config.threshold.doubted() {
        assembled.api.events.emit(Event::PreparedInDoubt { why });
    }
    let exchanges = assembled.exchanges();
    Ok(Listening {
        api: assembled.api,
        listener,
        address,
        observe,
        tls,
        committer,
        exchanges,
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
