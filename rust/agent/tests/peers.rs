//! Stories of peers who ask and do not listen, who give up, and who only take up places.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Caller, EVERY_ROLE, Line, Minted, Place, header, problem, tell};
use evanesce_agent::spawn;
use evanesce_wire::client::Connection;
use evanesce_wire::client::Way;
use evanesce_wire::message::{Answers, Batch, Code, Evidence, Opening, Status};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Asks on a connection of its own making; the answer's body is not read.
async fn ask(peer: &SendRequest<Bytes>, path: &str, body: Vec<u8>) -> ResponseFuture {
    let request = Request::builder()
        .method(if body.is_empty() { "GET" } else { "POST" })
        .uri(format!("https://agent.invalid/v1/{path}"))
        .body(())
        .unwrap();
    let mut ready = peer.clone().ready().await.unwrap();
    let (answer, mut stream) = ready.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(body.into(), true).unwrap();
    }
    answer
}

fn check(token: &Minted) -> Batch {
    Batch {
        contexts: vec![token.context()],
        openings: vec![Opening {
            context: 0,
            requests: vec![],
            salts: vec![],
            evidence: Evidence::default(),
            rows: token.rows.clone(),
        }],
    }
}

async fn checked(line: &Line, token: &Minted) -> Result<Code, u16> {
    let answer = line.send("check", check(token).encode()).await;
    match answer {
        Ok(bytes) => Ok(Answers::decode(&bytes).unwrap().openings[0].code),
        Err(e) => Err(problem(Err(e)).0),
    }
}

#[test]
fn answers_that_are_not_taken_keep_their_place_for_a_time_and_no_more() {
    // One caller has a quarter of them: two.
    let place = Place::new("---\n[limits]\npending = 8\n");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let deaf = ops.connect_raw(agent.address(), agent.id(), 0).await;
        let started = Instant::now();
        let mut unread = Vec::new();
        for _ in 0..2 {
            let body = line.envelope("check", &check(&token));
            let answer = ask(&deaf, "check", body).await.await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            unread.push(answer.into_body());
        }
        assert_eq!(checked(&line, &token).await, Err(429));
        // Whoever gives up gives its place back.
        drop(unread.pop());
        while checked(&line, &token).await != Ok(Code::Done) {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Whoever does not is cut off.
        let broken = unread.pop().unwrap().data().await.unwrap().unwrap_err();
        assert_eq!(broken.reason(), Some(Reason::CANCEL));
        assert!(started.elapsed() > Duration::from_secs(9));
        // One that reads slowly gets all of it.
        let slow = ops.connect_raw(agent.address(), agent.id(), 10).await;
        let body = line.envelope("check", &check(&token));
        let mut answer = ask(&slow, "check", body).await.await.unwrap().into_body();
        let (mut bytes, mut pieces) = (Vec::new(), 0);
        while let Some(data) = answer.data().await {
            let data = data.unwrap();
            assert!(data.len() <= 10);
            answer.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
            pieces += 1;
        }
        assert_eq!(
            Answers::decode(&bytes).unwrap().openings[0].code,
            Code::Done
        );
        assert!(pieces > 2, "{pieces}");
        // And both places are free again.
        let both = tokio::join!(checked(&line, &token), checked(&line, &token));
        assert_eq!(both, (Ok(Code::Done), Ok(Code::Done)));
    });
}

#[test]
fn requests_that_are_given_up_leave_no_place_taken() {
    // One caller has a quarter of them: two.
    let place = Place::new("---\n[limits]\npending = 8\n");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let policy = "permit(principal == Caller::\"ops\", action, resource);";
        let token = line.mint(header("1 of (a)", policy)).await.unwrap();
        let fickle = ops.connect_raw(agent.address(), agent.id(), 1 << 20).await;
        for round in 0..50 {
            let opening = line.opening(&token, "open", "");
            let batch = Batch {
                contexts: vec![token.context()],
                openings: vec![opening],
            };
            let answer = ask(&fickle, "contribute", line.envelope("contribute", &batch)).await;
            tokio::time::sleep(Duration::from_micros(50 * round)).await;
            drop(answer);
        }
        let started = Instant::now();
        loop {
            let both = tokio::join!(checked(&line, &token), checked(&line, &token));
            if both == (Ok(Code::Done), Ok(Code::Done)) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(5), "{both:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn requests_that_are_given_up_together_do_not_end_their_connection() {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        // What is said is held back, so that the agent sees all of it at once, as a busy one does.
        let (near, far) = tokio::io::duplex(1 << 20);
        let (mut heard, mut said) = tokio::io::split(far);
        let (mut from, mut to) =
            tokio::io::split(ops.connect_tls(agent.address(), agent.id()).await);
        tokio::spawn(async move { tokio::io::copy(&mut from, &mut said).await });
        let held = Arc::new(AtomicBool::new(false));
        let gate = held.clone();
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            while let Ok(1..) = heard.read_buf(&mut bytes).await {
                if !gate.load(SeqCst) {
                    to.write_all(&bytes).await.unwrap();
                    to.flush().await.unwrap();
                    bytes.clear();
                }
            }
        });
        let (fickle, driver) = h2::client::handshake(near).await.unwrap();
        tokio::spawn(driver);
        let first = ask(&fickle, "status", vec![]).await;
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);

        held.store(true, SeqCst);
        let mut asked = Vec::new();
        for _ in 0..100 {
            asked.push(ask(&fickle, "status", vec![]).await);
        }
        // A request that was not written yet is given up without a word.
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(asked);
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.store(false, SeqCst);
        let last = ask(&fickle, "status", vec![]).await;
        assert_eq!(last.await.unwrap().status(), StatusCode::OK);
    });
}

#[test]
fn answers_that_are_not_taken_are_bounded_by_their_bytes() {
    let place = Place::new("---\n[limits]\nbuffered_bytes = 3000\n");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let other = ops.connect(agent.address(), agent.id()).await;
        let length = other.get("/v1/status").await.unwrap().len();
        assert!((200..1000).contains(&length), "{length}");
        let deaf = ops.connect_raw(agent.address(), agent.id(), 0).await;
        let (mut unread, mut refused) = (Vec::new(), 0);
        for _ in 0..50 {
            let answer = ask(&deaf, "status", vec![]).await.await.unwrap();
            if answer.status() == StatusCode::OK {
                unread.push(answer.into_body());
            } else {
                assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
                refused += 1;
            }
        }
        assert!(unread.len() * length <= 3000 && refused > 30, "{refused}");
        assert_eq!(problem(other.get("/v1/status").await).0, 429);
        drop((deaf, unread));
        let started = Instant::now();
        while other.get("/v1/status").await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = other.get("/v1/status").await.unwrap();
        assert_eq!(Status::decode(&status).unwrap().caller, "ops");
    });
}

/// Connects from 127.0.0.`host`, and says nothing.
async fn idle(host: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

async fn closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

async fn arrive(caller: &Caller, agent: &evanesce_agent::Handle) -> Option<Connection> {
    let tls = evanesce_wire::tls::client(caller.identity.clone(), agent.id()).unwrap();
    let connection = Connection::open(&agent.address().to_string(), tls)
        .await
        .ok()?;
    // TLS is complete for the caller before the agent has judged who it is.
    connection.get("/v1/status").await.ok()?;
    Some(connection)
}

#[test]
fn peers_that_only_connect_keep_out_neither_callers_nor_for_long_newcomers() {
    // A machine that takes seconds for this shows nothing: the first of them are cut off by then.
    assert!((0..5).any(|_| crowded_by_peers_that_only_connect()));
}

/// False where it took too long to tell.
fn crowded_by_peers_that_only_connect() -> bool {
    let place = Place::new("");
    let ops = Caller::new("ops", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let line = ops.open(agent.address(), agent.id()).await;
        let token = line.mint(header("1 of (a)", "")).await.unwrap();
        let started = Instant::now();
        // One address gets a quarter of what there is, and keeps out itself alone.
        let mut silent = Vec::new();
        for _ in 0..64 {
            silent.push(idle(2, agent.address()).await);
        }
        let turned_away = closed(&mut idle(2, agent.address()).await).await;
        let second = arrive(&ops, &agent).await.unwrap();
        // Four get all of it, but nothing of those who are connected.
        for host in 3..=5 {
            for _ in 0..64 {
                silent.push(idle(host, agent.address()).await);
            }
        }
        let full = closed(&mut idle(6, agent.address()).await).await
            && arrive(&ops, &agent).await.is_none();
        assert_eq!(checked(&line, &token).await, Ok(Code::Done));
        second.get("/v1/status").await.unwrap();
        if started.elapsed() > Duration::from_secs(4) {
            return false;
        }
        assert!(turned_away && full);
        // And not for long.
        while arrive(&ops, &agent).await.is_none() {
            assert!(started.elapsed() < Duration::from_secs(20));
            assert_eq!(checked(&line, &token).await, Ok(Code::Done));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(started.elapsed() > Duration::from_secs(4));
        assert!(closed(&mut silent[0]).await);
        true
    })
}

#[test]
fn a_caller_has_its_share_of_the_connections() {
    let place = Place::new("---\n[limits]\nconnections_per_caller = 2\n");
    let ops = Caller::new("ops", place.dir.path());
    let eve = Caller::new("eve", place.dir.path());
    place.know(&[(&ops, EVERY_ROLE), (&eve, EVERY_ROLE)]);
    let agent = spawn(place.config()).unwrap();
    tell(async {
        let first = arrive(&ops, &agent).await.unwrap();
        let second = arrive(&ops, &agent).await.unwrap();
        assert!(arrive(&ops, &agent).await.is_none());
        arrive(&eve, &agent).await.unwrap();
        second.get("/v1/status").await.unwrap();
        drop(first);
        let started = Instant::now();
        while arrive(&ops, &agent).await.is_none() {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
