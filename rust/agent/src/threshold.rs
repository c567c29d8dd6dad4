//! Tokens of the second kind: keys that are made among agents, and used, without ever being put together
//! (docs/threshold-api.md).
//!
//! What is decided goes the way of every decision: judged, logged, and only then done. What is under way (a ceremony, nonces that
//! were committed to) is in memory alone, bounded, and gone with the process.
//!
//! | | |
//! |---|---|
//! | what a request leads to | `verbs` |
//! | a key made, or its shares renewed | `ceremony` |
//! | a lost seat's share given to a new holder | `repair` |
//! | what agents deal to each other in both | `parcels` |
//! | messages decided on, and signed | `errand`, `pending` |
//! | the same in one round, where an operator has declared that it is safe | `declaration`, `hypervisor`, `once`, `prepared` |
//! | a share had from a row or from the disk | `share`, `shelf` |
//! | a share moved to another root | `reroot` |

mod ceremony;
mod declaration;
mod errand;
mod hypervisor;
mod once;
mod parcels;
mod pending;
mod prepared;
mod repair;
mod reroot;
mod share;
mod shelf;
mod verbs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_token::text::cut;
use evanesce_wire::message::threshold::{Blame, Reply};
use evanesce_wire::message::{Code, LogProof, SeatFault};

use crate::limits;
use crate::regenerate::Hands;
use ceremony::Ceremonies;
pub use declaration::{DECLARATION, Threshold};
pub use errand::Errand;
use pending::Pending;
use prepared::Store;
use repair::Repairs;
pub use reroot::reroot_share;
pub use shelf::Shelf;

/// What is under way.
pub struct Memory {
    /// What works with roots and shares.
    pub hands: Arc<Hands>,
    ceremonies: Mutex<Ceremonies>,
    pending: Mutex<Pending>,
    /// Nonces that were prepared, where such are kept.
    prepared: Option<Store>,
    repairs: Mutex<Repairs>,
}

impl Memory {
    /// Nothing is.
    pub fn new(hands: Arc<Hands>, config: &Threshold) -> Self {
        Self {
            hands,
            prepared: config.prepares().then(Store::default),
            ceremonies: Mutex::default(),
            pending: Mutex::default(),
            repairs: Mutex::default(),
        }
    }

    fn ceremonies(&self) -> MutexGuard<'_, Ceremonies> {
        self.ceremonies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn repairs(&self) -> MutexGuard<'_, Repairs> {
        self.repairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why something of the second kind is not done.
#[derive(Clone, Debug)]
pub struct Obstacle {
    code: Code,
    fault: Option<SeatFault>,
    reason: String,
    culprits: Vec<Blame>,
    /// What was logged of it.
    receipt: Option<Box<(String, Option<LogProof>)>>,
}

impl Obstacle {
    fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            fault: None,
            reason: reason.into(),
            culprits: Vec::new(),
            receipt: None,
        }
    }

    fn refused(reason: impl Into<String>) -> Self {
        Self::new(Code::Refused, reason)
    }

    fn fault(fault: SeatFault, reason: impl Into<String>) -> Self {
        Self {
            fault: Some(fault),
            ..Self::new(Code::Done, reason)
        }
    }

    /// Another seat's fault.
    fn culprit(seat: u32, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self {
            culprits: vec![Blame { seat, reason }],
            ..Self::refused("others have sent what is wrong")
        }
    }

    /// The same, with what was logged of it.
    fn reply_with(self, (checkpoint, receipt): (String, Option<LogProof>)) -> Reply {
        Reply {
            checkpoint,
            receipt,
            ..self.reply()
        }
    }

    fn reply(self) -> Reply {
        let (checkpoint, receipt) = self.receipt.map(|both| *both).unwrap_or_default();
        Reply {
            code: self.code,
            fault: self.fault,
            value: None,
            reason: cut(&self.reason, limits::REASON),
            receipt,
            culprits: self.culprits,
            checkpoint,
        }
    }
}

impl From<evanesce_threshold::Error> for Obstacle {
    fn from(error: evanesce_threshold::Error) -> Self {
        use evanesce_threshold::Error;
        match error {
            Error::NotTheShare { .. } => {
                Self::fault(SeatFault::CannotRegenerate, error.to_string())
            }
            Error::Culprits(culprits) => {
                let blame = |one: evanesce_threshold::Culprit| Blame {
                    seat: one.seat.into(),
                    reason: cut(&one.wrong.to_string(), limits::REASON),
                };
                Self {
                    culprits: culprits.into_iter().map(blame).collect(),
                    ..Self::refused("others have sent what is wrong")
                }
            }
            Error::Memory(_) => Self::new(Code::Overloaded, error.to_string()),
            Error::Unfit(_) => Self::refused(error.to_string()),
        }
    }
}

impl From<evanesce_element::ElementError> for Obstacle {
    fn from(error: evanesce_element::ElementError) -> Self {
        use evanesce_element::ElementError;
        let fault = match error {
            ElementError::EpochNotHeld(_) => SeatFault::EpochNotHeld,
            _ => SeatFault::ElementUnavailable,
        };
        Self::fault(fault, error.to_string())
    }
}

impl From<evanesce_wire::WireError> for Obstacle {
    fn from(error: evanesce_wire::WireError) -> Self {
        Self::new(Code::Unavailable, error.to_string())
    }
}

/// Does something for the suite of that name.
macro_rules! with_suite {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            name if name == <evanesce_threshold::Ed25519 as evanesce_threshold::Suite>::NAME => {
                $function::<evanesce_threshold::Ed25519>($($argument),*)
            }
            _ => $function::<evanesce_threshold::Taproot>($($argument),*),
        }
    };
}
use with_suite;
