//! Who is listened to: connections, TLS, HTTP/2. Everything is bounded before it is believed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use evanesce_token::formula;
use evanesce_wire::alive::silence;
use evanesce_wire::client::CBOR;
use evanesce_wire::{Id, limits as wire, tls};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::serve::Service;

/// Peers that have not proven a key yet.
const ARRIVING: usize = 64;
/// How long TLS and the start of HTTP/2 may take, and an answer to a sign of life.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a body may take to arrive, and an answer to be taken.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How often a silent peer is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long an identity that is not worked for is heard, to be told so.
const STRANGER_TIME: Duration = Duration::from_secs(1);
/// How long what is under way may take at the end.
const STOPPING: Duration = Duration::from_secs(2);
/// Requests at once on one connection.
const STREAMS: u32 = 256;

/// Connections by caller.
#[derive(Default)]
struct Connections(Mutex<HashMap<Id, usize>>);

impl Connections {
    fn change(&self, caller: &Id, most: usize, by: isize) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(*caller).or_default();
        if by > 0 && *own >= most {
            return false;
        }
        *own = own.saturating_add_signed(by);
        if *own == 0 {
            all.remove(caller);
        }
        true
    }
}

/// Accepts until `stop` is set, then lets what is in flight finish for a bounded time.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let most = service.limits.connections;
    let (arriving, places) = (
        Arc::new(Semaphore::new(ARRIVING)),
        Arc::new(Semaphore::new(most)),
    );
    let connections = Arc::new(Connections::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, or a peer that is gone: neither ends by trying at once.
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let Ok(arrival) = arriving.clone().try_acquire_owned() else {
            continue;
        };
        let (service, acceptor, stop) = (service.clone(), acceptor.clone(), stop.clone());
        let (places, connections) = (places.clone(), connections.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                return;
            };
            let Some(spki) = tls::peer_spki(stream.get_ref().1.peer_certificates()) else {
                return;
            };
            let caller = formula::caller_id(&spki);
            if service.name(&caller).is_none() {
                // Told so within the bound on those who arrive, and cut.
                let _ = timeout(
                    STRANGER_TIME,
                    connection(service, stream, caller, spki, stop),
                )
                .await;
                return;
            }
            let Ok(_place) = places.try_acquire_owned() else {
                return;
            };
            drop(arrival);
            let most = service.limits.connections_per_caller;
            if connections.change(&caller, most, 1) {
                connection(service, stream, caller, spki, stop).await;
                connections.change(&caller, most, -1);
            }
        });
    }
    drop(listener);
    let _ = timeout(STOPPING, places.acquire_many(most as u32)).await;
}

async fn connection(
    service: Arc<Service>,
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    caller: Id,
    spki: Vec<u8>,
    mut stop: watch::Receiver<bool>,
) {
    let http = h2::server::Builder::new()
        .initial_window_size(wire::BODY as u32)
        .initial_connection_window_size(wire::BODY as u32)
        .max_concurrent_streams(STREAMS)
        // Callers may give up what they ask, all at once; within one turn of a busy process that is not an attack.
        .max_pending_accept_reset_streams(2 * STREAMS as usize)
        .max_header_list_size(8 << 10)
        .handshake::<_, Bytes>(stream);
    let Ok(Ok(mut http)) = timeout(HANDSHAKE, http).await else {
        return;
    };
    let spki: Arc<[u8]> = spki.into();
    let silence = silence(http.ping_pong(), KEEP_ALIVE, HANDSHAKE);
    tokio::pin!(silence);
    let mut stopping = false;
    loop {
        let accepted = tokio::select! {
            accepted = http.accept() => accepted,
            () = &mut silence => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                http.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let (service, spki) = (service.clone(), spki.clone());
        tokio::spawn(answer(service, caller, spki, request, respond));
    }
}

async fn answer(
    service: Arc<Service>,
    caller: Id,
    spki: Arc<[u8]>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let Ok(Some(body)) = timeout(BODY_TIME, receive(request.into_body())).await else {
        let mut respond = respond;
        respond.send_reset(Reason::CANCEL);
        return;
    };
    let answered = service.handle(&caller, &spki, &method, uri.path(), body);
    let (status, body) = answered.await;
    let _ = timeout(BODY_TIME, send(respond, status, body.into())).await;
}

/// The whole body, unless it breaks off or is too long.
async fn receive(mut incoming: RecvStream) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data.ok()?;
        // Of a connection that broke meanwhile the next turn tells.
        let _ = incoming.flow_control().release_capacity(data.len());
        if body.len() + data.len() > wire::BODY {
            return None;
        }
        body.extend_from_slice(&data);
    }
    Some(body)
}

/// Sends as much as the peer takes, piece by piece: whoever does not read holds this up, and is cut with it.
async fn send(mut respond: SendResponse<Bytes>, status: StatusCode, mut body: Bytes) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let cbor = HeaderValue::from_static(CBOR);
    response.headers_mut().insert(CONTENT_TYPE, cbor);
    let Ok(mut stream) = respond.send_response(response, body.is_empty()) else {
        return;
    };
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(capacity)) = capacity else {
            return;
        };
        let piece = body.split_to(capacity.min(body.len()));
        if stream.send_data(piece, body.is_empty()).is_err() {
            return;
        }
    }
}
