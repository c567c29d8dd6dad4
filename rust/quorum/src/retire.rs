//! Retiring: the token's id tombstoned wherever it can be (PROTOCOL §9).

use std::sync::Arc;
use std::time::Duration;

use evanesce_token::Token;
use evanesce_wire::message::Receipt;
use tokio::time::Instant;

use crate::error::Error;
use crate::everyone::{Verb, Word, everyone};
use crate::fault::{Fault, Trouble};
use crate::io::side::Side;
use crate::settled::Settled;
use crate::verdict;
use crate::work::Work;

/// How far retiring got.
pub struct Retirement {
    /// Seats whose holder has tombstoned the token.
    pub tombstoned: Vec<String>,
    /// Seats whose holder has not, and why.
    pub missing: Vec<Fault>,
    /// Whether no sufficient set remains without the tombstoned seats: only then is the token dead. Holders of
    /// older rows of the same token, which it does not list, may still answer.
    pub dead: bool,
    /// The agents' log entries.
    pub receipts: Vec<Receipt>,
    /// The salt of the input digest.
    pub salt: [u8; 32],
}

/// Asks everyone to tombstone it, until `until`. An error only if nobody has.
pub(crate) async fn retire(
    side: &Arc<Side>,
    token: Arc<Token>,
    settled: Settled,
    budget: Duration,
    until: Instant,
) -> Result<Retirement, Error> {
    let work = Arc::new(Work::bare(
        token.clone(),
        "retire",
        settled,
        budget,
        &*side.world,
    ));
    let salt = work.salts[0];
    let (words, receipts) = everyone(side, &token, Verb::Retire(work), until).await;
    let quorum = &token.body.header.quorum;
    let names = quorum.seats();
    // One that was asked before says that it has the tombstone already.
    let (dead, alive): (Vec<Word>, Vec<Word>) = words.into_iter().partition(|word| {
        word.trouble
            .is_none_or(|trouble| trouble == Trouble::Retired)
    });
    let troubles: Vec<_> = alive.iter().filter_map(|word| word.trouble).collect();
    let mut left = vec![true; names.len()];
    for word in &dead {
        left[word.seat as usize] = false;
    }
    let tombstoned: Vec<String> = dead
        .iter()
        .map(|word| names[word.seat as usize].to_owned())
        .collect();
    let missing: Vec<Fault> = alive.into_iter().filter_map(|word| word.fault).collect();
    if tombstoned.is_empty() {
        return Err(verdict::explain(
            verdict::code(troubles, false),
            quorum,
            missing,
        ));
    }
    Ok(Retirement {
        tombstoned,
        missing,
        dead: !quorum.satisfied(&left),
        receipts,
        salt,
    })
}
