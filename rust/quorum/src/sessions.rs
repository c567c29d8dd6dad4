//! The sessions that stand with the agents: what callers compose their requests for.

use std::sync::Arc;
use std::time::Duration;

use evanesce_wire::message::Standing;
use tokio::spawn;
use tokio::time::timeout;

use crate::io::side::Side;

/// One for each agent that can be asked; one that cannot is reached for, at most for `patience`.
pub(crate) async fn standing(side: &Arc<Side>, patience: Duration) -> Vec<Standing> {
    let tasks: Vec<_> = side
        .links
        .iter()
        .map(|link| {
            let link = link.clone();
            spawn(async move {
                let live = timeout(patience, link.ready()).await.ok()?.ok()?;
                Some(Standing {
                    agent: link.holder.id,
                    session: live.session.id,
                    not_after: live.session.not_after,
                })
            })
        })
        .collect();
    let mut all = Vec::with_capacity(tasks.len());
    for task in tasks {
        all.extend(task.await.ok().flatten());
    }
    all
}
