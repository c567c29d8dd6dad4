//! Approvals (`docs/approvals.md`): what must hold of what needs them.

use std::collections::HashMap;

use evanesce_wire::{Id, Identity};

use crate::invariants::Evidence;
use crate::people::people;
use crate::run::APPROVED;

/// Nothing of a token that needs an approval is released without one for each of its operations, of this very input, by who may
/// give it, within its time; and with each an agent releases once, across every start. An agent whose disk went back has
/// forgotten what was spent since; in mode `process` a loss of power may take the entries that it would remember it by.
pub fn an_approval_is_good_once(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let approvals = evidence.stage.approvals();
    let token = evidence.tokens[APPROVED].token.id();
    let mut spent: HashMap<(usize, u64, Id), usize> = HashMap::new();
    for opening in evidence.released() {
        let Some((entry, ..)) = opening
            .entry
            .as_ref()
            .filter(|(entry, ..)| entry.token == *token)
        else {
            continue;
        };
        let agent = opening.agent;
        let mut wrong = |why: &str| broken.push(format!("agent {agent} released {why}"));
        for operation in &entry.operations {
            let good = entry.basis.approvals.iter().any(|one| {
                let found = approvals.iter().find(|(id, _)| *id == one.id);
                found.is_some_and(|(_, statement)| {
                    let same = statement.input == operation.input
                        && statement.action == operation.action
                        && statement.caller == entry.caller
                        && statement.token == entry.token;
                    same && one.approver == people().approver.caller_id()
                        && entry.time / 1000 < statement.expires
                })
            });
            if !good {
                wrong("what nobody had approved");
            }
        }
        if evidence.may_be_lost(opening) {
            continue;
        }
        for one in &entry.basis.approvals {
            let times = spent
                .entry((agent, opening.life.history, one.id))
                .or_default();
            *times += 1;
            if *times > 1 {
                let times = *times;
                wrong(&format!("{times} times with one approval"));
            }
        }
    }
}
