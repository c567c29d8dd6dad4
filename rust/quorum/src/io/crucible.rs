//! Hands openings to the crucible, many in one job.

use std::panic::{AssertUnwindSafe, catch_unwind};

use evanesce_secret::{on_crucible, spawn_on_crucible};
use tokio::sync::mpsc::UnboundedSender;

use crate::open::{OpenTask, Opened, run as open};
use crate::work::Purpose;

type Results = Vec<(u64, Opened)>;

/// Openings up to which a job is not worth dividing among threads.
const SHARE: usize = 8;
/// Bytes of input up to which an operation is short.
const SHORT: usize = 16 << 10;

/// Does the tasks: a single short one at once on this thread, which spares two thread switches, others on
/// the crucible's own threads, which send what they made. With `here`, all on this thread.
pub(super) fn run(
    mut tasks: Vec<(u64, OpenTask)>,
    tell: &UnboundedSender<Results>,
    here: bool,
) -> Option<Results> {
    if here {
        let each = |(key, task)| (key, at_once(task));
        return Some(tasks.into_iter().map(each).collect());
    }
    if let [(_, task)] = &tasks[..]
        && is_short(task)
        && let Some((key, task)) = tasks.pop()
    {
        return Some(vec![(key, at_once(task))]);
    }
    while !tasks.is_empty() {
        let rest = tasks.split_off(tasks.len().min(SHARE));
        spawn(std::mem::replace(&mut tasks, rest), tell.clone());
    }
    None
}

/// A panic must not take the thread along that serves all openings: it breaks off this one alone.
fn at_once(task: OpenTask) -> Opened {
    let mut opened = Opened::default();
    let fill = || on_crucible(|| open(task, &mut opened));
    let _ = catch_unwind(AssertUnwindSafe(fill));
    opened
}

fn spawn(tasks: Vec<(u64, OpenTask)>, tell: UnboundedSender<Results>) {
    // Made here: it takes no room in the arena, and is filled in place.
    let results = tasks
        .iter()
        .map(|(key, _)| (*key, Opened::default()))
        .collect();
    let mut report = Report { results, tell };
    spawn_on_crucible(move || {
        for ((_, task), (_, opened)) in tasks.into_iter().zip(&mut report.results) {
            open(task, opened);
        }
    });
}

/// Sends what was made when the job ends, even if it panics: what was not reached then has broken off.
struct Report {
    results: Results,
    tell: UnboundedSender<Results>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let _ = self.tell.send(std::mem::take(&mut self.results));
    }
}

/// Whether it is over within a tenth of a millisecond or two.
fn is_short(task: &OpenTask) -> bool {
    match &task.work.jobs[..] {
        // A deal computes a public key of every suite.
        [] => !matches!(task.work.purpose, Purpose::Remint(_)),
        [job] => !job.suite.is_slow() && job.input.size() <= SHORT,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use evanesce_secret::Secret;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::compose::tests::token;
    use crate::open::{HowFar, KeptShare};
    use crate::work::Work;

    /// Panics where the share is put in its place: there is no such seat.
    fn broken() -> OpenTask {
        let share = Secret::zeroed().unwrap();
        OpenTask {
            work: Arc::new(Work::bare(
                token(0, 0),
                "open",
                Duration::ZERO,
                &evanesce_wire::System,
            )),
            sealed: Vec::new(),
            kept: vec![KeptShare {
                seat: u64::MAX,
                share,
            }],
            finish: true,
            verify_before_release: false,
            runtime: None,
        }
    }

    fn sound() -> OpenTask {
        OpenTask {
            kept: Vec::new(),
            ..broken()
        }
    }

    #[test]
    fn a_panic_breaks_off_its_own_opening_whichever_thread_it_is_on() {
        let (tell, mut told) = unbounded_channel();
        let results = run(vec![(7, broken())], &tell, false).unwrap();
        assert!(matches!(&results[..], [(7, opened)] if opened.how_far == HowFar::BrokeOff));
        let results = run(vec![(8, sound())], &tell, false).unwrap();
        assert!(
            matches!(&results[..], [(8, opened)] if opened.failure.is_some()),
            "the thread goes on"
        );
        let three = || vec![(1, sound()), (2, broken()), (3, sound())];
        assert!(run(three(), &tell, false).is_none());
        let results = told.blocking_recv().unwrap();
        let how_far: Vec<_> = results
            .iter()
            .map(|(key, opened)| (*key, opened.how_far))
            .collect();
        let broke_off = HowFar::BrokeOff;
        assert_eq!(
            how_far,
            [(1, HowFar::Finished), (2, broke_off), (3, broke_off)]
        );
        let here = run(three(), &tell, true).unwrap();
        let how_far: Vec<_> = here.iter().map(|(_, opened)| opened.how_far).collect();
        let finished = HowFar::Finished;
        assert_eq!(how_far, [finished, broke_off, finished]);
    }

    #[test]
    fn what_leaves_the_crucible_is_words_without_padding() {
        let word = size_of::<usize>();
        assert_eq!(size_of::<Opened>(), 8 + word + 3 * size_of::<Vec<u8>>());
        assert_eq!(size_of::<KeptShare>(), 8 + size_of::<Secret<32>>());
        assert_eq!(size_of::<(u32, crate::open::Bad)>(), 8);
    }
}
