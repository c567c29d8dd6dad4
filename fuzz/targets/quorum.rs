//! A quorum as people write it.
#![no_main]

use evanesce_fuzz::{bounded, refusal_is_printable};
use evanesce_token::Gate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parsed = bounded(text.len(), || Gate::parse(text));
    let Some(gate) = refusal_is_printable(parsed) else {
        return;
    };
    gate.validate().expect("a parsed quorum is a valid one");
    let written = gate.to_string();
    let again = Gate::parse(&written).expect("the normal form parses");
    assert_eq!(again, gate);
    assert_eq!(again.to_string(), written);

    let seats = gate.seats().len();
    assert!(gate.satisfied(&vec![true; seats]));
    assert!(!gate.satisfied(&vec![false; seats]));
    // Costs and absences that follow from the text alone.
    let costs: Vec<Option<u64>> = (0..seats)
        .map(|i| Some(u64::from(text.as_bytes()[i % text.len()])).filter(|cost| cost % 4 != 0))
        .collect();
    let available: Vec<bool> = costs.iter().map(Option::is_some).collect();
    match gate.cheapest(&costs) {
        None => assert!(!gate.satisfied(&available), "a sufficient set was there"),
        Some(chosen) => {
            let mut have = vec![false; seats];
            for seat in chosen {
                assert!(available[seat], "an unavailable seat was chosen");
                have[seat] = true;
            }
            assert!(gate.satisfied(&have), "what was chosen is not sufficient");
        }
    }
});
