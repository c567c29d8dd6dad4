//! What one agent knows and remembers.
//!
//! No thread, socket, file or clock is used here or in `judge` and `gate`: time and chance are handed in, entries
//! and tasks are handed out. The order for one request is [`Shown::prepare`], the policies that
//! [`missing`](crate::shown::missing) names compiled and [`fill`](crate::shown::fill)ed in, [`Agent::judge`] or
//! [`Agent::judge_seat`] for each item, entries to the log, tasks to
//! [`Hands::perform`](crate::regenerate::Hands::perform), and [`Work::answers`](crate::work::Work::answers) or
//! [`Work::seated`](crate::work::Work::seated).

use std::sync::Arc;

use evanesce_element::Description;
use evanesce_wire::Id;
use evanesce_wire::session::SealingSession;
use evanesce_wire::sessions::Sessions;

use crate::approvals::Used;
use crate::clock::Clock;
use crate::delegated::Grants;
use crate::known::Directory;
use crate::limits::{self, Limits};
use crate::orders::Book;
use crate::rate::Rate;
use crate::replay::Replay;
use crate::shown::Shown;
use crate::tombstones::Retired;
use crate::uses::Shared;

/// What an agent says of itself in every entry.
pub struct Me {
    /// Its id.
    pub id: Id,
    /// Its element.
    pub element: Description,
    /// Epochs whose roots the element has.
    pub epochs: Vec<u64>,
}

/// What an agent remembers across its starts.
pub struct Kept {
    /// What was retired here.
    pub tombstones: Retired,
    /// Orders that hold here, the ends of grants among them.
    pub orders: Book,
    /// How often keys were used here.
    pub uses: Shared,
    /// Approvals that were spent here.
    pub used: Used,
}

/// The agent's memory.
pub struct Agent {
    /// Itself.
    pub me: Me,
    /// Whom it knows.
    pub directory: Directory,
    /// What it judges by.
    pub clock: Clock,
    /// Open sealing sessions.
    pub sessions: Sessions,
    /// What was retired here.
    pub tombstones: Retired,
    /// Orders that hold here, the ends of grants among them.
    pub orders: Book,
    /// How often keys were used here.
    pub uses: Shared,
    /// Grants that were verified.
    pub grants: Grants,
    /// Tokens and policies.
    pub shown: Shown,
    /// Request ids.
    pub replay: Replay,
    /// Approvals.
    pub used: Used,
    /// Seats that each caller may have checked.
    pub checks: Rate,
    /// Operations that each caller may ask for, where that is bounded.
    pub operations: Rate,
    /// Orders that each caller may give.
    pub orders_asked: Rate,
    /// Bytes of new policies that each caller may have compiled.
    pub compiles: Rate,
}

impl Agent {
    /// An agent that has just started, at `since` (Unix milliseconds) at least; `chance` is random.
    pub fn new(
        me: Me,
        directory: Directory,
        kept: Kept,
        limits: &Limits,
        since: u64,
        chance: [u8; 16],
    ) -> Self {
        let Kept {
            tombstones,
            orders,
            uses,
            used,
        } = kept;
        Self {
            me,
            directory,
            clock: Clock::new(since),
            sessions: Sessions::new(limits.sessions, limits.sessions_per_caller),
            tombstones,
            orders,
            uses,
            grants: Grants::default(),
            shown: Shown::new(limits.token_bytes, limits.policy_bytes),
            replay: Replay::new(limits.request_ids, chance),
            used,
            checks: Rate::new(limits.checks_per_second, 4 * limits.checks_per_second),
            operations: Rate::new(
                limits.operations_per_second,
                4 * limits.operations_per_second,
            ),
            orders_asked: Rate::new(limits::ORDERS_PER_SECOND, 10 * limits::ORDERS_PER_SECOND),
            compiles: Rate::new(limits.compile_per_second, 16 * limits.compile_per_second),
        }
    }

    /// The session `id` of `caller`, unless it has ended when the system's clock says `now` (Unix milliseconds).
    pub fn session(&mut self, id: &Id, caller: &Id, now: u64) -> Option<Arc<SealingSession>> {
        let now = self.clock.read(now);
        self.sessions.find(id, caller, now / 1000)
    }

    /// Takes a new directory.
    pub fn know(&mut self, directory: Directory) {
        self.checks.keep(|id| directory.find(id).is_some());
        self.operations.keep(|id| directory.find(id).is_some());
        self.orders_asked.keep(|id| directory.find(id).is_some());
        self.replay.keep(|id| directory.find(id).is_some());
        self.compiles.keep(|id| directory.find(id).is_some());
        self.directory = directory;
    }
}
