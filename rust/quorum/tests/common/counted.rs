//! The real ways to agents, with what is asked over them counted, and broken off where a test says so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evanesce_quorum::DialSource;
use evanesce_wire::client::{CallError, Dial, Pending, TlsDial, Way};
use evanesce_wire::{Id, WireError};
use tokio::time::sleep;

/// What was posted, by path, and how many more posts to [`BROKEN`] are to come to nothing.
#[derive(Default)]
pub struct Counts {
    posts: Mutex<BTreeMap<String, usize>>,
    pub broken: AtomicUsize,
    /// So many ms pass before a second round is asked for.
    pub late: AtomicU64,
    silence: Mutex<Silence>,
}

/// Who leaves what is posted to [`BROKEN`] and [`PREPARE`] unanswered, and how many of the first.
#[derive(Default)]
enum Silence {
    #[default]
    Nobody,
    /// Whoever is asked next.
    Next,
    Of(Id, usize),
}

/// What can be broken off.
const BROKEN: &str = "/v1/mpc-once";
const PREPARE: &str = "/v1/mpc-prepare";
const SECOND: &str = "/v1/mpc-sign";

impl Counts {
    /// Ways that are counted here.
    pub fn dial(self: &Arc<Self>) -> DialSource {
        let counts = self.clone();
        Box::new(move |identity| {
            let (dial, counts) = (TlsDial::new(identity.clone()), counts.clone());
            Arc::new(Counted { dial, counts })
        })
    }

    /// What was posted since this was asked last.
    pub fn posts(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.posts.lock().unwrap())
    }

    /// Whoever is asked for a signature in one round next is silent from then on.
    pub fn silence_next(&self) {
        *self.silence.lock().unwrap() = Silence::Next;
    }

    /// Who it is, and how many signatures it was asked for in one round since.
    pub fn silenced(&self) -> Option<(Id, usize)> {
        match *self.silence.lock().unwrap() {
            Silence::Of(agent, asked) => Some((agent, asked)),
            _ => None,
        }
    }

    fn is_silent(&self, path: &str, agent: Id) -> bool {
        let mut silence = self.silence.lock().unwrap();
        if let (Silence::Next, BROKEN) = (&*silence, path) {
            *silence = Silence::Of(agent, 0);
        }
        match &mut *silence {
            Silence::Of(of, asked) if *of == agent => {
                *asked += usize::from(path == BROKEN);
                path == BROKEN || path == PREPARE
            }
            _ => false,
        }
    }
}

struct Counted {
    dial: TlsDial,
    counts: Arc<Counts>,
}

impl Dial for Counted {
    fn dial<'a>(
        &'a self,
        address: &'a str,
        agent: Id,
    ) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        Box::pin(async move {
            let (way, counts) = (self.dial.dial(address, agent).await?, self.counts.clone());
            Ok(Arc::new(CountedWay { way, agent, counts }) as Arc<dyn Way>)
        })
    }
}

struct CountedWay {
    way: Arc<dyn Way>,
    agent: Id,
    counts: Arc<Counts>,
}

impl Way for CountedWay {
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>> {
        *self
            .counts
            .posts
            .lock()
            .unwrap()
            .entry(path.into())
            .or_default() += 1;
        if self.counts.is_silent(path, self.agent) {
            return Box::pin(std::future::pending());
        }
        let broken = &self.counts.broken;
        let less = |left: usize| left.checked_sub(1);
        if path == BROKEN && broken.fetch_update(SeqCst, SeqCst, less).is_ok() {
            let broke = WireError::Unreachable("it broke off".into());
            return Box::pin(async { Err(CallError::Wire(broke)) });
        }
        let late = self.counts.late.load(SeqCst);
        if path != SECOND || late == 0 {
            return self.way.post(path, body);
        }
        Box::pin(async move {
            sleep(Duration::from_millis(late)).await;
            self.way.post(path, body).await
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>> {
        self.way.get(path)
    }

    fn peer_spki(&self) -> &[u8] {
        self.way.peer_spki()
    }

    fn is_closed(&self) -> bool {
        self.way.is_closed()
    }
}
