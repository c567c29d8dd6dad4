//! Requests: composed, posted, answered; holders reached for and lost.

use std::sync::Arc;

use evanesce_wire::client::CallError;
use evanesce_wire::message::{Answers, Code as Decision};
use tokio::spawn;
use tokio::task::AbortHandle;

use crate::answers::{Expected, Heard, Judged, judge};
use crate::compose::{Asker, Contexts, Sent, compose};
use crate::fault::Trouble;
use crate::io::link::{Down, Live, down};
use crate::open::SealedShare;
use crate::outbox::{Ask, shares_of};

use super::{DEAF, Driver, Event, SWEEP};

/// A request under way.
pub(super) struct Flight {
    place: usize,
    live: Arc<Live>,
    sent_at: u64,
    /// When it is given up: when the last of its openings must end, or soon after all of them have.
    until: u64,
    /// Its openings, as long as one of them is known to be under way.
    openings: Vec<u64>,
    /// Shares it asks for.
    shares: usize,
    task: AbortHandle,
}

/// A request that ended.
pub(crate) struct Answered {
    flight: u64,
    sent: Vec<Sent>,
    result: Result<Answers, CallError>,
}

impl Driver {
    pub(super) fn mark(&mut self, place: usize) {
        if !std::mem::replace(&mut self.holders[place].dirty, true) {
            self.dirty.push(place);
        }
    }

    /// Sends what waits for a holder, as far as it may go out now.
    pub(super) fn send(&mut self, place: usize) {
        let (openings, holder) = (&self.openings, &mut self.holders[place]);
        if !holder.outbox.retain(|key| openings.contains_key(&key)) {
            return;
        }
        let Some(live) = holder.link.live() else {
            return self.try_to_reach(place);
        };
        if holder.session != live.session.id {
            // Another session may be with an agent that has started anew and forgotten everything.
            (holder.session, holder.contexts) = (live.session.id, Contexts::default());
            holder.latency.way(live.round_trip.as_micros() as u64);
        }
        let mut stale = Vec::new();
        while let Some(asks) = holder.outbox.take(holder.latency.fastest()) {
            // What was proven for a session that is over cannot be asked under another.
            let (asks, over): (Vec<Ask>, Vec<Ask>) = asks
                .into_iter()
                .partition(|ask| ask.work.may_go_under(&live.session.id));
            holder.outbox.without(shares_of(&over));
            stale.extend(over);
            if asks.is_empty() {
                holder.outbox.ended(0);
                continue;
            }
            let ends = asks
                .iter()
                .filter_map(|ask| Some(openings.get(&ask.key)?.deadline));
            let until = ends.max().unwrap_or(self.now);
            let shares = shares_of(&asks);
            let keys = asks.iter().map(|ask| ask.key).collect();
            let asker = Asker {
                caller: &self.caller,
                session: &live.session.id,
                now: self.side.world.unix_seconds(),
            };
            let (body, sent) = compose(asks, &asker, &holder.contexts, &mut self.ids);
            let flight = self.next_key;
            self.next_key += 1;
            let (link, way, tell) = (holder.link.clone(), live.clone(), self.tell.clone());
            let task = spawn(async move {
                let answer = link.post(&way, "contribute", body).await;
                let result = answer.and_then(|answer| Ok(Answers::decode(&answer)?));
                let _ = tell.send(Event::Answered(Box::new(Answered {
                    flight,
                    sent,
                    result,
                })));
            });
            let (live, task) = (live.clone(), task.abort_handle());
            let sent_at = self.now;
            self.flights.insert(
                flight,
                Flight {
                    place,
                    live,
                    sent_at,
                    until,
                    openings: keys,
                    shares,
                    task,
                },
            );
            self.next_sweep = self.next_sweep.min(self.now + SWEEP);
        }
        // A session about to end is renewed beside the requests that still use it.
        holder.link.renew_early();
        for ask in stale {
            self.over(&ask);
        }
    }

    /// Nothing is to be had of a holder for an operation that was proven for another session with it. That is no fault
    /// of the holder's.
    fn over(&mut self, ask: &Ask) {
        if let Some(opening) = self.openings.get_mut(&ask.key) {
            for seat in &ask.seats {
                opening.plan.note(*seat, Err(Trouble::Unreachable));
                let detail = "what the caller has proven is for a session with it that is over";
                opening.details.push((*seat, detail.to_owned()));
            }
            self.touched.push(ask.key);
        }
    }

    pub(super) fn try_to_reach(&mut self, place: usize) {
        let holder = &mut self.holders[place];
        if std::mem::replace(&mut holder.trying, true) {
            return;
        }
        let (link, tell) = (holder.link.clone(), self.tell.clone());
        spawn(async move {
            let result = link.ready().await.map(drop);
            let _ = tell.send(Event::Tried(place, result));
        });
    }

    pub(super) fn tried(&mut self, place: usize, result: Result<(), Down>) {
        self.holders[place].trying = false;
        match result {
            Ok(()) => self.mark(place),
            Err(down) => {
                let asks = self.holders[place].outbox.drain();
                self.holders[place].latency.failed(self.now);
                for ask in asks {
                    self.fail_ask(&ask, place, &down);
                }
            }
        }
    }

    pub(super) fn fail_ask(&mut self, ask: &Ask, place: usize, down: &Down) {
        for seat in &ask.seats {
            self.trouble(ask.key, place, *seat, down.trouble, down.detail.clone());
        }
        self.touched.push(ask.key);
    }

    /// Gives up requests that nobody waits for any more: their streams are reset and their places are free.
    ///
    /// One whose openings have all ended is left as long as its holder usually takes, for what is learned of the
    /// holder from its answer.
    pub(super) fn sweep(&mut self) {
        let (mut over, mut next) = (Vec::new(), self.now + SWEEP);
        for (key, flight) in &mut self.flights {
            if flight.until <= self.now {
                over.push(*key);
                continue;
            }
            if !flight.openings.is_empty() {
                let wanted = |key| self.openings.contains_key(key);
                if flight.openings.iter().any(wanted) {
                    continue;
                }
                flight.openings.clear();
                let patience = self.holders[flight.place].latency.patience(self.now, true);
                flight.until = flight.until.min(self.now + patience);
            }
            next = next.min(flight.until);
        }
        // In the order in which they were sent, that a run can be repeated.
        over.sort_unstable();
        for flight in over
            .iter()
            .filter_map(|key| self.flights.remove(key))
            .collect::<Vec<_>>()
        {
            let Flight {
                place,
                live,
                sent_at,
                openings,
                shares,
                task,
                ..
            } = flight;
            task.abort();
            let holder = &mut self.holders[place];
            holder.outbox.ended(shares);
            holder.latency.gave_up(self.now, self.now - sent_at);
            // If nothing at all has come since, the way itself may be dead: surely enough where a whole deadline
            // has passed, and where one request after the other was given up.
            if holder.heard < sent_at {
                holder.deaf_since = holder.deaf_since.min(sent_at);
                if !openings.is_empty() || self.now - holder.deaf_since >= DEAF {
                    holder.deaf_since = u64::MAX;
                    holder.link.drop_way(&live);
                }
            }
            self.mark(place);
        }
        self.next_sweep = if self.flights.is_empty() {
            u64::MAX
        } else {
            next
        };
    }

    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered {
            flight,
            sent,
            result,
        } = answered;
        let Some(flight) = self.flights.remove(&flight) else {
            return;
        };
        let Flight {
            place,
            live,
            sent_at,
            shares,
            ..
        } = flight;
        self.holders[place].outbox.ended(shares);
        self.mark(place);
        match result {
            Ok(answers) => {
                self.holders[place].heard = self.now;
                self.holders[place].deaf_since = u64::MAX;
                self.hear(place, &live, sent, sent_at, answers);
            }
            Err(error) => {
                let another = self.holders[place].link.worth_another(&error, &live, true);
                let down = down(&error);
                for Sent { mut ask, .. } in sent {
                    if another && !ask.again {
                        (ask.again, ask.cold) = (true, true);
                        self.holders[place].outbox.push(ask);
                    } else {
                        self.fail_ask(&ask, place, &down);
                    }
                }
            }
        }
    }

    /// Takes an agent's answers apart.
    pub(super) fn hear(
        &mut self,
        place: usize,
        live: &Arc<Live>,
        sent: Vec<Sent>,
        sent_at: u64,
        answers: Answers,
    ) {
        if answers.openings.len() != sent.len() {
            let detail = format!(
                "answered {} openings of {}",
                answers.openings.len(),
                sent.len()
            );
            let down = Down::new(Trouble::Lied, detail);
            sent.iter()
                .for_each(|sent| self.fail_ask(&sent.ask, place, &down));
            return;
        }
        let way = self.now.saturating_sub(sent_at);
        for (
            mut answer,
            Sent {
                mut ask,
                request_hash,
                by_id,
            },
        ) in answers.openings.into_iter().zip(sent)
        {
            let holder = &mut self.holders[place];
            let took = if ask.cold {
                way
            } else {
                self.now.saturating_sub(ask.at)
            };
            holder.latency.answered(self.now, took, way);
            if !by_id && matches!(answer.code, Decision::Done | Decision::Refused) {
                holder.contexts.learn(&ask.work.token);
            }
            let Some(opening) = self.openings.get_mut(&ask.key) else {
                continue;
            };
            if let Some(proof) = answer.receipt.take() {
                opening
                    .receipts
                    .push(live.peer.receipt(proof, &answers.checkpoint));
            }
            match judge(
                &answer,
                Expected::Shares,
                &ask.work.token,
                &ask.seats,
                &live.peer,
                by_id,
            ) {
                Judged::ContextUnknown => {
                    holder.contexts.forget(ask.work.token.id());
                    (ask.again, ask.cold) = (true, true);
                    holder.outbox.push(ask);
                    self.mark(place);
                }
                Judged::Seats(seats) => {
                    for (seat, heard) in seats {
                        self.heard_of(&ask, place, live, seat, heard, request_hash);
                    }
                    self.touched.push(ask.key);
                }
            }
        }
    }

    pub(super) fn heard_of(
        &mut self,
        ask: &Ask,
        place: usize,
        live: &Arc<Live>,
        seat: u32,
        heard: Heard,
        request_hash: [u8; 32],
    ) {
        let (counter, sealed) = match heard {
            Heard::Share { counter, sealed } => (counter, sealed),
            Heard::Good => return,
            Heard::Trouble(trouble, detail) => {
                return self.trouble(ask.key, place, seat, trouble, detail);
            }
        };
        let Some(opening) = self.openings.get_mut(&ask.key) else {
            return;
        };
        opening.plan.note(seat, Ok(()));
        let agent = live.peer.id;
        opening.sealed.push(SealedShare {
            seat,
            session: live.session.clone(),
            counter,
            sealed,
            request_hash,
            agent,
        });
    }
}
