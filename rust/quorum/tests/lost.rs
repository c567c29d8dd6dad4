//! What is lost on its way while a connection is made, and a connection that is lost without a sign.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Quorum, check, sign};
use evanesce_quorum::{Reconstructor, Settings};
use evanesce_token::Token;
use evanesce_wire::client::{CallError, Dial, Pending, TlsDial, Way};
use evanesce_wire::{FileIdentity, Id, Identity, System, WireError, World};

/// A network that swallows the first attempts to connect, or breaks what was connected.
struct Swallows {
    dial: TlsDial,
    attempts: Arc<AtomicUsize>,
    swallowed: usize,
    /// Ways made before so many attempts are broken.
    broken: Arc<AtomicUsize>,
}

/// A way that does not know it when it is broken.
struct Breaks {
    way: Arc<dyn Way>,
    number: usize,
    broken: Arc<AtomicUsize>,
}

impl Way for Breaks {
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>> {
        if self.number < self.broken.load(Relaxed) {
            let broke = WireError::Unreachable("the connection broke".into());
            return Box::pin(async { Err(CallError::Wire(broke)) });
        }
        self.way.post(path, body)
    }
    fn get<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>> {
        self.way.get(path)
    }
    fn peer_spki(&self) -> &[u8] {
        self.way.peer_spki()
    }
    fn is_closed(&self) -> bool {
        false
    }
}

/// The system's clock, set back by so many seconds.
struct Behind(Arc<AtomicUsize>);

impl World for Behind {
    fn unix(&self) -> Duration {
        System.unix() - Duration::from_secs(self.0.load(Relaxed) as u64)
    }
    fn random(&self, out: &mut [u8]) {
        System.random(out);
    }
}

impl Dial for Swallows {
    fn dial<'a>(
        &'a self,
        address: &'a str,
        agent: Id,
    ) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        let number = self.attempts.fetch_add(1, Relaxed);
        if number < self.swallowed {
            return Box::pin(std::future::pending());
        }
        Box::pin(async move {
            let way = self.dial.dial(address, agent).await?;
            let broken = self.broken.clone();
            Ok(Arc::new(Breaks {
                way,
                number,
                broken,
            }) as Arc<dyn Way>)
        })
    }
}

/// One agent, its token, and a reconstructor over such a network.
struct Story {
    _quorum: Quorum,
    _folder: tempfile::TempDir,
    token: Arc<Token>,
    reconstructor: Reconstructor,
    attempts: Arc<AtomicUsize>,
    broken: Arc<AtomicUsize>,
    behind: Arc<AtomicUsize>,
}

fn story(swallowed: usize) -> Story {
    let quorum = Quorum::of(1);
    let token = quorum.mint("1 of (s0)", &["ed25519"]);
    let [attempts, broken, behind] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    FileIdentity::create(&key).unwrap();
    let (counted, breaks) = (attempts.clone(), broken.clone());
    let reconstructor = Reconstructor::in_world(
        Box::new(move || FileIdentity::open(&key).map(|key| Arc::new(key) as Arc<dyn Identity>)),
        quorum.holders.clone(),
        Settings {
            deadline: Duration::from_secs(4),
            ..Settings::default()
        },
        Arc::new(Behind(behind.clone())),
        Box::new(move |identity| {
            Arc::new(Swallows {
                dial: TlsDial::new(identity.clone()),
                attempts: counted.clone(),
                swallowed,
                broken: breaks.clone(),
            })
        }),
    );
    Story {
        _quorum: quorum,
        _folder: folder,
        token,
        reconstructor: reconstructor.map_err(|e| e.to_string()).unwrap(),
        attempts,
        broken,
        behind,
    }
}

impl Story {
    fn sign(&self) {
        let signed = sign(&self.reconstructor, &self.token);
        signed.map_err(|e| e.to_string()).unwrap();
    }
}

#[test]
fn an_attempt_that_is_lost_costs_a_second_and_not_all_the_time_there_is_for_one() {
    let story = story(1);
    let began = Instant::now();
    story.sign();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(story.attempts.load(Relaxed), 2);
}

#[test]
fn a_session_that_is_renewed_on_a_connection_that_broke_is_made_on_another() {
    let story = story(0);
    // Little is left of a session that was made by a slow clock: it is renewed beside the next operation.
    story.behind.store(3400, Relaxed);
    let seats = check(&story.reconstructor, &story.token, false);
    assert!(seats.sufficient);
    story.behind.store(0, Relaxed);
    story.broken.store(1, Relaxed);
    story.sign();
    assert_eq!(story.attempts.load(Relaxed), 2);
}
