//! Who is listened to: connections, TLS, HTTP/2, and the end of it all.
//!
//! Everything is bounded before it is believed: connections, streams, time. A peer takes a place among those that
//! arrive until it has proven its key, so many from one source; then one among the connections, so many of one
//! caller; peers that the agent does not know are told so, and cut. Nobody without a known key takes a place from
//! anyone who has one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use evanesce_token::formula;
use evanesce_wire::alive::silence;
use evanesce_wire::client::CBOR;
use evanesce_wire::{Id, limits as wire, tls};
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::api::Api;
use crate::body::{Incoming, Leaving, send};
use crate::events::Event;
use crate::limits;
use crate::places::{Place, Places, source};

/// Accepts until `stop` is set, then lets what is in flight finish for a bounded time. Gives the number of
/// connections that did not.
pub async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let acceptor = TlsAcceptor::from(tls);
    let arriving = Places::new(limits::ARRIVING, limits::ARRIVING_PER_SOURCE);
    let connections = Places::new(api.limits.connections, api.limits.connections_per_caller);
    let strangers = Arc::new(Semaphore::new(limits::STRANGERS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of descriptors, or a peer that is gone: neither ends by trying at once.
                tokio::time::sleep(limits::TURN).await;
                continue;
            }
        };
        if connections.full() {
            api.turn_away(peer, "too many connections");
            continue;
        }
        let Some(place) = arriving.take(source(peer.ip())) else {
            api.turn_away(peer, "too many peers that have not proven a key");
            continue;
        };
        let arrival = Arrival {
            peer,
            place,
            connections: connections.clone(),
            strangers: strangers.clone(),
        };
        let (api, acceptor, stop) = (api.clone(), acceptor.clone(), stop.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            match timeout(limits::HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => api.connection(stream, arrival, stop).await,
                _ => api.turn_away(peer, "no TLS handshake"),
            }
        });
    }
    drop(listener);
    // Whoever has not proven a known key has nothing in flight.
    let _ = timeout(limits::STOPPING, connections.empty()).await;
    connections.taken()
}

/// A peer on its way from one place to another.
struct Arrival {
    peer: SocketAddr,
    place: Place<IpAddr>,
    connections: Arc<Places<Id>>,
    strangers: Arc<Semaphore>,
}

/// A peer's place once its key is proven: as a caller, or as a stranger.
enum Admitted {
    Caller { _place: Place<Id> },
    Stranger { _place: OwnedSemaphorePermit },
}

impl Arrival {
    fn admit(self, api: &Api, caller: Id, spki: &[u8]) -> Option<Admitted> {
        if !api.knows(&caller, spki) {
            api.turn_away(self.peer, "an identity that this agent does not know");
            let _place = self.strangers.try_acquire_owned().ok()?;
            return Some(Admitted::Stranger { _place });
        }
        let Some(_place) = self.connections.take(caller) else {
            api.turn_away(self.peer, "too many connections, in all or of this caller");
            return None;
        };
        drop(self.place);
        Some(Admitted::Caller { _place })
    }
}

impl Api {
    /// Answers one request over HTTP/2.
    async fn answer(
        &self,
        caller: &Id,
        spki: &[u8],
        request: Request<RecvStream>,
        mut respond: SendResponse<Leaving>,
    ) {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let body = Incoming::Stream(request);
        let (status, body, room) = tokio::select! {
            answered = self.handle(caller, spki, &method, uri.path(), body) => answered,
            // Whoever gave up waiting costs no more work.
            _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return,
        };
        let mut response = Response::new(());
        *response.status_mut() = status;
        let cbor = HeaderValue::from_static(CBOR);
        response.headers_mut().insert(CONTENT_TYPE, cbor);
        send(respond, response, body, room).await;
    }

    fn turn_away(&self, peer: SocketAddr, why: &str) {
        self.metrics.turned_away.fetch_add(1, Relaxed);
        self.events.emit(Event::TurnedAway {
            peer: &peer.to_string(),
            why,
        });
    }

    async fn connection(
        self: &Arc<Self>,
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        arrival: Arrival,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some(spki) = tls::peer_spki(stream.get_ref().1.peer_certificates()) else {
            return;
        };
        let spki: Arc<[u8]> = spki.into();
        let caller = formula::caller_id(&spki);
        let Some(admitted) = arrival.admit(self, caller, &spki) else {
            return;
        };
        let http = h2::server::Builder::new()
            .initial_window_size(wire::BODY as u32)
            .initial_connection_window_size(wire::BODY as u32)
            .max_concurrent_streams(self.limits.streams)
            // Whoever asks several agents gives up those it did not need, as many as it may ask at once: within one
            // turn of a busy agent that is not an attack. More of them are.
            .max_pending_accept_reset_streams(2 * self.limits.streams as usize)
            .max_header_list_size(8 << 10)
            .handshake::<_, Leaving>(stream);
        let Ok(Ok(mut http)) = timeout(limits::HANDSHAKE, http).await else {
            return;
        };
        let _counted = Counted::new(&self.metrics.connections);
        let silence = silence(http.ping_pong(), limits::KEEP_ALIVE, limits::HANDSHAKE);
        let ended = async {
            match admitted {
                // A peer that no longer answers is not waited for.
                Admitted::Caller { .. } => silence.await,
                Admitted::Stranger { .. } => sleep(limits::STRANGER_TIME).await,
            }
        };
        tokio::pin!(ended);
        let mut stopping = false;
        loop {
            let accepted = tokio::select! {
                accepted = http.accept() => accepted,
                () = &mut ended => return,
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    http.graceful_shutdown();
                    continue;
                }
            };
            let Some(Ok((request, respond))) = accepted else {
                return;
            };
            let (api, spki) = (self.clone(), spki.clone());
            tokio::spawn(async move {
                api.answer(&caller, &spki, request, respond).await;
            });
        }
    }
}

/// One more of a gauge, until it is dropped.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
