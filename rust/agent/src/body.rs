//! A request's body, received in bounded time and room.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use evanesce_wire::limits as wire;
use h2::RecvStream;
use http::header::CONTENT_LENGTH;
use http::{Request, StatusCode};
use tokio::time::timeout;

use crate::api::{Trouble, malformed, trouble};
use crate::limits;

/// A whole body. `buffered` counts the bytes of all bodies, at most `most`; this one's are given back when the
/// second value is dropped.
pub async fn receive<'a>(
    request: Request<RecvStream>,
    buffered: &'a AtomicUsize,
    most: usize,
) -> Result<(Vec<u8>, Room<'a>), Trouble> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced
        .and_then(|n| n.to_str().ok()?.parse().ok())
        .unwrap_or(0usize);
    let mut room = Room {
        all: buffered,
        own: 0,
    };
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
            if !room.grow(data.len(), most) {
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

/// Bytes that one body takes up.
pub struct Room<'a> {
    all: &'a AtomicUsize,
    own: usize,
}

impl Room<'_> {
    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        self.own += bytes;
        self.all.fetch_add(bytes, Relaxed) + bytes <= most
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Relaxed);
    }
}
