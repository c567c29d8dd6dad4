//! What agents keep and hand on to one another: words that are signed by whomever they are of, so that each agent can judge
//! them for itself, whoever has brought them.

use super::SignedOrder;
use crate::grant::{Revocation, Signed, grant_id, revocation_statement};
use crate::{Id, WireError};

/// What an encoded [`Revocation`] begins with: a map of two. An order has four.
const REVOCATION: u8 = 0xa2;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// What is to become of a token.
    Order(SignedOrder),
    /// That a grant has ended.
    Revocation(Revocation),
}

impl Word {
    /// CBOR, of the one or the other.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Order(signed) => signed.encode(),
            Self::Revocation(revocation) => revocation.encode(),
        }
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        match bytes.first() {
            Some(&REVOCATION) => Revocation::decode(bytes).map(Self::Revocation),
            _ => SignedOrder::decode(bytes).map(Self::Order),
        }
    }

    /// What was signed, which it is known by: `TH("order", order)` or `TH("revoke-grant", grant id)`.
    pub fn id(&self) -> Result<Id, WireError> {
        match self {
            Self::Order(signed) => Ok(signed.id()),
            Self::Revocation(revocation) => {
                let signed = Signed::decode(&revocation.grant)?;
                Ok(revocation_statement(&grant_id(&signed.grant)))
            }
        }
    }
}
