//! Faults for the simulator to find. Only built in with the feature `planted`, which nothing that is shipped has.

use std::cell::Cell;

thread_local! {
    /// A request's id is good however often it comes.
    pub static TAKES_REPLAYS: Cell<bool> = const { Cell::new(false) };
    /// An agent that starts has forgotten how often keys were used.
    pub static FORGETS_COUNTS: Cell<bool> = const { Cell::new(false) };
    /// An agent that starts has forgotten which approvals were spent.
    pub static FORGETS_APPROVALS: Cell<bool> = const { Cell::new(false) };
    /// An agent does not look whether it has spent an approval.
    pub static SPENDS_TWICE: Cell<bool> = const { Cell::new(false) };
    /// A grant lets its delegate ask for anything.
    pub static WIDENS_GRANTS: Cell<bool> = const { Cell::new(false) };
    /// An agent answers though peers have shown it that its log is not what it was.
    pub static ANSWERS_RESTORED: Cell<bool> = const { Cell::new(false) };
    /// An agent answers whether or not it has heard from its peers.
    pub static ANSWERS_UNHEARD: Cell<bool> = const { Cell::new(false) };
}
