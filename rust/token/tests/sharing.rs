//! Sharing over quorums of every shape: what suffices regenerates, what does not gives nothing.

mod common;

use common::quorums;
use evanesce_token::{Gate, Node, sharing};
use proptest::prelude::*;

/// Whether `have` suffices, as PROTOCOL §3 says it, without the crate's own word for it.
fn suffices(gate: &Gate, have: &mut &[bool]) -> bool {
    let had: Vec<bool> = gate
        .of
        .iter()
        .map(|child| match child {
            Node::Gate(gate) => suffices(gate, have),
            Node::Seat(_) => {
                let (first, rest) = have.split_first().unwrap();
                *have = rest;
                *first
            }
        })
        .collect();
    had.into_iter().filter(|&had| had).count() >= gate.t
}

fn noise(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed | 1;
    move |out| {
        out.fill_with(|| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        });
    }
}

fn quorum_and_subset() -> impl Strategy<Value = (Gate, Vec<bool>)> {
    quorums().prop_flat_map(|quorum| {
        let seats = quorum.seat_count();
        (
            Just(quorum),
            prop::collection::vec(prop::bool::weighted(0.7), seats),
        )
    })
}

proptest! {
    #[test]
    fn a_sufficient_set_and_no_other_regenerates(
        (quorum, have) in quorum_and_subset(),
        value: [u8; 32],
        seed: u64,
    ) {
        prop_assert_eq!(quorum.validate(), Ok(()));
        let shares = sharing::split(&value, &quorum, &mut noise(seed)).unwrap();
        let had: Vec<_> = shares
            .iter()
            .zip(&have)
            .map(|(share, &have)| have.then(|| share.expose()))
            .collect();
        let mut out = [0xa5; 32];
        let combined = sharing::combine(&quorum, &had, &mut out);
        prop_assert_eq!(combined, suffices(&quorum, &mut &have[..]));
        prop_assert_eq!(combined, quorum.satisfied(&have));
        prop_assert_eq!(out, if combined { value } else { [0xa5; 32] });
    }

    /// Whom to ask for a lost seat, and what is made of their shares, agree; the share is the one that was dealt.
    #[test]
    fn a_lost_share_is_regenerated_from_others_wherever_it_can_be(
        (quorum, mut have) in quorum_and_subset(),
        lost: prop::sample::Index,
        value: [u8; 32],
        seed: u64,
    ) {
        let lost = lost.index(have.len());
        let shares = sharing::split(&value, &quorum, &mut noise(seed)).unwrap();
        let cost: Vec<_> = have.iter().map(|have| have.then_some(1)).collect();
        let asked = quorum.cheapest_to_reseat(lost, &cost);
        let regenerate = |have: &[bool]| {
            let had: Vec<_> = shares
                .iter()
                .zip(have)
                .map(|(share, &have)| have.then(|| share.expose()))
                .collect();
            let mut out = [0; 32];
            sharing::regenerate(&quorum, &had, &value, lost, &mut out).then_some(out)
        };
        if let Some(asked) = &asked {
            prop_assert!(!asked.contains(&lost) && asked.iter().all(|&seat| have[seat]));
            let only: Vec<_> = (0..have.len()).map(|seat| asked.contains(&seat)).collect();
            prop_assert!(quorum.satisfied(&only));
            prop_assert_eq!(regenerate(&only), Some(*shares[lost].expose()));
        }
        have[lost] = false;
        let possible = quorum.satisfied(&have) && regenerate(&have).is_some();
        prop_assert_eq!(asked.is_some(), possible);
    }

    /// Had a gate no more than t−1 shares, every value would be as likely: here, one seat short.
    #[test]
    fn one_share_fewer_says_nothing(t in 2usize..6, value: [u8; 32], other: [u8; 32], seed: u64) {
        let of: Vec<_> = (0..t).map(|i| Node::Seat(format!("s{i}"))).collect();
        let gate = Gate { t, of };
        let shares = sharing::split(&value, &gate, &mut noise(seed)).unwrap();
        // the missing share can be chosen so that any other value comes out
        let mut had: Vec<[u8; 32]> = shares.iter().map(|share| *share.expose()).collect();
        let difference: [u8; 32] = std::array::from_fn(|i| value[i] ^ other[i]);
        let unit = {
            let mut unit = vec![[0; 32]; t];
            unit[t - 1] = [1; 32];
            let unit: Vec<_> = unit.iter().map(Some).collect();
            let mut out = [0; 32];
            assert!(sharing::combine(&gate, &unit, &mut out));
            out[0]
        };
        let inverse = (1..=255).find(|&x| multiply(x, unit) == 1).unwrap();
        for (byte, difference) in had[t - 1].iter_mut().zip(difference) {
            *byte ^= multiply(difference, inverse);
        }
        let had: Vec<_> = had.iter().map(Some).collect();
        let mut out = [0; 32];
        prop_assert!(sharing::combine(&gate, &had, &mut out));
        prop_assert_eq!(out, other);
    }

    #[test]
    fn a_quorum_reads_back_as_it_is_written(quorum in quorums()) {
        prop_assert_eq!(Gate::parse(&quorum.to_string()), Ok(quorum));
    }

    #[test]
    fn reading_a_quorum_never_panics(text in "([0-9]{1,3}|of|[(),]|[a-c]| |\\PC){0,30}") {
        if let Ok(gate) = Gate::parse(&text) {
            prop_assert_eq!(gate.validate(), Ok(()));
        }
    }

    /// Against all subsets, for quorums small enough.
    #[test]
    fn the_cheapest_set_is_the_cheapest_of_all(
        quorum in quorums().prop_filter("few seats", |quorum| quorum.seat_count() <= 12),
        costs in prop::collection::vec(prop::option::weighted(0.85, 0u64..12), 12),
    ) {
        let seats = quorum.seat_count();
        let costs = &costs[..seats];
        let price = |set: &[usize]| -> Option<(u64, u64)> {
            let prices: Option<Vec<u64>> = set.iter().map(|&seat| costs[seat]).collect();
            let prices = prices?;
            Some((prices.iter().copied().max()?, prices.iter().sum()))
        };
        let best = (0u32..1 << seats)
            .filter_map(|bits| {
                let have: Vec<bool> = (0..seats).map(|seat| bits >> seat & 1 == 1).collect();
                let set: Vec<usize> = (0..seats).filter(|&seat| have[seat]).collect();
                suffices(&quorum, &mut &have[..]).then(|| price(&set))?
            })
            .min();
        let chosen = quorum.cheapest(costs);
        prop_assert_eq!(chosen.as_ref().and_then(|set| price(set)), best);
        if let Some(set) = chosen {
            let have: Vec<bool> = (0..seats).map(|seat| set.contains(&seat)).collect();
            prop_assert!(suffices(&quorum, &mut &have[..]));
            prop_assert!(set.is_sorted_by(|a, b| a < b));
        }
    }
}

/// Slow and obvious.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in (0..8).rev() {
        product = (product << 1) ^ if product & 0x80 != 0 { 0x1b } else { 0 };
        product ^= if b >> bit & 1 == 1 { a } else { 0 };
    }
    product
}
