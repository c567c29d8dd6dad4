//! Bodies: a request's, received in bounded time and room, and an answer's, which takes up room until it has left.

use std::io::Cursor;

use bytes::Buf;
use evanesce_wire::limits as wire;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::{Trouble, malformed, trouble};
use crate::limits;
use crate::room::Room;

/// A request's body on its way.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a request, and the large variant is the usual one"
)]
pub enum Incoming {
    /// Inside HTTP/2.
    Stream(Request<RecvStream>),
    /// All of it is here.
    Whole(Vec<u8>),
}

impl Incoming {
    /// The whole body, whose bytes `room` takes up.
    pub async fn receive(self, room: &mut Room) -> Result<Vec<u8>, Trouble> {
        match self {
            Self::Stream(request) => receive(request, room).await,
            Self::Whole(body) => fits(0, body.len(), room).map(|()| body),
        }
    }
}

/// Whether `more` bytes may come behind `held` ones; takes up room for them.
fn fits(held: usize, more: usize, room: &mut Room) -> Result<(), Trouble> {
    if held + more > wire::BODY {
        let why = format!("a body is at most {} bytes", wire::BODY);
        return trouble(StatusCode::PAYLOAD_TOO_LARGE, "too-large", why);
    }
    if !room.grow(more) {
        let why = "too many bytes in flight";
        return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
    }
    Ok(())
}

async fn receive(request: Request<RecvStream>, room: &mut Room) -> Result<Vec<u8>, Trouble> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced
        .and_then(|n| n.to_str().ok()?.parse().ok())
        .unwrap_or(0usize);
    let mut body = Vec::with_capacity(announced.min(64 << 10));
    let mut incoming = request.into_body();
    let receive = async {
        while let Some(data) = incoming.data().await {
            let data = data.map_err(|e| malformed(format!("the body broke off: {e}")))?;
            // Of a connection that broke meanwhile the next turn tells.
            let _ = incoming.flow_control().release_capacity(data.len());
            fits(body.len(), data.len(), room)?;
            body.extend_from_slice(&data);
        }
        Ok(())
    };
    match timeout(limits::BODY_TIME, receive).await {
        Ok(received) => received.map(|()| body),
        Err(_) => trouble(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the body came too slowly",
        ),
    }
}

/// An answer's body inside h2, which drops it once it is written, or once its stream or connection has ended.
pub struct Leaving {
    bytes: Cursor<Vec<u8>>,
    _room: Room,
    /// Dropped with the rest, which tells who waits for that.
    _left: Option<oneshot::Sender<()>>,
}

impl Buf for Leaving {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// Sends an answer. What the peer's window does not take at once must leave within bounded time; `room` is given
/// back when all of it has left.
pub async fn send(
    mut respond: SendResponse<Leaving>,
    response: Response<()>,
    body: Vec<u8>,
    room: Room,
) {
    let length = body.len();
    // Where this fails, the connection has ended and nobody waits.
    let Ok(mut stream) = respond.send_response(response, false) else {
        return;
    };
    stream.reserve_capacity(length);
    let (sender, left) = match stream.capacity() < length {
        true => {
            let (sender, left) = oneshot::channel();
            (Some(sender), Some(left))
        }
        // A peer whose window is open, but which does not read, soon leaves a ping unanswered.
        false => (None, None),
    };
    let bytes = Cursor::new(body);
    let leaving = Leaving {
        bytes,
        _room: room,
        _left: sender,
    };
    // Queued with the head, before the connection's own task runs: both leave in one write.
    if stream.send_data(leaving, true).is_err() {
        return;
    }
    if let Some(left) = left
        && timeout(limits::BODY_TIME, left).await.is_err()
    {
        stream.send_reset(Reason::CANCEL);
    }
}
