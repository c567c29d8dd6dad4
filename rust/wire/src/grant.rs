//! Grants: one caller lets another ask in its place, for one key, within bounds (`docs/delegation.md`).
//!
//! A grant is signed by whoever gives it. One that was got may be passed on once, if it says so: a chain is at most two
//! links. A link that would give more than the one before it has is refused, whatever is asked under it. Nothing here knows
//! the time, agents' directories or policies.

use std::collections::BTreeSet;

use evanesce_token::cbor::{Limits, Reader, Writer};
use evanesce_token::hash::th;
use evanesce_token::{Malformed, formula};

use crate::limits::{GRANT, GRANTS};
use crate::{Id, Identity, WireError, verify_statement};

/// Most actions, suites or bounds of a grant, and most values that one bound lists.
const LIST: usize = 32;
/// Longest text in a grant, in bytes.
const TEXT: usize = 256;
/// Deepest place in a payload that a bound speaks of.
const DEEP: usize = 16;

/// What is granted, by whom, to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key, by token id.
    pub token: Id,
    /// The caller that grants.
    pub grantor: Id,
    /// The caller that may ask.
    pub delegate: Id,
    /// The grant under which the grantor itself asks; none where the policy permits it.
    pub parent: Option<Id>,
    /// Whether the delegate may pass it on.
    pub further: bool,
    /// Actions that may be asked for.
    pub actions: Vec<String>,
    /// Suites that may be used.
    pub suites: Vec<String>,
    /// What a payload must be like. Where there is any bound, nothing is done without a payload.
    pub bounds: Vec<PayloadBound>,
    /// Operations that each agent permits under it, in all.
    pub count: Option<u64>,
    /// Unix seconds from which on it holds …
    pub not_before: u64,
    /// … and from which on it does not.
    pub expires: u64,
    /// Fresh and random, so that two grants of one content are two.
    pub nonce: [u8; 16],
}

/// What one value of a payload must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadBound {
    /// Where it is: keys of objects, from the outermost.
    pub at: Vec<String>,
    /// What must hold for it.
    pub must: Must,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Must {
    /// A number from `min` to `max`, neither of which is negative.
    Range { min: u64, max: u64 },
    /// One of these texts.
    Among(Vec<String>),
}

/// A grant with its grantor's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The grant's bytes.
    pub grant: Vec<u8>,
    /// The grantor's identity key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// Over the grant's id.
    pub signature: Vec<u8>,
}

/// The end of a grant, by the word of whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The grant, signed as it was given: it says who may revoke it.
    pub grant: Vec<u8>,
    /// The grantor's, over [`revocation_statement`].
    pub signature: Vec<u8>,
}

/// An agent's answer to a [`Revocation`]: it is on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The grant's id.
    pub grant: Id,
}

impl Revoked {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(1).key("grant").bytes(&self.grant);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("revoked", bytes, |r| {
            let mut m = r.map(&["grant"])?;
            Ok(Self {
                grant: m.field("grant")?.bytes_n()?,
            })
        })
    }
}

/// What a grantor signs, and what a grant is called.
pub fn grant_id(grant: &[u8]) -> Id {
    th("grant", &[grant])
}

/// What a grantor signs to revoke.
pub fn revocation_statement(id: &Id) -> [u8; 32] {
    th("revoke-grant", &[id])
}

impl Grant {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(13);
        w.key("v").uint(1);
        w.key("count").uint_or_null(self.count);
        w.key("nonce").bytes(&self.nonce);
        w.key("token").bytes(&self.token);
        w.key("bounds").array(self.bounds.len());
        for bound in &self.bounds {
            bound.write(&mut w);
        }
        w.key("parent")
            .bytes_or_null(self.parent.as_ref().map(<[u8; 32]>::as_slice));
        for (key, list) in [("suites", &self.suites), ("actions", &self.actions)] {
            w.key(key).array(list.len());
            for text in list {
                w.text(text);
            }
        }
        w.key("expires").uint(self.expires);
        w.key("further").uint(self.further.into());
        w.key("grantor").bytes(&self.grantor);
        w.key("delegate").bytes(&self.delegate);
        w.key("not_before").uint(self.not_before);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("grant", bytes, |r| {
            let mut m = r.map(&[
                "v",
                "count",
                "nonce",
                "token",
                "bounds",
                "parent",
                "suites",
                "actions",
                "expires",
                "further",
                "grantor",
                "delegate",
                "not_before",
            ])?;
            let version = m.field("v")?;
            if version.uint()? != 1 {
                return Err(version.malformed("an unknown version"));
            }
            Ok(Self {
                count: m.field("count")?.or_null(Reader::uint)?,
                nonce: m.field("nonce")?.bytes_n()?,
                token: m.field("token")?.bytes_n()?,
                bounds: m.field("bounds")?.list(0..=LIST, PayloadBound::read)?,
                parent: m.field("parent")?.or_null(Reader::bytes_n)?,
                suites: words(m.field("suites")?, 0)?,
                actions: words(m.field("actions")?, 1)?,
                expires: m.field("expires")?.uint()?,
                further: match m.field("further")?.uint()? {
                    flag @ 0..=1 => flag == 1,
                    _ => return Err(Malformed("grant.further: neither 0 nor 1".into())),
                },
                grantor: m.field("grantor")?.bytes_n()?,
                delegate: m.field("delegate")?.bytes_n()?,
                not_before: m.field("not_before")?.uint()?,
            })
        })
    }

    /// Why this grants more than `parent` has, if it does.
    fn widens(&self, parent: &Self) -> Option<String> {
        let more =
            |own: &[String], its: &[String]| own.iter().find(|one| !its.contains(one)).cloned();
        if let Some(action) = more(&self.actions, &parent.actions) {
            return Some(format!("the action {action}"));
        }
        if let Some(suite) = more(&self.suites, &parent.suites) {
            return Some(format!("the suite {suite}"));
        }
        if self.not_before < parent.not_before || self.expires > parent.expires {
            return Some("a longer time".into());
        }
        if parent
            .count
            .is_some_and(|most| self.count.is_none_or(|own| own > most))
        {
            return Some("more operations".into());
        }
        let kept = |bound: &PayloadBound| self.bounds.iter().any(|own| own.implies(bound));
        let loose = parent.bounds.iter().find(|bound| !kept(bound));
        loose.map(|bound| format!("payloads beyond its bound of {}", bound.at.join(".")))
    }
}

impl PayloadBound {
    /// Whether whatever this lets through, `other` does.
    fn implies(&self, other: &Self) -> bool {
        self.at == other.at
            && match (&self.must, &other.must) {
                (
                    Must::Range { min, max },
                    Must::Range {
                        min: low,
                        max: high,
                    },
                ) => min >= low && max <= high,
                (Must::Among(own), Must::Among(all)) => own.iter().all(|one| all.contains(one)),
                _ => false,
            }
    }

    fn write(&self, w: &mut Writer) {
        let (among, range) = match &self.must {
            Must::Range { min, max } => (None, Some((*min, *max))),
            Must::Among(texts) => (Some(texts), None),
        };
        w.map(4);
        w.key("at").array(self.at.len());
        for key in &self.at {
            w.text(key);
        }
        w.key("in");
        match among {
            None => {
                w.null();
            }
            Some(texts) => {
                w.array(texts.len());
                for text in texts {
                    w.text(text);
                }
            }
        }
        w.key("max").uint_or_null(range.map(|(_, max)| max));
        w.key("min").uint_or_null(range.map(|(min, _)| min));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut m = r.map(&["at", "in", "max", "min"])?;
        let at = m
            .field("at")?
            .list(1..=DEEP, |r| Ok(r.text(TEXT)?.to_owned()))?;
        let among = m.field("in")?.or_null(|r| words(r, 1))?;
        let max = m.field("max")?.or_null(Reader::uint)?;
        let last = m.field("min")?;
        let must = match (among, last.or_null(Reader::uint)?, max) {
            (Some(texts), None, None) => Must::Among(texts),
            (None, Some(min), Some(max)) if min <= max => Must::Range { min, max },
            _ => return Err(last.malformed("a bound is a range, or a list of texts")),
        };
        Ok(Self { at, must })
    }
}

/// Distinct texts.
fn words(r: &mut Reader<'_>, fewest: usize) -> Result<Vec<String>, Malformed> {
    let texts = r.list(fewest..=LIST, |r| Ok(r.text(TEXT)?.to_owned()))?;
    let distinct: BTreeSet<&String> = texts.iter().collect();
    match distinct.len() == texts.len() {
        true => Ok(texts),
        false => Err(r.malformed("a text comes twice")),
    }
}

fn decode<T>(
    root: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, WireError> {
    let limits = Limits {
        bytes: GRANT + 512,
        depth: 6,
    };
    let mut reader = Reader::new(root, bytes, limits)?;
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

impl Signed {
    /// Signs a grant, whose grantor the identity must be.
    pub fn new(grant: &Grant, identity: &dyn Identity) -> Result<Self, WireError> {
        let bytes = grant.encode();
        if identity.caller_id() != grant.grantor {
            return Err(WireError::Identity(
                "the grantor is another identity".into(),
            ));
        }
        let signature = identity.sign(&grant_id(&bytes))?;
        Ok(Self {
            grant: bytes,
            spki: identity.spki().to_vec(),
            signature,
        })
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.key("spki").bytes(&self.spki);
        w.key("grant").bytes(&self.grant);
        w.key("signature").bytes(&self.signature);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("signed grant", bytes, |r| {
            let mut m = r.map(&["spki", "grant", "signature"])?;
            Ok(Self {
                spki: m.field("spki")?.bytes(256)?.to_vec(),
                grant: m.field("grant")?.bytes(GRANT)?.to_vec(),
                signature: m.field("signature")?.bytes(72)?.to_vec(),
            })
        })
    }

    /// The grant and its id, if its grantor has signed it.
    pub fn verify(&self) -> Result<(Grant, Id), WireError> {
        let (grant, id) = (Grant::decode(&self.grant)?, grant_id(&self.grant));
        let signed = formula::caller_id(&self.spki) == grant.grantor
            && verify_statement(&self.spki, &id, &self.signature);
        match signed {
            true => Ok((grant, id)),
            false => Err(WireError::WrongPeer(
                "a grant is not signed by its grantor".into(),
            )),
        }
    }
}

impl Revocation {
    /// Revokes a grant that the identity has given.
    pub fn new(grant: &[u8], identity: &dyn Identity) -> Result<Self, WireError> {
        let (given, id) = Signed::decode(grant)?.verify()?;
        if identity.caller_id() != given.grantor {
            return Err(WireError::Identity(
                "the grant is another identity's to revoke".into(),
            ));
        }
        Ok(Self {
            grant: grant.to_vec(),
            signature: identity.sign(&revocation_statement(&id))?,
        })
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("grant").bytes(&self.grant);
        w.key("signature").bytes(&self.signature);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("revocation", bytes, |r| {
            let mut m = r.map(&["grant", "signature"])?;
            Ok(Self {
                grant: m.field("grant")?.bytes(GRANT)?.to_vec(),
                signature: m.field("signature")?.bytes(72)?.to_vec(),
            })
        })
    }

    /// The grant that is revoked and its id, if its grantor says so.
    pub fn verify(&self) -> Result<(Grant, Id), WireError> {
        let signed = Signed::decode(&self.grant)?;
        let (grant, id) = signed.verify()?;
        match verify_statement(&signed.spki, &revocation_statement(&id), &self.signature) {
            true => Ok((grant, id)),
            false => Err(WireError::WrongPeer(
                "a revocation is not signed by the grantor".into(),
            )),
        }
    }
}

/// Whether verified grants make a chain, the first grantor's first, in which nobody gives what they have not.
pub fn chained(grants: &[(&Grant, &Id)]) -> Result<(), String> {
    let Some((first, _)) = grants.first() else {
        return Err("there is no grant".into());
    };
    if grants.len() > GRANTS {
        return Err(format!("{} grants, at most {GRANTS}", grants.len()));
    }
    if first.parent.is_some() {
        return Err("the grant that the first one was passed on under is missing".into());
    }
    for pair in grants.windows(2) {
        let [(parent, id), (child, _)] = pair else {
            continue;
        };
        if child.parent != Some(**id) || child.grantor != parent.delegate {
            return Err("a grant was not passed on under the one before it".into());
        }
        if child.token != parent.token {
            return Err("a grant that was passed on is for another key".into());
        }
        if !parent.further {
            return Err("a grant was passed on that may not be".into());
        }
        if let Some(what) = child.widens(parent) {
            return Err(format!(
                "a grant that was passed on gives what its grantor has not: {what}"
            ));
        }
    }
    let last = grants.last().is_some_and(|(last, _)| last.further);
    match grants.len() == GRANTS && last {
        true => Err("a grant says that it may be passed on a second time".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
