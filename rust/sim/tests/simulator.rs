//! What the simulator promises of itself.

use evanesce_sim::planted::Planted;
use evanesce_sim::rng::Rng;
use evanesce_sim::run::play;

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut seeds = Rng::new(17);
    for _ in 0..100 {
        let seed = seeds.draw();
        let first = play(seed, Planted::None, false);
        let again = play(seed, Planted::None, true);
        assert_eq!(first.print, again.print, "SEED={seed}");
    }
}

#[test]
fn both_success_and_failure_are_common() {
    let mut seeds = Rng::new(18);
    let (mut good, mut bad) = (0, 0);
    let (mut healed, mut unhealed) = (0, 0);
    for _ in 0..200 {
        let verdict = play(seeds.draw(), Planted::None, false);
        let seed = verdict.schedule.seed;
        assert!(
            verdict.broken.is_empty(),
            "SEED={seed}: {:?}",
            verdict.broken
        );
        (good, bad) = (good + verdict.told.0, bad + verdict.told.1);
        healed += verdict.healed.0;
        unhealed += verdict.healed.1;
    }
    assert!(
        healed > 20 && unhealed > 2,
        "{healed} healings ended, {unhealed} did not"
    );
    assert!(good > 300 && bad > 300, "{good} succeeded, {bad} failed");
}
