//! A caller's process: a reconstructor on a machine that stops at any point. Nothing leaves a process that has ended, and
//! nothing that reaches it is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use evanesce_quorum::{Holder, Reconstructor, Settings};
use evanesce_wire::Identity;
use tokio::sync::{Notify, oneshot};

use crate::net::Net;
use crate::people::people;
use crate::stage::{DEADLINE, MINT_DEADLINE};
use crate::world::SimWorld;

/// One life of a caller's process.
pub struct Lifeline {
    alive: AtomicBool,
    /// What it may still do that others can see.
    left: AtomicU64,
    ended: Notify,
}

impl Lifeline {
    /// One that ends by itself after so many steps, or not.
    pub fn new(steps: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            alive: AtomicBool::new(true),
            left: AtomicU64::new(steps.unwrap_or(u64::MAX)),
            ended: Notify::new(),
        })
    }

    /// Before anything that others can see: a message sent or taken in, a file written. False if the process ends instead.
    pub fn step(&self) -> bool {
        let left = self.left.load(Relaxed);
        match left {
            0 => self.end(),
            _ => self.left.store(left - 1, Relaxed),
        }
        self.is_alive()
    }

    /// Ends it.
    pub fn end(&self) {
        if self.alive.swap(false, Relaxed) {
            self.ended.notify_one();
        }
    }

    /// Whether it goes on.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }

    /// Returns when it has ended.
    pub async fn over(&self) {
        self.ended.notified().await;
    }
}

/// The process.
pub struct Coordinator {
    /// Who asks in it.
    pub reconstructor: Reconstructor,
    /// How long.
    pub life: Arc<Lifeline>,
}

impl Coordinator {
    /// One of a caller's, with a life of its own. Within a tokio runtime.
    pub fn start(net: &Arc<Net>, caller: usize, world: Arc<SimWorld>, life: Arc<Lifeline>) -> Self {
        let holders = net.nodes.iter().map(|node| Holder {
            name: format!("s{}", node.place),
            id: people().ids[node.place],
            address: node.place.to_string(),
            site: String::new(),
            vendor: String::new(),
        });
        let settings = Settings {
            deadline: DEADLINE,
            mint_deadline: MINT_DEADLINE,
            ..Settings::default()
        };
        let identity = Box::new(move || Ok(people().callers[caller].clone() as Arc<dyn Identity>));
        let (net, of) = (net.clone(), life.clone());
        let dial = Box::new(move |_: &Arc<dyn Identity>| net.dial(caller, of.clone()));
        let reconstructor =
            Reconstructor::in_world(identity, holders.collect(), settings, world, dial);
        Self {
            reconstructor: reconstructor.expect("a directory without doubles"),
            life,
        }
    }

    /// What came of something asked, if the process lives to hear it.
    pub async fn hear<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Reconstructor, evanesce_quorum::Done<T>),
    ) -> Option<Result<T, evanesce_quorum::Error>> {
        let (tell, told) = oneshot::channel();
        ask(
            &self.reconstructor,
            Box::new(move |result| drop(tell.send(result))),
        );
        let result = told.await.ok()?;
        self.life.step().then_some(result)
    }
}
