//! The service as a process: opened, shut in, run until it is told to stop.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use evanesce_quorum::Reconstructor;
use evanesce_secret::Backing;
use evanesce_wire::message::{Serving, Sessions as Standing};
use evanesce_wire::sessions::Sessions;
use evanesce_wire::{FileIdentity, Identity, WireError, tls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::harden::Hardened;
use crate::serve::{Service, UnderWay};
use crate::server::serve;

/// How often it is looked whether the agents' sessions stand, and those that do not are reached for.
const LOOK: Duration = Duration::from_millis(250);
/// How long agents are waited for before it says that it listens.
const FIRST: Duration = Duration::from_secs(2);

/// Sealing sessions with callers, in all.
const SESSIONS: usize = 1024;
/// Of one caller.
const SESSIONS_PER_CALLER: usize = 64;

/// Runs the reconstructor of `folder` until SIGTERM or SIGINT; SIGHUP reads `callers.toml` again.
pub fn run(folder: &Path) -> Result<(), String> {
    evanesce_secret::init();
    let mut hardened = Hardened::begin()?;
    let folder = folder
        .canonicalize()
        .map_err(|e| format!("{}: {e}", folder.display()))?;
    let config = Config::load(&folder)?;
    let (holders, addresses): (Vec<_>, Vec<_>) = config.holders()?.into_iter().unzip();
    let callers = config.callers()?;
    let path = config.path(&config.identity);
    let identity: Arc<dyn Identity> =
        Arc::new(FileIdentity::open(&path).map_err(|e| e.to_string())?);
    let tls = tls::server(identity.clone()).map_err(|e| e.to_string())?;
    let cannot = |what: &str, e: &dyn std::fmt::Display| format!("{what}: {e}");
    let listener = TcpListener::bind(&config.listen).map_err(|e| cannot(&config.listen, &e))?;
    let address = listener.local_addr().map_err(|e| cannot("listen", &e))?;
    listener
        .set_nonblocking(true)
        .map_err(|e| cannot("listen", &e))?;
    // What is written is written before it cannot be any more.
    let told = folder.join("reconstructor.addr");
    std::fs::write(&told, format!("{address}\n"))
        .map_err(|e| cannot(&told.display().to_string(), &e))?;
    let ports: Vec<u16> = addresses.iter().map(|address| address.port()).collect();
    hardened.files_and_ports(Some(&folder), &ports)?;

    let own = identity.clone();
    let source = move || Ok::<_, WireError>(own.clone());
    let settings = config.settings();
    let reconstructor =
        Reconstructor::new(Box::new(source), holders, settings).map_err(|e| e.to_string())?;
    // The threads that operations are handed to, should they not have been made yet.
    evanesce_secret::spawn_on_crucible(|| ());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| cannot("the event loop", &e))?;
    runtime.block_on(async {
        let on = |kind| signal(kind).map_err(|e| cannot("signals", &e));
        let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let mut hup = on(SignalKind::hangup())?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(|e| cannot("listen", &e))?;
        hardened.system_calls()?;
        let mut seed = [0; 4];
        evanesce_secret::random(&mut seed);
        let service = Arc::new(Service {
            reconstructor,
            id: identity.agent_id(),
            identity,
            callers: RwLock::new(callers),
            sessions: Mutex::new(Sessions::new(SESSIONS, SESSIONS_PER_CALLER)),
            standing: Mutex::new(Arc::new(Standing {
                // Of another run of it, none is taken for one of this.
                version: u64::from(u32::from_be_bytes(seed)) << 16,
                agents: Vec::new(),
            })),
            serving: serving(&config, &hardened),
            limits: config.limits,
            under_way: UnderWay::default(),
        });
        service.refresh(FIRST).await;
        announce(&config, &address.to_string(), &hardened);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(service.clone(), listener, tls, stopped));
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => reload(&service, &config),
                _ = look.tick() => { service.refresh(Config::PATIENCE).await; }
            }
        }
        stop.send_replace(true);
        let _ = serving.await;
        say(&serde_json::json!({ "event": "stopped" }));
        Ok(())
    })
}

fn serving(config: &Config, hardened: &Hardened) -> Serving {
    Serving {
        name: config.name.clone(),
        clock: 0,
        agents: 0,
        caller: String::new(),
        memory: match evanesce_secret::report().backing {
            Backing::MemfdSecret => "memfd_secret".into(),
            Backing::LockedMemory { why } => format!("locked memory ({why})"),
            Backing::Audit => "an audit build".into(),
        },
        applied: hardened.applied.clone(),
        missing: hardened.missing.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

fn announce(config: &Config, address: &str, hardened: &Hardened) {
    let line = serde_json::json!({
        "event": "listening",
        "address": address,
        "folder": config.folder.display().to_string(),
        "pid": std::process::id(),
        "applied": hardened.applied,
        "missing": hardened.missing,
    });
    say(&line);
}

/// One line to standard output; whoever has closed that does not want to know.
fn say(line: &serde_json::Value) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn reload(service: &Service, config: &Config) {
    let line = match config.callers() {
        Ok(callers) => {
            let line = serde_json::json!({ "event": "callers-read", "callers": callers.len() });
            *service
                .callers
                .write()
                .unwrap_or_else(PoisonError::into_inner) = callers;
            line
        }
        // All or nothing: a file with anything wrong in it changes nothing.
        Err(why) => serde_json::json!({ "event": "callers-broken", "why": why }),
    };
    say(&line);
}
