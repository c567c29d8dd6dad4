//! Everything that touches a socket or a clock; all of it on one thread.

mod crucible;
mod driver;
pub(crate) mod link;
mod opening;
mod recent;
pub(crate) mod remote;
pub(crate) mod side;
pub(crate) mod thread;
