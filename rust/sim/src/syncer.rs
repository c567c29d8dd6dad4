//! The thread that syncs an agent's log, at virtual times: what it does is the agent's own [`Duty`].

use std::time::Duration;

use evanesce_agent::{Duty, SyncMessage, Syncer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::rng::Rng;

/// How soon after a write the real thread syncs, where nobody waits for it, in ms.
const SOON: u64 = 5;
/// The longest that a sync takes, in ms.
pub const LONGEST: u64 = 8;
/// From a write to the end of its sync, in ms: one sync may be under way already.
pub const WINDOW: u64 = SOON + 2 * LONGEST + 2;

/// The committer's handle.
pub struct SimSyncer {
    duty: Duty,
    sender: UnboundedSender<SyncMessage>,
}

impl SimSyncer {
    /// The handle, and the task that syncs.
    pub fn new(duty: Duty, chance: Rng) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = unbounded_channel();
        let syncing = run(duty.clone(), receiver, chance);
        (Self { duty, sender }, syncing)
    }
}

impl Syncer for SimSyncer {
    fn failed(&self) -> Option<&str> {
        self.duty.failed()
    }

    fn send(&self, message: SyncMessage) {
        // Where the task is gone, so is the process.
        let _ = self.sender.send(message);
    }
}

async fn run(duty: Duty, mut messages: UnboundedReceiver<SyncMessage>, mut chance: Rng) {
    while let Some(first) = messages.recv().await {
        let mut taken = vec![first];
        if matches!(taken[0], SyncMessage::Soon) {
            let soon = sleep(Duration::from_millis(SOON));
            tokio::pin!(soon);
            tokio::select! {
                biased;
                Some(second) = messages.recv() => taken.push(second),
                () = &mut soon => {}
            }
        }
        while let Ok(more) = messages.try_recv() {
            taken.push(more);
        }
        sleep(Duration::from_millis(chance.between(0, LONGEST))).await;
        duty.perform(taken, || ());
    }
}
