//! Checking: every seat asked whether its share can be regenerated; nothing is released (PROTOCOL §5).

use evanesce_wire::Id;
use evanesce_wire::message::Receipt;

use crate::error::Error;
use crate::fault::Fault;

/// What every seat answered.
pub struct CheckTable {
    /// One per seat, in seat order.
    pub rows: Vec<CheckRow>,
    /// Whether the seats that are good suffice.
    pub sufficient: bool,
    /// Where asked for: whether a quorum regenerated the seed that the anchor is of.
    pub opened: Option<Result<(), Error>>,
    /// Receipts of that opening; a check itself is not logged.
    pub receipts: Vec<Receipt>,
}

/// One seat's answer.
pub struct CheckRow {
    /// The seat's name.
    pub seat: String,
    /// Its number.
    pub seat_number: u32,
    /// Its holder's name in the directory, or the start of its id.
    pub holder: String,
    /// Its holder's id.
    pub holder_id: Id,
    /// What is wrong; `None` is good.
    pub fault: Option<Fault>,
    /// How long the answer took, in µs.
    pub latency: Option<u64>,
}
