//! What is lost on its way while a connection is made.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Quorum, sign};
use evanesce_quorum::{Reconstructor, Settings};
use evanesce_wire::client::{Dial, Pending, TlsDial, Way};
use evanesce_wire::{FileIdentity, Id, Identity, System, WireError};

/// A network that swallows the first attempts to connect.
struct Swallows {
    dial: TlsDial,
    attempts: Arc<AtomicUsize>,
    swallowed: usize,
}

impl Dial for Swallows {
    fn dial<'a>(
        &'a self,
        address: &'a str,
        agent: Id,
    ) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        if self.attempts.fetch_add(1, Relaxed) < self.swallowed {
            return Box::pin(std::future::pending());
        }
        self.dial.dial(address, agent)
    }
}

#[test]
fn an_attempt_that_is_lost_costs_a_second_and_not_all_the_time_there_is_for_one() {
    let quorum = Quorum::of(1);
    let token = quorum.mint("1 of (s0)", &["ed25519"]);
    let attempts = Arc::new(AtomicUsize::new(0));
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    FileIdentity::create(&key).unwrap();
    let counted = attempts.clone();
    let reconstructor = Reconstructor::in_world(
        Box::new(move || FileIdentity::open(&key).map(|key| Arc::new(key) as Arc<dyn Identity>)),
        quorum.holders.clone(),
        Settings {
            deadline: Duration::from_secs(4),
            ..Settings::default()
        },
        Arc::new(System),
        Box::new(move |identity| {
            Arc::new(Swallows {
                dial: TlsDial::new(identity.clone()),
                attempts: counted.clone(),
                swallowed: 1,
            })
        }),
    )
    .map_err(|e| e.to_string())
    .unwrap();
    let began = Instant::now();
    sign(&reconstructor, &token)
        .map_err(|e| e.to_string())
        .unwrap();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(attempts.load(Relaxed), 2);
}
