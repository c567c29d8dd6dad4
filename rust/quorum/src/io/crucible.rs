//! Hands openings to the crucible, many in one job.

use evanesce_secret::{on_crucible, spawn_on_crucible};
use tokio::sync::mpsc::UnboundedSender;

use crate::open::{Failure, OpenTask, Opened, run as open};

type Results = Vec<(u64, Opened)>;

/// Openings up to which a job is not worth dividing among threads.
const SHARE: usize = 8;
/// Bytes of input up to which an operation is short.
const SHORT: usize = 16 << 10;

/// Does the tasks: a single short one at once on this thread, which spares two thread switches, others on
/// the crucible's own threads, which send what they made.
pub(super) fn run(
    mut tasks: Vec<(u64, OpenTask)>,
    tell: &UnboundedSender<Results>,
) -> Option<Results> {
    if let [(_, task)] = &tasks[..]
        && is_short(task)
        && let Some((key, task)) = tasks.pop()
    {
        return Some(vec![(key, on_crucible(|| open(task)))]);
    }
    while !tasks.is_empty() {
        let rest = tasks.split_off(tasks.len().min(SHARE));
        spawn(std::mem::replace(&mut tasks, rest), tell.clone());
    }
    None
}

fn spawn(tasks: Vec<(u64, OpenTask)>, tell: UnboundedSender<Results>) {
    // Made here, so that it does not take room in the arena.
    let results = Vec::with_capacity(tasks.len());
    let mut report = Report {
        results,
        left: tasks.iter().map(|(key, _)| *key).rev().collect(),
        tell,
    };
    spawn_on_crucible(move || {
        for (key, task) in tasks {
            let opened = open(task);
            report.left.pop();
            report.results.push((key, opened));
        }
    });
}

/// Sends what was made when the job ends, even if it panics.
struct Report {
    results: Results,
    left: Vec<u64>,
    tell: UnboundedSender<Results>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let mut results = std::mem::take(&mut self.results);
        results.extend(
            self.left
                .drain(..)
                .map(|key| (key, Opened::Finished(Err(Failure::Panicked)))),
        );
        let _ = self.tell.send(results);
    }
}

/// Whether it is over within a tenth of a millisecond or two.
fn is_short(task: &OpenTask) -> bool {
    match &task.work.jobs[..] {
        [] => true,
        [job] => {
            let name = job.suite.facts().name;
            let slow = ["rsa", "ml-", "ecdsa-p384"]
                .iter()
                .any(|slow| name.starts_with(slow));
            !slow && job.input.size() <= SHORT
        }
        _ => false,
    }
}
