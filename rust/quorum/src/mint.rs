//! Minting: one key dealt to its holders, and the token that is left of it (PROTOCOL §9).
//!
//! Promised: nothing counts before every seat was seated and checked; where anything fails nothing is left
//! behind but log entries at agents; all that is wrong is said at once. A retry draws everything anew.

pub(crate) mod deal;
pub(crate) mod draft;
pub(crate) mod seating;

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_secret::{SecretVec, on_crucible, spawn_on_crucible};
use evanesce_suite::catalogue;
use evanesce_token::{Gate, Token};
use evanesce_wire::message::Receipt;
use tokio::spawn;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::{Code, Error};
use crate::everyone::{Verb, everyone};
use crate::fault::{Fault, Trouble};
use crate::io::link::Down;
use crate::io::side::Side;
use crate::verdict;
use deal::{Dealt, deal};
use draft::draft;
use seating::{Unseated, seat};

/// Judges a policy: warnings, or why it may not go into a token.
pub type PolicyCheck = Box<dyn FnOnce(&str) -> Result<Vec<String>, String> + Send>;

/// What to mint.
pub struct MintSpec {
    /// The key's name, for people and policies.
    pub name: String,
    /// What the key may ever be used as.
    pub suites: Vec<String>,
    /// Who must come together.
    pub quorum: Gate,
    /// Who sits where: seat name → name in the directory. A seat that is not listed is held by its namesake.
    pub seats: BTreeMap<String, String>,
    /// Cedar policies, or nothing.
    pub policy: String,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// The key's identity where an older token of it exists; otherwise drawn.
    pub key: Option<[u8; 32]>,
    /// The token id this one supersedes, for people.
    pub replaces: Option<[u8; 32]>,
    /// A key to import: PKCS#8 in PEM or DER, or the raw bytes of a symmetric key.
    pub imported: Option<SecretVec>,
    /// Asked before anything is drawn.
    pub policy_check: PolicyCheck,
}

/// A token that counts: every seat was checked.
pub struct Minted {
    /// The token.
    pub token: Token,
    /// The agents' log entries for their seats.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
}

/// Mints; waits for agents until `until`.
pub(crate) async fn mint(
    side: &Arc<Side>,
    spec: MintSpec,
    until: Instant,
) -> Result<Minted, Error> {
    let (drafted, places, mut warnings) = draft(side, spec)?;
    reach(side, &places, MINT, until).await?;
    let here = side.world.single_threaded();
    let dealt = on_crucible_thread(here, move || deal(drafted)).await?;
    let (token, receipts) = complete(side, &dealt, &places, MINT, until).await?;
    warnings.sort();
    warnings.dedup();
    let token = Arc::try_unwrap(token).unwrap_or_else(|shared| Token::clone(&shared));
    Ok(Minted {
        token,
        receipts,
        warnings,
    })
}

/// How a mint that fails speaks of itself, and what to do then.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub what: &'static str,
    pub hint: &'static str,
}

const MINT: Words = Words {
    what: "mint",
    hint: "Nothing was left behind; put it right and mint again.",
};

/// Of the same key, minted or made anew.
pub(crate) const RESHARE: Words = Words {
    what: "reshare",
    hint: "The old token is as it was; put it right and begin again.",
};

/// Seats all that was dealt, and has every seat checked: a token that counts.
pub(crate) async fn complete(
    side: &Arc<Side>,
    dealt: &Arc<Dealt>,
    places: &[usize],
    words: Words,
    until: Instant,
) -> Result<(Arc<Token>, Vec<Receipt>), Error> {
    let seated = seat(side, dealt, places, until).await;
    let (rows, mut receipts) = seated.map_err(|Unseated { troubles, faults }| {
        unfinished("not every holder could be seated", &troubles, faults, words)
    })?;
    let Dealt {
        body,
        public,
        sealed,
        ..
    } = &**dealt;
    let token = Token::assemble(
        &body.header,
        body.anchor,
        body.commitments.clone(),
        public.clone(),
        sealed.clone(),
        rows,
        catalogue(),
    )
    .map_err(|e| Error::internal(&e.0))?;
    let token = Arc::new(token);
    let (said, more) = everyone(side, &token, Verb::Check, until).await;
    receipts.extend(more);
    let troubles: Vec<_> = said.iter().filter_map(|word| word.trouble).collect();
    #[cfg(feature = "planted")]
    let troubles = match crate::planted::COUNTS_UNCHECKED.get() {
        true => Vec::new(),
        false => troubles,
    };
    if !troubles.is_empty() {
        let faults = said.into_iter().filter_map(|word| word.fault).collect();
        let message = format!(
            "not every seat can be opened; the {} was given up",
            words.what
        );
        return Err(unfinished(&message, &troubles, faults, words));
    }
    Ok((token, receipts))
}

/// Connects to everyone who is to be seated; names all that are down.
pub(crate) async fn reach(
    side: &Arc<Side>,
    places: &[usize],
    words: Words,
    until: Instant,
) -> Result<(), Error> {
    let mut holders = places.to_vec();
    holders.sort_unstable();
    holders.dedup();
    let tasks: Vec<_> = holders
        .into_iter()
        .map(|place| {
            let link = side.links[place].clone();
            let try_it = async move {
                match timeout_at(until, link.ready()).await {
                    Ok(outcome) => outcome.map(drop),
                    Err(_) => Err(Down::new(
                        Trouble::Unreachable,
                        "it does not complete a connection",
                    )),
                }
            };
            (place, spawn(try_it))
        })
        .collect();
    let (mut troubles, mut faults) = (Vec::new(), Vec::new());
    for (place, task) in tasks {
        if let Err(down) = task.await.unwrap_or_else(|_| Err(Down::broke_off())) {
            troubles.push(down.trouble);
            faults.push(side.fault(place, &down));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!(
        "a {} needs every holder, and not all can be had",
        words.what
    );
    Err(unfinished(&message, &troubles, faults, words))
}

pub(crate) fn unfinished(
    message: &str,
    troubles: &[Trouble],
    faults: Vec<Fault>,
    words: Words,
) -> Error {
    let code = match verdict::code(troubles.iter().copied(), false) {
        // Said of tokens, and there is none.
        Code::TokenAltered | Code::Expired => Code::QuorumNotMet,
        code => code,
    };
    Error::new(code, message, words.hint).with_faults(faults)
}

/// Runs `f` on the crucible's own threads, so that what is slow there holds up nobody here. Only pointers to what it
/// made leave: moved out whole, it would take along what lies in its padding. With `here`, on this thread.
async fn on_crucible_thread<T: Send + Sync + 'static>(
    here: bool,
    f: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<Arc<T>, Error> {
    let (tell, told) = oneshot::channel();
    let job = move || {
        let _ = tell.send(f().map(Arc::new).map_err(Box::new));
    };
    match here {
        true => on_crucible(job),
        false => spawn_on_crucible(job),
    }
    match told.await {
        Ok(result) => result.map_err(|error| *error),
        Err(_) => Err(Error::internal("a crucible job broke off")),
    }
}
