//! Orders and peers (`docs/revocation.md`): what must hold of them, by what was on agents' disks and what had reached them.

use std::collections::HashSet;
use std::sync::Arc;

use evanesce_wire::Id;
use evanesce_wire::disk::{FRAME, take_frame};
use evanesce_wire::merkle::{Frontier, leaf_hash};
use evanesce_wire::message::{Command, Exchanged, Head, Kept, Order};
use evanesce_wire::note::Checkpoint;

use crate::disk::Recorded;
use crate::invariants::Evidence;
use crate::ledger::{Life, Opening};
use crate::node::Node;
use crate::people::people;
use crate::stage::Stage;
use crate::world::BEGIN;

/// Clocks that differ by no more agree, in ms; an agent takes 30 s.
const AGREE: i64 = 29_000;
/// An order of a time this far ahead is not taken yet, in ms.
const AHEAD: u64 = 300_000;

/// What was ordered of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// For good.
    pub revoked: bool,
    /// The latest word was to freeze it.
    pub frozen: bool,
    /// The latest word on freezing and thawing.
    latest: Option<(u64, Command)>,
}

impl State {
    fn of<'a>(orders: impl Iterator<Item = &'a Order>) -> Self {
        let mut state = Self::default();
        for order in orders {
            match order.command {
                Command::Revoke => state.revoked = true,
                command => state.latest = state.latest.max(Some((order.issued, command))),
            }
        }
        state.frozen = state
            .latest
            .is_some_and(|(_, command)| command == Command::Freeze);
        state
    }
}

/// What an agent's disk says now of a token.
pub fn now(node: &Node, token: &Id) -> State {
    let orders = node.disk.orders_now().into_iter();
    let orders: Vec<Order> = orders.map(|one| decoded(&one.order)).collect();
    State::of(orders.iter().filter(|order| order.token == *token))
}

fn decoded(order: &[u8]) -> Order {
    Order::decode(order).expect("an order that an agent has taken")
}

/// An order on an agent's disk, with what it says.
struct Held {
    at: u64,
    life: Life,
    entries: u64,
    order: Order,
}

/// All of an agent's, in every history.
fn held(evidence: &Evidence<'_>, node: &Node) -> Vec<Held> {
    let of = |one: Recorded| Held {
        at: evidence.stage.ledger.at(one.at),
        life: one.life,
        entries: one.entries,
        order: decoded(&one.order.order),
    };
    node.disk.orders().into_iter().map(of).collect()
}

/// What an agent was ordered of a token before the entry of that number, in that life.
fn before(held: &[Held], token: &Id, life: Life, entry: u64) -> State {
    let earlier = held.iter().filter(|one| {
        let same = one.order.token == *token && one.life.history == life.history;
        same && (one.life.start, one.entries) <= (life.start, entry)
    });
    State::of(earlier.map(|one| &one.order))
}

/// An agent that has a revocation or a freeze on its disk releases nothing of that token behind its entry, across every
/// start; but for what it was ordered after the copy to which its disk went back.
pub fn what_was_ordered_holds(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    let held: Vec<Vec<Held>> = evidence
        .nodes()
        .iter()
        .map(|node| held(evidence, node))
        .collect();
    for opening in evidence.released() {
        let Some((entry, _, index)) = &opening.entry else {
            continue;
        };
        let (agent, life) = (opening.agent, opening.life);
        let state = before(&held[agent], &entry.token, life, *index);
        if state.revoked || state.frozen {
            broken.push(format!(
                "agent {agent} released {} at {} ms: {state:?}",
                crate::ledger::short(&entry.token),
                opening.at
            ));
        }
    }
}

/// What enough of an agent's honest peers had on their disks when it started, and have kept, it knows before it answers:
/// whichever of them it has heard, one of these was among them. Whether its own disk went back makes no difference.
pub fn a_start_is_no_way_to_forget(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    if evidence.schedule.peers.is_none() {
        return;
    }
    let held: Vec<Vec<Held>> = evidence
        .nodes()
        .iter()
        .map(|node| held(evidence, node))
        .collect();
    if held.iter().all(Vec::is_empty) {
        return;
    }
    for opening in evidence.released() {
        let Some((entry, _, index)) = &opening.entry else {
            continue;
        };
        let node = &evidence.nodes()[opening.agent];
        let began = node.began(opening.life.start);
        let own = before(&held[opening.agent], &entry.token, opening.life, *index);
        let (mut others, mut revoked, mut frozen) = (0, 0, 0);
        for peer in evidence
            .nodes()
            .iter()
            .filter(|peer| peer.place != node.place)
        {
            others += 1;
            if !peer.is_honest() {
                continue;
            }
            let state = |until: u64| {
                kept(
                    evidence,
                    &held[peer.place],
                    peer.place,
                    entry,
                    until,
                    opening,
                )
            };
            let (then, now) = (state(began), state(opening.at + 1));
            revoked += usize::from(then.revoked);
            frozen += usize::from(then.frozen && now.frozen && then.latest > own.latest);
        }
        let needed = node.peers.as_ref().map_or(0, |peers| peers.needed);
        for (knew, what) in [(revoked, "revoked"), (frozen, "frozen")] {
            if others - knew < needed {
                broken.push(format!(
                    "agent {}, which started at {began} ms, released {} at {} ms, which {knew} of its peers knew to be \
                     {what}",
                    node.place,
                    crate::ledger::short(&entry.token),
                    opening.at
                ));
            }
        }
    }
}

/// What `peer` had on its disk before `until` and has kept until the release.
fn kept(
    evidence: &Evidence<'_>,
    held: &[Held],
    peer: usize,
    entry: &evanesce_wire::message::Entry,
    until: u64,
    opening: &Opening,
) -> State {
    let rollbacks = &evidence.seen.rollbacks;
    let kept = held.iter().filter(|one| {
        let went =
            |(agent, at): &(usize, u64)| *agent == peer && (one.at..=opening.at).contains(at);
        let of_this_time =
            one.order.command == Command::Revoke || one.order.issued <= entry.time + AHEAD;
        let same = one.order.token == entry.token && one.at < until;
        same && of_this_time && !rollbacks.iter().any(went)
    });
    State::of(kept.map(|one| &one.order))
}

/// An agent with peers answers nothing before as many of them have answered it as it needs, in this life; and nothing that
/// is asked once one has shown it that its log is not what it was.
pub fn peers_come_first(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    for opening in &evidence.seen.openings {
        let node = &evidence.nodes()[opening.agent];
        let Some(peers) = &node.peers else { continue };
        let own = || {
            let heard = evidence.seen.heard.iter();
            heard.filter(|one| one.agent == opening.agent && one.life == opening.life)
        };
        let before: HashSet<usize> = own()
            .filter(|one| one.at <= opening.at)
            .map(|one| one.peer)
            .collect();
        let (agent, at) = (opening.agent, opening.at);
        if before.len() < peers.needed {
            let (heard, needed) = (before.len(), peers.needed);
            broken.push(format!(
                "agent {agent} answered at {at} ms: {heard} of {needed} peers"
            ));
        }
        if own().any(|one| one.other_log && one.at < opening.asked) {
            broken.push(format!(
                "agent {agent} answered at {at} ms, restored from an old copy"
            ));
        }
    }
}

/// In the calm every agent that answers knows each order that another one has which it can hear.
pub fn orders_go_round(evidence: &Evidence<'_>, broken: &mut Vec<String>) {
    if evidence.schedule.peers.is_none() {
        return;
    }
    let up: Vec<&Arc<Node>> = evidence
        .nodes()
        .iter()
        .filter(|n| n.is_up() && n.is_honest())
        .collect();
    for one in up.iter().filter(|one| surely_answers(evidence.stage, one)) {
        for known in &evidence.tokens {
            let token = known.token.id();
            let own = now(one, token);
            for other in &up {
                let its = taken(evidence, other, token);
                let agree = match one.has_retired(token) {
                    true => own.revoked || !its.revoked,
                    false => !its.revoked && own.latest >= its.latest,
                };
                if !agree {
                    let (one, other) = (one.place, other.place);
                    broken.push(format!("agent {one} has {own:?} and agent {other} {its:?}"));
                }
            }
        }
    }
}

/// What an agent's disk says of a token, but for what is of a time that has not come for others.
fn taken(evidence: &Evidence<'_>, node: &Node, token: &Id) -> State {
    let now = BEGIN + evidence.stage.ledger.now();
    let orders = node.disk.orders_now().into_iter();
    let orders: Vec<Order> = orders.map(|one| decoded(&one.order)).collect();
    let come = |order: &&Order| order.command == Command::Revoke || order.issued <= now + AHEAD;
    State::of(
        orders
            .iter()
            .filter(|order| order.token == *token)
            .filter(come),
    )
}

/// Whether an agent that is up answers in the calm, for certain: it has peers enough that are up and honest, of clocks like
/// its own, and none of them has seen more of its log than it has, or has shown it in this life.
pub fn surely_answers(stage: &Stage, node: &Node) -> bool {
    let Some(peers) = &node.peers else {
        return true;
    };
    let nodes = &stage.net.nodes;
    let up = |peer: &&Arc<Node>| peer.place != node.place && peer.is_up() && peer.is_honest();
    let of_one_time = |node: &Node| node.farthest_ahead() <= AGREE;
    let agreeing = nodes
        .iter()
        .filter(up)
        .filter(|peer| of_one_time(peer))
        .count();
    nodes.iter().filter(up).count() >= peers.needed
        && of_one_time(node)
        && 2 * agreeing >= peers.all.len()
        && !node.knows_it_was_restored()
        && !nodes.iter().any(|peer| has_seen_more(peer, node))
}

/// Whether an honest agent keeps a head of another's log that the log does not have. Only a disk that went back has lost any.
fn has_seen_more(peer: &Node, node: &Node) -> bool {
    if node.life().history == 0 || !peer.is_honest() {
        return false;
    }
    let kept = Kept::decode(&peer.disk.file("seen")).unwrap_or_default();
    let mut own = kept
        .0
        .iter()
        .filter(|(agent, _)| *agent == people().ids[node.place]);
    own.any(|(_, head)| !has(node, head))
}

/// Whether what a peer has answered shows a head of `node`'s log that the log on its disk does not have.
pub fn shows_other_log(node: &Node, answer: &[u8]) -> bool {
    let answer = Exchanged::decode(answer);
    answer.is_ok_and(|answer| answer.seen.iter().any(|head| !has(node, head)))
}

/// Whether the log on a disk has the tree of that head.
fn has(node: &Node, head: &Head) -> bool {
    let log = node.disk.file("log/entries");
    let (mut leaves, mut rest) = (Vec::new(), &log[..]);
    while let Some((.., after)) = take_frame(rest, &people().ids[node.place]) {
        leaves.push(leaf_hash(&rest[FRAME..rest.len() - after.len()]));
        rest = after;
    }
    let checkpoint = Checkpoint::parse(&head.checkpoint).expect("a head that was verified");
    let first = leaves.get(..checkpoint.size as usize);
    first.is_some_and(|first| Frontier::default().append(first).root == checkpoint.root)
}
