//! New shares of the same key, for the same holders: a refresh; and the way from shares that are kept to shares that are regenerated. Or for
//! others, under another quorum: a reshare, of which whoever is left out need not be asked.
//!
//! Two steps, between which the new token is made durable: what was kept before is removed in the second, and must not be the last of the key.

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_token::Gate;
use evanesce_token::mpc::{Header, Kind, Token};
use evanesce_wire::message::Receipt;
use evanesce_wire::message::threshold::Forget;
use tokio::time::Instant;

use super::create::{Base, Made, forget, make};
use super::reshare::reshare;
use crate::error::{Code, Error};
use crate::fault::Fault;
use crate::heal::kept;
use crate::io::link::Down;
use crate::io::side::Side;
use crate::mint::{PolicyCheck, RESHARE, reach};
use crate::settled::Settled;
use crate::verdict;

/// How the shares of a key are renewed.
pub struct RenewalSpec {
    /// The token whose shares they are.
    pub token: Arc<Token>,
    /// Where the new shares are to be between uses; `None` as before.
    pub kind: Option<Kind>,
    /// Another quorum; `None` keeps the token's.
    pub quorum: Option<Gate>,
    /// Who sits where, as in [`ReshareSpec`](crate::ReshareSpec). With quorum and holders as they are it is a refresh.
    pub seats: BTreeMap<String, String>,
    /// Another policy; `None` keeps it.
    pub policy: Option<String>,
    /// Another end; `None` keeps it.
    pub expires: Option<Option<u64>>,
    /// The new token's whole header, where people have approved it: kind, quorum, policy and end are then its.
    pub header: Option<Header>,
    /// Asked before anything is drawn.
    pub policy_check: PolicyCheck,
}

/// A token with new shares, of which every holder has signed that it has its own. The old shares are all still there.
pub struct Renewed {
    /// The token: to be made durable now.
    pub token: Arc<Token>,
    /// The agents' log entries.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
    /// The salt of the input digest under which it was permitted.
    pub salt: [u8; 32],
    forget: Forget,
}

/// What came of the end of a renewal.
pub struct Renewal {
    /// Old shares that were kept, and are not any more.
    pub removed: u64,
    /// Holders that could not be told; the old token's shares are with them until it is revoked.
    pub faults: Vec<Fault>,
}

/// The first step.
pub(crate) async fn renew(
    side: &Arc<Side>,
    spec: RenewalSpec,
    settled: Settled,
    until: Instant,
) -> Result<Renewed, Error> {
    let RenewalSpec {
        token: old,
        kind,
        quorum,
        seats,
        policy,
        expires,
        header,
        policy_check,
    } = spec;
    let before = &old.body.header;
    let approved = header;
    let header = match &approved {
        Some(header) => Header {
            kind: header.kind,
            nonce: header.nonce,
            quorum: header.quorum.clone(),
            policy: header.policy.clone(),
            created: header.created,
            expires: header.expires,
            ..before.clone()
        },
        None => {
            let mut nonce = [0; 32];
            side.world.random(&mut nonce);
            Header {
                kind: kind.unwrap_or(before.kind),
                nonce,
                quorum: quorum.unwrap_or_else(|| before.quorum.clone()),
                policy: policy.unwrap_or_else(|| before.policy.clone()),
                created: side.world.unix_seconds(),
                expires: expires.unwrap_or(before.expires),
                ..before.clone()
            }
        }
    };
    let header = Header {
        replaces: Some(*old.id()),
        ..header
    };
    if approved.is_some_and(|approved| approved != header) {
        let message = "the header is not one of this key that replaces this token";
        let hint = "Nothing was asked of any agent.";
        return Err(Error::new(Code::BadInput, message, hint));
    }
    let seats = kept(side, &header.quorum, seats, &before.quorum, &old.rows);
    let drawn = match is_as_it_was(side, &old, &header.quorum, &seats) {
        true => refresh(side, &old, &header, policy_check, until).await?,
        false => reshare(side, &old, &header, &seats, policy_check, until).await?,
    };
    let Drawn {
        places,
        held,
        givers,
        mut warnings,
    } = drawn;
    let (salt, settled) = settled.salted(&*side.world);
    let base = Base {
        old: old.clone(),
        settled,
        held,
        givers,
    };
    let Made {
        token,
        receipts,
        forget,
    } = make(side, &header, &places, Some(base), until).await?;
    warnings.sort();
    warnings.dedup();
    if token.body.vector[0] != old.body.vector[0] {
        return Err(Error::internal("the renewed key is another key"));
    }
    Ok(Renewed {
        token,
        receipts,
        warnings,
        salt,
        forget,
    })
}

/// Who takes part in a renewal, and how.
pub(super) struct Drawn {
    /// The holder of each seat.
    pub places: Vec<usize>,
    /// As in [`Base`].
    pub held: Vec<Option<u32>>,
    pub givers: Option<Vec<(u32, u32)>>,
    pub warnings: Vec<String>,
}

/// Whether quorum and holders are those of the old token.
fn is_as_it_was(side: &Side, old: &Token, quorum: &Gate, seats: &BTreeMap<String, String>) -> bool {
    let names = quorum.seats();
    let mut both = names.iter().zip(&old.rows);
    *quorum == old.body.header.quorum
        && seats.len() == names.len()
        && both.all(|(seat, row)| seats[*seat] == side.directory.name_of(&row.holder))
}

/// All holders renew their shares together.
async fn refresh(
    side: &Arc<Side>,
    old: &Token,
    header: &Header,
    policy_check: PolicyCheck,
    until: Instant,
) -> Result<Drawn, Error> {
    let warnings = policy_check(&header.policy).map_err(|why| {
        let message = format!("the policy cannot be enforced: {why}");
        Error::new(Code::Policy, message, "Nothing was asked of any agent.")
    })?;
    let (mut places, mut held, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (seat, row) in (0..).zip(&old.rows) {
        held.push(Some(seat));
        match side.directory.by_id(&row.holder) {
            Some(place) => places.push(place),
            None => {
                faults.push(super::fault(side, old, seat, &Down::unknown_holder()));
            }
        }
    }
    if !faults.is_empty() {
        let error = verdict::explain(Code::QuorumNotMet, &header.quorum, faults);
        let hint = "Shares are renewed by all holders together: repair a seat that was lost first, or reshare the key without it.";
        return Err(Error {
            hint: hint.into(),
            ..error
        });
    }
    header
        .validate()
        .map_err(|e| Error::new(Code::BadInput, e.0, "Nothing was asked of any agent."))?;
    reach(side, &places, RESHARE, until).await?;
    Ok(Drawn {
        places,
        held,
        givers: None,
        warnings,
    })
}

/// The second, once the new token is durable.
pub(crate) async fn finish(side: &Arc<Side>, renewed: &Renewed, until: Instant) -> Renewal {
    let (removed, faults) = forget(side, &renewed.token, &renewed.forget, until).await;
    Renewal { removed, faults }
}
