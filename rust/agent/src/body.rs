//! A request's body, received in bounded time and room.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use evanesce_wire::limits as wire;
use h2::RecvStream;
use http::header::CONTENT_LENGTH;
use http::{Request, StatusCode};
use tokio::time::timeout;

use crate::api::{Trouble, malformed, trouble};
use crate::limits;

/// A whole body. Its bytes are counted wherever `counts` says, and given back when the second value is dropped.
pub async fn receive<'a>(
    request: Request<RecvStream>,
    counts: [Count<'a>; 2],
) -> Result<(Vec<u8>, Room<'a>), Trouble> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced
        .and_then(|n| n.to_str().ok()?.parse().ok())
        .unwrap_or(0usize);
    let mut room = Room { counts, own: 0 };
    let mut body = Vec::with_capacity(announced.min(64 << 10));
    let mut incoming = request.into_body();
    let receive = async {
        while let Some(data) = incoming.data().await {
            let data = data.map_err(|e| malformed(format!("the body broke off: {e}")))?;
            // Of a connection that broke meanwhile the next turn tells.
            let _ = incoming.flow_control().release_capacity(data.len());
            if body.len() + data.len() > wire::BODY {
                let why = format!("a body is at most {} bytes", wire::BODY);
                return trouble(StatusCode::PAYLOAD_TOO_LARGE, "too-large", why);
            }
            if !room.grow(data.len()) {
                let why = "too many bytes in flight";
                return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
            }
            body.extend_from_slice(&data);
        }
        Ok(())
    };
    match timeout(limits::BODY_TIME, receive).await {
        Ok(received) => received.map(|()| (body, room)),
        Err(_) => trouble(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the body came too slowly",
        ),
    }
}

/// Bytes of several bodies together, and how many they may be.
pub type Count<'a> = (&'a AtomicUsize, usize);

/// Bytes that one body takes up.
pub struct Room<'a> {
    counts: [Count<'a>; 2],
    own: usize,
}

impl Room<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        self.own += bytes;
        let fits = |(all, most): Count<'_>| all.fetch_add(bytes, Relaxed) + bytes <= most;
        // Each counts it, whether or not it fits the others.
        self.counts.map(fits) == [true; 2]
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        for (all, _) in self.counts {
            all.fetch_sub(self.own, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_takes_its_part_of_the_room_and_gives_it_back() {
        let (all, hers, his) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        let room = |own| Room {
            counts: [(&all, 100), (own, 25)],
            own: 0,
        };
        let (mut first, mut second, mut other) = (room(&hers), room(&hers), room(&his));
        assert!(first.grow(20) && !second.grow(6), "hers");
        assert!(other.grow(25), "his");
        drop((first, second));
        assert_eq!((all.load(Relaxed), hers.load(Relaxed)), (25, 0));
        drop(other);
        assert_eq!((all.load(Relaxed), his.load(Relaxed)), (0, 0));
    }
}
