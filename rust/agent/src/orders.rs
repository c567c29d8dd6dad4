//! Orders that hold here: revocations for good, of those to freeze or thaw the latest of each token, and the ends of
//! grants.
//!
//! `orders` in the agent's folder holds each as it was signed, so that it can be handed on to peers, in a row of
//! frames: u32 length ‖ the first 8 bytes of its SHA-256 ‖ the order. A frame is synced before anyone is told. Whoever
//! judges and whoever hands on reads [`Book`]; the committer alone writes [`Orders`]. What no longer says anything is
//! left out when the file is opened, which alone begins a new numbering.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use evanesce_wire::message::{Command, Order, SIGNED, Word};
use evanesce_wire::{Id, WireError, grant};
use sha2::{Digest, Sha256};

use crate::disk::{Disk, Journal};
use crate::limits;
use crate::tombstones::Retired;

/// The file.
pub const FILE: &str = "orders";
/// Bytes of a frame before its order.
const FRAME: usize = 4 + TAG;
const TAG: usize = 8;
/// The end of a grant is kept for so long after the grant has expired, in seconds: clocks that are off by less all
/// know by then that it has.
const OUTLIVES: u64 = 24 * 3600;

/// An order as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is known by.
    pub id: Id,
    /// Whoever has signed it, by caller id.
    pub by: Id,
    /// What it says.
    pub says: Says,
}

/// What an order says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// What is to become of a token.
    Token {
        /// Token id.
        token: Id,
        /// What is ordered.
        command: Command,
        /// Unix milliseconds.
        issued: u64,
    },
    /// That a grant has ended.
    Ended {
        /// The grant's id.
        grant: Id,
        /// The token that it is for.
        token: Id,
        /// When it ends by itself, Unix seconds.
        expires: u64,
    },
}

impl Line {
    /// What others see of a word, whose signature is not looked at here.
    pub fn of(word: &Word) -> Result<Self, WireError> {
        let id = word.id()?;
        Ok(match word {
            Word::Order(signed) => Self::order(id, &Order::decode(&signed.order)?),
            Word::Revocation(revocation) => {
                let signed = grant::Signed::decode(&revocation.grant)?;
                let given = grant::Grant::decode(&signed.grant)?;
                Self::ended(id, &given, grant::grant_id(&signed.grant))
            }
        })
    }

    /// The same of an order, by what it is known by.
    pub fn order(id: Id, order: &Order) -> Self {
        let says = Says::Token {
            token: order.token,
            command: order.command,
            issued: order.issued,
        };
        Self {
            id,
            by: order.caller,
            says,
        }
    }

    /// The same of the end of a grant, by what that is known by, and the grant's id.
    pub fn ended(id: Id, given: &grant::Grant, grant: Id) -> Self {
        let says = Says::Ended {
            grant,
            token: given.token,
            expires: given.expires,
        };
        Self {
            id,
            by: given.grantor,
            says,
        }
    }

    /// The token that it is about.
    pub fn token(&self) -> Id {
        match self.says {
            Says::Token { token, .. } | Says::Ended { token, .. } => token,
        }
    }
}

/// Whether a grant that ends then can be forgotten to have been revoked, at `now` (Unix seconds).
pub fn is_past(expires: u64, now: u64) -> bool {
    expires.saturating_add(OUTLIVES) < now
}

#[derive(Default)]
struct Lines {
    /// In the order in which they came.
    ids: Vec<Id>,
    places: HashMap<Id, (u64, usize)>,
    /// The latest order to freeze or thaw each token, freezing before thawing where two are of one time.
    latest: HashMap<Id, (u64, Command)>,
    revoked: HashSet<Id>,
    /// Bytes of all frames, and of those of each signer.
    bytes: u64,
    of: HashMap<Id, u64>,
}

/// Why there is no room for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Its signer has taken up what one may.
    Share,
    /// All there is, or all but what is kept for minters.
    All,
}

impl Lines {
    fn take(&mut self, line: &Line, place: (u64, usize)) {
        let bytes = (FRAME + place.1) as u64;
        self.bytes += bytes;
        *self.of.entry(line.by).or_default() += bytes;
        self.ids.push(line.id);
        self.places.insert(line.id, place);
        match line.says {
            Says::Token {
                token,
                command: Command::Revoke,
                ..
            } => {
                self.revoked.insert(token);
            }
            Says::Token {
                token,
                command,
                issued,
            } => {
                let now = (issued, command);
                let latest = self.latest.entry(token).or_insert(now);
                *latest = now.max(*latest);
            }
            Says::Ended { .. } => {}
        }
    }

    /// Whether an order among these still says anything, at `now` (Unix seconds).
    fn needs(&self, line: &Line, now: u64) -> bool {
        match line.says {
            Says::Token {
                command: Command::Revoke,
                ..
            } => true,
            Says::Token {
                token,
                command,
                issued,
            } => {
                let latest = self.latest.get(&token);
                !self.revoked.contains(&token) && latest == Some(&(issued, command))
            }
            Says::Ended { expires, .. } => !is_past(expires, now),
        }
    }
}

/// What is known of orders, for whoever judges and whoever hands on. Clones share it.
#[derive(Clone)]
pub struct Book {
    journal: Arc<dyn Journal>,
    lines: Arc<Mutex<Lines>>,
    frozen: Arc<RwLock<HashSet<Id>>>,
    ended: Retired,
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

    /// The grants that were revoked here.
    pub fn ended(&self) -> &Retired {
        &self.ended
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

    /// Bytes that orders take up here.
    pub fn bytes(&self) -> u64 {
        self.lines().bytes
    }

    /// Why there is no room for an order of that length, if so, where all may take up `most` bytes: a quarter of it is one
    /// signer's, and the last quarter only minters'.
    pub fn is_full(&self, by: &Id, length: usize, most: u64, minter: bool) -> Option<Full> {
        let lines = self.lines();
        let bytes = (FRAME + length) as u64;
        let own = lines.of.get(by).copied().unwrap_or(0) + bytes;
        let part = most / limits::PARTS as u64;
        let all = if minter { most } else { most - part };
        match (own > part, lines.bytes + bytes > all) {
            (true, _) => Some(Full::Share),
            (_, true) => Some(Full::All),
            _ => None,
        }
    }

    /// Why an order that is new here changes nothing, if so.
    pub fn stands_against(&self, line: &Line) -> Option<String> {
        self.later(line, |order, latest| order > latest)
    }

    /// Why an order that was obeyed here does not hold any more, if so.
    pub fn overtaken(&self, line: &Line) -> Option<String> {
        self.later(line, |order, latest| order >= latest)
    }

    fn later(
        &self,
        line: &Line,
        holds: impl Fn((u64, Command), (u64, Command)) -> bool,
    ) -> Option<String> {
        let Says::Token {
            token,
            command,
            issued,
        } = line.says
        else {
            return None;
        };
        let lines = self.lines();
        let latest = lines.latest.get(&token)?;
        if command == Command::Revoke || holds((issued, command), *latest) {
            return None;
        }
        let (later, command) = latest;
        Some(format!(
            "a later order holds: to {} it, {} ms after this one",
            command.as_str(),
            later.saturating_sub(issued)
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
    /// Reads what is there, at `now` (Unix seconds). A last frame cut short by a crash was never answered and is taken
    /// off; anything else that is no order is an error, since a revocation may have been lost.
    pub fn open(disk: &dyn Disk, now: u64) -> io::Result<Self> {
        let mut journal = disk.journal(FILE)?;
        let mut bytes = vec![0; journal.len()? as usize];
        journal.read_at(0, &mut bytes)?;
        let (mut all, mut lines) = (Vec::new(), Lines::default());
        let mut at = 0;
        while let Some((order, next)) = take_frame(&bytes, at) {
            let line = Word::decode(order).and_then(|word| Line::of(&word));
            let line = line.map_err(|e| damaged(at, &e.to_string()))?;
            lines.take(&line, ((at + FRAME) as u64, order.len()));
            all.push((line, at..next));
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
        let needed = all.iter().filter(|(line, _)| lines.needs(line, now));
        let whole: Vec<u8> = needed
            .flat_map(|(_, at)| &bytes[at.clone()])
            .copied()
            .collect();
        // Where little is gained it stays; and where it cannot be written, all of it still holds.
        if whole.len() < at - at / 4 && disk.replace(FILE, &whole).is_ok() {
            let kept: Vec<_> = all
                .into_iter()
                .filter(|(line, _)| lines.needs(line, now))
                .collect();
            journal = disk.journal(FILE)?;
            (lines, all, at) = (Lines::default(), Vec::new(), 0);
            for (line, place) in kept {
                lines.take(&line, ((at + FRAME) as u64, place.len() - FRAME));
                let next = at + place.len();
                all.push((line, at..next));
                at = next;
            }
        }
        let frozen = lines.latest.iter();
        let frozen = frozen.filter(|(_, (_, command))| *command == Command::Freeze);
        let frozen = frozen.map(|(token, _)| *token).collect();
        let ended = Retired::default();
        ended.extend(all.iter().filter_map(|(line, _)| match line.says {
            Says::Ended { grant, .. } => Some(grant),
            Says::Token { .. } => None,
        }));
        Ok(Self {
            book: Book {
                journal,
                lines: Arc::new(Mutex::new(lines)),
                frozen: Arc::new(RwLock::new(frozen)),
                ended,
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
        let token = match line.says {
            Says::Token { token, .. } => token,
            Says::Ended { grant, .. } => return self.book.ended.extend([grant]),
        };
        let frozen = lines
            .latest
            .get(&token)
            .is_some_and(|(_, command)| *command == Command::Freeze);
        let mut all = self
            .book
            .frozen
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match frozen {
            true => all.insert(token),
            false => all.remove(&token),
        };
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
    use evanesce_wire::message::{Context, SignedOrder};

    const NOW: u64 = 1_800_000_000;

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
        let word = Word::Order(signed(token, command, issued));
        take(orders, &word)
    }

    fn take(orders: &mut Orders, word: &Word) -> Option<String> {
        let (line, bytes) = (Line::of(word).unwrap(), word.encode());
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
        let mut orders = Orders::open(&disk, NOW).unwrap();
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
        let again = Orders::open(&disk, NOW).unwrap();
        assert!(again.book().is_frozen(&[1; 32]) && again.book().frozen() == 1);
        assert_eq!(again.revoked(), [[2; 32]]);
        // Two that others have overtaken are gone.
        let (count, ids) = again.book().page(1, 2);
        assert_eq!((count, ids.len()), (2, 1));
        let read = again.book().read(&ids[0]).unwrap().unwrap();
        assert_eq!(SignedOrder::decode(&read).unwrap().id(), ids[0]);
        assert_eq!(again.book().read(&[9; 32]).unwrap(), None);
    }

    #[test]
    fn a_torn_order_is_taken_off_and_a_changed_one_is_not_passed_over() {
        let disk = Memory::default();
        let mut orders = Orders::open(&disk, NOW).unwrap();
        give(&mut orders, 1, Command::Revoke, 1);
        let one = disk.file(FILE).len();
        give(&mut orders, 2, Command::Revoke, 2);
        let whole = disk.file(FILE);
        for cut in [one + 1, one + FRAME, whole.len() - 1] {
            let torn = Memory::default();
            torn.put(FILE, whole[..cut].to_vec());
            let mut orders = Orders::open(&torn, NOW).unwrap();
            assert_eq!(orders.revoked(), [[1; 32]]);
            assert_eq!(torn.file(FILE).len(), one);
            give(&mut orders, 3, Command::Revoke, 3);
            assert_eq!(Orders::open(&torn, NOW).unwrap().revoked().len(), 2);
        }
        let mut changed = whole;
        changed[one - 1] ^= 1;
        disk.put(FILE, changed);
        let why = Orders::open(&disk, NOW).err().unwrap().to_string();
        assert!(why.contains("at byte 0"), "{why}");
    }

    /// The end of a grant of that number.
    fn ended(n: u8, expires: u64) -> Word {
        let grant = grant::Grant {
            expires,
            nonce: [n; 16],
            ..crate::delegated::plain_grant()
        };
        let signed = grant::Signed {
            grant: grant.encode(),
            spki: vec![1; 44],
            signature: vec![2; 64],
        };
        Word::Revocation(grant::Revocation {
            grant: signed.encode(),
            signature: vec![2; 64],
        })
    }

    #[test]
    fn one_signer_takes_up_a_quarter_and_the_last_one_is_for_minters() {
        let disk = Memory::default();
        let mut orders = Orders::open(&disk, NOW).unwrap();
        let by = |n: u8, token: u8| {
            let mut signed = signed(token, Command::Revoke, 1);
            let order = Order::decode(&signed.order).unwrap();
            signed.order = Order {
                caller: [n; 32],
                ..order
            }
            .encode();
            Word::Order(signed)
        };
        let length = by(1, 1).encode().len();
        let most = 12 * (FRAME + length) as u64;
        let mut token = 0;
        let mut fill = |orders: &mut Orders, n: u8, minter: bool| {
            let mut taken = 0;
            loop {
                if let Some(full) = orders.book().is_full(&[n; 32], length, most, minter) {
                    return (taken, full);
                }
                token += 1;
                assert_eq!(take(orders, &by(n, token)), None);
                taken += 1;
            }
        };
        assert_eq!(fill(&mut orders, 1, false), (3, Full::Share));
        assert_eq!(fill(&mut orders, 1, true), (0, Full::Share));
        assert_eq!(fill(&mut orders, 2, false), (3, Full::Share));
        assert_eq!(fill(&mut orders, 3, false), (3, Full::Share));
        assert_eq!(fill(&mut orders, 4, false), (0, Full::All));
        // As a start finds it.
        let mut orders = Orders::open(&disk, NOW).unwrap();
        assert_eq!(orders.book().bytes(), disk.file(FILE).len() as u64);
        assert_eq!(fill(&mut orders, 4, false), (0, Full::All));
        assert_eq!(fill(&mut orders, 4, true), (3, Full::Share));
        assert_eq!(fill(&mut orders, 5, true), (0, Full::All));
        assert_eq!(orders.revoked().len(), 12);
    }

    #[test]
    fn what_says_nothing_any_more_is_left_out_at_a_start_and_nothing_else_is() {
        let disk = Memory::default();
        let mut orders = Orders::open(&disk, NOW).unwrap();
        let words = [ended(1, NOW - OUTLIVES - 1), ended(2, NOW - OUTLIVES)];
        let grants = words
            .each_ref()
            .map(|word| match Line::of(word).unwrap().says {
                Says::Ended { grant, .. } => grant,
                Says::Token { .. } => unreachable!(),
            });
        for word in &words {
            assert_eq!(take(&mut orders, word), None);
        }
        let book = orders.book();
        assert!(grants.iter().all(|grant| book.ended().contains(grant)));
        for (token, command, issued) in [
            (1, Command::Freeze, 1),
            (1, Command::Thaw, 2),
            (2, Command::Freeze, 1),
            (2, Command::Revoke, 2),
            (3, Command::Freeze, 1),
        ] {
            assert_eq!(give(&mut orders, token, command, issued), None);
        }
        let before = disk.file(FILE).len();
        // Full, it is as it was.
        disk.set_room(Some(before));
        assert_eq!(Orders::open(&disk, NOW).unwrap().book().page(0, 99).0, 7);
        disk.set_room(None);
        let mut orders = Orders::open(&disk, NOW).unwrap();
        let book = orders.book();
        assert!(disk.file(FILE).len() < before);
        assert_eq!(book.ended().len(), 1);
        assert!(book.ended().contains(&grants[1]), "by one second");
        assert_eq!(orders.revoked(), [[2; 32]]);
        assert!(book.is_frozen(&[3; 32]) && !book.is_frozen(&[1; 32]));
        let (count, ids) = book.page(0, 99);
        assert_eq!((count, ids.len()), (4, 4));
        for id in ids {
            let read = Word::decode(&book.read(&id).unwrap().unwrap()).unwrap();
            assert_eq!(read.id().unwrap(), id);
        }
        // An old one is still known to be old, and it goes on.
        assert!(give(&mut orders, 1, Command::Freeze, 1).is_some());
        assert_eq!(give(&mut orders, 1, Command::Freeze, 3), None);
        assert!(Orders::open(&disk, NOW).unwrap().book().is_frozen(&[1; 32]));
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
                let mut all = Orders::open(&Memory::default(), NOW).unwrap();
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
