//! Faults that are there on purpose are found, each within a few hundred schedules, by the invariant it breaks.

use evanesce_sim::planted::Planted;
use evanesce_sim::rng::Rng;
use evanesce_sim::run::play;

/// Schedules until the invariant is seen broken.
fn found(planted: Planted, invariant: &str) {
    let mut seeds = Rng::new(19);
    for number in 1..=600 {
        let verdict = play(seeds.draw(), planted, false);
        if verdict
            .broken
            .iter()
            .any(|what| what.starts_with(invariant))
        {
            println!("{planted:?}: {invariant}, after {number} schedules");
            return;
        }
    }
    panic!("{planted:?} was not found");
}

#[test]
fn an_agent_that_answers_before_it_writes() {
    found(
        Planted::AnswersBeforeItWrites,
        "what is released is in the log",
    );
}

#[test]
fn an_agent_whose_syncs_do_nothing() {
    found(Planted::OmitsSyncs, "what is released is in the log");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_forgets_its_counts_when_it_starts() {
    found(Planted::ForgetsCounts, "no quota is exceeded");
}

#[test]
fn an_agent_that_forgets_its_tombstones_when_it_starts() {
    found(Planted::ForgetsTombstones, "retired stays retired");
}

#[test]
fn an_agent_that_forgets_its_orders_when_it_starts() {
    found(Planted::ForgetsOrders, "what was ordered holds");
}

#[test]
fn an_agent_that_forgets_which_grants_were_revoked_when_it_starts() {
    found(Planted::ForgetsRevokedGrants, "grants are kept to");
}

#[test]
fn an_operator_who_retires_a_token_before_the_new_one_is_durable() {
    found(Planted::RetiresFirst, "healing loses nothing");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_takes_a_requests_id_twice() {
    found(Planted::TakesReplays, "one answer a request");
}

#[cfg(feature = "planted")]
#[test]
fn a_reconstructor_that_takes_any_share_for_good() {
    found(Planted::TrustsShares, "success where t agree");
}

#[cfg(feature = "planted")]
#[test]
fn a_mint_that_counts_unchecked() {
    found(Planted::CountsUnchecked, "a mint counts with every seat");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_answers_before_it_has_heard_from_its_peers() {
    found(Planted::AnswersUnheard, "peers come first");
    found(Planted::AnswersUnheard, "a start is no way to forget");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_forgets_which_approvals_were_spent_when_it_starts() {
    found(Planted::ForgetsApprovals, "an approval is good once");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_takes_an_approval_twice() {
    found(Planted::SpendsTwice, "an approval is good once");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_lets_a_delegate_ask_for_anything() {
    found(Planted::WidensGrants, "grants are kept to");
}

#[cfg(feature = "planted")]
#[test]
fn an_agent_that_answers_from_an_old_copy_of_which_its_peers_have_told_it() {
    found(Planted::AnswersRestored, "peers come first");
}
