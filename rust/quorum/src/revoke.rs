//! A grant revoked at every agent of the directory.

use std::sync::Arc;

use evanesce_wire::client::CallError;
use evanesce_wire::grant::Revoked;
use tokio::spawn;
use tokio::time::{Instant, timeout_at};

use crate::fault::Fault;
use crate::holder::Holder;
use crate::io::link::{Down, down};
use crate::io::side::Side;

/// What one agent said.
pub struct RevokedAt {
    /// Which agent.
    pub holder: Holder,
    /// Why it has not revoked the grant, if so.
    pub fault: Option<Fault>,
}

/// Tells every agent, all at once, until `until`.
pub(crate) async fn revoke(
    side: &Arc<Side>,
    revocation: Vec<u8>,
    until: Instant,
) -> Vec<RevokedAt> {
    let ask = |place: usize| {
        let (link, body) = (side.links[place].clone(), revocation.clone());
        spawn(async move {
            let told = match timeout_at(until, link.tell("revoke-grant", body)).await {
                Ok(answer) => answer?,
                Err(_) => return Err(Down::slow()),
            };
            match Revoked::decode(&told) {
                Ok(_) => Ok(()),
                Err(e) => Err(down(&CallError::Wire(e))),
            }
        })
    };
    let tasks: Vec<_> = (0..side.links.len()).map(ask).collect();
    let mut all = Vec::with_capacity(tasks.len());
    for (place, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap_or_else(|_| Err(Down::broke_off()));
        all.push(RevokedAt {
            holder: side.directory.all()[place].clone(),
            fault: answer.err().map(|down| side.fault(place, &down)),
        });
    }
    all
}
