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
    let start = Instant::now();
    println!("{:?}", evanesce_secret::report());
    println!("{:9.3} µs  the arena", start.elapsed().as_secs_f64() * 1e6);
    let start = Instant::now();
    evanesce_secret::on_crucible(|| ());
    println!(
        "{:9.3} µs  the first job of the process (AWS-LC gathers entropy)",
        start.elapsed().as_secs_f64() * 1e6
    );
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
    sign();
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

fn sign() {
    use aws_lc_rs::signature::Ed25519KeyPair;
    let job = || {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        black_box(pair.sign(b"message"));
    };
    time("Ed25519 from seed and sign, anywhere", 2000, job);
    time("the same on the crucible", 2000, || {
        evanesce_secret::on_crucible(job)
    });
    time("on_crucible, first job of a new thread", 200, || {
        std::thread::spawn(|| evanesce_secret::on_crucible(|| ()))
            .join()
            .unwrap();
    });
    time("a new thread that does nothing", 200, || {
        std::thread::spawn(|| ()).join().unwrap();
    });
}
