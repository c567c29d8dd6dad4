//! Faults for the simulator to find. Only built in with the feature `planted`, which nothing that is shipped has.

use std::cell::Cell;

thread_local! {
    /// A share is good whatever was committed to.
    pub static TRUSTS_SHARES: Cell<bool> = const { Cell::new(false) };
    /// A mint counts whatever the check of its seats says.
    pub static COUNTS_UNCHECKED: Cell<bool> = const { Cell::new(false) };
}
