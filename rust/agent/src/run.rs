//! An agent as a process, and inside another program.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use evanesce_element::ElementError;
use evanesce_wire::Id;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::Api;
use crate::config::Config;
use crate::error::AgentError;
use crate::events::Event;
use crate::known::Directory;
use crate::start::start;

/// Runs an agent until SIGTERM or SIGINT; SIGHUP reads `known.toml` again. `ready` is told the address.
pub fn run(config: Config, ready: impl FnOnce(SocketAddr)) -> Result<(), AgentError> {
    evanesce_secret::harden().map_err(|e| AgentError::Element(ElementError::Secret(e)))?;
    let (stop, stopped) = watch::channel(false);
    runtime()?.block_on(async {
        let parts = start(&config).await?;
        let on = |kind| signal(kind).map_err(|e| AgentError::System("wait for signals", e));
        let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let mut hup = on(SignalKind::hangup())?;
        let (api, path) = (parts.api.clone(), config.path("known.toml"));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                    _ = hup.recv() => reload(&api, &path),
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
                            let _ = tell.send(Ok((parts.address, parts.api.status.agent)));
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

fn reload(api: &Api, path: &Path) {
    match Directory::read(path) {
        Ok(directory) => {
            api.events.emit(Event::DirectoryRead {
                identities: directory.len(),
            });
            api.agent().know(directory);
            if let Some(meeting) = &api.meeting {
                meeting.ask_again();
            }
        }
        Err(e) => api.events.emit(Event::DirectoryBroken {
            why: &e.to_string(),
        }),
    }
}
