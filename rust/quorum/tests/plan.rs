//! The planner against every behaviour that holders can have, in virtual time.

use std::collections::{BTreeMap, HashSet};

use evanesce_quorum::Trouble;
use evanesce_quorum::plan::{Next, Outlook, Plan};
use evanesce_token::{Gate, Node};
use proptest::prelude::*;

/// What a holder does when it is asked, `delay` µs later.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Honest { delay: u64 },
    Lies { delay: u64 },
    Fails { delay: u64, trouble: Trouble },
    Silent,
}

/// What the planner believes of a holder, which need not be true.
#[derive(Clone, Copy, Debug)]
struct Belief {
    expected: Option<u64>,
    patience: u64,
    avoided: bool,
}

#[derive(Clone, Debug)]
struct World {
    gate: Gate,
    /// Seat → holder.
    holders: Vec<Option<usize>>,
    behaviours: Vec<Behaviour>,
    beliefs: Vec<Belief>,
    budget: u64,
    hedge: bool,
}

struct View<'a>(&'a [Belief], bool);

impl Outlook for View<'_> {
    fn expected(&self, holder: usize) -> Option<u64> {
        self.0[holder].expected
    }
    fn patience(&self, holder: usize) -> u64 {
        self.0[holder].patience
    }
    fn avoided(&self, _: usize, holder: usize) -> bool {
        self.0[holder].avoided
    }
    fn may_hedge(&mut self) -> bool {
        self.1
    }
}

#[derive(Debug)]
struct End {
    opened: bool,
    at: u64,
    asked: HashSet<u32>,
    /// Moments at which someone was asked.
    rounds: Vec<u64>,
    troubles: Vec<(u32, Trouble)>,
    had_any: bool,
}

fn run(world: &World) -> End {
    let seats = world.holders.len();
    let mut plan = Plan::new(world.holders.clone(), 0, world.budget, world.hedge);
    let mut view = View(&world.beliefs, true);
    let mut answers: BTreeMap<(u64, u32), Result<(), Trouble>> = BTreeMap::new();
    let mut asked = HashSet::new();
    let mut had = vec![false; seats];
    let mut rounds = Vec::new();
    let mut now = 0;
    for _ in 0..10_000 {
        let step = plan.advance(now, &world.gate, &mut view);
        if !step.asks.is_empty() && rounds.last() != Some(&now) {
            rounds.push(now);
        }
        for ask in step.asks {
            for seat in ask.seats {
                assert!(asked.insert(seat), "seat {seat} was asked twice");
                assert_eq!(world.holders[seat as usize], Some(ask.holder));
                match world.behaviours[ask.holder] {
                    Behaviour::Honest { delay } | Behaviour::Lies { delay } => {
                        answers.insert((now + delay, seat), Ok(()));
                    }
                    Behaviour::Fails { delay, trouble } => {
                        answers.insert((now + delay, seat), Err(trouble));
                    }
                    Behaviour::Silent => {}
                }
            }
        }
        let end = |opened, plan: &Plan, asked, rounds| End {
            opened,
            at: now,
            asked,
            rounds,
            troubles: plan.troubles().collect(),
            had_any: plan.had_any(),
        };
        match step.next {
            Next::Wait(until) => {
                assert!(until > now, "waiting for what has been");
                let next = answers
                    .keys()
                    .next()
                    .map_or(until, |(at, _)| until.min(*at));
                now = next;
                while let Some(((at, seat), outcome)) = answers.pop_first() {
                    if at > now {
                        answers.insert((at, seat), outcome);
                        break;
                    }
                    had[seat as usize] |= outcome.is_ok();
                    plan.note(seat, outcome);
                }
            }
            Next::Open(set) => {
                let mut have = vec![false; seats];
                for seat in &set {
                    assert!(
                        had[*seat as usize],
                        "opened without the share of seat {seat}"
                    );
                    have[*seat as usize] = true;
                }
                assert!(
                    world.gate.satisfied(&have),
                    "opened without a sufficient set"
                );
                let lied: Vec<u32> = set
                    .into_iter()
                    .filter(|seat| {
                        let holder = world.holders[*seat as usize].unwrap();
                        matches!(world.behaviours[holder], Behaviour::Lies { .. })
                    })
                    .collect();
                if lied.is_empty() {
                    return end(true, &plan, asked, rounds);
                }
                for seat in lied {
                    plan.note(seat, Err(Trouble::Lied));
                }
            }
            Next::Fail => return end(false, &plan, asked, rounds),
        }
    }
    panic!("no end");
}

fn gates() -> impl Strategy<Value = Gate> {
    let seat = Just(Node::Seat(String::new())).boxed();
    let gate = seat.prop_recursive(3, 12, 4, |inner| {
        proptest::collection::vec(inner, 1..5)
            .prop_flat_map(|of| (1..=of.len(), Just(of)))
            .prop_map(|(t, of)| Node::Gate(Gate { t, of }))
    });
    gate.prop_map(|node| {
        let mut gate = match node {
            Node::Gate(gate) => gate,
            seat => Gate {
                t: 1,
                of: vec![seat],
            },
        };
        name(&mut gate, &mut 0);
        gate
    })
}

fn name(gate: &mut Gate, next: &mut u32) {
    for node in &mut gate.of {
        match node {
            Node::Seat(name) => {
                *name = format!("s{next}");
                *next += 1;
            }
            Node::Gate(gate) => name(gate, next),
        }
    }
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let delay = prop_oneof![1u64..2_000, 1u64..2_500_000];
    let trouble = proptest::sample::select(vec![
        Trouble::Refused,
        Trouble::Expired,
        Trouble::CannotRegenerate,
        Trouble::RowAltered,
        Trouble::EpochNotHeld,
        Trouble::Unreachable,
        Trouble::Overloaded,
        Trouble::ElementUnavailable,
        Trouble::Role,
    ]);
    prop_oneof![
        4 => delay.clone().prop_map(|delay| Behaviour::Honest { delay }),
        1 => delay.clone().prop_map(|delay| Behaviour::Lies { delay }),
        2 => (delay, trouble).prop_map(|(delay, trouble)| Behaviour::Fails { delay, trouble }),
        1 => Just(Behaviour::Silent),
    ]
}

fn beliefs() -> impl Strategy<Value = Belief> {
    let patience = prop_oneof![5_000u64..50_000, 5_000u64..400_000];
    (
        proptest::option::of(1u64..100_000),
        patience,
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(expected, patience, avoided)| Belief {
            expected,
            patience,
            avoided,
        })
}

fn worlds() -> impl Strategy<Value = World> {
    gates().prop_flat_map(|gate| {
        let seats = gate.seat_count();
        let holder = prop_oneof![9 => (0..seats).prop_map(Some), 1 => Just(None)];
        (
            Just(gate),
            proptest::collection::vec(holder, seats),
            proptest::collection::vec(behaviours(), seats),
            proptest::collection::vec(beliefs(), seats),
            prop_oneof![Just(2_000_000u64), 1u64..3_000_000],
            any::<bool>(),
        )
            .prop_map(
                |(gate, holders, behaviours, beliefs, budget, hedge)| World {
                    gate,
                    holders,
                    behaviours,
                    beliefs,
                    budget,
                    hedge,
                },
            )
    })
}

/// Seats whose holder fulfils `test`.
fn where_holder(world: &World, test: impl Fn(&Behaviour) -> bool) -> Vec<bool> {
    world
        .holders
        .iter()
        .map(|holder| holder.is_some_and(|h| test(&world.behaviours[h])))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn it_always_ends_by_the_deadline(world in worlds()) {
        prop_assert!(run(&world).at <= world.budget);
    }

    #[test]
    fn it_succeeds_whenever_enough_honest_holders_answer_within_half_the_time(world in worlds()) {
        let half = world.budget / 2;
        let honest = where_holder(&world, |b| matches!(b, Behaviour::Honest { delay } if *delay < half));
        if world.gate.satisfied(&honest) {
            let end = run(&world);
            prop_assert!(end.opened, "{end:?}");
        }
    }

    #[test]
    fn it_never_succeeds_without_enough_honest_holders(world in worlds()) {
        let honest = where_holder(&world, |b| matches!(b, Behaviour::Honest { .. }));
        if !world.gate.satisfied(&honest) {
            prop_assert!(!run(&world).opened);
        }
    }

    #[test]
    fn before_it_gives_up_everyone_who_could_still_help_was_asked(world in worlds()) {
        let end = run(&world);
        if !end.opened {
            // Whoever was never asked could not have made a quorum even with everyone who answered well.
            let failed: HashSet<u32> = end.troubles.iter().map(|(seat, _)| *seat).collect();
            let possible: Vec<bool> = (0..world.holders.len() as u32).map(|seat| !failed.contains(&seat)).collect();
            prop_assert!(!world.gate.satisfied(&possible), "{end:?}");
        }
    }

    #[test]
    fn altered_is_only_said_when_nobody_at_all_could_regenerate(world in worlds()) {
        use evanesce_quorum::{Code, verdict};
        let end = run(&world);
        if !end.opened {
            let code = verdict::code(end.troubles.iter().map(|(_, trouble)| *trouble), end.had_any);
            if code == Code::TokenAltered {
                for (seat, holder) in world.holders.iter().enumerate() {
                    let unable = holder.is_none_or(|h| {
                        matches!(world.behaviours[h], Behaviour::Fails { trouble, .. } if trouble.is_unable())
                    });
                    prop_assert!(unable, "seat {seat}: {end:?}");
                }
            }
        }
    }

    #[test]
    fn when_all_is_well_nobody_is_asked_in_vain(mut world in worlds()) {
        for (behaviour, belief) in world.behaviours.iter_mut().zip(&world.beliefs) {
            *behaviour = Behaviour::Honest { delay: belief.patience / 2 };
        }
        world.budget = 2_000_000;
        let everyone = where_holder(&world, |_| true);
        if world.gate.satisfied(&everyone) {
            let end = run(&world);
            prop_assert!(end.opened);
            prop_assert_eq!(&end.rounds, &[0]);
            // No seat could be left out.
            for left_out in &end.asked {
                let have: Vec<bool> =
                    (0..world.holders.len() as u32).map(|s| s != *left_out && end.asked.contains(&s)).collect();
                prop_assert!(!world.gate.satisfied(&have));
            }
        }
    }

    #[test]
    fn lateness_costs_one_hedge_and_no_more(mut world in worlds()) {
        for (behaviour, belief) in world.behaviours.iter_mut().zip(&world.beliefs) {
            // Everyone answers, up to twice as late as usual: late, but never missing.
            if !matches!(behaviour, Behaviour::Honest { .. }) {
                *behaviour = Behaviour::Honest { delay: belief.patience / 2 };
            }
            if let Behaviour::Honest { delay } = behaviour {
                *delay = 1 + *delay % (2 * belief.patience);
            }
        }
        world.budget = 2_000_000;
        let everyone = where_holder(&world, |_| true);
        if world.gate.satisfied(&everyone) {
            let end = run(&world);
            prop_assert!(end.opened);
            prop_assert!(end.rounds.len() <= if world.hedge { 2 } else { 1 }, "{end:?}");
        }
    }
}

fn flat(t: usize, behaviours: &[Behaviour]) -> World {
    let of = (0..behaviours.len())
        .map(|i| Node::Seat(format!("s{i}")))
        .collect();
    World {
        gate: Gate { t, of },
        holders: (0..behaviours.len()).map(Some).collect(),
        behaviours: behaviours.to_vec(),
        beliefs: vec![
            Belief {
                expected: Some(1_000),
                patience: 6_000,
                avoided: false
            };
            behaviours.len()
        ],
        budget: 2_000_000,
        hedge: true,
    }
}

const GOOD: Behaviour = Behaviour::Honest { delay: 1_000 };

#[test]
fn the_fastest_are_asked_and_those_that_failed_lately_are_not() {
    let mut world = flat(2, &[GOOD; 5]);
    for (belief, expected) in world
        .beliefs
        .iter_mut()
        .zip([9_000, 1_000, 2_000, 500, 3_000])
    {
        belief.expected = Some(expected);
    }
    world.beliefs[3].avoided = true;
    assert_eq!(run(&world).asked, HashSet::from([1, 2]));
    world.beliefs[4].expected = None;
    assert_eq!(
        run(&world).asked,
        HashSet::from([1, 4]),
        "one that was never asked is tried"
    );
}

#[test]
fn the_next_is_asked_at_once_on_a_refusal() {
    let refusing = Behaviour::Fails {
        delay: 700,
        trouble: Trouble::Refused,
    };
    let end = run(&flat(3, &[refusing, GOOD, GOOD, GOOD, GOOD]));
    assert!(end.opened);
    assert_eq!((end.rounds, end.at), (vec![0, 700], 1_700));
}

#[test]
fn a_silent_holder_costs_one_patience() {
    let end = run(&flat(3, &[Behaviour::Silent, GOOD, GOOD, GOOD, GOOD]));
    assert!(end.opened);
    assert_eq!((end.rounds, end.at), (vec![0, 6_000], 7_000));
}

#[test]
fn without_a_hedge_a_silent_holder_is_made_up_for_all_the_same() {
    let mut world = flat(3, &[Behaviour::Silent, Behaviour::Silent, GOOD, GOOD, GOOD]);
    world.hedge = false;
    let end = run(&world);
    assert!(end.opened);
    assert_eq!((end.rounds, end.at), (vec![0, 100_000], 101_000));
}

#[test]
fn with_too_many_silent_it_ends_at_the_deadline_and_names_them() {
    let end = run(&flat(
        3,
        &[
            Behaviour::Silent,
            GOOD,
            Behaviour::Silent,
            GOOD,
            Behaviour::Silent,
        ],
    ));
    assert!(!end.opened);
    assert_eq!(end.at, 2_000_000);
    assert_eq!(
        end.troubles,
        [(0, Trouble::Slow), (2, Trouble::Slow), (4, Trouble::Slow)]
    );
}

#[test]
fn everyone_refusing_ends_at_once() {
    let end = run(&flat(
        3,
        &[Behaviour::Fails {
            delay: 500,
            trouble: Trouble::Refused,
        }; 5],
    ));
    assert!(!end.opened && end.at <= 1_000);
    assert!(end.troubles.len() >= 3);
}

#[test]
fn three_wrong_roots_of_five_are_no_altered_token_however_they_are_met() {
    let unable = Behaviour::Fails {
        delay: 500,
        trouble: Trouble::CannotRegenerate,
    };
    for order in [[0, 1, 2], [2, 3, 4], [0, 2, 4]] {
        let mut behaviours = [GOOD; 5];
        order.iter().for_each(|&i| behaviours[i] = unable);
        let end = run(&flat(3, &behaviours));
        assert!(!end.opened && end.had_any, "{end:?}");
    }
}
