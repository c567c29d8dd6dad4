//! What must hold, one function each (`docs/simulation.md`). Each gives what it found broken.

use std::collections::{HashMap, HashSet};

use evanesce_agent::Commit;
use evanesce_quorum::Code;
use evanesce_token::Token;
use evanesce_wire::Id;
use evanesce_wire::disk::{FRAME, take_frame};
use evanesce_wire::message::Code as Decision;

use crate::approved;
use crate::granted;
use crate::heals::{AHEAD, opens};
use crate::ledger::{Inner, Loss, Opening, Verb};
use crate::node::Node;
use crate::ordered;
use crate::people::people;
use crate::schedule::Schedule;
use crate::stage::{Good, Known, Stage, Told, seed, share};
use crate::syncer::WINDOW;
use crate::world::BEGIN;

/// What they judge by, once a schedule has ended.
pub struct Evidence<'a> {
    /// What was to happen.
    pub schedule: &'a Schedule,
    /// Who took part.
    pub stage: &'a Stage,
    /// What left agents.
    pub seen: &'a Inner,
    /// What callers were told.
    pub told: &'a [Told],
    /// Tokens minted before, and those that healing has made of them.
    pub tokens: Vec<Known>,
}

/// One of them.
pub type Invariant = fn(&Evidence<'_>, &mut Vec<String>);

/// All of them, by name.
pub const INVARIANTS: [(&str, Invariant); 18] = [
    ("fewer than t never suffice", fewer_never_suffice),
    ("what is released is in the log", released_is_logged),
    ("one answer a request", one_answer_a_request),
    ("retired stays retired", retired_stays_retired),
    ("expired stays expired", expired_stays_expired),
    ("who may not is refused", who_may_not_is_refused),
    ("no quota is exceeded", no_quota_is_exceeded),
    ("a mint counts with every seat", mint_counts_with_every_seat),
    ("an answer by the deadline", answered_in_time),
    ("success where t agree", success_where_enough_agree),
    ("logs are whole", logs_are_whole),
    ("healing loses nothing", healing_loses_nothing),
    ("what was ordered holds", ordered::what_was_ordered_holds),
    (
        "a start is no way to forget",
        ordered::a_start_is_no_way_to_forget,
    ),
    ("peers come first", ordered::peers_come_first),
    ("orders go round", ordered::orders_go_round),
    ("grants are kept to", granted::grants_are_kept_to),
    (
        "an approval is good once",
        approved::an_approval_is_good_once,
    ),
];

impl Evidence<'_> {
    /// With the newest of its rows.
    pub fn find(&self, id: &Id) -> Option<&Known> {
        let mut newest = self.tokens.iter().rev();
        newest.find(|known| known.token.id() == id)
    }

    /// The agents.
    pub fn nodes(&self) -> &[std::sync::Arc<Node>] {
        &self.stage.net.nodes
    }

    /// Whether the entry of an answer may have been lost with the power, by which an agent would have known of it.
    pub fn may_be_lost(&self, opening: &Opening) -> bool {
        let lost = |loss: &Loss| {
            let since = loss.unsynced.unwrap_or(u64::MAX);
            loss.agent == opening.agent && (since..=loss.at).contains(&opening.at)
        };
        self.nodes()[opening.agent].commit == Commit::Process && self.seen.losses.iter().any(lost)
    }

    /// Answers with shares.
    pub fn released(&self) -> impl Iterator<Item = &Opening> {
        let openings = self.seen.openings.iter();
        openings.filter(|opening| opening.verb == Verb::Contribute && !opening.good.is_empty())
    }
}

/// Whether these seats of a token would do.
fn suffices(token: &Token, seat: impl Fn(u32) -> bool) -> bool {
    let seats: Vec<bool> = (0..token.rows.len() as u32).map(seat).collect();
    token.body.header.quorum.satisfied(&seats)
}

fn agent_at(token: &Token, seat: u32) -> Option<usize> {
    let holder = token.rows[seat as usize].holder;
    people().ids.iter().position(|id| *id == holder)
}

/// Behind every use of a key are releases for that very input, by a sufficient set of honest agents.
fn fewer_never_suffice(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for told in evidence.told {
        let (Ok(Good::Used(inputs)), Some(id)) = (&told.result, told.token) else {
            continue;
        };
        let Some(known) = evidence.find(&id) else {
            continue;
        };
        for input in inputs {
            let mut seats: HashSet<u32> = HashSet::new();
            for opening in evidence.released() {
                let Some((entry, ..)) = &opening.entry else {
                    continue;
                };
                let mut operations = entry.operations.iter();
                if entry.token == id && operations.any(|one| one.input == *input) {
                    seats.extend(&opening.good);
                }
            }
            if !suffices(&known.token, |seat| seats.contains(&seat)) {
                broken.push(format!("{} succeeded with seats {seats:?}", told.act));
            }
        }
    }
}

/// The entries of an agent's log, as its disk has them.
fn entries(node: &Node) -> (Vec<Vec<u8>>, usize) {
    let bytes = node.disk.file("log/entries");
    let (mut entries, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((.., after)) = take_frame(rest, &people().ids[node.place]) {
        entries.push(rest[FRAME..rest.len() - after.len()].to_vec());
        rest = after;
    }
    (entries, rest.len())
}

/// Every share that left an agent has its entry in that agent's log, at its place. Where the disk went back to an
/// earlier day, only what came after counts; in mode `process` a loss of power may take what was not synced by
/// then, which is of the last milliseconds unless something else kept the agent from syncing.
fn released_is_logged(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for node in evidence.nodes() {
        let (entries, _) = entries(node);
        let losses = || {
            evidence
                .seen
                .losses
                .iter()
                .filter(|loss| loss.agent == node.place)
        };
        for loss in losses().filter(|loss| loss.was_well) {
            let age = loss.unsynced.map_or(0, |since| loss.at - since);
            if age > WINDOW {
                broken.push(format!("agent {} had not synced for {age} ms", node.place));
            }
        }
        let history = node.life().history;
        for opening in evidence
            .seen
            .openings
            .iter()
            .filter(|o| o.agent == node.place)
        {
            let Some((_, bytes, index)) = &opening.entry else {
                continue;
            };
            let lost = |loss: &Loss| {
                let since = loss.unsynced.unwrap_or(u64::MAX);
                (since..=loss.at).contains(&opening.at)
            };
            let relaxed = opening.life.history != history
                || node.commit == Commit::Process && losses().any(lost);
            if !relaxed && entries.get(*index as usize) != Some(bytes) {
                let (at, place) = (opening.at, node.place);
                broken.push(format!(
                    "agent {place} answered at {at} ms with entry {index}, which its log does not have"
                ));
            }
        }
    }
}

/// An agent releases shares for a request once at most, as long as its process lives.
fn one_answer_a_request(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for opening in evidence.released() {
        let Some((entry, ..)) = &opening.entry else {
            continue;
        };
        for operation in &entry.operations {
            if !seen.insert((opening.agent, opening.life.start, operation.request)) {
                broken.push(format!(
                    "agent {} released twice for one request",
                    opening.agent
                ));
            }
        }
    }
}

/// Once an agent has said that a token is retired it never releases a share of it again, and a token that a blocking
/// set has retired is never used again; across every start, unless a disk went back to an earlier day.
fn retired_stays_retired(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let mut retired: HashMap<(usize, u64, Id), (u64, u64)> = HashMap::new();
    for opening in &evidence.seen.openings {
        let Some((entry, _, index)) = &opening.entry else {
            continue;
        };
        let place = (opening.agent, opening.life.history, entry.token);
        let done = opening.verb == Verb::Retire
            && opening.code == Decision::Done
            && !opening.good.is_empty();
        if done || opening.code == Decision::Retired {
            retired.entry(place).or_insert((*index, opening.at));
        } else if opening.verb == Verb::Contribute
            && !opening.good.is_empty()
            && let Some((before, _)) = retired.get(&place)
            && index > before
        {
            broken.push(format!(
                "agent {} released {} after it was retired there",
                opening.agent,
                crate::ledger::short(&entry.token)
            ));
        }
    }
    let rolled = |agent: usize| evidence.nodes()[agent].life().history > 0;
    for told in evidence.told {
        let (Ok(Good::Used(_)), Some(id)) = (&told.result, told.token) else {
            continue;
        };
        let Some(known) = evidence.find(&id) else {
            continue;
        };
        let dead = |seat: u32| {
            agent_at(&known.token, seat).is_some_and(|agent| {
                let at = retired.get(&(agent, 0, id));
                !rolled(agent) && at.is_some_and(|(_, at)| *at < told.began)
            })
        };
        if !suffices(&known.token, |seat| !dead(seat)) {
            broken.push(format!("{} used a token that was dead", told.act));
        }
    }
}

/// Once an agent has said that a token has expired it never releases a share of it again, however its clock is turned;
/// and never releases one that has expired by the time in its own entry. A loss of power in mode `process`, or a disk
/// that went back, may take the entry from which a start knows the time.
fn expired_stays_expired(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let mut expired = HashSet::new();
    for opening in &evidence.seen.openings {
        let Some((entry, ..)) = &opening.entry else {
            continue;
        };
        let lost = |loss: &&Loss| loss.agent == opening.agent && loss.at <= opening.at;
        let losses = match evidence.nodes()[opening.agent].commit {
            Commit::Process => evidence.seen.losses.iter().filter(lost).count(),
            Commit::Power => 0,
        };
        let place = (opening.agent, opening.life.history, losses, entry.token);
        if opening.code == Decision::Expired {
            expired.insert(place);
        }
        if opening.verb != Verb::Contribute || opening.good.is_empty() {
            continue;
        }
        let Some(known) = evidence.find(&entry.token) else {
            continue;
        };
        let late = known.token.expired_at(entry.time / 1000);
        if late || expired.contains(&place) {
            broken.push(format!("agent {} released an expired token", opening.agent));
        }
    }
}

/// A caller whom the policy does not permit never uses a key, no honest agent releases a share to it, and only who may
/// retires or mints.
fn who_may_not_is_refused(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for opening in evidence.released() {
        let Some((entry, ..)) = &opening.entry else {
            continue;
        };
        let caller = people().callers.iter().position(|key| {
            use evanesce_wire::Identity;
            key.caller_id() == entry.caller
        });
        let permitted = evidence
            .find(&entry.token)
            .is_none_or(|known| caller.is_some_and(|caller| known.permits.contains(&caller)));
        // Who asks under a grant is its grantor's to permit.
        let permitted = permitted || !entry.basis.grants.is_empty();
        if !permitted {
            broken.push(format!("agent {} released to {caller:?}", opening.agent));
        }
    }
    for opening in &evidence.seen.openings {
        use evanesce_wire::Identity;
        let done = opening.verb == Verb::Retire && opening.code == Decision::Done;
        let minter = people().callers[0].caller_id();
        if done
            && opening
                .entry
                .as_ref()
                .is_some_and(|(entry, ..)| entry.caller != minter)
        {
            broken.push(format!(
                "agent {} retired for who is no minter",
                opening.agent
            ));
        }
    }
    for told in evidence.told {
        let known = told.token.and_then(|id| evidence.find(&id));
        match &told.result {
            Ok(Good::Used(_))
                if known.is_some_and(|k| !k.delegable && !k.permits.contains(&told.caller)) =>
            {
                broken.push(format!("{} was permitted", told.act));
            }
            Ok(Good::Minted(_)) if told.caller != 0 => {
                broken.push(format!("{} by who is no minter", told.act));
            }
            Ok(Good::Ordered(seats, _)) if told.caller != 0 => {
                // A liar obeys whatever anyone says.
                let liars = evidence
                    .schedule
                    .liars
                    .iter()
                    .map(|liar| format!("s{liar}"));
                let liars: Vec<String> = liars.collect();
                let altered = evidence.schedule.alters();
                if !altered && seats.iter().any(|seat| !liars.contains(seat)) {
                    broken.push(format!("{} by who is no minter", told.act));
                }
            }
            _ => {}
        }
    }
}

/// An agent permits no more operations than the token's policy lets it, however many ask at once, across every start; unless
/// a disk went back to an earlier day, or in mode `process` a loss of power took the entries that it would count by.
fn no_quota_is_exceeded(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let mut used: HashMap<(usize, u64, Id), Vec<(u64, Id)>> = HashMap::new();
    for opening in evidence.released() {
        let Some((entry, ..)) = &opening.entry else {
            continue;
        };
        let Some(quota) = evidence.find(&entry.token).and_then(|known| known.quota) else {
            continue;
        };
        if evidence.may_be_lost(opening) {
            continue;
        }
        let place = (opening.agent, opening.life.history, entry.token);
        let used = used.entry(place).or_default();
        used.extend(entry.operations.iter().map(|_| (entry.time, entry.caller)));
        let own = used.iter().filter(|(_, caller)| *caller == entry.caller);
        let second = used
            .iter()
            .filter(|(time, _)| time.abs_diff(entry.time) < 1000);
        // Up to this one: a later one may have left before it.
        let second = second.filter(|(time, _)| *time <= entry.time).count();
        for (count, most, what) in [
            (used.len(), quota.all, ""),
            (own.count(), quota.caller, " of one caller's"),
            (second, quota.second, " in a second"),
        ] {
            if count > most {
                let agent = opening.agent;
                broken.push(format!(
                    "agent {agent} permitted {count} operations{what} of {most}"
                ));
            }
        }
    }
}

/// A mint that counts has a row at every seat from which that seat's honest holder regenerates the share that was dealt,
/// was checked there, and whose shares give the seed of the anchor.
fn mint_counts_with_every_seat(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let altered = evidence.schedule.alters();
    for told in evidence.told {
        let token = match &told.result {
            Ok(Good::Minted(minted)) => &minted.token,
            Ok(Good::Reshared(token)) => token,
            _ => continue,
        };
        let honest = |seat: u32| {
            agent_at(token, seat).is_some_and(|agent| evidence.nodes()[agent].is_honest())
        };
        for seat in (0..token.rows.len() as u32).filter(|seat| honest(*seat)) {
            if share(token, seat).is_none() {
                broken.push(format!("a mint counted whose seat {seat} is not seated"));
            }
            let agent = agent_at(token, seat);
            let checked = |opening: &&Opening| {
                let in_time = (told.began..=told.ended).contains(&opening.at);
                let same = opening.verb == Verb::Check && Some(opening.agent) == agent;
                // What was said may have been altered on its way into what was heard.
                same && in_time && (altered || opening.good.contains(&seat))
            };
            if evidence.seen.openings.iter().filter(checked).count() == 0 {
                broken.push(format!("a mint counted whose seat {seat} was not checked"));
            }
        }
        if suffices(token, honest) && seed(token, honest).is_none() {
            broken.push("a mint counted whose shares do not give the seed".into());
        }
    }
}

/// Late by this much is in time: timers go off on whole milliseconds.
const SLACK: u64 = 5;

/// Whatever happens, the caller is answered by its deadline, and a failure names its culprits.
fn answered_in_time(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for told in evidence.told {
        let took = told.ended - told.began;
        if took > told.budget + SLACK {
            broken.push(format!("{} took {took} ms", told.act));
        }
        if let Err((code, faults)) = &told.result {
            let alone = [Code::Expired, Code::Internal, Code::BadInput].contains(code);
            if *code == Code::Internal || !alone && faults.is_empty() {
                broken.push(format!(
                    "{} failed with {code}, which names nobody",
                    told.act
                ));
            }
        }
    }
}

/// In the calm at the end: where the seats of agents that are up, honest, well and of this time suffice, and they permit
/// it, it succeeds; where the seats of agents that may answer at all do not suffice, it fails.
fn success_where_enough_agree(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for told in evidence.told.iter().filter(|told| told.calm) {
        let Some(known) = told.token.and_then(|id| evidence.find(&id)) else {
            continue;
        };
        if known.quota.is_some() {
            continue;
        }
        let is_use = told.act.starts_with("Use");
        let token = &known.token;
        let permitted = known.permits.contains(&told.caller);
        let now = (BEGIN + told.ended) / 1000;
        let would = |seat: u32, surely: bool| {
            agent_at(token, seat).is_some_and(|agent| {
                let node = &evidence.nodes()[agent];
                let ahead = node.farthest_ahead();
                let of_this_time =
                    ahead <= AHEAD && !token.expired_at(now + ahead.max(0) as u64 / 1000 + 3);
                let up = node.is_up() && opens(evidence.stage, token, seat);
                let up = up && !ordered::now(node, token.id()).frozen;
                up && (!surely || of_this_time && ordered::surely_answers(evidence.stage, node))
            })
        };
        let never = !permitted || token.expired_at((BEGIN + told.began) / 1000);
        match &told.result {
            Ok(Good::Used(_)) if never || !suffices(token, |seat| would(seat, false)) => {
                broken.push(format!("{} succeeded in the calm", told.act));
            }
            Err((code, faults))
                if is_use && !never && suffices(token, |seat| would(seat, true)) =>
            {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let why = faults.join("; ");
                broken.push(format!("{} failed in the calm: {code}: {why}", told.act));
            }
            _ => {}
        }
    }
}

/// At the end every agent's log is a row of whole entries with nothing torn behind, in the order of its clock, which
/// never goes back.
fn logs_are_whole(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for node in evidence
        .nodes()
        .iter()
        .filter(|node| node.is_up() && node.is_honest())
    {
        let (entries, torn) = entries(node);
        if torn > 0 {
            broken.push(format!(
                "agent {} has {torn} torn bytes in its log",
                node.place
            ));
        }
        let times = entries.iter().filter_map(|entry| {
            use evanesce_wire::message::Entry;
            Entry::decode(entry).ok().map(|entry| entry.time)
        });
        let times: Vec<u64> = times.collect();
        if times.windows(2).any(|two| two[1] < two[0]) {
            broken.push(format!("agent {}'s clock went back", node.place));
        }
    }
}

/// Whatever stops an operator who heals a key: the old token's file or the new one's opens the same key, with the honest
/// seats that it would have opened with before; and the old token is retired only once the new one is durable.
fn healing_loses_nothing(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for case in evidence.stage.heals() {
        case.judge(&evidence.seen.openings, evidence.stage, broken);
    }
}
