//! `simulate [SCHEDULES] [SEED]`: plays so many schedules, or the one of a seed with its trace. Ends with
//! `N schedules, BROKEN broken`; exit 1 if any is.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use evanesce_sim::planted::Planted;
use evanesce_sim::rng::Rng;
use evanesce_sim::run::{Verdict, play};

/// The first schedule of a run without a seed of its own.
const FIRST: u64 = 0x6576_616e_6573_6365;
/// Most broken schedules that are shown whole.
const SHOWN: usize = 3;

fn main() -> ExitCode {
    evanesce_secret::init();
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (count, seed) = match (arguments.next(), arguments.next()) {
        (Some(Ok(count)), None) => (count, None),
        (Some(Ok(_)), Some(Ok(seed))) => (1, Some(seed)),
        _ => {
            eprintln!("usage: simulate SCHEDULES [SEED]");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut seeds = Rng::new(FIRST);
    let (mut broken, mut good, mut bad) = (0, 0, 0);
    let (mut healed, mut unhealed) = (0, 0);
    println!("seeds: SplitMix64 from {FIRST}; rerun one with SEED=…");
    for number in 1..=count {
        let seed = seed.unwrap_or_else(|| seeds.draw());
        let verdict = play(seed, Planted::None, count == 1);
        good += verdict.told.0;
        bad += verdict.told.1;
        healed += verdict.healed.0;
        unhealed += verdict.healed.1;
        if !verdict.broken.is_empty() {
            broken += 1;
            if broken <= SHOWN {
                let traced = play(seed, Planted::None, true);
                show(&traced);
            } else {
                println!("broken: SEED={seed}: {}", verdict.broken[0]);
            }
        } else if count == 1 {
            show(&verdict);
        }
        if number % 10_000 == 0 {
            println!(
                "{number} schedules, {broken} broken so far, {:.0} s",
                began.elapsed().as_secs_f64()
            );
        }
    }
    let each = spent().unwrap_or(began.elapsed()).as_secs_f64() * 1000.0 / count.max(1) as f64;
    println!("{good} acts done, {bad} refused or failed; {each:.2} ms of CPU a schedule");
    println!("{healed} healings ended, {unhealed} did not");
    println!("{count} schedules, {broken} broken");
    ExitCode::from(u8::from(broken > 0))
}

/// How long this process, which has one thread, was on a processor; `None` where the kernel does not count it.
fn spent() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn show(verdict: &Verdict) {
    println!("SEED={}\n{:#?}", verdict.schedule.seed, verdict.schedule);
    for line in &verdict.trace {
        println!("{line}");
    }
    for what in &verdict.broken {
        println!("BROKEN {what}");
    }
}
