//! The reconstructor: the public face of this crate.

use std::sync::Arc;

use evanesce_token::Token;
use evanesce_wire::{Identity, WireError};

use crate::check::CheckTable;
use crate::error::Error;
use crate::holder::{Holder, Settings};
use crate::mint::{MintSpec, Minted};
use crate::operation::{Done, Operation, Outcome};
use crate::retire::Retirement;
use crate::status::AgentStatus;

/// Opens this side's identity; called again in a forked child.
pub type IdentitySource = Box<dyn Fn() -> Result<Arc<dyn Identity>, WireError> + Send + Sync>;

/// Asks quorums and operates with what they regenerate. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Reconstructor;

impl Reconstructor {
    /// Opens the identity and starts the one thread that talks to the agents; connects to none yet.
    pub fn new(
        identity: IdentitySource,
        holders: Vec<Holder>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let _ = (identity, holders, settings);
        todo!()
    }

    /// Begins an operation. Never blocks; operations submitted close together share requests.
    pub fn submit(&self, operation: Operation, done: Done<Outcome>) {
        self.submit_all(vec![(operation, done)]);
    }

    /// Begins several operations at once.
    pub fn submit_all(&self, operations: Vec<(Operation, Done<Outcome>)>) {
        let _ = operations;
        todo!()
    }

    /// Mints a key.
    pub fn mint(&self, spec: MintSpec, done: Done<Minted>) {
        let _ = (spec, done);
        todo!()
    }

    /// Asks every seat; with `open`, also regenerates once and verifies the anchor.
    pub fn check(&self, token: Arc<Token>, open: bool, done: Done<CheckTable>) {
        let _ = (token, open, done);
        todo!()
    }

    /// Tombstones the token wherever it can be.
    pub fn retire(&self, token: Arc<Token>, done: Done<Retirement>) {
        let _ = (token, done);
        todo!()
    }

    /// Asks every agent of the directory for its state.
    pub fn status(&self, done: Done<Vec<AgentStatus>>) {
        let _ = done;
        todo!()
    }
}
