//! Orders that hold here: revocations for good, and of those to freeze or thaw the latest of each token.
//!
//! `orders` in the agent's folder holds each order as it was signed, so that it can be handed on to peers, in a row of
//! frames: u32 length ‖ the first 8 bytes of its SHA-256 ‖ the order. A frame is synced before anyone is told. Whoever
//! judges and whoever hands on reads [`Book`]; the committer alone writes [`Orders`].

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use evanesce_wire::Id;
use evanesce_wire::message::{Command, Order, SIGNED, SignedOrder};
use sha2::{Digest, Sha256};

use crate::disk::{Disk, Journal};

/// The file.
pub const FILE: &str = "orders";
/// Bytes of a frame before its order.
const FRAME: usize = 4 + TAG;
const TAG: usize = 8;

/// An order as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// `TH("order", …)`.
    pub id: Id,
    /// Token id.
    pub token: Id,
    /// What is ordered.
    pub command: Command,
    /// Unix milliseconds.
    pub issued: u64,
}

#[derive(Default)]
struct Lines {
    /// In the order in which they came.
    ids: Vec<Id>,
    places: HashMap<Id, (u64, usize)>,
    /// The latest order to freeze or thaw each token, freezing before thawing where two are of one time.
    latest: HashMap<Id, (u64, Command)>,
    revoked: HashSet<Id>,
}

impl Lines {
    fn take(&mut self, line: &Line, place: (u64, usize)) {
        self.ids.push(line.id);
        self.places.insert(line.id, place);
        match line.command {
            Command::Revoke => {
                self.revoked.insert(line.token);
            }
            command => {
                let now = (line.issued, command);
                let latest = self.latest.entry(line.token).or_insert(now);
                *latest = now.max(*latest);
            }
        }
    }
}

/// What is known of orders, for whoever judges and whoever hands on. Clones share it.
#[derive(Clone)]
pub struct Book {
    journal: Arc<dyn Journal>,
    lines: Arc<Mutex<Lines>>,
    frozen: Arc<RwLock<HashSet<Id>>>,
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a token is frozen here.
    pub fn is_frozen(&self, token: &Id) -> bool {
        let frozen = self.frozen.read().unwrap_or_else(PoisonError::into_inner);
        frozen.contains(token)
    }

    /// Whether an order here revokes a token. One that was retired without an order has a tombstone alone, which is not handed
    /// on.
    pub fn is_revoked(&self, token: &Id) -> bool {
        self.lines().revoked.contains(token)
    }

    /// How many are.
    pub fn frozen(&self) -> usize {
        let frozen = self.frozen.read().unwrap_or_else(PoisonError::into_inner);
        frozen.len()
    }

    /// Whether the order of that id is here.
    pub fn has(&self, id: &Id) -> bool {
        self.lines().places.contains_key(id)
    }

    /// How many orders there are, and the ids of up to `most` of them, from number `from`.
    pub fn page(&self, from: u64, most: usize) -> (u64, Vec<Id>) {
        let lines = self.lines();
        let ids = lines.ids.iter().skip(from as usize).take(most);
        (lines.ids.len() as u64, ids.copied().collect())
    }

    /// The order of that id as it was signed.
    pub fn read(&self, id: &Id) -> io::Result<Option<Vec<u8>>> {
        let Some((at, length)) = self.lines().places.get(id).copied() else {
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        self.journal.read_at(at, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Why an order changes nothing here, if so.
    pub fn stands_against(&self, line: &Line) -> Option<String> {
        let lines = self.lines();
        let latest = lines.latest.get(&line.token)?;
        if line.command == Command::Revoke || (line.issued, line.command) > *latest {
            return None;
        }
        let (issued, command) = latest;
        Some(format!(
            "a later order holds: to {} it, {} ms after this one",
            command.as_str(),
            issued.saturating_sub(line.issued)
        ))
    }
}

/// The file, which nothing else writes.
pub struct Orders {
    book: Book,
    length: u64,
}

/// An order that is to be written, away from the thread that answers.
pub struct Record {
    journal: Arc<dyn Journal>,
    at: u64,
    frame: Vec<u8>,
}

impl Record {
    /// Writes it: on return it outlives a loss of power.
    pub fn write(&self) -> io::Result<()> {
        // What a write that failed has left is cut off or written over.
        self.journal.set_len(self.at)?;
        self.journal.write_at(self.at, &self.frame)?;
        self.journal.sync()
    }
}

impl Orders {
    /// Reads what is there. A last frame cut short by a crash was never answered and is taken off; anything else that is
    /// no order is an error, since a revocation may have been lost.
    pub fn open(disk: &dyn Disk) -> io::Result<Self> {
        let journal = disk.journal(FILE)?;
        let mut bytes = vec![0; journal.len()? as usize];
        journal.read_at(0, &mut bytes)?;
        let mut lines = Lines::default();
        let mut at = 0;
        while let Some((order, next)) = take_frame(&bytes, at) {
            let signed = SignedOrder::decode(order);
            let line = signed.and_then(|signed| Ok(line(&signed, &Order::decode(&signed.order)?)));
            let line = line.map_err(|e| damaged(at, &e.to_string()))?;
            lines.take(&line, ((at + FRAME) as u64, order.len()));
            at = next;
        }
        if at < bytes.len() {
            if hides_a_frame(&bytes[at..]) {
                return Err(damaged(at, "it was changed"));
            }
            journal.set_len(at as u64)?;
        }
        // What a process left to the system when it ended holds from here on, and nobody else will sync it.
        if !bytes.is_empty() {
            journal.sync()?;
        }
        let frozen = lines.latest.iter();
        let frozen = frozen.filter(|(_, (_, command))| *command == Command::Freeze);
        let frozen = frozen.map(|(token, _)| *token).collect();
        Ok(Self {
            book: Book {
                journal,
                lines: Arc::new(Mutex::new(lines)),
                frozen: Arc::new(RwLock::new(frozen)),
            },
            length: at as u64,
        })
    }

    /// What is known of them, for others.
    pub fn book(&self) -> Book {
        self.book.clone()
    }

    /// The tokens that were revoked.
    pub fn revoked(&self) -> Vec<Id> {
        self.book.lines().revoked.iter().copied().collect()
    }

    /// What is to be written for an order. [`Orders::recorded`] follows if it was; nothing has changed if not.
    pub fn record(&self, signed: &[u8]) -> Record {
        let mut frame = Vec::with_capacity(FRAME + signed.len());
        frame.extend_from_slice(&(signed.len() as u32).to_be_bytes());
        frame.extend_from_slice(&Sha256::digest(signed)[..TAG]);
        frame.extend_from_slice(signed);
        Record {
            journal: self.book.journal.clone(),
            at: self.length,
            frame,
        }
    }

    /// The order was written, `length` bytes of it: from here on it holds.
    pub fn recorded(&mut self, line: &Line, length: usize) {
        let place = (self.length + FRAME as u64, length);
        self.length += (FRAME + length) as u64;
        let mut lines = self.book.lines();
        lines.take(line, place);
        let frozen = lines
            .latest
            .get(&line.token)
            .is_some_and(|(_, command)| *command == Command::Freeze);
        let mut all = self
            .book
            .frozen
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match frozen {
            true => all.insert(line.token),
            false => all.remove(&line.token),
        };
    }
}

/// What others see of an order.
pub fn line(signed: &SignedOrder, order: &Order) -> Line {
    Line {
        id: signed.id(),
        token: order.token,
        command: order.command,
        issued: order.issued,
    }
}

fn damaged(at: usize, why: &str) -> io::Error {
    let what = format!("{FILE}: the order at byte {at} is not one: {why}");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The order of the whole, unchanged frame at `at`, and where the next one begins.
fn take_frame(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (tag, rest) = rest.split_first_chunk::<TAG>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let order = rest.get(..length).filter(|_| length <= SIGNED)?;
    (Sha256::digest(order)[..TAG] == tag[..]).then_some((order, at + FRAME + length))
}

/// Whether a good frame lies behind the bad one that `rest` begins with: one write is under way at a time, so that
/// behind a torn one there is nothing.
fn hides_a_frame(rest: &[u8]) -> bool {
    let Some(length) = rest.first_chunk::<4>() else {
        return false;
    };
    let next = FRAME + u32::from_be_bytes(*length) as usize;
    next < rest.len() && take_frame(rest, next).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Memory;
    use evanesce_wire::message::Context;

    fn signed(token: u8, command: Command, issued: u64) -> SignedOrder {
        let order = Order {
            token: [token; 32],
            command,
            caller: [1; 32],
            issued,
            nonce: [issued as u8; 16],
        };
        SignedOrder {
            order: order.encode(),
            spki: vec![1; 44],
            signature: vec![2; 64],
            context: Context::Full {
                header: vec![1],
                anchor: [2; 32],
                commitments: vec![[3; 32]],
                public: [4; 32],
                sealed: [5; 32],
            },
        }
    }

    fn give(orders: &mut Orders, token: u8, command: Command, issued: u64) -> Option<String> {
        let signed = signed(token, command, issued);
        let order = Order::decode(&signed.order).unwrap();
        let (line, bytes) = (line(&signed, &order), signed.encode());
        if let Some(why) = orders.book().stands_against(&line) {
            return Some(why);
        }
        orders.record(&bytes).write().unwrap();
        orders.recorded(&line, bytes.len());
        None
    }

    #[test]
    fn the_latest_order_holds_and_an_older_one_changes_nothing_across_starts() {
        let disk = Memory::default();
        let mut orders = Orders::open(&disk).unwrap();
        let book = orders.book();
        assert_eq!(give(&mut orders, 1, Command::Freeze, 100), None);
        assert!(book.is_frozen(&[1; 32]) && !book.is_frozen(&[2; 32]));
        assert_eq!(give(&mut orders, 1, Command::Thaw, 200), None);
        assert!(!book.is_frozen(&[1; 32]));
        // The same again, one in between, and the other of the same time but for the one that is safe.
        for (command, issued) in [
            (Command::Freeze, 100),
            (Command::Freeze, 150),
            (Command::Thaw, 200),
        ] {
            let why = give(&mut orders, 1, command, issued).unwrap();
            assert!(why.contains("to thaw it"), "{why}");
        }
        assert_eq!(give(&mut orders, 1, Command::Freeze, 200), None);
        assert!(book.is_frozen(&[1; 32]));
        assert_eq!(give(&mut orders, 2, Command::Revoke, 1), None);
        let again = Orders::open(&disk).unwrap();
        assert!(again.book().is_frozen(&[1; 32]) && again.book().frozen() == 1);
        assert_eq!(again.revoked(), [[2; 32]]);
        let (count, ids) = again.book().page(1, 2);
        assert_eq!((count, ids.len()), (4, 2));
        let read = again.book().read(&ids[0]).unwrap().unwrap();
        assert_eq!(SignedOrder::decode(&read).unwrap().id(), ids[0]);
        assert_eq!(again.book().read(&[9; 32]).unwrap(), None);
    }

    #[test]
    fn a_torn_order_is_taken_off_and_a_changed_one_is_not_passed_over() {
        let disk = Memory::default();
        let mut orders = Orders::open(&disk).unwrap();
        give(&mut orders, 1, Command::Revoke, 1);
        let one = disk.file(FILE).len();
        give(&mut orders, 2, Command::Revoke, 2);
        let whole = disk.file(FILE);
        for cut in [one + 1, one + FRAME, whole.len() - 1] {
            let torn = Memory::default();
            torn.put(FILE, whole[..cut].to_vec());
            let mut orders = Orders::open(&torn).unwrap();
            assert_eq!(orders.revoked(), [[1; 32]]);
            assert_eq!(torn.file(FILE).len(), one);
            give(&mut orders, 3, Command::Revoke, 3);
            assert_eq!(Orders::open(&torn).unwrap().revoked().len(), 2);
        }
        let mut changed = whole;
        changed[one - 1] ^= 1;
        disk.put(FILE, changed);
        let why = Orders::open(&disk).err().unwrap().to_string();
        assert!(why.contains("at byte 0"), "{why}");
    }

    proptest::proptest! {
        #[test]
        fn agents_that_were_given_the_same_orders_agree_in_whatever_order_they_came(
            orders in proptest::collection::vec((0..3u8, 0..2u8, 0..6u64), 0..24),
            turns in proptest::collection::vec(proptest::num::usize::ANY, 24),
        ) {
            let commands = [Command::Thaw, Command::Freeze, Command::Revoke];
            let of = |(command, token, issued): (u8, u8, u64)| {
                // Some are of one time, and each of these is another order.
                (token, commands[command as usize], issued)
            };
            let given: Vec<_> = orders.iter().copied().map(of).collect();
            let mut turned = given.clone();
            for (n, turn) in turns.iter().enumerate().take(turned.len()) {
                let other = turn % turned.len();
                turned.swap(n, other);
            }
            let state = |given: &[(u8, Command, u64)]| {
                let mut all = Orders::open(&Memory::default()).unwrap();
                for (token, command, issued) in given {
                    give(&mut all, *token, *command, *issued);
                }
                let mut revoked = all.revoked();
                revoked.sort_unstable();
                (revoked, [0, 1].map(|token| all.book().is_frozen(&[token; 32])))
            };
            proptest::prop_assert_eq!(state(&given), state(&turned));
        }
    }
}
