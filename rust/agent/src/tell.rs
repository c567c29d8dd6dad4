//! What an operator is told of work that is done: counters, and events of what was not done.

use std::sync::atomic::Ordering::Relaxed;

use evanesce_wire::message::{Code, SeatResult};

use crate::events::{Event, Events};
use crate::gate::Verb;
use crate::metrics::Metrics;
use crate::regenerate::Outcome;
use crate::work::Work;

/// Counts what was decided, and tells of what was not done and of what was retired.
pub fn tell(work: &Work, metrics: &Metrics, events: &Events) {
    let retired = match work.verb {
        Verb::Retire => work.retired(),
        _ => Vec::new(),
    };
    for decision in &work.decisions {
        metrics.decided(work.verb, decision.code);
        let Some(token) = &decision.token else {
            continue;
        };
        let (caller, key) = (work.who.name.as_str(), token.judged().name());
        let token = token.judged().id();
        if !matches!(decision.code, Code::Done | Code::Unrouted) {
            events.emit(Event::Refused {
                verb: work.verb.as_str(),
                caller,
                token: &hex::encode(token),
                key,
                code: decision.code.as_str(),
                why: &decision.reason,
            });
        } else if retired.contains(token) {
            events.emit(Event::Retired {
                caller,
                token: &hex::encode(token),
                key,
            });
        }
    }
    for task in &work.tasks {
        let outcome = task.done.outcome();
        let why = match &outcome {
            Outcome::Seat(SeatResult::Fault(fault), why) => {
                why.as_deref().unwrap_or(fault.as_str())
            }
            Outcome::NotSeated(why) => why,
            _ => continue,
        };
        metrics.faulty.fetch_add(1, Relaxed);
        let token = hex::encode(task.body.id);
        events.emit(Event::Faulty {
            token: &token,
            seat: task.seat,
            why,
        });
    }
}
