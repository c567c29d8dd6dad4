//! What may be done once only: asked for again where the other side has surely not begun it, and never else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use evanesce_wire::WireError;
use evanesce_wire::client::CallError;
use tokio::time::Instant;

use super::{Down, Link, Live, within};

/// Why there is no answer.
pub(crate) struct Unheard {
    pub down: Down,
    /// Whether it may have been begun over there all the same.
    pub begun: bool,
}

impl Link {
    /// As [`Link::exchange`], for what counts each time that it is done: composed once more only where the session was
    /// refused before the request was read. One whose connection broke, or that went unanswered, may have been begun.
    pub async fn once<T>(
        self: &Arc<Self>,
        verb: &str,
        until: Instant,
        mut compose: impl FnMut(&Live) -> Result<Vec<u8>, Down>,
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
    ) -> Result<(T, Arc<Live>), Unheard> {
        let sent = AtomicBool::new(false);
        let composed = |live: &Live| {
            let body = compose(live)?;
            sent.store(true, Relaxed);
            Ok(body)
        };
        let may = |error: &CallError| {
            let begun = may_have_begun(error);
            sent.store(begun, Relaxed);
            !begun
        };
        let outcome = within(until, self.ask(verb, true, composed, decode, may)).await;
        outcome.map_err(|down| Unheard {
            down,
            begun: sent.load(Relaxed),
        })
    }
}

/// A problem is all that a reconstructor answers before it begins; what it has begun it answers for with status 200.
fn may_have_begun(error: &CallError) -> bool {
    match error {
        CallError::Problem(..) => false,
        CallError::Wire(e) => match e {
            WireError::Unreachable(_) | WireError::Malformed(_) => true,
            // Of this side: it was not sealed, so not sent.
            WireError::SessionEnded
            | WireError::Unsealable
            | WireError::WrongPeer(_)
            | WireError::Identity(_)
            | WireError::Memory(_) => false,
        },
    }
}
