//! Groups that were judged lately: judging a vector, and computing what a share must be, costs many times what signing does, and gives the
//! same for the same token every time.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use evanesce_token::mpc;

use crate::error::Error;
use crate::group::Group;
use crate::regen::judged;
use crate::suite::Suite;

/// Most groups that are remembered; then the one that was not asked for the longest gives way.
const MOST: usize = 256;

/// A few groups, by the ids of their tokens, which cover all that a group is made of.
#[derive(Default)]
pub struct Groups(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Each a `Group` of its token's suite, with when it was last asked for.
    kept: HashMap<[u8; 32], (u64, Box<dyn Any + Send>)>,
    asked: u64,
}

impl Groups {
    /// The group of a token, judged.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a token of another suite, or one whose vector is none.
    pub fn of<S: Suite>(&self, body: &mpc::Body) -> Result<Group<S>, Error> {
        if let Some(group) = self.inner().find(&body.id) {
            return Ok(group);
        }
        let group = judged(body)?;
        self.inner().keep(body.id, &group);
        Ok(group)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn find<S: Suite>(&mut self, id: &[u8; 32]) -> Option<Group<S>> {
        self.asked += 1;
        let (last, group) = self.kept.get_mut(id)?;
        *last = self.asked;
        group.downcast_ref().cloned()
    }

    fn keep<S: Suite>(&mut self, id: [u8; 32], group: &Group<S>) {
        if self.kept.len() >= MOST {
            let oldest = self.kept.iter().min_by_key(|(_, (last, _))| *last);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.kept.remove(&id));
        }
        self.kept.insert(id, (self.asked, Box::new(group.clone())));
    }
}
