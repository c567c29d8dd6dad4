//! `/healthz` and `/metrics` over plain HTTP/1.1, for probes inside the operator's network.
//!
//! Nothing here concerns a key or a caller. Connections are few, short and read to a kilobyte at most.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::Metrics;

const CONNECTIONS: usize = 16;
const TIME: Duration = Duration::from_secs(2);
const REQUEST: usize = 1024;

/// Answers until it is dropped.
pub async fn observe(listener: TcpListener, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            // A probe that is slow or gone gets no answer.
            let _ = timeout(TIME, answer(stream, &metrics)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(REQUEST);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST {
        let mut chunk = [0; 256];
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            n => request.extend_from_slice(&chunk[..n]),
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", metrics.text())
    } else if !request.starts_with(b"GET /healthz ") {
        ("404 Not Found", "only /healthz and /metrics\n".into())
    } else if metrics.log_works.load(Relaxed) == 1 {
        ("200 OK", "ok\n".into())
    } else {
        (
            "503 Service Unavailable",
            "the log cannot be written\n".into(),
        )
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
