//! Who is listened to: connections, TLS, HTTP/2, and the end of it all.
//!
//! Everything is bounded before it is believed: connections, handshakes, streams, time. Peers that the agent does
//! not know are told so, and cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use evanesce_token::formula;
use evanesce_wire::{limits as wire, tls};
use h2::{Ping, PingPong};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::api::{Api, Counted};
use crate::body::Leaving;
use crate::events::Event;
use crate::limits;

/// Accepts until `stop` is set, then lets what is in flight finish for a bounded time. Gives the number of
/// connections that did not.
pub async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(api.limits.connections));
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES));
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
        let Ok(place) = connections.clone().try_acquire_owned() else {
            api.turn_away(peer, "too many connections");
            continue;
        };
        let (api, acceptor, stop) = (api.clone(), acceptor.clone(), stop.clone());
        let (handshakes, strangers) = (handshakes.clone(), strangers.clone());
        tokio::spawn(async move {
            let shaken = timeout(limits::HANDSHAKE, async {
                let _one = handshakes.acquire().await.ok()?;
                let _ = stream.set_nodelay(true);
                acceptor.accept(stream).await.ok()
            });
            match shaken.await {
                Ok(Some(stream)) => api.connection(stream, peer, &strangers, stop).await,
                _ => api.turn_away(peer, "no TLS handshake"),
            }
            drop(place);
        });
    }
    drop(listener);
    let all = api.limits.connections as u32;
    let _ = timeout(limits::STOPPING, connections.acquire_many(all)).await;
    all as usize - connections.available_permits()
}

impl Api {
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
        peer: SocketAddr,
        strangers: &Semaphore,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some(spki) = tls::peer_spki(stream.get_ref().1.peer_certificates()) else {
            return;
        };
        let spki: Arc<[u8]> = spki.into();
        let caller = formula::caller_id(&spki);
        let known = self.agent().directory.find(&caller).is_some();
        let _place = if known {
            None
        } else {
            let place = strangers.try_acquire().ok();
            self.turn_away(peer, "an identity that this agent does not know");
            match place {
                Some(place) => Some(place),
                None => return,
            }
        };
        let http = h2::server::Builder::new()
            .initial_window_size(wire::BODY as u32)
            .initial_connection_window_size(wire::BODY as u32)
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(8 << 10)
            .handshake::<_, Leaving>(stream);
        let Ok(Ok(mut http)) = timeout(limits::HANDSHAKE, http).await else {
            return;
        };
        let _counted = Counted::new(&self.metrics.connections, u64::MAX);
        let silence = silence(http.ping_pong());
        let ended = async {
            match known {
                // A peer that no longer answers is not waited for.
                true => silence.await,
                false => sleep(limits::STRANGER_TIME).await,
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

/// Returns once the peer of a connection has left a sign of life unanswered.
async fn silence(pings: Option<PingPong>) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep(limits::KEEP_ALIVE).await;
        let answered = timeout(limits::HANDSHAKE, pings.ping(Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}
