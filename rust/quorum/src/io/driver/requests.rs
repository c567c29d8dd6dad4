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

use super::{Driver, Event, SWEEP};

/// A request under way.
pub(super) struct Flight {
    place: usize,
    live: Arc<Live>,
    sent_at: u64,
    /// When the last of its openings ends.
    until: u64,
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
        while let Some(asks) = holder.outbox.take(holder.latency.fastest()) {
            let ends = asks
                .iter()
                .filter_map(|ask| Some(openings.get(&ask.key)?.deadline));
            let until = ends.max().unwrap_or(self.now);
            let shares = shares_of(&asks);
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
                    shares,
                    task,
                },
            );
            self.next_sweep = self.next_sweep.min(self.now + SWEEP);
        }
        // A session about to end is renewed beside the requests that still use it.
        holder.link.renew_early();
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

    /// Gives up requests that nobody waits for any more, so that their places are free.
    pub(super) fn sweep(&mut self) {
        let over: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, f)| f.until < self.now)
            .map(|(key, _)| *key)
            .collect();
        for flight in over
            .iter()
            .filter_map(|key| self.flights.remove(key))
            .collect::<Vec<_>>()
        {
            let Flight {
                place,
                live,
                sent_at,
                shares,
                task,
                ..
            } = flight;
            task.abort();
            let holder = &mut self.holders[place];
            holder.outbox.ended(shares);
            holder.latency.failed(self.now);
            // If nothing at all has come since, the way itself may be dead.
            if holder.heard < sent_at {
                holder.link.drop_way(&live);
            }
            self.mark(place);
        }
        self.next_sweep = if self.flights.is_empty() {
            u64::MAX
        } else {
            self.now + SWEEP
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
