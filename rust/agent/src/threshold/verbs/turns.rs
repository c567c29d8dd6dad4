//! What goes on over several requests: its first turn makes room for it, each further one takes this agent's part out and puts it back,
//! and one that fails ends it.

use std::sync::MutexGuard;

use evanesce_wire::Id;
use evanesce_wire::message::Code;
use evanesce_wire::message::threshold::Reply;

use super::{Asked, Told};
use crate::regenerate::Hands;
use crate::threshold::ceremony::Ceremonies;
use crate::threshold::{Memory, Obstacle};

/// Where the parts of one sort are between turns.
pub(super) type Place<P> = for<'a> fn(&'a Memory) -> MutexGuard<'a, Ceremonies<P>>;

impl Asked<'_> {
    /// The first turn; what is said in it.
    pub(super) async fn begun<P: ?Sized + Send + 'static>(
        &self,
        id: Id,
        place: Place<P>,
        begin: impl FnOnce(&Hands) -> Result<(Vec<u8>, Box<P>), Obstacle> + Send + 'static,
    ) -> Result<Vec<u8>, Obstacle> {
        let (now, caller) = (self.api.now(), self.who.id);
        let room = place(&self.api.threshold).begin(id, &caller, now);
        room.map_err(|why| Obstacle::new(Code::Overloaded, why))?;
        self.taken(id, place, begin).await
    }

    /// A further turn.
    pub(super) async fn turn<P: ?Sized + Send + 'static>(
        &self,
        id: Id,
        place: Place<P>,
        mut part: Box<P>,
        turn: impl FnOnce(&mut P, &Hands) -> Result<Vec<u8>, Obstacle> + Send + 'static,
    ) -> Told {
        let taken = self.taken(id, place, move |hands| {
            let said = turn(&mut part, hands)?;
            Ok((said, part))
        });
        Ok(Reply::done(taken.await?))
    }

    async fn taken<P: ?Sized + Send + 'static>(
        &self,
        id: Id,
        place: Place<P>,
        turn: impl FnOnce(&Hands) -> Result<(Vec<u8>, Box<P>), Obstacle> + Send + 'static,
    ) -> Result<Vec<u8>, Obstacle> {
        let done = self.api.aside(turn).await.and_then(|done| done);
        let mut parts = place(&self.api.threshold);
        match done {
            Ok((said, part)) => {
                parts.put(&id, part);
                Ok(said)
            }
            Err(obstacle) => {
                parts.end(&id);
                Err(obstacle)
            }
        }
    }
}
