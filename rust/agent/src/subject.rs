//! A token as the judge sees it, of either kind.

use std::slice::from_ref;
use std::sync::Arc;

use evanesce_token::{Body, Gate, mpc};
use evanesce_wire::Id;
use evanesce_wire::message::Code;

use crate::gate::Refusal;

/// What is judged of a token.
pub trait Judged {
    /// Its id, computed.
    fn id(&self) -> &Id;
    /// The key's name.
    fn name(&self) -> &str;
    /// Cedar policies.
    fn policy(&self) -> &str;
    /// What the key may be used as.
    fn suites(&self) -> &[String];
    /// Who must come together.
    fn quorum(&self) -> &Gate;
    /// The token that it supersedes.
    fn replaces(&self) -> Option<&Id>;
    /// How many seats there are.
    fn seats(&self) -> usize;
    /// Whether it has expired at `now`, in Unix seconds.
    fn expired_at(&self, now: u64) -> bool;
    /// Whether a suite of its kind does that.
    fn does(&self, suite: &str, action: &str) -> bool;
}

impl Judged for Body {
    fn id(&self) -> &Id {
        &self.id
    }

    fn name(&self) -> &str {
        &self.header.name
    }

    fn policy(&self) -> &str {
        &self.header.policy
    }

    fn suites(&self) -> &[String] {
        &self.header.suites
    }

    fn quorum(&self) -> &Gate {
        &self.header.quorum
    }

    fn replaces(&self) -> Option<&Id> {
        self.header.replaces.as_ref()
    }

    fn seats(&self) -> usize {
        self.commitments.len()
    }

    fn expired_at(&self, now: u64) -> bool {
        self.header.expired_at(now)
    }

    fn does(&self, suite: &str, action: &str) -> bool {
        let facts = evanesce_suite::catalogue().find(suite);
        facts.is_some_and(|facts| facts.operations.contains(&action))
    }
}

impl Judged for mpc::Body {
    fn id(&self) -> &Id {
        &self.id
    }

    fn name(&self) -> &str {
        &self.header.name
    }

    fn policy(&self) -> &str {
        &self.header.policy
    }

    fn suites(&self) -> &[String] {
        from_ref(&self.header.suite)
    }

    fn quorum(&self) -> &Gate {
        &self.header.quorum
    }

    fn replaces(&self) -> Option<&Id> {
        self.header.replaces.as_ref()
    }

    fn seats(&self) -> usize {
        self.seats()
    }

    fn expired_at(&self, now: u64) -> bool {
        self.header.expired_at(now)
    }

    fn does(&self, _: &str, action: &str) -> bool {
        action == "sign"
    }
}

/// A token of either kind. Cheap to clone.
#[derive(Clone)]
pub enum Subject {
    /// Its key is regenerated as a whole, for one operation.
    First(Arc<Body>),
    /// Its key is never put together.
    Second(Arc<mpc::Body>),
}

impl Subject {
    /// What is judged of it.
    pub fn judged(&self) -> &dyn Judged {
        match self {
            Self::First(body) => &**body,
            Self::Second(body) => &**body,
        }
    }

    /// It, for a verb of the first kind.
    pub fn first(&self) -> Result<&Arc<Body>, Refusal> {
        match self {
            Self::First(body) => Ok(body),
            Self::Second(body) => Err(Refusal::new(
                Code::Refused,
                format!(
                    "the token is of the second kind, {}, whose key is never put together: this verb is not for it",
                    body.header.kind.as_str()
                ),
            )),
        }
    }

    /// It, for a verb of the second kind.
    pub fn second(&self) -> Result<&Arc<mpc::Body>, Refusal> {
        match self {
            Self::Second(body) => Ok(body),
            Self::First(_) => Err(Refusal::new(
                Code::Refused,
                "the token is of the first kind, whose key is put together to be used: this verb is not for it",
            )),
        }
    }
}
