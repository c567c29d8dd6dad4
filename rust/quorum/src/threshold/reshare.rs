//! The same key for another quorum: t of those that hold shares, and sit in it, give it theirs, of which nobody learns anything.
//!
//! Who sits there is asked beforehand whether its old share is to be had, so that nobody is listed to give what it has not: whoever fails in the
//! middle costs the others what people have approved at them.

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_token::mpc::{Header, Kind, Token};
use tokio::spawn;
use tokio::time::Instant;

use super::create::judge_flat;
use super::renew::Drawn;
use super::{check, fault};
use crate::error::{Code, Error};
use crate::fault::Trouble;
use crate::io::link::Down;
use crate::io::side::Side;
use crate::mint::{PolicyCheck, RESHARE, reach};
use crate::verdict;

/// Chooses who gives; every holder of the new quorum can be reached. `seats` names the holder of each.
pub(super) async fn reshare(
    side: &Arc<Side>,
    old: &Arc<Token>,
    header: &Header,
    seats: &BTreeMap<String, String>,
    policy_check: PolicyCheck,
    until: Instant,
) -> Result<Drawn, Error> {
    let quorum = &header.quorum;
    let judged = judge_flat(
        side,
        quorum,
        seats,
        header.expires,
        &header.policy,
        policy_check,
    )?;
    let (places, mut warnings) = judged.settle(header.validate())?;
    let before = &old.body.header.quorum;
    let sat = |place: &usize| {
        let holder = side.directory.all()[*place].id;
        let seat = old.rows.iter().position(|row| row.holder == holder);
        seat.map(|seat| seat as u32)
    };
    let mut held: Vec<Option<u32>> = places.iter().map(sat).collect();
    let (t, sit) = (before.t, held.iter().flatten().count());
    if sit < t {
        let message = format!(
            "{t} of those who hold shares must sit in the new quorum, and {sit} would: \
             nobody else can give the key to it"
        );
        let hint = "Nothing was asked of any agent. Keep more of them, or replace them one by one.";
        return Err(Error::new(Code::BadInput, message, hint));
    }
    let left_out = old.rows.len() - sit;
    if left_out >= t {
        warnings.push(format!(
            "{left_out} holders are left out at once: between them they have the key until they obey its revocation"
        ));
    }
    reach(side, &places, RESHARE, until).await?;
    let mut asked = Vec::with_capacity(sit);
    for (seat, old_seat) in (0..).zip(&held) {
        if let Some(old_seat) = *old_seat {
            let (side, old) = (side.clone(), old.clone());
            let one = spawn(async move { check::one(&side, &old, old_seat, until).await });
            asked.push((seat, old_seat, one));
        }
    }
    let (mut givers, mut troubles, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let (mut outdated, mut refused) = (false, false);
    for (seat, old_seat, one) in asked {
        match one.await.unwrap_or_else(|_| Err(Down::broke_off())) {
            Ok(_) => givers.push((seat, old_seat)),
            Err(down) => {
                // An agent decides on a row that it can read; without that root it joins as one that held none. Unless it keeps its
                // share, which is under the root of its file and may well be there: nobody holds one that is not asked for leave.
                if down.trouble == Trouble::EpochNotHeld {
                    held[seat as usize] = None;
                    outdated |= old.body.header.kind == Kind::Kept;
                }
                // It is asked for leave in any case, and would refuse when others have taken what people approved.
                refused |= down.trouble.is_refusal();
                troubles.push(down.trouble);
                faults.push(fault(side, old, old_seat, &down));
            }
        }
    }
    if outdated {
        let message = "a row of this token says a root that its holder does not have: this is an older copy, or was altered";
        let hint = "The old token is as it was. Use the copy of it that was written last (evanesce agent roll writes such rows anew), \
                    or repair the seat first (evanesce key repair).";
        return Err(Error::new(Code::QuorumNotMet, message, hint).with_faults(faults));
    }
    if refused {
        let message = "a holder that is to have a share refuses";
        return Err(Error::new(Code::Refused, message, RESHARE.hint).with_faults(faults));
    }
    if givers.len() < t {
        let code = verdict::code(troubles, !givers.is_empty());
        let error = verdict::explain(code, before, faults);
        let hint = format!(
            "{t} of those who sit in the new quorum must have their old shares. {}",
            RESHARE.hint
        );
        return Err(Error { hint, ..error });
    }
    givers.truncate(t);
    let gives_not = |fault| format!("{fault}: others give in its place");
    warnings.extend(faults.into_iter().map(gives_not));
    Ok(Drawn {
        places,
        held,
        givers: Some(givers),
        warnings,
    })
}
