//! Under whose grant a caller asks (`docs/delegation.md`).
//!
//! The agent verifies every grant itself: signatures, the chain, that everyone in it is a caller it knows, that none was
//! revoked, and for each request that every grant of the chain lets it through by itself. What the first grantor may
//! do is then the token's policy's to say, now. Grants that were verified are remembered, by their bytes.

use std::sync::Arc;

use evanesce_policy::{GRAVE, Payload};
use evanesce_token::quoted;
use evanesce_wire::Id;
use evanesce_wire::grant::{Grant, Must, PayloadBound, Signed, chained};
use evanesce_wire::message::{Code, Request};
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::gate::Refusal;
use crate::known::{Directory, Known, Role};
use crate::tombstones::Retired;

/// Bytes of verified grants remembered.
const REMEMBERED: usize = 1 << 20;

/// A grant whose signature is its grantor's.
#[derive(Debug)]
pub struct Given {
    /// What it says.
    pub grant: Grant,
    /// What it is called.
    pub id: Id,
}

/// Grants that were verified.
pub struct Grants(Cache<[u8; 32], Arc<Given>>);

/// A chain of grants, and whom it leads from.
pub struct Delegated {
    /// The first grantor's first.
    pub chain: Vec<Arc<Given>>,
    /// Whom the token's policy must permit it.
    pub grantor: Arc<Known>,
    /// Whoever passed it on.
    pub between: Vec<Arc<Known>>,
}

impl Default for Grants {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Grants {
    /// The chain of grants that a caller shows; `None` where it shows none.
    pub fn read(
        &mut self,
        shown: &[Vec<u8>],
        directory: &Directory,
        revoked: &Retired,
    ) -> Result<Option<Delegated>, Refusal> {
        let refused = |why: String| Refusal::new(Code::Refused, why);
        if shown.is_empty() {
            return Ok(None);
        }
        let chain: Vec<Arc<Given>> = shown
            .iter()
            .map(|bytes| self.verified(bytes))
            .collect::<Result<_, _>>()?;
        let links: Vec<_> = chain
            .iter()
            .map(|given| (&given.grant, &given.id))
            .collect();
        chained(&links).map_err(refused)?;
        if let Some(place) = chain.iter().position(|given| revoked.contains(&given.id)) {
            let whose = ["the grant", "the grant that was passed on"][place.min(1)];
            return Err(refused(format!("{whose} was revoked")));
        }
        let mut people = Vec::with_capacity(chain.len());
        for given in &chain {
            let id = &given.grant.grantor;
            match directory.find(id).filter(|known| known.has(Role::Caller)) {
                Some(known) => people.push(known.clone()),
                None => {
                    return Err(refused(format!(
                        "a grantor is no caller that this agent knows: {}",
                        hex::encode(id)
                    )));
                }
            }
        }
        let mut people = people.into_iter();
        let Some(grantor) = people.next() else {
            return Ok(None);
        };
        let between = people.collect();
        Ok(Some(Delegated {
            chain,
            grantor,
            between,
        }))
    }

    fn verified(&mut self, bytes: &[u8]) -> Result<Arc<Given>, Refusal> {
        let print: [u8; 32] = Sha256::digest(bytes).into();
        if let Some(given) = self.0.get(&print) {
            return Ok(given);
        }
        let signed = Signed::decode(bytes)
            .and_then(|signed| Grant::decode(&signed.grant).map(|_| signed))
            .map_err(|e| Refusal::new(Code::Malformed, e.to_string()))?;
        let (grant, id) = signed
            .verify()
            .map_err(|e| Refusal::new(Code::Refused, e.to_string()))?;
        let given = Arc::new(Given { grant, id });
        self.0.insert(print, given.clone(), 2 * bytes.len() + 512);
        Ok(given)
    }
}

impl Delegated {
    /// Whether the caller `who` may ask this of the token under every grant of the chain, at `now` (Unix seconds).
    pub fn covers(
        &self,
        who: &Id,
        token: &Id,
        request: &Request,
        payload: Option<&Payload>,
        now: u64,
    ) -> Result<(), String> {
        if self
            .chain
            .last()
            .is_none_or(|last| last.grant.delegate != *who)
        {
            return Err("the grant is another caller's".into());
        }
        #[cfg(feature = "planted")]
        if crate::planted::WIDENS_GRANTS.get() {
            return Ok(());
        }
        self.chain
            .iter()
            .try_for_each(|given| covers(&given.grant, token, request, payload, now))
    }
}

fn covers(
    grant: &Grant,
    token: &Id,
    request: &Request,
    payload: Option<&Payload>,
    now: u64,
) -> Result<(), String> {
    let (action, suite) = (&request.action, &request.suite);
    if grant.token != *token {
        return Err("the grant is for another key".into());
    }
    if now < grant.not_before {
        let wait = grant.not_before - now;
        return Err(format!("the grant holds in {wait} s by this agent's clock"));
    }
    if now >= grant.expires {
        return Err("the grant has expired by this agent's clock".into());
    }
    if GRAVE.contains(&action.as_str()) {
        return Err(format!("{action} is never granted"));
    }
    if !grant.actions.contains(action) {
        return Err(format!("the grant is not for {}", quoted(action)));
    }
    if !suite.is_empty() && !grant.suites.contains(suite) {
        return Err(format!("the grant is not for the suite {}", quoted(suite)));
    }
    match (grant.bounds.is_empty(), payload) {
        (true, _) => Ok(()),
        (false, None) => Err("the grant has bounds of a payload, and there is none".into()),
        (false, Some(payload)) => grant
            .bounds
            .iter()
            .try_for_each(|bound| within(bound, payload)),
    }
}

/// Nothing of the payload is repeated: the answer goes into logs.
fn within(bound: &PayloadBound, payload: &Payload) -> Result<(), String> {
    let holds = match &bound.must {
        Must::Range { min, max } => {
            let number = payload
                .number(&bound.at)
                .and_then(|n| u64::try_from(n).ok());
            number.is_some_and(|n| (*min..=*max).contains(&n))
        }
        Must::Among(texts) => payload
            .text(&bound.at)
            .is_some_and(|text| texts.iter().any(|one| one == text)),
    };
    match holds {
        true => Ok(()),
        false => Err(format!(
            "the payload is beyond the grant's bound of {}",
            quoted(&bound.at.join("."))
        )),
    }
}

/// A grant that bounds nothing and has no time of its own, for tests to say of it what they are about.
#[cfg(test)]
pub fn plain_grant() -> Grant {
    Grant {
        token: [1; 32],
        grantor: [2; 32],
        delegate: [3; 32],
        parent: None,
        further: false,
        actions: vec!["sign".into()],
        suites: vec![],
        bounds: vec![],
        count: None,
        not_before: 0,
        expires: 0,
        nonce: [0; 16],
    }
}
