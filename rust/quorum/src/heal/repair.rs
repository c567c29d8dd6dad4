//! Repair: a lost seat given to a new holder; header and keys stay (PROTOCOL §9).

use std::sync::Arc;
use std::time::Duration;

use evanesce_secret::{Secret, ct_eq};
use evanesce_suite::catalogue;
use evanesce_token::{Body, Gate, Row, Token, formula, quoted, sharing};
use tokio::time::Instant;

use crate::error::{Code, Error};
use crate::everyone::{Verb, Word, ask};
use crate::fault::{Fault, FaultKind};
use crate::heal::{Healed, Slot};
use crate::io::side::Side;
use crate::mint::draft::margins;
use crate::mint::seating::{Shares, seat_one};
use crate::mint::{Words, reach, unfinished};
use crate::open::Failure;
use crate::settled::Settled;
use crate::work::{Work, refuse_expired};

/// Which seat goes to whom.
pub struct RepairSpec {
    /// The token, decoded and pinned by the caller.
    pub token: Arc<Token>,
    /// The lost seat's name.
    pub seat: String,
    /// The new holder's name in the directory.
    pub holder: String,
    /// Even if the new holder sits at another seat of the token already: what it then counts for, it is lost for as well.
    pub even_if_it_sits: bool,
}

const WORDS: Words = Words {
    what: "repair",
    hint: "The token is as it was; put it right and begin again.",
};

/// A share to be regenerated once the seed is there.
pub(crate) struct Repair {
    /// The lost seat.
    pub seat: u32,
    share: Slot<Secret<32>>,
}

impl Repair {
    /// Regenerates the seat's share. On the crucible.
    pub fn run(
        &self,
        body: &Body,
        shares: &[Option<&[u8; 32]>],
        seed: &[u8; 32],
    ) -> Result<(), Failure> {
        let (quorum, seat) = (&body.header.quorum, self.seat as usize);
        let mut share = [0u8; 32];
        if !sharing::regenerate(quorum, shares, seed, seat, &mut share) {
            return Err(Failure::Insufficient);
        }
        let committed = &body.commitments[seat];
        if !ct_eq(
            &formula::commitment(&body.deal, self.seat, &share),
            committed,
        ) {
            return Err(Failure::Share);
        }
        let share = Secret::filled(|out| *out = share)?;
        // Opened once, so it is empty.
        let _ = self.share.set(Arc::new(share));
        Ok(())
    }
}

/// The regenerated share on its way to the new holder.
struct Regained {
    token: Arc<Token>,
    share: Arc<Secret<32>>,
}

impl Shares for Regained {
    fn body(&self) -> &Body {
        &self.token.body
    }

    fn share(&self, _: u32) -> &Secret<32> {
        &self.share
    }
}

/// Repairs; waits for agents until `until`, and `budget` of it at most for the opening.
pub(crate) async fn repair(
    side: &Arc<Side>,
    spec: RepairSpec,
    settled: Settled,
    budget: Duration,
    until: Instant,
) -> Result<Healed, Error> {
    let token = spec.token.clone();
    refuse_expired(&token, &*side.world)?;
    let quorum = &token.body.header.quorum;
    let (name, holder) = (&spec.seat, &spec.holder);
    let (seat, place) = seat_and_place(
        side,
        quorum,
        &token.rows,
        name,
        holder,
        spec.even_if_it_sits,
    )?;
    refuse_hopeless(side, &token, seat)?;
    reach(side, &[place], WORDS, until).await?;
    let share: Slot<Secret<32>> = Slot::default();
    let lost = Repair {
        seat,
        share: share.clone(),
    };
    let holder = side.directory.all()[place].id;
    let work = Work::repair(token.clone(), lost, &holder, settled, budget, &*side.world);
    let opened = side.open(work).await?;
    let share = share
        .get()
        .ok_or_else(|| Error::internal("a share was not regenerated"))?
        .clone();

    let regained = Regained {
        token: token.clone(),
        share,
    };
    let at_the_seat = |fault: Fault| Fault {
        seat: Some(spec.seat.clone()),
        seat_number: Some(seat),
        ..fault
    };
    let seated = seat_one(side, &regained, place, &[seat], until).await;
    drop(regained);
    let seated = seated.and_then(|(mut rows, receipts)| match rows.pop() {
        Some((_, row)) => Ok((row?, receipts)),
        None => Err(crate::io::link::Down::broke_off()),
    });
    let (row, seated) = seated.map_err(|down| {
        let faults = vec![at_the_seat(side.fault(place, &down))];
        unfinished(
            "the new holder could not be seated",
            &[down.trouble],
            faults,
            WORDS,
        )
    })?;
    let mut healed = Token::clone(&token);
    healed.rows[seat as usize] = row;
    Token::decode(&healed.encode(), catalogue()).map_err(|e| {
        let message = format!("with the new row the token is malformed: {e}");
        Error::new(
            Code::Malformed,
            message,
            "Reshare it: whoever minted it left no room for rows.",
        )
    })?;
    let healed = Arc::new(healed);
    let (words, _) = ask(side, &healed, place, vec![seat], Verb::Check, until).await;
    if let Some(Word {
        trouble: Some(trouble),
        fault,
        ..
    }) = words.into_iter().next()
    {
        let faults = fault.into_iter().collect();
        let message = "the new holder cannot regenerate the share it was given";
        return Err(unfinished(message, &[trouble], faults, WORDS));
    }
    let warnings = crowding(side, quorum, &healed.rows);
    let mut receipts = opened.receipts;
    receipts.extend(seated);
    Ok(Healed {
        token: Token::clone(&healed),
        receipts,
        warnings,
        faults: opened.faults,
        salt: opened.salts[0],
        unproven: None,
    })
}

/// The seat's number and the new holder's place, if both exist and go together; `crowded`: though it sits at another seat.
pub(crate) fn seat_and_place(
    side: &Side,
    quorum: &Gate,
    rows: &[Row],
    seat: &str,
    holder: &str,
    crowded: bool,
) -> Result<(u32, usize), Error> {
    let bad = |message: String, hint: &str| Err(Error::new(Code::BadInput, message, hint));
    let names = quorum.seats();
    let Some(number) = names.iter().position(|name| *name == seat) else {
        let message = format!("the token has no seat {}", quoted(seat));
        return bad(message, &format!("Its seats are {}.", names.join(", ")));
    };
    let Some(place) = side.directory.by_name(holder) else {
        let message = format!("no agent named {} is in the quorum file", quoted(holder));
        return bad(message, "Add it there, or name another.");
    };
    let id = side.directory.all()[place].id;
    let elsewhere = rows.iter().zip(&names).enumerate();
    let mut elsewhere = elsewhere.filter(|(other, (row, _))| *other != number && row.holder == id);
    if let (Some((_, (_, other))), false) = (elsewhere.next(), crowded) {
        let message = format!("{holder} sits at {other} already");
        return bad(
            message,
            "Give the seat to another agent, or, of a key that is put together, say that it may sit more than once.",
        );
    }
    Ok((number as u32, place))
}

/// Refuses a seat without which no sufficient set is left: nobody needs to be asked, and it alone is to blame.
fn refuse_hopeless(side: &Side, token: &Token, seat: u32) -> Result<(), Error> {
    let (quorum, lost) = (&token.body.header.quorum, seat as usize);
    let others = (0..token.rows.len()).map(|other| (other != lost).then_some(0));
    if quorum
        .cheapest_to_reseat(lost, &others.collect::<Vec<_>>())
        .is_some()
    {
        return Ok(());
    }
    let (name, holder) = (quorum.seats()[lost], token.rows[lost].holder);
    let message = format!("without seat {name} nobody can open the token: its share is lost");
    let hint =
        "No repair can bring it back, only its own root could. Use another token of this key.";
    let fault = Fault {
        seat: Some(name.to_owned()),
        seat_number: Some(seat),
        holder: side.directory.name_of(&holder),
        holder_id: holder,
        kind: FaultKind::Unreachable,
        detail: "the seat that is to be repaired is not asked".into(),
    };
    Err(Error::new(Code::QuorumNotMet, message, hint).with_faults(vec![fault]))
}

/// What is worth a second thought about who holds what now, where all holders are known.
pub(crate) fn crowding(side: &Side, quorum: &Gate, rows: &[Row]) -> Vec<String> {
    let places: Option<Vec<usize>> = rows
        .iter()
        .map(|row| side.directory.by_id(&row.holder))
        .collect();
    places.map_or_else(Vec::new, |places| margins(side, quorum, &places))
}
