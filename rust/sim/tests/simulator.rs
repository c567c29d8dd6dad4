//! What the simulator promises of itself.

use evanesce_sim::people::people;
use evanesce_sim::planted::Planted;
use evanesce_sim::rng::Rng;
use evanesce_sim::run::play;
use evanesce_wire::{Identity, verify_message, verify_statement};

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

/// Of signatures made here only the very same are known: every other one is verified.
#[test]
fn a_signature_that_was_made_here_is_good_and_no_other_by_a_bit() {
    let [alice, bob, _] = &people().callers[..] else {
        panic!("three callers");
    };
    let statement = [7; 32];
    let signature = alice.sign(&statement).unwrap();
    // Often enough that some are verified all the same.
    for _ in 0..200 {
        assert!(verify_statement(alice.spki(), &statement, &signature));
    }
    assert!(!verify_statement(bob.spki(), &statement, &signature));
    assert!(!verify_message(alice.spki(), &statement[..31], &signature));
    for length in [0, 63] {
        let cut = &signature[..length];
        assert!(!verify_statement(alice.spki(), &statement, cut));
    }
    for bit in 0..512 {
        let mut other = signature.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify_statement(alice.spki(), &statement, &other));
        let mut other = statement;
        other[bit % 256 / 8] ^= 1 << (bit % 8);
        assert!(!verify_statement(alice.spki(), &other, &signature));
        let mut other = alice.spki().to_vec();
        let at = other.len() - 32 + bit % 256 / 8;
        other[at] ^= 1 << (bit % 8);
        assert!(!verify_statement(&other, &statement, &signature));
    }
}
