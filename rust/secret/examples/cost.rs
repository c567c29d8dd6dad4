//! What the crucible costs: prints microseconds per round trip. `cargo run --release -p evanesce-secret --example cost`
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::Instant;

fn time(what: &str, rounds: u32, mut f: impl FnMut()) {
    for _ in 0..rounds / 10 {
        f();
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            f();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
    println!("{best:9.3} µs  {what}");
}

fn main() {
    println!("{:?}", evanesce_secret::report());
    time("on_crucible, empty job", 20_000, || {
        evanesce_secret::on_crucible(|| black_box(1));
    });
    time("on_crucible, job that uses 16 KiB of stack", 20_000, || {
        evanesce_secret::on_crucible(|| {
            black_box([1u8; 16384]);
        });
    });
    time("Secret<32>: make and drop", 100_000, || {
        black_box(evanesce_secret::Secret::<32>::zeroed().unwrap());
    });
    time("SecretVec of 4 KiB: make and drop", 100_000, || {
        black_box(evanesce_secret::SecretVec::zeroed(4096).unwrap());
    });
    time("SecretVec of 1 MiB: make and drop", 100, || {
        black_box(evanesce_secret::SecretVec::zeroed(1 << 20).unwrap());
    });
    let done = AtomicU32::new(0);
    let done: &'static AtomicU32 = Box::leak(Box::new(done));
    time("spawn_on_crucible, one at a time", 20_000, || {
        let before = done.load(Relaxed);
        evanesce_secret::spawn_on_crucible(|| {
            done.fetch_add(1, Release);
        });
        while done.load(Acquire) == before {
            std::hint::spin_loop();
        }
    });
    println!("{:?}", evanesce_secret::report());
}
