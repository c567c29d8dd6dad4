//! A disk that remembers what is synced and what is not, can be full or broken, loses its power, and goes back to an
//! earlier day.
//!
//! What the operating system was given survives the process. What was synced survives the power; of what was not, a
//! prefix of the writes survives, the last of these torn: cut short, or its end filled with zeros. A small file that is
//! replaced is the old one or the new one. An incarnation of an agent that has died writes nothing more.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_agent::{Disk, Journal};
use evanesce_wire::disk::FRAME;
use evanesce_wire::message::{SignedOrder, Word};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ledger::Life;
use crate::planted::Planted;
use crate::rng::Rng;

/// The disk of one agent. Clones are one disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    full: bool,
    unsyncable: bool,
    /// After so many more writes the agent dies in the middle of one.
    dies_in: Option<u64>,
    /// Whether all of that write is there nevertheless.
    whole: bool,
    orders: Vec<Recorded>,
    planted: Planted,
}

/// An order that was on an agent's disk for good.
#[derive(Clone)]
pub struct Recorded {
    /// Since when.
    pub at: Instant,
    /// In which life of the agent that was.
    pub life: Life,
    /// How many entries the log had then: its own is the last of them. 0 for one that was there at a start.
    pub entries: u64,
    /// As it was signed.
    pub order: SignedOrder,
}

#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    /// Written since, in order, and when the first of these was.
    since: Vec<Change>,
    unsynced: Option<Instant>,
    now: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(bytes);
            }
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

impl File {
    fn change(&mut self, change: Change) {
        // What was written in vain and taken back, when the disk was full, has left nothing to be synced.
        if self.unsynced.is_some() && self.now == self.synced {
            self.unsynced = None;
        }
        change.apply(&mut self.now);
        self.since.push(change);
        self.unsynced.get_or_insert_with(Instant::now);
    }

    fn sync(&mut self) {
        self.unsynced = None;
        for change in self.since.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    fn lose_power(&mut self, chance: &mut Rng) {
        let since = std::mem::take(&mut self.since);
        self.unsynced = None;
        let whole = chance.index(since.len() + 1);
        for change in &since[..whole] {
            change.apply(&mut self.synced);
        }
        if let Some(Change::Write(at, bytes)) = since.get(whole) {
            let kept = chance.index(bytes.len() + 1);
            let mut torn = bytes[..kept].to_vec();
            if chance.chance(1, 3) {
                torn.resize(bytes.len(), 0);
            }
            Change::Write(*at, torn).apply(&mut self.synced);
        }
        self.now = self.synced.clone();
    }
}

/// The file of orders, and what stands before each of them in it (`rust/agent/src/orders.rs`).
const ORDERS: &str = "orders";
const BEFORE: usize = 4 + 8;

/// The whole words of such a file, each with its frame.
fn words(mut file: &[u8]) -> Vec<(&[u8], Word)> {
    let mut words = Vec::new();
    while let Some(length) = file.first_chunk::<4>() {
        let end = BEFORE + u32::from_be_bytes(*length) as usize;
        let word = file.get(BEFORE..end).map(Word::decode);
        let Some(Ok(word)) = word else { break };
        let (frame, rest) = file.split_at(end);
        words.push((frame, word));
        file = rest;
    }
    words
}

/// The whole orders of such a file.
fn orders(file: &[u8]) -> Vec<SignedOrder> {
    let orders = words(file).into_iter().filter_map(|(_, word)| match word {
        Word::Order(order) => Some(order),
        Word::Revocation(_) => None,
    });
    orders.collect()
}

/// Such a file without the ends of grants.
fn without_ends(file: &[u8]) -> Vec<u8> {
    let kept = words(file)
        .into_iter()
        .filter(|(_, word)| matches!(word, Word::Order(_)));
    kept.flat_map(|(frame, _)| frame.to_vec()).collect()
}

/// How many whole entries a log has.
fn entries(mut log: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(length) = log.first_chunk::<2>() {
        let Some(rest) = log.get(FRAME + usize::from(u16::from_be_bytes(*length))..) else {
            break;
        };
        (log, count) = (rest, count + 1);
    }
    count
}

impl State {
    /// Takes note of the orders that are there and were not in this history.
    fn record(&mut self, life: Life, found: bool) {
        let Some(file) = self.files.get(ORDERS) else {
            return;
        };
        for order in orders(&file.now) {
            let id = order.id();
            let mut before = self.orders.iter();
            if before.any(|one| one.life.history == life.history && one.order.id() == id) {
                continue;
            }
            let log = self.files.get("log/entries").map(|file| &file.now[..]);
            self.orders.push(Recorded {
                at: Instant::now(),
                life,
                entries: if found {
                    0
                } else {
                    entries(log.unwrap_or_default())
                },
                order,
            });
        }
    }
}

/// All of a disk's files, as they were.
#[derive(Clone)]
pub struct Snapshot(BTreeMap<String, File>);

impl SimDisk {
    /// An empty one, with a planted fault.
    pub fn new(planted: Planted) -> Self {
        let disk = Self::default();
        disk.state().planted = planted;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No room for anything more.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Syncs fail.
    pub fn set_unsyncable(&self, unsyncable: bool) {
        self.state().unsyncable = unsyncable;
    }

    /// Whether it is neither.
    pub fn is_well(&self) -> bool {
        let state = self.state();
        !state.full && !state.unsyncable
    }

    /// The agent dies in the middle of the write after `writes` more, or, with `whole`, before it is told that all of it
    /// is there.
    pub fn die_in(&self, writes: Option<u64>, whole: bool) {
        let mut state = self.state();
        (state.dies_in, state.whole) = (writes, whole);
    }

    /// Returns when it has.
    pub async fn died(&self) {
        self.1.notified().await;
    }

    /// Power is lost. Gives since when log entries had not been synced, if there were any.
    pub fn lose_power(&self, chance: &mut Rng) -> Option<Instant> {
        let entries = self.state().files.get("log/entries").and_then(|file| {
            let differs = file.now != file.synced;
            file.unsynced.filter(|_| differs)
        });
        for file in self.state().files.values_mut() {
            file.lose_power(chance);
        }
        entries
    }

    /// The process has ended: what it was about to give to the operating system is gone.
    pub fn lose_process(&self) {
        if self.state().planted == Planted::AnswersBeforeItWrites {
            for file in self.state().files.values_mut() {
                file.now = file.synced.clone();
                file.since.clear();
            }
        }
    }

    /// Every order that was ever on this disk for good, in every history of it.
    pub fn orders(&self) -> Vec<Recorded> {
        self.state().orders.clone()
    }

    /// The orders that whoever reads it now finds.
    pub fn orders_now(&self) -> Vec<SignedOrder> {
        let state = self.state();
        state
            .files
            .get(ORDERS)
            .map(|file| orders(&file.now))
            .unwrap_or_default()
    }

    /// What is there now, as an administrator copies it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().files.clone())
    }

    /// The disk as it was then, from which its next history begins; `life` is of that.
    pub fn restore(&self, snapshot: &Snapshot, life: Life) {
        let mut files = snapshot.0.clone();
        for file in files.values_mut() {
            file.since.clear();
            file.unsynced = None;
            file.synced = file.now.clone();
        }
        let mut state = self.state();
        state.files = files;
        state.record(life, true);
    }

    /// A file's bytes, as whoever reads it now finds them.
    pub fn file(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state
            .files
            .get(name)
            .map(|file| file.now.clone())
            .unwrap_or_default()
    }

    /// The disk for one incarnation of an agent, which ends when `alive` is false.
    pub fn mount(&self, alive: Arc<AtomicBool>, life: Life) -> Mounted {
        let mut state = self.state();
        if state.planted == Planted::ForgetsTombstones {
            state.files.remove("tombstones");
        }
        if state.planted == Planted::ForgetsOrders {
            state.files.remove("tombstones");
            state.files.remove(ORDERS);
        }
        if state.planted == Planted::ForgetsRevokedGrants
            && let Some(file) = state.files.get_mut(ORDERS)
        {
            file.now = without_ends(&file.now);
            file.synced = without_ends(&file.synced);
            file.since.clear();
        }
        // Whatever an agent finds when it starts holds from then on.
        state.record(life, true);
        drop(state);
        Mounted {
            disk: self.clone(),
            alive,
            life,
        }
    }
}

/// A disk in use.
#[derive(Clone)]
pub struct Mounted {
    disk: SimDisk,
    alive: Arc<AtomicBool>,
    life: Life,
}

fn gone<T>() -> io::Result<T> {
    Err(io::Error::other("the process has ended"))
}

impl Mounted {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        match self.alive.load(Relaxed) {
            true => Ok(self.disk.state()),
            false => gone(),
        }
    }

    /// Whether the process ends in this write.
    fn ends(&self, state: &mut State) -> bool {
        match &mut state.dies_in {
            Some(0) => {
                state.dies_in = None;
                self.alive.store(false, Relaxed);
                self.disk.1.notify_one();
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

impl Disk for Mounted {
    fn journal(&self, name: &str) -> io::Result<Arc<dyn Journal>> {
        self.state()?.files.entry(name.to_owned()).or_default();
        Ok(Arc::new(Open {
            mounted: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state()?.files.get(name).map(|file| file.now.clone()))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if self.ends(&mut state) {
            return gone();
        }
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.unsyncable {
            return Err(io::Error::other("the disk is gone"));
        }
        let file = File {
            synced: bytes.to_vec(),
            since: Vec::new(),
            unsynced: None,
            now: bytes.to_vec(),
        };
        state.files.insert(name.to_owned(), file);
        Ok(())
    }
}

struct Open {
    mounted: Mounted,
    name: String,
}

impl Open {
    fn with<T>(&self, use_it: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.mounted.state()?;
        use_it(state.files.entry(self.name.clone()).or_default())
    }

    fn write(&self, change: Change) -> io::Result<()> {
        let mut state = self.mounted.state()?;
        let dies = self.mounted.ends(&mut state);
        let torn = dies && !state.whole;
        let full = state.full;
        let file = state.files.entry(self.name.clone()).or_default();
        let end = match &change {
            Change::Write(at, bytes) => at + bytes.len(),
            Change::Length(length) => *length,
        };
        let fits = !full || end <= file.now.len();
        match change {
            // Half of it is there.
            Change::Write(at, bytes) if torn || !fits => {
                let room = file.now.len().saturating_sub(at);
                let half = if torn { bytes.len() / 2 } else { room };
                file.change(Change::Write(at, bytes[..half.min(bytes.len())].to_vec()));
            }
            _ if torn || !fits => {}
            change => file.change(change),
        }
        if dies {
            return gone();
        }
        match fits {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Journal for Open {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.now.len() as u64))
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|file| {
            let part = file.now.get(at as usize..at as usize + out.len());
            out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(Change::Write(at as usize, bytes.to_vec()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write(Change::Length(len as usize))
    }

    fn sync(&self) -> io::Result<()> {
        let state = self.mounted.state()?;
        let (unsyncable, planted) = (state.unsyncable, state.planted);
        drop(state);
        if unsyncable {
            return Err(io::Error::other("the disk is gone"));
        }
        if planted == Planted::OmitsSyncs {
            return Ok(());
        }
        self.with(|file| {
            file.sync();
            Ok(())
        })?;
        if self.name == ORDERS {
            self.mounted.state()?.record(self.mounted.life, false);
        }
        Ok(())
    }
}
