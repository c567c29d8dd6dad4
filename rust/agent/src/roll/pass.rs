//! One pass over the inventory: files in batches, several at once, each batch durable before it is in force.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

use evanesce_element::Element;
use evanesce_secret::on_crucible;
use evanesce_token::Row;
use evanesce_wire::{Id, Identity};

use super::Rolled;
use super::inventory::{Beside, Held, TokenFile, remove};
use crate::error::AgentError;
use crate::regenerate::{Rerooted, reroot};
use crate::threshold::{Shelf, reroot_share};
use crate::tombstones::Retired;

/// Files that become durable together: enough that a sync is nothing beside them, few enough that little is done twice.
const BATCH: usize = 500;
/// Seats in one crucible job.
const JOB: usize = 64;
/// Workers. More than there are cores: making a file and syncing it can each wait for milliseconds, as an HSM does, and
/// these waits go side by side.
const WORKERS: usize = 16;
/// Problems that are named; beyond, they are counted.
pub const PROBLEMS_KEPT: usize = 100;

/// Why one file of the inventory stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub why: String,
}

/// What a pass works with.
pub struct Pass<'a> {
    pub element: &'a dyn Element,
    pub identity: &'a dyn Identity,
    pub me: Id,
    /// The epoch that every row is to be under.
    pub to: u64,
    pub retired: &'a Retired,
    /// What the agent keeps itself, of the second kind.
    pub shelf: &'a Shelf,
    /// Re-root what is not; otherwise that is a problem, and nothing is written to the inventory. A share that is kept and whose file alone
    /// is under another epoch, as after a copy of it was put back, is sealed anew even so: its row says already that it is.
    pub write: bool,
}

/// What came of one batch.
#[derive(Default)]
struct Counts {
    files: u64,
    tokens: u64,
    rerooted: u64,
    proven: u64,
    elsewhere: u64,
    retired: u64,
    others: u64,
    problems: Vec<Problem>,
    /// What was replaced.
    replaced: Vec<PathBuf>,
    /// The element does not answer: nothing more can be done now.
    over: bool,
}

/// One seat of this agent's.
struct Mine {
    seat: u32,
    from: u64,
    correction: [u8; 32],
    fate: Rerooted,
}

impl Pass<'_> {
    /// Goes through all of `files`, which lie below `root`; adds what came of it to `rolled`.
    pub fn run(
        &self,
        root: &Path,
        files: &[PathBuf],
        rolled: &mut Rolled,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<(), AgentError> {
        let system = |e| AgentError::Roll(format!("{}: {e}", root.display()));
        let root = File::open(root).map_err(system)?;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let batches: Vec<&[PathBuf]> = files.chunks(BATCH).collect();
        let (tell, told) = mpsc::channel::<Counts>();
        let (mut done, mut replaced) = (0, Vec::new());
        rolled.finished = progress(0, files.len() as u64);
        if !rolled.finished {
            return Ok(());
        }
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(batches.len()) {
                let (tell, next, stop, batches, root) =
                    (tell.clone(), &next, &stop, &batches, &root);
                scope.spawn(move || {
                    while let (Some(batch), false) =
                        (batches.get(next.fetch_add(1, Relaxed)), stop.load(Relaxed))
                    {
                        let counts = self.batch(root, batch);
                        if counts.over {
                            stop.store(true, Relaxed);
                        }
                        let _ = tell.send(counts);
                    }
                });
            }
            drop(tell);
            for mut counts in told {
                done += counts.files;
                replaced.append(&mut counts.replaced);
                rolled.take(counts);
                if !progress(done, files.len() as u64) {
                    stop.store(true, Relaxed);
                }
            }
        });
        rolled.finished = done == files.len() as u64;
        if !self.write {
            return Ok(());
        }
        // The names that were given last. Until they are durable, what they stood for is kept.
        rustix::fs::syncfs(&root).map_err(|e| system(e.into()))?;
        remove(&replaced).map_err(|(path, e)| {
            AgentError::Roll(format!("{}: cannot be removed: {e}", path.display()))
        })
    }

    fn batch(&self, root: &File, files: &[PathBuf]) -> Counts {
        let mut counts = Counts::default();
        let mut beside: Vec<Beside> = Vec::new();
        let mut waiting: Vec<(&PathBuf, TokenFile, Vec<Mine>)> = Vec::new();
        let mut seats = 0;
        for path in files {
            if counts.over {
                break;
            }
            counts.files += 1;
            if let Some((file, mine)) = self.read(path, &mut counts) {
                seats += mine.len();
                waiting.push((path, file, mine));
            }
            if seats >= JOB {
                seats = 0;
                self.work(std::mem::take(&mut waiting), &mut beside, &mut counts);
            }
        }
        self.work(waiting, &mut beside, &mut counts);
        let synced = match beside.is_empty() {
            true => Ok(()),
            false => rustix::fs::syncfs(root).map_err(|e| format!("cannot be made durable: {e}")),
        };
        for beside in beside {
            let file = beside.file().to_owned();
            match synced.clone().and_then(|()| beside.put()) {
                Ok(replaced) => counts.replaced.extend(replaced),
                Err(why) => counts.problem(&file, why),
            }
        }
        counts
    }

    /// A token and this agent's seats in it, if there is something to do.
    fn read(&self, path: &Path, counts: &mut Counts) -> Option<(TokenFile, Vec<Mine>)> {
        let file = match TokenFile::read(path) {
            Ok(Some(file)) => file,
            Ok(None) => {
                counts.others += 1;
                return None;
            }
            Err(why) => {
                counts.problem(path, why);
                return None;
            }
        };
        counts.tokens += 1;
        if self.retired.contains(file.token.id()) {
            counts.retired += 1;
            return None;
        }
        let rows = file.token.rows().iter().zip(0..);
        let mine: Vec<Mine> = rows
            .filter(|(row, _)| row.holder == self.me)
            .map(|(row, seat)| Mine {
                seat,
                from: row.epoch,
                correction: row.correction,
                fate: Rerooted::Not,
            })
            .collect();
        if mine.is_empty() {
            counts.elsewhere += 1;
            return None;
        }
        if let (false, Some(row)) = (self.write, mine.iter().find(|mine| mine.from != self.to)) {
            let why = format!("its row is under epoch {}, not {}", row.from, self.to);
            counts.problem(path, why);
            return None;
        }
        Some((file, mine))
    }

    /// Proves every seat in one crucible job, signs new rows and writes the tokens beside their files.
    fn work(
        &self,
        mut waiting: Vec<(&PathBuf, TokenFile, Vec<Mine>)>,
        beside: &mut Vec<Beside>,
        counts: &mut Counts,
    ) {
        // Filled in place, in words that the caller has initialised: what leaves the crucible has no padding.
        on_crucible(|| {
            for (_, file, mine) in &mut waiting {
                let Held::First(token) = &file.token else {
                    continue;
                };
                for Mine {
                    seat,
                    from,
                    correction,
                    fate,
                } in mine
                {
                    *fate = reroot(
                        self.element,
                        &token.body,
                        *seat,
                        (*from, self.to),
                        correction,
                    );
                }
            }
        });
        for (_, file, mine) in &mut waiting {
            if let Held::Second(token) = &file.token {
                for one in mine {
                    let epochs = (one.from, self.to);
                    let (body, correction) = (&token.body, &mut one.correction);
                    one.fate =
                        reroot_share(self.element, self.shelf, body, one.seat, epochs, correction);
                }
            }
        }
        for (path, mut file, mine) in waiting {
            if let Some(bad) = mine.iter().find(|mine| mine.fate != Rerooted::Good) {
                counts.over |= bad.fate == Rerooted::ElementUnavailable;
                counts.problem(path, self.explain(bad));
                continue;
            }
            let mine_count = mine.len() as u64;
            let stale: Vec<Mine> = mine
                .into_iter()
                .filter(|mine| mine.from != self.to)
                .collect();
            if stale.is_empty() {
                counts.proven += mine_count;
                continue;
            }
            match self
                .sign(&mut file, &stale)
                .and_then(|()| file.write().map_err(|e| format!("cannot be written: {e}")))
            {
                Ok(written) => {
                    counts.rerooted += stale.len() as u64;
                    beside.push(written);
                }
                Err(why) => counts.problem(path, why),
            }
        }
    }

    fn sign(&self, file: &mut TokenFile, stale: &[Mine]) -> Result<(), String> {
        for Mine {
            seat, correction, ..
        } in stale
        {
            let statement = file.token.row_statement(*seat, self.to, correction);
            let signature = self.identity.sign(&statement).map_err(|e| e.to_string())?;
            let row = Row {
                holder: self.me,
                epoch: self.to,
                correction: *correction,
                signature: signature.to_vec(),
            };
            file.token.set_row(*seat, row);
        }
        Ok(())
    }

    fn explain(&self, mine: &Mine) -> String {
        let (seat, from, to) = (mine.seat, mine.from, self.to);
        match mine.fate {
            Rerooted::EpochNotHeld => format!("seat {seat}: there is no root of epoch {from}"),
            Rerooted::CannotRegenerate => format!(
                "seat {seat}: what is regenerated under epoch {from} is not the share that was dealt: the token or its \
                 row was altered"
            ),
            Rerooted::ElementUnavailable => format!("seat {seat}: the element does not answer"),
            Rerooted::Unsteady => {
                format!(
                    "seat {seat}: the element answered differently under epoch {to} the second time"
                )
            }
            Rerooted::NotKept => {
                format!(
                    "seat {seat}: no share of it that can be read is kept in the agent's folder"
                )
            }
            Rerooted::NotWritten => format!("seat {seat}: its share cannot be written"),
            Rerooted::Not | Rerooted::Good => format!("seat {seat}: it was not reached"),
        }
    }
}

impl Counts {
    fn problem(&mut self, file: &Path, why: String) {
        let file = file.to_owned();
        self.problems.push(Problem { file, why });
    }
}

impl Rolled {
    fn take(&mut self, counts: Counts) {
        self.tokens += counts.tokens;
        self.rerooted += counts.rerooted;
        self.proven += counts.proven;
        self.elsewhere += counts.elsewhere;
        self.retired += counts.retired;
        self.others += counts.others;
        self.problem_count += counts.problems.len() as u64;
        let room = PROBLEMS_KEPT.saturating_sub(self.problems.len());
        self.problems.extend(counts.problems.into_iter().take(room));
    }
}
