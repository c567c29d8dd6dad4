//! Grants (`docs/delegation.md`): what must hold of what was done under them.

use std::collections::HashMap;

use evanesce_wire::{Id, Identity};

use crate::invariants::Evidence;
use crate::people::people;

/// What an agent releases under a grant is for its delegate, within its time, its actions and its count, of a token whose
/// policy permits it to the grantor; and nothing of what is asked once the agent has said that the grant was revoked, across
/// every start. An agent whose disk went back counts anew, and has forgotten what was revoked since; in mode `process` a loss of
/// power may take the entries that it would count by.
pub fn grants_are_kept_to(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let grants = evidence.stage.grants();
    let mut used: HashMap<(usize, u64, Id), u64> = HashMap::new();
    for opening in evidence.released() {
        let Some((entry, ..)) = &opening.entry else {
            continue;
        };
        let Some(id) = entry.basis.grants.first() else {
            continue;
        };
        let (agent, life) = (opening.agent, opening.life);
        let mut wrong =
            |why: &str| broken.push(format!("agent {agent} released under a grant {why}"));
        let Some((_, grant)) = grants.iter().find(|(other, _)| other == id) else {
            wrong("that nobody gave");
            continue;
        };
        let mut callers = people().callers.iter();
        let grantor = callers.position(|key| key.caller_id() == grant.grantor);
        let known = evidence.find(&entry.token);
        let permitted = known.is_some_and(|known| {
            known.delegable && grantor.is_some_and(|place| known.permits.contains(&place))
        });
        if !permitted {
            wrong("of one whom the policy does not permit it");
        }
        if entry.caller != grant.delegate
            || entry.token != grant.token
            || entry.basis.grants.len() > 1
        {
            wrong("of another caller or another token");
        }
        let covers = |action: &String, suite: &String| {
            grant.actions.contains(action) && grant.suites.contains(suite)
        };
        if entry
            .operations
            .iter()
            .any(|one| !covers(&one.action, &one.suite))
        {
            wrong("that is not for that");
        }
        if !(grant.not_before..grant.expires).contains(&(entry.time / 1000)) {
            wrong("out of its time");
        }
        let refused = evidence.seen.refused.iter().any(|one| {
            let same = one.agent == agent && one.life.history == life.history && one.grant == *id;
            same && one.at < opening.asked
        });
        if refused {
            wrong("that it had said was revoked");
        }
        if evidence.may_be_lost(opening) {
            continue;
        }
        let used = used.entry((agent, life.history, *id)).or_default();
        *used += entry.operations.len() as u64;
        if grant.count.is_some_and(|most| *used > most) {
            let count = *used;
            wrong(&format!("{count} operations of {:?}", grant.count));
        }
    }
}
