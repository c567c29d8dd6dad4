//! `revoke-grant`: the end of a grant, by the word of whoever gave it (`docs/delegation.md`).
//!
//! Anyone whom the agent knows may carry that word; it is the grantor's signature that counts, and a grantor whom the agent
//! does not know has no grants here to revoke. From then on nothing is decided under the grant. It is on disk before it is
//! answered, as a line of `revoked-grants`.

use std::sync::{Arc, PoisonError};

use evanesce_wire::Id;
use evanesce_wire::grant::{Revocation, Revoked};
use http::StatusCode;

use crate::api::{Answer, Api, malformed, trouble};
use crate::body::Incoming;
use crate::known::Known;
use crate::tombstones::Tombstones;

/// The file.
pub const REVOKED: &str = "revoked-grants";

impl Api {
    /// Revokes a grant.
    pub(crate) async fn revoke_grant(&self, who: &Arc<Known>, body: Incoming) -> Answer {
        let mut room = self.rooms.bytes(Some(who));
        let body = body.receive(&mut room).await?;
        let now = self.now();
        if !self.agent().checks.take(&who.id, 1, now) {
            let why = format!("{} asks too often", who.name);
            return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
        }
        let revocation = Revocation::decode(&body).and_then(|revocation| revocation.verify());
        let (grant, id) = revocation.map_err(malformed)?;
        {
            let agent = self.agent();
            if agent.directory.find(&grant.grantor).is_none() {
                let why =
                    "the grantor is nobody that this agent knows: it takes no grants of theirs";
                return trouble(StatusCode::FORBIDDEN, "role", why);
            }
            // At once: whether it can be written or not, it is not believed again in this life.
            agent.revoked.extend([id]);
        }
        let revocations = self.revocations.clone();
        let write = move || {
            let mut stones = revocations.lock().unwrap_or_else(PoisonError::into_inner);
            bury(&mut stones, &id)
        };
        let written = match self.world.single_threaded() {
            true => write(),
            false => match tokio::task::spawn_blocking(write).await {
                Ok(written) => written,
                Err(e) => Err(std::io::Error::other(e)),
            },
        };
        if let Err(e) = written {
            let why =
                format!("it holds until the agent starts again, since it cannot be written: {e}");
            return trouble(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
        }
        Ok((Revoked { grant: id }.encode(), room))
    }
}

fn bury(stones: &mut Tombstones, id: &Id) -> std::io::Result<()> {
    if stones.retired().contains(id) {
        return Ok(());
    }
    stones.bury(&[*id]).write()?;
    stones.buried(&[*id]);
    Ok(())
}
