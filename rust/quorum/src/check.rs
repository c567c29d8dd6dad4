//! Checking: every seat asked whether its share can be regenerated; nothing is released (PROTOCOL §5).

use std::sync::Arc;
use std::time::Duration;

use evanesce_token::Token;
use evanesce_wire::Id;
use evanesce_wire::message::Receipt;
use tokio::join;
use tokio::time::Instant;

use crate::error::Error;
use crate::everyone::{Verb, everyone};
use crate::fault::Fault;
use crate::io::side::Side;
use crate::settled::Settled;
use crate::work::{Work, refuse_expired};

/// What every seat answered.
pub struct CheckTable {
    /// One per seat, in seat order.
    pub rows: Vec<CheckRow>,
    /// Whether the seats that are good suffice.
    pub sufficient: bool,
    /// Where asked for: whether a quorum regenerated the seed that the anchor is of.
    pub opened: Option<Result<(), Error>>,
    /// Receipts of that opening; a check itself is not logged.
    pub receipts: Vec<Receipt>,
    /// The salt of its input digest.
    pub salt: Option<[u8; 32]>,
}

/// One seat's answer.
pub struct CheckRow {
    /// The seat's name.
    pub seat: String,
    /// Its number.
    pub seat_number: u32,
    /// Its holder's name in the directory, or the start of its id.
    pub holder: String,
    /// Its holder's id.
    pub holder_id: Id,
    /// What is wrong; `None` is good.
    pub fault: Option<Fault>,
    /// How long the answer took, in µs.
    pub latency: Option<u64>,
}

/// Asks everyone until `until`; where it is to `open`, also regenerates once within `budget`, as was settled. At the same
/// time: a silent holder, which takes all the time there is to be named, must not leave none for the opening.
pub(crate) async fn check(
    side: &Arc<Side>,
    token: Arc<Token>,
    open: Option<Settled>,
    budget: Duration,
    until: Instant,
) -> Result<CheckTable, Error> {
    refuse_expired(&token, &*side.world)?;
    let opening = async {
        let work = Work::bare(token.clone(), "open", open?, budget, &*side.world);
        Some(side.open(work).await)
    };
    let ((words, _), opened) = join!(everyone(side, &token, Verb::Check, until), opening);
    let good: Vec<bool> = words.iter().map(|word| word.fault.is_none()).collect();
    let names = token.body.header.quorum.seats();
    let row = |word: crate::everyone::Word| {
        let holder_id = token.rows[word.seat as usize].holder;
        CheckRow {
            seat: names[word.seat as usize].to_owned(),
            seat_number: word.seat,
            holder: side.directory.name_of(&holder_id),
            holder_id,
            fault: word.fault,
            latency: word.latency,
        }
    };
    let (opened, receipts, salt) = match opened {
        Some(Ok(outcome)) => (
            Some(Ok(())),
            outcome.receipts,
            outcome.salts.first().copied(),
        ),
        Some(Err(error)) => (Some(Err(error)), Vec::new(), None),
        None => (None, Vec::new(), None),
    };
    Ok(CheckTable {
        rows: words.into_iter().map(row).collect(),
        sufficient: token.body.header.quorum.satisfied(&good),
        opened,
        receipts,
        salt,
    })
}
