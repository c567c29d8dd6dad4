//! Every seat of a token asked at once for a word: `check` and `retire` (PROTOCOL §5).

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_token::Token;
use evanesce_wire::message::{Answers, Receipt};
use tokio::spawn;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::answers::{Expected, Heard, Judged, judge};
use crate::compose::{Asker, Contexts, Ids, compose, compose_check};
use crate::fault::{Fault, Trouble};
use crate::io::link::Down;
use crate::io::side::Side;
use crate::outbox::Ask;
use crate::work::Work;

/// What is asked.
#[derive(Clone)]
pub(crate) enum Verb {
    Check,
    /// With the statement to sign off.
    Retire(Arc<Work>),
}

/// One seat's word.
pub(crate) struct Word {
    pub seat: u32,
    pub trouble: Option<Trouble>,
    pub fault: Option<Fault>,
    /// µs over a standing connection; `None` where nobody answered.
    pub latency: Option<u64>,
}

/// Everyone's words in seat order, waited for until `until`, and what the agents say they logged.
pub(crate) async fn everyone(
    side: &Arc<Side>,
    token: &Arc<Token>,
    verb: Verb,
    until: Instant,
) -> (Vec<Word>, Vec<Receipt>) {
    let mut seats_of: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut words = Vec::with_capacity(token.rows.len());
    for (row, seat) in token.rows.iter().zip(0..) {
        match side.directory.by_id(&row.holder) {
            Some(place) => seats_of.entry(place).or_default().push(seat),
            None => {
                let detail = "its id is not in your quorum file".to_owned();
                words.push(word(
                    side,
                    token,
                    seat,
                    Heard::Trouble(Trouble::UnknownHolder, detail),
                    None,
                ));
            }
        }
    }
    let mut tasks = Vec::with_capacity(seats_of.len());
    for (place, seats) in seats_of {
        let (side, token, verb) = (side.clone(), token.clone(), verb.clone());
        tasks.push(spawn(async move {
            ask(&side, &token, place, seats, verb, until).await
        }));
    }
    let lost = |seat| {
        let broke_off = Heard::Trouble(Trouble::Unreachable, Down::broke_off().detail);
        word(side, token, seat, broke_off, None)
    };
    gather(token.rows.len(), words, tasks, lost).await
}

/// Exactly one word a seat, in seat order: one of `words`, or of what the tasks bring, or else `lost`. A task that
/// panics must not make its seats look well, nor be left out of the count.
async fn gather(
    seats: usize,
    words: Vec<Word>,
    tasks: Vec<JoinHandle<(Vec<Word>, Option<Receipt>)>>,
    lost: impl Fn(u32) -> Word,
) -> (Vec<Word>, Vec<Receipt>) {
    let (mut all, mut receipts) = (words, Vec::new());
    for task in tasks {
        if let Ok((more, receipt)) = task.await {
            all.extend(more);
            receipts.extend(receipt);
        }
    }
    let mut by_seat: BTreeMap<u32, Word> = all.into_iter().map(|word| (word.seat, word)).collect();
    let words = (0..seats as u32)
        .map(|seat| by_seat.remove(&seat).unwrap_or_else(|| lost(seat)))
        .collect();
    (words, receipts)
}

/// One holder's words for some of its seats.
pub(crate) async fn ask(
    side: &Arc<Side>,
    token: &Arc<Token>,
    place: usize,
    seats: Vec<u32>,
    verb: Verb,
    until: Instant,
) -> (Vec<Word>, Option<Receipt>) {
    let link = &side.links[place];
    let failed = |down: Down| {
        let heard = |seat: &u32| {
            word(
                side,
                token,
                *seat,
                Heard::Trouble(down.trouble, down.detail.clone()),
                None,
            )
        };
        (seats.iter().map(heard).collect(), None)
    };
    let path = match verb {
        Verb::Check => "check",
        Verb::Retire(_) => "retire",
    };
    // The connection first, so that the answer's time says something of the holder.
    match tokio::time::timeout_at(until, link.ready()).await {
        Ok(Ok(_)) => {}
        Ok(Err(down)) => return failed(down),
        Err(_) => {
            return failed(Down::new(
                Trouble::Unreachable,
                "it does not complete a connection",
            ));
        }
    }
    let asked = Instant::now();
    let compose = |live: &crate::io::link::Live| {
        Ok(match &verb {
            Verb::Check => compose_check(token, &seats),
            Verb::Retire(work) => {
                let asker = Asker {
                    caller: &side.caller,
                    session: &live.session.id,
                    now: side.world.unix_seconds(),
                };
                let ask = Ask {
                    key: 0,
                    work: work.clone(),
                    seats: seats.clone(),
                    at: 0,
                    cold: false,
                    again: false,
                };
                let ids = &mut Ids::new(side.world.clone());
                compose(vec![ask], &asker, &Contexts::default(), ids).0
            }
        })
    };
    let (mut answers, live) = match link.exchange(path, until, compose, Answers::decode).await {
        Ok(answered) => answered,
        Err(down) => return failed(down),
    };
    let latency = asked.elapsed().as_micros() as u64;
    let (Some(mut answer), true) = (answers.openings.pop(), answers.openings.is_empty()) else {
        return failed(Down::new(
            Trouble::Lied,
            "answered another number of openings than one",
        ));
    };
    let receipt = answer
        .receipt
        .take()
        .map(|proof| live.peer.receipt(proof, &answers.checkpoint));
    let words = match judge(&answer, Expected::Word, token, &seats, &live.peer, false) {
        Judged::Seats(heard) => heard
            .into_iter()
            .map(|(seat, heard)| word(side, token, seat, heard, Some(latency)))
            .collect(),
        Judged::ContextUnknown => {
            return failed(Down::new(
                Trouble::Lied,
                "asks for a context that it was given",
            ));
        }
    };
    (words, receipt)
}

fn word(side: &Side, token: &Token, seat: u32, heard: Heard, latency: Option<u64>) -> Word {
    let Heard::Trouble(trouble, detail) = heard else {
        return Word {
            seat,
            trouble: None,
            fault: None,
            latency,
        };
    };
    let holder_id = token.rows[seat as usize].holder;
    let fault = Fault {
        seat: token
            .body
            .header
            .quorum
            .seats()
            .get(seat as usize)
            .map(|&name| name.to_owned()),
        seat_number: Some(seat),
        holder: side.directory.name_of(&holder_id),
        holder_id,
        kind: trouble.kind(),
        detail,
    };
    Word {
        seat,
        trouble: Some(trouble),
        fault: Some(fault),
        latency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seat: u32, trouble: Option<Trouble>) -> Word {
        Word {
            seat,
            trouble,
            fault: None,
            latency: None,
        }
    }

    #[test]
    fn seats_of_a_lost_task_are_unreachable_and_none_is_left_out() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (words, _) = runtime.block_on(async {
            let good = spawn(async { (vec![said(3, None), said(1, None)], None) });
            let lost = spawn(async { panic!("as the test says") });
            let unknown = vec![said(4, Some(Trouble::UnknownHolder))];
            gather(5, unknown, vec![lost, good], |seat| {
                said(seat, Some(Trouble::Unreachable))
            })
            .await
        });
        let words: Vec<_> = words.iter().map(|word| (word.seat, word.trouble)).collect();
        let lost = Some(Trouble::Unreachable);
        assert_eq!(
            words,
            [
                (0, lost),
                (1, None),
                (2, lost),
                (3, None),
                (4, Some(Trouble::UnknownHolder))
            ]
        );
    }
}
