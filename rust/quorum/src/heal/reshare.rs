//! Refresh and reshare: the same seed, minted anew (PROTOCOL §9).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evanesce_token::{Gate, Header, Row, Token, formula};
use tokio::time::Instant;

use crate::error::{Code, Error};
use crate::heal::{Healed, Slot};
use crate::io::side::Side;
use crate::mint::deal::{Dealt, deal_seed};
use crate::mint::draft::{Draft, draft};
use crate::mint::{MintSpec, PolicyCheck, RESHARE, complete, reach};
use crate::open::{Failure, unseal_import};
use crate::settled::Settled;
use crate::work::{Work, refuse_expired};

/// What to mint anew, and what is to be different. With nothing different it is a refresh: the same holders under fresh
/// polynomials.
pub struct ReshareSpec {
    /// The old token, decoded and pinned by the caller.
    pub token: Arc<Token>,
    /// Another quorum; `None` keeps the token's.
    pub quorum: Option<Gate>,
    /// Who sits where: seat name → name in the directory. A seat that is not listed keeps its holder where the old
    /// token has it, and is held by its namesake where it has not.
    pub seats: BTreeMap<String, String>,
    /// Other Cedar policies; `None` keeps the token's.
    pub policy: Option<String>,
    /// Another end, in Unix seconds, or none; `None` keeps the token's.
    pub expires: Option<Option<u64>>,
    /// Asked before anything is drawn.
    pub policy_check: PolicyCheck,
}

/// A seed to be dealt again once it is there.
pub(crate) struct Remint {
    draft: Draft,
    dealt: Slot<Dealt>,
}

impl Remint {
    /// The `deal` of the new token, which is the input of the reshare.
    pub fn deal(&self) -> [u8; 32] {
        formula::deal(&self.draft.header.encode())
    }

    /// Deals the seed of `token` anew. On the crucible.
    pub fn run(&self, token: &Token, seed: &[u8; 32]) -> Result<(), Failure> {
        let Draft { header, suites, .. } = &self.draft;
        let imported = match &token.sealed {
            Some(sealed) => Some(unseal_import(seed, &token.body.deal, sealed)?),
            None => None,
        };
        let dishonest = |what: &str| {
            let hint = "Whoever minted the token dealt it so; use another token of this key.";
            Failure::Deal(Error::new(Code::Inconsistent, what, hint))
        };
        for (suite, key) in suites
            .iter()
            .flat_map(|suite| Some((suite, imported.as_ref()?)))
        {
            suite
                .admit(key.expose())
                .map_err(|_| dishonest("the imported key in the token is not of its suite"))?;
        }
        let dealt = deal_seed(seed, header, suites, imported.as_ref()).map_err(Failure::Deal)?;
        if dealt.public != token.public {
            return Err(dishonest(
                "the seed makes other public keys than the token has",
            ));
        }
        // Opened once, so it is empty.
        let _ = self.dealt.set(Arc::new(dealt));
        Ok(())
    }
}

/// Reshares; waits for agents until `until`, and `budget` of it at most for each opening. Where the new header was settled,
/// as `Code::Spent` once the old token was opened for it, and with the new token even if that may not be opened yet:
/// people were asked for it, and would have to be asked again.
pub(crate) async fn reshare(
    side: &Arc<Side>,
    spec: ReshareSpec,
    mut settled: Settled,
    budget: Duration,
    until: Instant,
) -> Result<Healed, Error> {
    let old = spec.token.clone();
    refuse_expired(&old, &*side.world)?;
    let header = settled.header.take();
    let (mut draft, places, mut warnings) = draft(side, mint_spec(side, spec, header.as_ref()))?;
    if let Some(header) = &header {
        adopt(&mut draft.header, header)?;
    }
    let asked = header.is_some();
    reach(side, &places, RESHARE, until).await?;
    let dealt: Slot<Dealt> = Slot::default();
    let remint = Remint {
        draft,
        dealt: dealt.clone(),
    };
    let opened = side
        .open(Work::remint(old, remint, settled, budget, &*side.world))
        .await;
    let opened = opened.map_err(|e| match asked && dealt.get().is_some() {
        true => spent(e),
        false => e,
    })?;
    let dealt = dealt
        .get()
        .ok_or_else(|| Error::internal("a seed was opened and not dealt"))?;
    let seated = complete(side, dealt, &places, RESHARE, until).await;
    let (token, seated) = seated.map_err(|e| if asked { spent(e) } else { e })?;
    // Checks are the agents' word for each seat alone; only an opening shows that the deal holds together.
    let proven = side
        .open(Work::bare(
            token.clone(),
            "open",
            Settled::default(),
            budget,
            &*side.world,
        ))
        .await;
    let (proven, unproven) = match proven {
        Err(e) if asked && may_be_opened_later(e.code) => (None, Some(e)),
        proven => (Some(proven), None),
    };
    let proven = proven.transpose().map_err(|e| Error {
        message: format!("the new token was seated and cannot be opened: {}", e.message),
        hint: "The old token is as it was. The new policy must let you open (Action::\"open\"), so that what is to \
               replace the old token is known to work."
            .into(),
        ..e
    });
    let proven = proven.map_err(|e| if asked { spent(e) } else { e })?;
    warnings.sort();
    warnings.dedup();
    let mut receipts = opened.receipts;
    receipts.extend(seated);
    let mut faults = opened.faults;
    if let Some(proven) = proven {
        receipts.extend(proven.receipts);
        faults.extend(proven.faults);
    }
    Ok(Healed {
        token: Token::clone(&token),
        receipts,
        warnings,
        faults,
        salt: opened.salts[0],
        unproven,
    })
}

/// Takes what is drawn from the settled header; all else must be as it says.
fn adopt(drafted: &mut Header, header: &Header) -> Result<(), Error> {
    (drafted.nonce, drafted.created) = (header.nonce, header.created);
    match drafted == header {
        true => Ok(()),
        false => Err(Error::new(
            Code::BadInput,
            "what was settled is no new token of this one",
            "Ask for it anew, with the token that is to be replaced.",
        )),
    }
}

/// Whether an opening that failed so may succeed later, of the same token.
fn may_be_opened_later(code: Code) -> bool {
    matches!(
        code,
        Code::Refused | Code::QuorumNotMet | Code::Overloaded | Code::Role
    )
}

/// A mint that was begun under a settled nonce, and failed; or new shares, where people's approvals had been taken for them.
pub(crate) fn spent(e: Error) -> Error {
    Error {
        code: Code::Spent,
        hint: "The old token is as it was. What was approved is good once: put it right, and ask people anew."
            .into(),
        ..e
    }
}

/// Who sits where in a new quorum: a seat that is not listed keeps its holder where the old quorum has it.
pub(crate) fn kept(
    side: &Side,
    quorum: &Gate,
    mut seats: BTreeMap<String, String>,
    old: &Gate,
    rows: &[Row],
) -> BTreeMap<String, String> {
    for (seat, row) in old.seats().into_iter().zip(rows) {
        if quorum.seats().contains(&seat) {
            let holder = || side.directory.name_of(&row.holder);
            seats.entry(seat.to_owned()).or_insert_with(holder);
        }
    }
    seats
}

/// The mint that a reshare is: all that was not asked to be different is as in the old token.
fn mint_spec(side: &Side, spec: ReshareSpec, settled: Option<&Header>) -> MintSpec {
    let header = &spec.token.body.header;
    let quorum = settled
        .map(|settled| settled.quorum.clone())
        .or(spec.quorum);
    let policy = settled
        .map(|settled| settled.policy.clone())
        .or(spec.policy);
    let expires = settled.map(|settled| settled.expires).or(spec.expires);
    let quorum = quorum.unwrap_or_else(|| header.quorum.clone());
    let seats = kept(side, &quorum, spec.seats, &header.quorum, &spec.token.rows);
    MintSpec {
        name: header.name.clone(),
        suites: header.suites.clone(),
        quorum,
        seats,
        policy: policy.unwrap_or_else(|| header.policy.clone()),
        expires: expires.unwrap_or(header.expires),
        key: Some(header.key),
        replaces: Some(*spec.token.id()),
        imported: None,
        policy_check: spec.policy_check,
    }
}
