//! Many callers at once: what shares a request, what waits, and what an operation costs.

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use common::callers::{closed_loop, cpu};
use common::*;
use evanesce_quorum::Settings;

fn counts(quorum: &Quorum) -> (usize, usize) {
    let sum = |of: fn(&common::Shared) -> &std::sync::atomic::AtomicUsize| {
        quorum
            .agents
            .iter()
            .map(|agent| of(&agent.shared).load(SeqCst))
            .sum()
    };
    (
        sum(|shared| &shared.requests),
        sum(|shared| &shared.openings),
    )
}

#[test]
fn under_load_openings_share_requests() {
    let quorum = Quorum::of(5);
    let token = quorum.mint("3 of (s0, s1, s2, s3, s4)", &["ed25519"]);
    closed_loop(&quorum.reconstructor, &token, 64, 2_000);
    let total = 10_000;
    let (requests, openings) = counts(&quorum);
    let (io, pool, begun) = (cpu("evanesce-quorum"), cpu("crucible"), Instant::now());
    let times = closed_loop(&quorum.reconstructor, &token, 64, total);
    let rate = total as f64 / begun.elapsed().as_secs_f64();
    let (io, pool) = (cpu("evanesce-quorum") - io, cpu("crucible") - pool);
    let (requests, openings) = (counts(&quorum).0 - requests, counts(&quorum).1 - openings);
    let share = openings as f64 / requests as f64;
    println!(
        "64 callers: {rate:.0}/s, p50 {:?}, p99 {:?}, {share:.1} openings a request, {:.3} openings an operation, \
         io {:.1} µs, crucible {:.1} µs",
        times[total / 2],
        times[total * 99 / 100],
        openings as f64 / total as f64,
        io as f64 / total as f64,
        pool as f64 / total as f64,
    );
    assert!(share > 4.0, "{share}");
    assert!(openings as f64 <= 3.5 * total as f64, "hedges are rare");
}

#[test]
fn one_caller_waits_for_nobody() {
    let quorum = Quorum::of(5);
    let token = quorum.mint("3 of (s0, s1, s2, s3, s4)", &["ed25519"]);
    closed_loop(&quorum.reconstructor, &token, 1, 200);
    let total = 2_000;
    let openings = counts(&quorum).1;
    let io = cpu("evanesce-quorum");
    let times = closed_loop(&quorum.reconstructor, &token, 1, total);
    let io = cpu("evanesce-quorum") - io;
    let openings = counts(&quorum).1 - openings;
    println!(
        "1 caller: p50 {:?}, p99 {:?}, io {:.1} µs, {:.3} openings an operation",
        times[total / 2],
        times[total * 99 / 100],
        io as f64 / total as f64,
        openings as f64 / total as f64,
    );
    assert!(openings as f64 <= 3.5 * total as f64, "hedges are rare");
}

#[test]
fn a_long_way_costs_one_round_trip_whether_one_caller_or_many() {
    let quorum = Quorum::of(5);
    let token = quorum.mint("3 of (s0, s1, s2, s3, s4)", &["ed25519"]);
    let mut holders = quorum.holders.clone();
    for (holder, agent) in holders.iter_mut().zip(&quorum.agents) {
        holder.address = proxy::delaying(agent.address, Duration::from_millis(100)).to_string();
    }
    let caller = quorum.fresh_with(holders, Settings::default());
    closed_loop(&caller, &token, 1, 5);
    let times = closed_loop(&caller, &token, 1, 20);
    println!(
        "200 ms away, 1 caller: p50 {:?}, worst {:?}",
        times[10], times[19]
    );
    // Two round trips would be 400 ms.
    assert!(times[10] < Duration::from_millis(380));
    let before = counts(&quorum);
    let times = closed_loop(&caller, &token, 64, 2_000);
    let after = counts(&quorum);
    println!(
        "{:.1} openings a request, {:.3} openings an operation",
        (after.1 - before.1) as f64 / (after.0 - before.0) as f64,
        (after.1 - before.1) as f64 / 2000.0
    );
    println!(
        "200 ms away, 64 callers: p50 {:?}, p95 {:?}, worst {:?}",
        times[1000], times[1900], times[1999]
    );
    assert!(times[1900] < Duration::from_millis(380));
}
