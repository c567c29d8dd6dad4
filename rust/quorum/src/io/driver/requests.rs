//! Requests: composed, posted, answered; holders reached for and lost.

use std::sync::Arc;
use std::time::Duration;

use evanesce_wire::WireError;
use evanesce_wire::client::CallError;
use evanesce_wire::message::{Answers, Code as Decision};
use tokio::spawn;
use tokio::time::timeout_at;

use crate::answers::{Expected, Heard, Judged, judge};
use crate::compose::{Asker, Contexts, Sent, compose};
use crate::fault::Trouble;
use crate::io::link::{Down, Live, down};
use crate::open::SealedShare;
use crate::outbox::Ask;
use crate::work::unix_now;

use super::{Driver, Event, LEEWAY};

pub(crate) struct Answered {
    place: usize,
    live: Arc<Live>,
    sent: Vec<Sent>,
    sent_at: u64,
    result: Result<Answers, CallError>,
    timed_out: bool,
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
            let deadline = asks
                .iter()
                .filter_map(|ask| Some(openings.get(&ask.key)?.deadline))
                .max()
                .unwrap_or(self.now);
            let until = self.epoch + Duration::from_micros(deadline) + LEEWAY;
            let asker = Asker {
                caller: &self.caller,
                session: &live.session.id,
                now: unix_now(),
            };
            let (body, sent) = compose(asks, &asker, &holder.contexts, &mut self.ids);
            let (link, live, tell, sent_at) = (
                holder.link.clone(),
                live.clone(),
                self.tell.clone(),
                self.now,
            );
            spawn(async move {
                let call = async {
                    let answer = link.post(&live, "contribute", body).await?;
                    Ok(Answers::decode(&answer)?)
                };
                let answered = timeout_at(until.into(), call).await;
                let timed_out = answered.is_err();
                let result = answered.unwrap_or(Err(CallError::Wire(WireError::SessionEnded)));
                let _ = tell.send(Event::Answered(Box::new(Answered {
                    place,
                    live,
                    sent,
                    sent_at,
                    result,
                    timed_out,
                })));
            });
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

    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered {
            place,
            live,
            sent,
            sent_at,
            result,
            timed_out,
        } = answered;
        self.holders[place]
            .outbox
            .ended(sent.iter().map(|sent| sent.ask.seats.len()).sum());
        self.mark(place);
        match result {
            Ok(answers) => {
                self.holders[place].heard = self.now;
                self.hear(place, &live, sent, sent_at, answers);
            }
            Err(_) if timed_out => {
                // Whoever waited for it has ended. If nothing at all has come since, the way itself may be dead.
                if self.holders[place].heard < sent_at {
                    self.holders[place].link.drop_way(&live);
                }
                self.holders[place].latency.failed(self.now);
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
