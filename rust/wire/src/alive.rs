//! Whether the peer of an HTTP/2 connection is still there, for whoever serves it.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

/// Asks for a sign of life `every` so often, and returns once one was not given within `patience`. Never where the
/// connection has no pings to give.
pub async fn silence(pings: Option<PingPong>, every: Duration, patience: Duration) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep(every).await;
        let answered = timeout(patience, pings.ping(Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}
