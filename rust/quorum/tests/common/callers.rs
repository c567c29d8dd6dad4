//! Many callers at once, and what they cost.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use evanesce_quorum::{Operation, Reconstructor};
use evanesce_token::Token;

use super::sign_job;

/// `callers` callers, each asking again as soon as it is answered; `total` operations in all.
pub fn closed_loop(
    reconstructor: &Reconstructor,
    token: &Arc<Token>,
    callers: usize,
    total: usize,
) -> Vec<Duration> {
    let (tell, told) = mpsc::channel();
    let begin = || {
        let (tell, begun) = (tell.clone(), Instant::now());
        let done = Box::new(move |result: Result<_, evanesce_quorum::Error>| {
            result.map(drop).unwrap_or_else(|e| panic!("{e}"));
            let _ = tell.send(begun.elapsed());
        });
        let jobs = vec![sign_job("ed25519", b"a message")];
        reconstructor.submit(Operation::new(token.clone(), jobs), done);
    };
    for _ in 0..callers {
        begin();
    }
    let mut times = Vec::with_capacity(total);
    while times.len() < total {
        times.push(told.recv_timeout(Duration::from_secs(10)).unwrap());
        if times.len() + callers <= total {
            begin();
        }
    }
    times.sort();
    times
}

/// CPU time of this process's threads by name, in µs.
pub fn cpu(name: &str) -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim_end().starts_with(name) {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += stat
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .unwrap_or(0)
                / 1000;
        }
    }
    sum
}
