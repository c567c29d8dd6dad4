//! What people have approved: that they did, that they may, and that nothing is approved twice with one word.
//!
//! An approval counts if it is of an approver: of whom the token's policy names, where it names anyone, else of whom the
//! agent's directory does. Each such approval that comes with an opening must be good, or the opening is refused: over one
//! of the requests, as its text says, within its time, not by the caller, and not spent. It is spent once the opening it
//! came with was permitted.
//!
//! Spent ids are remembered for as long as an approval can last; at a start the log's last entries tell them.

use std::collections::{HashMap, HashSet, VecDeque};

use evanesce_approval::{AHEAD, Approval, Asked, Statement};
use evanesce_policy::{Approver, Compiled, Payload};
use evanesce_wire::Id;
use evanesce_wire::message::{Code, Evidence, Spent};

use crate::delegated::Delegated;
use crate::gate::{Case, Refusal};
use crate::known::Directory;

/// Most spent approvals remembered at a time, half of them one caller's.
const MOST: usize = 1 << 16;

/// Approvals that were spent.
#[derive(Default)]
pub struct Used {
    ids: HashSet<Id>,
    /// The same, by when they may be forgotten (Unix seconds), each with the caller whose operation it was spent on.
    order: VecDeque<(u64, Id, Id)>,
    /// How many of them are of each caller.
    of: HashMap<Id, usize>,
}

impl Used {
    /// Whether it was spent.
    pub fn has(&self, id: &Id) -> bool {
        self.ids.contains(id)
    }

    /// Spends them on an operation of `caller` at `now` (Unix seconds), and forgets what has ended long since.
    pub fn spend<'a>(&mut self, caller: &Id, spent: impl IntoIterator<Item = &'a Spent>, now: u64) {
        self.forget(now);
        self.remember(caller, spent, now);
    }

    /// Forgets what had ended by `now` (Unix seconds).
    fn forget(&mut self, now: u64) {
        while let Some((until, id, of)) = self.order.front()
            && *until < now
        {
            self.ids.remove(id);
            if let Some(count) = self.of.get_mut(of) {
                *count -= 1;
                if *count == 0 {
                    self.of.remove(of);
                }
            }
            self.order.pop_front();
        }
    }

    /// Takes up what was spent at `then` (Unix seconds), and forgets nothing: at a start the log may have entries of a time
    /// that has not come, from when the clock was ahead.
    pub fn remember<'a>(
        &mut self,
        caller: &Id,
        spent: impl IntoIterator<Item = &'a Spent>,
        then: u64,
    ) {
        let until = then + AHEAD;
        let at = self.order.partition_point(|(other, ..)| *other <= until);
        for one in spent {
            if self.ids.insert(one.id) {
                self.order.insert(at, (until, one.id, *caller));
                *self.of.entry(*caller).or_default() += 1;
            }
        }
    }

    /// Whether there is no room for another one of `caller`, who may take up half.
    fn is_full(&self, caller: &Id, now: u64) -> bool {
        let ended = self.order.partition_point(|(until, ..)| *until < now);
        let live = self.order.range(ended..);
        let own = self.of.get(caller).is_some_and(|count| *count >= MOST / 2)
            && live.clone().filter(|(.., of)| of == caller).count() >= MOST / 2;
        own || live.len() >= MOST
    }
}

/// The approvals that came along.
pub fn read(evidence: &Evidence) -> Result<Vec<Approval>, Refusal> {
    let approvals = evidence.approvals.iter();
    approvals
        .map(|bytes| {
            Approval::decode(bytes).map_err(|e| Refusal::new(Code::Malformed, e.to_string()))
        })
        .collect()
}

/// What was found of the approvals.
pub struct Approved {
    /// For each request those who have approved it, each once.
    pub by: Vec<Vec<Spent>>,
    /// Why some do not count, for people; empty where all do.
    pub strangers: String,
}

/// Judges the approvals that came along.
pub fn verified(
    case: &Case<'_>,
    delegated: Option<&Delegated>,
    approvals: &[Approval],
    payloads: &[Option<Payload>],
) -> Result<Approved, Refusal> {
    let mut found = vec![Vec::new(); case.requests.len()];
    let mut strangers = String::new();
    for approval in approvals {
        let id = approval.approver_id();
        let Some(approver) = approver(case.policy, case.directory, &id) else {
            // Anyone may leave one among the others; it must not take them along.
            if strangers.is_empty() {
                let whom = match case.policy.and_then(Compiled::approvers) {
                    Some(_) => "the token's policy does not name",
                    None => "this agent does not know",
                };
                let id = hex::encode(&id[..8]);
                strangers =
                    format!("; not counted is the approval of {id}, an approver whom {whom}");
            }
            continue;
        };
        let fault = |why: String| {
            let why = format!("the approval of {}: {why}", approver.name);
            Refusal::new(Code::Refused, why)
        };
        let spent = one(case, delegated, approval, approver, &found, payloads).map_err(fault)?;
        if case.used.is_full(&case.who.id, case.now) {
            let why = "too many approvals are remembered; try again in a quarter of an hour";
            return Err(Refusal::new(Code::Overloaded, why));
        }
        found[spent.0].push(spent.1);
    }
    Ok(Approved {
        by: found,
        strangers,
    })
}

/// Whoever has that id, of those whose approval counts.
fn approver<'a>(
    policy: Option<&'a Compiled>,
    directory: &'a Directory,
    id: &Id,
) -> Option<&'a Approver> {
    match policy.and_then(Compiled::approvers) {
        Some(named) => named.iter().find(|one| one.id == *id),
        None => directory.find(id)?.approver.as_ref(),
    }
}

/// Which request an approval is of, and what is written down of it.
fn one(
    case: &Case<'_>,
    delegated: Option<&Delegated>,
    approval: &Approval,
    approver: &Approver,
    found: &[Vec<Spent>],
    payloads: &[Option<Payload>],
) -> Result<(usize, Spent), String> {
    // The cheap questions first; none of the answers counts before the signature is verified.
    let said = Statement::decode(&approval.statement).map_err(|e| e.to_string())?;
    let asked = |place: usize| {
        let request = &case.requests[place];
        Asked {
            token: case.body.id(),
            key: case.body.name(),
            action: &request.action,
            suite: &request.suite,
            input: &request.input,
            caller: &request.caller,
            payload: payloads[place].as_ref(),
        }
    };
    let mut why = "it is of nothing that is asked here".to_owned();
    let mut of = None;
    for (place, others) in found.iter().enumerate() {
        match asked(place).is_approved_by(&said, case.now) {
            Ok(()) if others.iter().any(|other| other.approver == approver.id) => {
                why = "it comes twice".into();
            }
            Ok(()) => {
                of = Some(place);
                break;
            }
            // Of several requests it is about one at most; the reason is of interest where there is no other.
            Err(other) if found.len() == 1 => why = other,
            Err(_) => {}
        }
    }
    let Some(place) = of else {
        return Err(why);
    };
    // Who lets another ask in their place asks too.
    let grantors = delegated
        .iter()
        .flat_map(|chain| chain.between.iter().chain([&chain.grantor]));
    let mut asking = grantors.map(AsRef::as_ref).chain([case.who]);
    if asking.any(|who| approver.id == who.id || approver.name == who.name) {
        return Err("whoever asks cannot approve it".into());
    }
    let id = approval.id();
    if found.iter().flatten().any(|other| other.id == id) {
        return Err("it comes twice".into());
    }
    #[cfg(feature = "planted")]
    let spent = case.used.has(&id) && !crate::planted::SPENDS_TWICE.get();
    #[cfg(not(feature = "planted"))]
    let spent = case.used.has(&id);
    if spent {
        return Err("it was spent before".into());
    }
    approval.verify(approver.webauthn.as_ref())?;
    Ok((
        place,
        Spent {
            id,
            name: approver.name.clone(),
            approver: approver.id,
        },
    ))
}

#[cfg(test)]
mod tests;
