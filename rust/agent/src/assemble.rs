//! An agent put together from parts: what is injected goes in, what answers comes out.
//!
//! Nothing here opens a file, a socket or a thread; `start` brings the real parts, a simulator its own. What is asked of
//! the agent goes through [`Assembled::handle`], over whatever carries it.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use evanesce_element::Element;
use evanesce_secret::Backing;
use evanesce_wire::client::Dial;
use evanesce_wire::message::{Status, log_key_statement};
use evanesce_wire::{Id, Identity, World};
use http::Method;

use crate::agent::{Agent, Kept, Me};
use crate::api::Api;
use crate::approvals::Used;
use crate::body::Incoming;
use crate::commit::Committer;
use crate::config::{Commit, Config};
use crate::counts::{COUNTS, Keeper};
use crate::disk::Disk;
use crate::error::AgentError;
use crate::events::{Event, Events};
use crate::hardware::describe;
use crate::known::Directory;
use crate::log::{Log, LogError, Recovered, Signer};
use crate::metrics::Metrics;
use crate::orders::Orders;
use crate::peers::Peers;
use crate::peers::meeting::{self, Exchanging, Meeting};
use crate::peers::own::Own;
use crate::peers::seen::Seen;
use crate::regenerate::Hands;
use crate::room::Rooms;
use crate::sync::{Duty, MakeSyncer, Stored};
use crate::threshold::{self, Shelf};
use crate::tombstones::Tombstones;

/// What an agent is put together from.
pub struct Parts<'a> {
    /// What its operator decided; of addresses and files nothing is used here.
    pub config: &'a Config,
    /// Its roots.
    pub element: Arc<dyn Element>,
    /// Its key.
    pub identity: Arc<dyn Identity>,
    /// The log's Ed25519 key, which signs nothing else.
    pub log_key: Box<dyn Identity>,
    /// Whom it knows.
    pub directory: Directory,
    /// Log and tombstones.
    pub disk: Arc<dyn Disk>,
    /// What syncs the log.
    pub syncer: MakeSyncer,
    /// Clock and public randomness.
    pub world: Arc<dyn World>,
    /// Where things are told.
    pub events: Events,
    /// Other agents to compare with, and the way to them; none for an agent alone.
    pub peers: Option<(Peers, Arc<dyn Dial>)>,
}

/// An agent that can be asked.
pub struct Assembled {
    pub(crate) api: Arc<Api>,
    recovered: Recovered,
    /// The time of the log's newest entry, which the clock goes on from, in Unix milliseconds.
    since: u64,
}

/// Logs and does what is permitted. It must run beside what is asked, and ends, log synced and head stored, once
/// the [`Assembled`] and all that was asked of it are gone.
pub type Committing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Recovers log and tombstones and puts the agent together.
///
/// # Errors
/// `Storage` where what is on the disk cannot be read or is not what an agent left there, `Identity` where a key cannot
/// sign.
pub fn assemble(parts: Parts<'_>) -> Result<(Assembled, Committing), AgentError> {
    let Parts {
        config,
        element,
        identity,
        log_key,
        directory,
        disk,
        syncer,
        world,
        events,
        peers,
    } = parts;
    let me = Me {
        id: identity.agent_id(),
        element: describe(&*element),
        epochs: element.epochs(),
    };
    let signer = Arc::new(Signer::new(&me.id, log_key).map_err(AgentError::Identity)?);
    let storage =
        |what: String| AgentError::Storage(format!("{}: {what}", config.folder.display()));
    let tombstones = Tombstones::open(&*disk, "tombstones").map_err(|e| storage(e.to_string()))?;
    let (log, recovered) =
        Log::open(&*disk, &me.id, signer.public()).map_err(|e| storage(e.to_string()))?;
    let shelf = Shelf::open(disk.clone()).map_err(|e| storage(e.to_string()))?;
    // What both say is over: a clock that has run ahead makes nothing be forgotten alone.
    let past = log.time().min(world.unix_millis()) / 1000;
    let orders = Orders::open(&*disk, past).map_err(|e| storage(e.to_string()))?;
    let counts = Keeper::open(disk.clone(), &*log.journal(), log.place(), &me.id)
        .map_err(|e| storage(format!("{COUNTS} {e}")))?;
    let uses = counts.uses().clone();
    let used = recall(&log, &me.id, &*world).map_err(|e| storage(e.to_string()))?;
    let endorsement = identity
        .sign(&log_key_statement(&me.id, signer.public()))
        .map_err(AgentError::Identity)?;

    let metrics = Arc::new(Metrics::default());
    metrics.log_works.store(1, Relaxed);
    metrics.entries.store(log.size(), Relaxed);
    let retired = tombstones.retired();
    // An order is written before its tombstone.
    retired.extend(orders.revoked());
    for token in shelf.all() {
        // The tombstone is written before the share is removed.
        if retired.contains(&token) {
            shelf.remove(&token).map_err(|e| storage(e.to_string()))?;
        }
    }
    let book = orders.book();
    metrics.tombstones.store(retired.len() as u64, Relaxed);
    metrics.frozen.store(book.frozen() as u64, Relaxed);
    metrics.order_bytes.store(book.bytes(), Relaxed);
    let status = status(config, &me, element.current());
    let since = match config.accept_earlier_clock {
        true => 0,
        false => log.time(),
    };
    let log_key = (*signer.public(), endorsement);
    let duty = Duty::new(log.journal(), disk.clone(), events.clone());
    let stored = duty.stored();
    let syncer = syncer(duty).map_err(|e| AgentError::System("start a thread", e))?;
    let meeting = match peers {
        None => None,
        Some((peers, dial)) => {
            let own = own(&log, &signer, stored)?;
            let seen = Seen::open(disk).map_err(|e| storage(e.to_string()))?;
            let means = meeting::Means {
                identity: identity.clone(),
                log_key: log_key.clone(),
                dial,
                world: world.clone(),
                events: events.clone(),
                own,
                seen,
                book: book.clone(),
            };
            Some(Arc::new(Meeting::new(peers, means)))
        }
    };
    // In a world of one thread every element is asked on it.
    let here = me.element.kind == "software" || world.single_threaded();
    let hands = Arc::new(Hands {
        element,
        identity: identity.clone(),
        me: me.id,
        shelf,
    });
    let committer = Committer {
        syncer,
        signer,
        // A software element is done before another thread would have woken; a module may take its time.
        tasks_at_once: match here {
            true if world.single_threaded() => usize::MAX,
            true => 128,
            false => 0,
        },
        tasks_per_job: if here { 128 } else { 2 },
        threads: evanesce_secret::report().crucible_threads,
        hands: hands.clone(),
        log,
        tombstones,
        orders,
        counts,
        commit: config.commit,
        queued: config.limits.pending,
        metrics: metrics.clone(),
        events: events.clone(),
    };
    let (queue, committer) = committer.start();
    let mut chance = [0; 16];
    world.random(&mut chance);
    let kept = Kept {
        tombstones: retired,
        orders: book,
        uses,
        used,
    };
    let agent = Agent::new(me, directory, kept, &config.limits, since, chance);
    let api = Api {
        agent: Mutex::new(agent),
        queue,
        identity,
        log_key,
        status,
        limits: config.limits.clone(),
        rooms: Rooms::new(&config.limits, metrics.clone()),
        metrics,
        events,
        world,
        meeting,
        threshold: threshold::Memory::new(hands, &config.threshold),
    };
    let assembled = Assembled {
        api: Arc::new(api),
        recovered,
        since,
    };
    Ok((assembled, Box::pin(committer)))
}

/// What others are told of the log: all that was found in it is on the disk by now.
fn own(log: &Log, signer: &Arc<Signer>, stored: Stored) -> Result<Own, AgentError> {
    let (size, root) = (log.size(), log.root());
    let checkpoint = evanesce_secret::on_crucible(|| signer.checkpoint(size, &root));
    let checkpoint = checkpoint.map_err(|e| AgentError::Storage(e.to_string()))?;
    stored.set(log.head(&checkpoint));
    Ok(Own::new(log.journal(), stored))
}

impl Assembled {
    /// What asks the agent's peers, one task each: to be run beside it. Until enough of them were heard the agent answers
    /// nothing that could have been revoked.
    pub fn exchanges(&self) -> Vec<Exchanging> {
        meeting::exchanges(&self.api)
    }

    /// Answers one request of the peer who has proven the key `spki` (SubjectPublicKeyInfo DER), whose caller id is
    /// `caller`: an HTTP status and a body. Dropped, it is as when the peer gave up.
    pub async fn handle(
        &self,
        caller: &Id,
        spki: &[u8],
        method: &Method,
        path: &str,
        body: Vec<u8>,
    ) -> (u16, Vec<u8>) {
        let body = Incoming::Whole(body);
        let (status, body, _room) = self.api.handle(caller, spki, method, path, body).await;
        (status.as_u16(), body)
    }

    /// Tells the operator that the agent answers at `address`, and of what was found when it was put together.
    pub(crate) fn announce(&self, address: &str) {
        let (events, status) = (&self.api.events, &self.api.status);
        if self.recovered != Recovered::default() {
            events.emit(Event::Recovered {
                replayed: self.recovered.replayed,
                torn_bytes: self.recovered.torn,
            });
        }
        for weakness in &status.weaknesses {
            events.emit(Event::WeakElement { weakness });
        }
        events.emit(Event::Started {
            agent: &hex::encode(status.agent),
            address,
            element: &status.element,
            weaknesses: status.weaknesses.len(),
            memory: &status.memory,
            entries: self.api.metrics.entries.load(Relaxed),
        });
        let behind = self.since.saturating_sub(self.api.world.unix_millis()) / 1000;
        if behind > 0 {
            let hint = "set the system's clock; or, if it was ahead before and is right now, start once with \
                        accept_earlier_clock = true";
            events.emit(Event::ClockBehind {
                seconds: behind,
                hint,
            });
        }
    }
}

/// Approvals that may still last and were spent before: the log has them.
fn recall(log: &Log, me: &Id, world: &dyn World) -> Result<Used, LogError> {
    #[cfg(feature = "planted")]
    if crate::planted::FORGETS_APPROVALS.get() {
        return Ok(Used::default());
    }
    let lasting = evanesce_approval::AHEAD * 1000;
    let since = world.unix_millis().saturating_sub(lasting);
    let mut spent = Vec::new();
    log.recent(me, since, |entry| {
        if !entry.basis.approvals.is_empty() {
            spent.push((entry.time / 1000, entry.caller, entry.basis.approvals));
        }
    })?;
    spent.sort_by_key(|(time, ..)| *time);
    let mut used = Used::default();
    for (time, caller, approvals) in &spent {
        used.remember(caller, approvals, *time);
    }
    Ok(used)
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
        frozen: 0,
        shares: 0,
        peers: 0,
        heard: 0,
        standing: String::new(),
        commit: match config.commit {
            Commit::Process => "process".into(),
            Commit::Power => "power".into(),
        },
        memory,
        caller: String::new(),
        roles: Vec::new(),
    }
}
