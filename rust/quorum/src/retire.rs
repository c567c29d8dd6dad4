//! Retiring: the token's id tombstoned wherever it can be (PROTOCOL §9).

use evanesce_wire::message::Receipt;

use crate::fault::Fault;

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
}
