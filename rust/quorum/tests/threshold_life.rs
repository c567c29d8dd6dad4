//! Keys that are never put together outlive the roots and the holders of their shares, at the product's own agents.

mod common;

use std::path::PathBuf;

use common::real::{self, Five, agents};
use common::together::*;
use common::wait;
use evanesce_agent::{AgentError, Rolled, roll};
use evanesce_quorum::*;
use evanesce_token::Gate;
use evanesce_token::mpc::Kind;

const QUORUM: &str = "2 of (s0, s1, s2)";

/// An operator's inventory of some tokens, under names that do not say what they are.
fn inventory(five: &Five, tokens: &[&[u8]]) -> PathBuf {
    let folder = five.folder.path().join("inventory");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    for (number, token) in tokens.iter().enumerate() {
        std::fs::write(folder.join(format!("key-{number}")), token).unwrap();
    }
    folder
}

/// The epochs whose roots an agent that is stopped holds.
fn held(five: &Five, agent: usize) -> Vec<u64> {
    evanesce_agent::probe(&five.config(agent)).unwrap().epochs
}

fn rolled(five: &Five, agent: usize, destroy_old: Option<u64>) -> Result<Rolled, AgentError> {
    let inventory = five.folder.path().join("inventory");
    roll(&five.config(agent), &inventory, destroy_old, &mut |_, _| {
        true
    })
}

/// A token of the first kind.
fn first(five: &Five) -> Vec<u8> {
    let quorum = Gate::parse(QUORUM).unwrap();
    let spec = MintSpec {
        quorum,
        ..real::spec("")
    };
    let minted = wait(|done| five.reconstructor.mint(spec, done));
    let minted: Minted = minted.unwrap_or_else(|e| panic!("{e}"));
    minted.token.encode()
}

#[test]
fn no_root_is_destroyed_that_a_share_needs_of_a_key_which_is_never_put_together() {
    let mut five = agents(3, &[]);
    let masked = create(&five, Kind::Regenerated, SUITES[0], QUORUM, "").encode();
    let kept = create(&five, Kind::Kept, SUITES[0], QUORUM, "");
    let first = first(&five);
    five.stop(0);
    inventory(&five, &[&masked, &first]);
    for destroy in [None, Some(1)] {
        let rolled = rolled(&five, 0, destroy).unwrap();
        assert_eq!(
            (rolled.problem_count, rolled.destroyed),
            (1, None),
            "{rolled:?}"
        );
        assert!(
            rolled.problems[0].why.contains("refresh-shares"),
            "{rolled:?}"
        );
    }
    // What it keeps itself the agent knows, whatever the inventory holds.
    inventory(&five, &[&first]);
    let error = rolled(&five, 0, Some(1)).err().unwrap().to_string();
    assert!(error.contains(&hex::encode(kept.id())), "{error}");
    assert_eq!(held(&five, 0), [1, 2]);
    five.start(0);
    five.stop(2);
    let signed = sign(&five, &kept, vec![message(b"m")]).unwrap_or_else(|e| panic!("{e}"));
    assert!(verifies(&kept, b"m", &signed.outputs[0]));
}
