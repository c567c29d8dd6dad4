//! From work that is permitted to work that is done: entries first, then the element, then the answer.
//!
//! One task owns the log. It takes all work that has queued up, however many requests it came in, as one commit
//! group: one write, one signed checkpoint, and one crucible job (a few, where the element is slow or the group
//! large). While a group is under way, or its sync in mode `power`, the next one gathers. No group waits for a timer:
//! the only one stores the head of what was written last, if nothing more comes.
//!
//! If the entries cannot be written, nothing of the group is done; if they cannot be synced where they must be,
//! nothing of it is released.
//!
//! Tombstones have their place in this order: a `retire` ends its group, its tombstones are on disk before anyone
//! is answered and before the next group begins, and what was judged before that is held against them again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use evanesce_wire::merkle::{Group, Hash};
use evanesce_wire::message::{Code, Command, LogProof, Obeyed};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::Commit;
use crate::counts::Keeper;
use crate::events::{Event, Events};
use crate::gate::{Refusal, Verb};
use crate::limits::{ENTRY, HEAD_EVERY};
use crate::log::{Log, LogError, Signed, Signer};
use crate::metrics::Metrics;
use crate::obey::{self, Ordered, refused};
use crate::orders::{Orders, Says};
use crate::regenerate::{Hands, Task};
use crate::sync::Syncer;
use crate::tell::tell;
use crate::threshold::Errand;
use crate::tombstones::Tombstones;
use crate::work::{Logged, Work};

/// Where work is handed in.
#[derive(Clone)]
pub struct Queue(mpsc::Sender<Job>);

/// What is handed in, with who waits for it.
enum Job {
    Work(Work, oneshot::Sender<Work>),
    Order(Ordered, oneshot::Sender<Obeyed>),
}

impl Queue {
    /// Has `work` logged and done. `None` when the agent failed over it. Work whose asker stops waiting before its
    /// group begins is dropped, but for a retire.
    pub async fn run(&self, work: Work) -> Option<Work> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Job::Work(work, sender)).await.ok()?;
        receiver.await.ok()
    }

    /// Has an order logged and written down. `None` when the agent failed over it. It is meant whether or not its answer
    /// is heard.
    pub async fn order(&self, ordered: Ordered) -> Option<Obeyed> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Job::Order(ordered, sender)).await.ok()?;
        receiver.await.ok()
    }
}

/// An errand that is run elsewhere, and the place of its work.
type Away = (usize, JoinHandle<Box<Errand>>);

/// What commits.
pub struct Committer {
    /// The log, which nothing else writes.
    pub log: Log,
    /// What was retired, which nothing else writes.
    pub tombstones: Tombstones,
    /// What was ordered, which nothing else writes.
    pub orders: Orders,
    /// How often keys were used, which nothing else writes.
    pub counts: Keeper,
    /// The log's key.
    pub signer: Arc<Signer>,
    /// What does the work.
    pub hands: Arc<Hands>,
    /// What syncs the log.
    pub syncer: Box<dyn Syncer>,
    /// When.
    pub commit: Commit,
    /// Works that may queue: as many as there are requests in flight.
    pub queued: usize,
    /// Up to so many tasks are done at once, by the thread that commits.
    pub tasks_at_once: usize,
    /// Tasks for one crucible job beyond that, so that a slow element is asked from several threads.
    pub tasks_per_job: usize,
    /// Crucible threads.
    pub threads: usize,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where faults are told.
    pub events: Events,
}

impl Committer {
    /// The queue, and the task that empties it: it ends, log synced and head stored, once every clone of the
    /// queue is gone.
    pub fn start(self) -> (Queue, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(self.queued.max(1));
        (Queue(sender), self.drive(receiver))
    }

    async fn drive(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut head_stored: Option<Instant> = None;
        // The newest checkpoint, until a head is stored for it, and the size that it covers.
        let mut unstored: Option<(u64, String)> = None;
        // Set at most once for each head: setting a timer costs a system call.
        let alarm = sleep_until(Instant::now());
        tokio::pin!(alarm);
        let mut is_set = false;
        loop {
            let first = tokio::select! {
                biased;
                first = queue.recv() => match first {
                    Some(first) => first,
                    None => break,
                },
                () = &mut alarm, if is_set => {
                    let due = head_stored.map(|then| then + HEAD_EVERY);
                    match due.filter(|due| unstored.is_some() && Instant::now() < *due) {
                        Some(due) => alarm.as_mut().reset(due),
                        None => {
                            is_set = false;
                            self.store_head(&mut unstored, &mut head_stored);
                        }
                    }
                    continue;
                }
            };
            // Lets what has already arrived be read and judged, and so join.
            tokio::task::yield_now().await;
            let (mut works, mut askers) = (Vec::new(), Vec::new());
            let (mut next, mut order) = (Some(first), None);
            while let Some(job) = next {
                let (work, asker) = match job {
                    Job::Work(work, asker) => (work, asker),
                    // What is behind it is held against it.
                    Job::Order(ordered, asker) => {
                        order = Some((ordered, asker));
                        break;
                    }
                };
                // What is behind it is judged again once its tombstones are there.
                let last = work.verb == Verb::Retire;
                // What nobody waits for costs no more. A retire was meant whether or not its answer is heard.
                if last || !asker.is_closed() {
                    works.push(work);
                    askers.push(asker);
                }
                next = if last { None } else { queue.try_recv().ok() };
            }
            let grave = works.iter().any(|work| work.verb == Verb::Retire);
            let mut checkpoint = None;
            if !works.is_empty() {
                match self.commit(&mut works).await {
                    Some(signed) => checkpoint = signed,
                    // Dropping the askers tells them.
                    None => askers.clear(),
                }
            }
            for (work, asker) in works.into_iter().zip(askers) {
                tell(&work, &self.metrics, &self.events);
                // An asker that has gone away needs no answer.
                let _ = asker.send(work);
            }
            let grave = grave || order.is_some();
            let mut covered = self.log.size();
            if let Some((ordered, asker)) = order {
                let (obeyed, signed) = self.obey(ordered).await;
                if signed.is_some() {
                    (checkpoint, covered) = (signed, self.log.size());
                }
                let _ = asker.send(obeyed);
            }
            if let Some(checkpoint) = checkpoint {
                unstored = Some((covered, checkpoint));
                match head_stored.map(|then| then + HEAD_EVERY) {
                    // What was retired or ordered is in the next head that peers are told of.
                    Some(due) if !grave && Instant::now() < due => {
                        if !is_set {
                            is_set = true;
                            alarm.as_mut().reset(due);
                        }
                    }
                    _ => self.store_head(&mut unstored, &mut head_stored),
                }
            }
            self.keep_counts(false);
        }
        let (size, root) = (self.log.size(), self.log.root());
        let signer = self.signer.clone();
        if size > 0
            && self.syncer.failed().is_none()
            && let Ok(checkpoint) = sign_on_crucible(&signer, size, &root)
        {
            self.syncer.head(self.log.head(&checkpoint));
        }
        self.keep_counts(true);
    }

    fn keep_counts(&mut self, last: bool) {
        let (journal, place) = (self.log.journal(), self.log.place());
        self.counts.keep(&*journal, place, &*self.syncer, last);
    }

    /// Has the newest head stored, unless something was written since that got no checkpoint.
    fn store_head(&self, unstored: &mut Option<(u64, String)>, stored: &mut Option<Instant>) {
        if let Some((size, checkpoint)) = unstored.take()
            && size == self.log.size()
        {
            self.syncer.head(self.log.head(&checkpoint));
            *stored = Some(Instant::now());
        }
    }

    /// One commit group. Gives its checkpoint, if anything was logged; `None` when a job did not come back.
    async fn commit(&mut self, works: &mut [Work]) -> Option<Option<String>> {
        let (retired, book) = (self.tombstones.retired(), self.orders.book());
        works.iter_mut().for_each(|work| work.bar(&retired, &book));
        let group = match self.write(works) {
            Ok(group) => group,
            Err(e) => {
                self.fail(works, &e);
                None
            }
        };
        let synced = match (&group, self.commit) {
            (Some(_), Commit::Power) => {
                let (sender, receiver) = oneshot::channel();
                self.syncer.now(Box::new(move |good| {
                    let _ = sender.send(good);
                }));
                Some(receiver)
            }
            (Some(_), Commit::Process) => {
                self.syncer.soon();
                None
            }
            (None, _) => None,
        };
        let checkpoint = self.perform(works, group.as_ref()).await?;
        self.settle(works);
        if let Some(synced) = synced
            && !synced.await.unwrap_or(false)
        {
            let why = self.why_unsynced();
            self.fail(works, &LogError::Uncertain(why));
            return Some(None);
        }
        let Some(group) = group.map(Arc::new) else {
            return Some(None);
        };
        let checkpoint = match checkpoint {
            Ok(checkpoint) => checkpoint,
            Err(e) => {
                self.fail(works, &e);
                return Some(None);
            }
        };
        for work in works.iter_mut().filter(|work| work.verb == Verb::Retire) {
            self.entomb(work).await;
        }
        let shared: Arc<str> = checkpoint.as_str().into();
        let mut first = group.first;
        for work in works {
            let (group, checkpoint) = (group.clone(), shared.clone());
            if !work.entries.is_empty() {
                work.logged = Some(Logged {
                    group,
                    first,
                    checkpoint,
                });
            }
            first += work.entries.len() as u64;
        }
        self.metrics.groups.fetch_add(1, Relaxed);
        self.metrics.entries.store(self.log.size(), Relaxed);
        if self.metrics.log_works.swap(1, Relaxed) == 0 {
            self.events.emit(Event::LogWorks {});
        }
        Some(Some(checkpoint))
    }

    /// Writes the tombstones of what was retired, once its entries are synced; where that fails, says so in
    /// place of the answer.
    async fn entomb(&mut self, work: &mut Work) {
        let ids = work.retired();
        if ids.is_empty() {
            return;
        }
        let burial = self.tombstones.bury(&ids);
        let (sender, receiver) = oneshot::channel();
        // On the thread that syncs, so that nobody waits for the disk who need not.
        self.syncer.now(Box::new(move |good| {
            let written = if good { Some(burial.write()) } else { None };
            let _ = sender.send(written);
        }));
        let why = match receiver.await.ok().flatten() {
            Some(Ok(())) => {
                self.tombstones.buried(&ids);
                let all = self.tombstones.retired().len();
                self.metrics.tombstones.store(all as u64, Relaxed);
                return;
            }
            Some(Err(e)) => e.to_string(),
            None => self.why_unsynced(),
        };
        let why = format!("the tombstone cannot be written: {why}");
        self.events.emit(Event::LogFailed { why: &why });
        work.withdraw(Code::Unavailable, &why);
    }

    /// Logs an order, writes it down once its entry is synced, and the tombstone of one that revokes. Gives what its
    /// bearer is told, and the checkpoint.
    async fn obey(&mut self, ordered: Ordered) -> (Obeyed, Option<String>) {
        let Ordered {
            signed,
            line,
            entry,
        } = ordered;
        let unavailable = |why: String| refused(Refusal::new(Code::Unavailable, why));
        // What came before it was not there yet when it was judged.
        if self.orders.book().has(&line.id) {
            return (obey::done(None, String::new()), None);
        }
        let buried = self.tombstones.retired().contains(&line.token());
        let dead = match line.says {
            Says::Token {
                command: Command::Revoke,
                token,
                ..
            } => self.orders.book().is_revoked(&token),
            Says::Token { .. } => buried,
            Says::Ended { .. } => false,
        };
        if dead {
            let why = "the token was retired here";
            return (refused(Refusal::new(Code::Retired, why)), None);
        }
        if let Some(why) = self.orders.book().stands_against(&line) {
            return (refused(Refusal::new(Code::Replayed, why)), None);
        }
        let logged = match self.syncer.failed() {
            Some(why) => Err(LogError::Uncertain(why.to_owned())),
            None => self.log.append(std::iter::once(entry.as_slice())),
        };
        let group = match logged {
            Ok(group) => group,
            Err(e) => return (unavailable(e.to_string()), None),
        };
        self.metrics.entries.store(self.log.size(), Relaxed);
        let checkpoint = match sign_on_crucible(&self.signer, group.size, &group.root) {
            Ok(checkpoint) => checkpoint,
            Err(e) => return (unavailable(e.to_string()), None),
        };
        let revoked = match line.says {
            Says::Token {
                command: Command::Revoke,
                token,
                ..
            } if !buried => vec![token],
            _ => Vec::new(),
        };
        let (record, burial) = (self.orders.record(&signed), self.tombstones.bury(&revoked));
        let buries = !revoked.is_empty();
        let (sender, receiver) = oneshot::channel();
        self.syncer.now(Box::new(move |good| {
            let write = || {
                record.write()?;
                if buries { burial.write() } else { Ok(()) }
            };
            let _ = sender.send(good.then(write));
        }));
        let why = match receiver.await.ok().flatten() {
            Some(Ok(())) => {
                self.orders.recorded(&line, signed.len());
                if buries {
                    self.tombstones.buried(&revoked);
                    self.destroy(&revoked);
                }
                let (all, frozen) = (self.tombstones.retired().len(), self.orders.book().frozen());
                self.metrics.tombstones.store(all as u64, Relaxed);
                self.metrics.frozen.store(frozen as u64, Relaxed);
                let bytes = self.orders.book().bytes();
                self.metrics.order_bytes.store(bytes, Relaxed);
                obey::tell(&line, &self.events);
                let proof = LogProof {
                    entry,
                    index: group.first,
                    path: group.path(group.first),
                };
                return (
                    obey::done(Some(proof), checkpoint.clone()),
                    Some(checkpoint),
                );
            }
            Some(Err(e)) => e.to_string(),
            None => self.why_unsynced(),
        };
        let why = format!("the order cannot be written: {why}");
        self.events.emit(Event::LogFailed { why: &why });
        (unavailable(why), None)
    }

    /// Counts of tokens that somebody made up are forgotten.
    fn settle(&self, works: &[Work]) {
        for (token, counted) in works.iter().flat_map(Work::counted) {
            self.counts.uses().lock().settle(token, counted);
        }
    }

    /// Removes the shares that are kept of tokens which were retired.
    fn destroy(&self, tokens: &[[u8; 32]]) {
        for token in tokens {
            if let Err(e) = self.hands.shelf.remove(token) {
                let why = format!("the share of a token that was retired cannot be removed: {e}");
                self.events.emit(Event::LogFailed { why: &why });
            }
        }
    }

    fn why_unsynced(&self) -> String {
        let why = self.syncer.failed();
        why.unwrap_or("the log's thread has ended").to_owned()
    }

    fn write(&mut self, works: &mut [Work]) -> Result<Option<Group>, LogError> {
        // No caller's entry may keep the others' from being written.
        let too_long = |work: &&mut Work| work.entries.iter().any(|entry| entry.len() > ENTRY);
        for work in works.iter_mut().filter(too_long) {
            let why = format!("its log entry has over {ENTRY} bytes");
            work.withdraw(Code::Refused, &why);
            work.entries.clear();
        }
        if works.iter().all(|work| work.entries.is_empty()) {
            return Ok(None);
        }
        if let Some(why) = self.syncer.failed() {
            return Err(LogError::Uncertain(why.to_owned()));
        }
        let entries = works
            .iter()
            .flat_map(|work| &work.entries)
            .map(Vec::as_slice);
        self.log.append(entries).map(Some)
    }

    fn fail(&self, works: &mut [Work], e: &LogError) {
        let why = e.to_string();
        self.metrics.log_failures.fetch_add(1, Relaxed);
        if self.metrics.log_works.swap(0, Relaxed) == 1 {
            self.events.emit(Event::LogFailed { why: &why });
        }
        // A check alone is not logged, and is answered all the same.
        for work in works.iter_mut().filter(|work| !work.entries.is_empty()) {
            work.withdraw(Code::Unavailable, &why);
        }
    }

    /// Does every task and signs the checkpoint, on crucible threads. `None` when a job did not come back.
    async fn perform(
        &self,
        works: &mut [Work],
        group: Option<&Group>,
    ) -> Option<Result<String, LogError>> {
        let counts: Vec<usize> = works.iter().map(|work| work.tasks.len()).collect();
        let mut tasks: Vec<Task> = Vec::with_capacity(counts.iter().sum());
        works
            .iter_mut()
            .for_each(|work| tasks.append(&mut work.tasks));
        if tasks.is_empty() && group.is_none() {
            return Some(Ok(String::new()));
        }
        let away = self.begin_errands(works)?;
        let checkpoint = if tasks.len() <= self.tasks_at_once {
            self.perform_here(&mut tasks, group)?
        } else {
            self.perform_elsewhere(&mut tasks, group).await?
        };
        let mut tasks = tasks.into_iter();
        for (work, count) in works.iter_mut().zip(counts) {
            work.tasks.extend(tasks.by_ref().take(count));
        }
        self.end_errands(works, away).await?;
        Some(checkpoint)
    }

    /// Begins to draw nonces where signing was decided on, beside whatever else is done for the group. Not as crucible jobs: what is
    /// secret in them goes to the crucible by itself, and the rest is much.
    fn begin_errands(&self, works: &mut [Work]) -> Option<Vec<Away>> {
        let mut away = Vec::new();
        for (place, work) in works.iter_mut().enumerate() {
            let Some(mut errand) = work.errand.take() else {
                continue;
            };
            let hands = self.hands.clone();
            // In a world of one thread all is done on it.
            if self.tasks_at_once == usize::MAX {
                catch_unwind(AssertUnwindSafe(|| errand.run(&hands))).ok()?;
                work.errand = Some(errand);
                continue;
            }
            let running = tokio::task::spawn_blocking(move || {
                errand.run(&hands);
                errand
            });
            away.push((place, running));
        }
        Some(away)
    }

    /// Waits for what was begun.
    async fn end_errands(&self, works: &mut [Work], away: Vec<Away>) -> Option<()> {
        for (place, running) in away {
            works[place].errand = Some(running.await.ok()?);
        }
        Some(())
    }

    /// On this thread, which is done before another would have woken.
    fn perform_here(
        &self,
        tasks: &mut [Task],
        group: Option<&Group>,
    ) -> Option<Result<String, LogError>> {
        let mut signed = Signed::default();
        let job = || {
            tasks.iter_mut().for_each(|task| self.hands.perform(task));
            if let Some(group) = group {
                self.signer.sign(group.size, &group.root, &mut signed);
            }
        };
        // A panic is this group's alone, as it would be on another thread.
        catch_unwind(AssertUnwindSafe(|| evanesce_secret::on_crucible(job))).ok()?;
        Some(signed.checkpoint())
    }

    /// On the crucible's own threads, several at once where there is enough to do.
    async fn perform_elsewhere(
        &self,
        tasks: &mut Vec<Task>,
        group: Option<&Group>,
    ) -> Option<Result<String, LogError>> {
        let jobs = (tasks.len() / self.tasks_per_job).clamp(1, self.threads.max(1));
        let per_job = tasks.len().div_ceil(jobs);
        let mut to_sign = group.map(|group| (self.signer.clone(), group.size, group.root));
        let mut running = Vec::with_capacity(jobs);
        for job in (0..jobs).rev() {
            let mut part = tasks.split_off((job * per_job).min(tasks.len()));
            let (hands, sign) = (self.hands.clone(), to_sign.take_if(|_| job == 0));
            let (sender, receiver) = oneshot::channel();
            evanesce_secret::spawn_on_crucible(move || {
                part.iter_mut().for_each(|task| hands.perform(task));
                let mut signed = Signed::default();
                if let Some((signer, size, root)) = sign {
                    signer.sign(size, &root, &mut signed);
                }
                let _ = sender.send((part, signed));
            });
            running.push(receiver);
        }
        let mut checkpoint = Signed::default();
        for job in running.into_iter().rev() {
            let (part, signed) = job.await.ok()?;
            tasks.extend(part);
            checkpoint.or(signed);
        }
        Some(checkpoint.checkpoint())
    }
}

fn sign_on_crucible(signer: &Signer, size: u64, root: &Hash) -> Result<String, LogError> {
    let mut signed = Signed::default();
    evanesce_secret::on_crucible(|| signer.sign(size, root, &mut signed));
    signed.checkpoint()
}

#[cfg(test)]
mod tests;
