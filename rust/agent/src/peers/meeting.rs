//! The exchange of an agent with its peers: one task asks each of them, and whoever asks is answered.
//!
//! A peer is another agent, known by its agent id alone: it may do this and nothing else. Exchanges are small and
//! bounded, and nobody who is answered otherwise waits for one. A peer that lies about itself harms itself; one that
//! lies about this agent is found out by this agent's own signatures; one that keeps silent is one that was not heard.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use evanesce_token::formula;
use evanesce_wire::client::{CallError, Dial, Way};
use evanesce_wire::message::{
    Code, Exchange, Exchanged, Head, IDS, Order, WANTED, Word, seen_statement,
};
use evanesce_wire::{Id, Identity, World};
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use super::own::{Match, Own};
use super::seen::{Seen, Shown};
use super::standing::{Change, Standing};
use super::verified::Verified;
use super::{Peer, Peers};
use crate::api::{Api, Trouble, malformed, trouble};
use crate::events::{Event, Events};
use crate::gate::Refusal;
use crate::obey::{Bearer, Holders, WINDOW, is_early, refused};
use crate::orders::Book;
use crate::rate::Rate;

/// What peers ask of one another.
pub const PATH: &str = "/v1/peer";
/// An exchange must come to its end within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// One that failed is tried again this soon, then ever later, up to the longer of these: a quorum that starts together is soon
/// together.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(1);
/// Exchanges that one peer may ask for, per second.
const PER_SECOND: u64 = 100;
/// Bytes of orders in one answer, the first of them apart.
const HANDED_ON: usize = 1 << 20;
/// Most orders that a peer may say it has.
const ORDERS: u64 = 1 << 22;
/// Most orders remembered that were refused here, so that they are not asked of the same peer again.
const REFUSED: usize = 1 << 16;
/// Most orders of each peer that are put off until their time has come.
const EARLY: usize = 1 << 10;
/// What others were shown is written at most this often.
const APART: Duration = Duration::from_secs(1);

/// A statement, and the agent's signature over it.
type Signed = ([u8; 32], Vec<u8>);

/// What an exchange is made of.
pub struct Meeting {
    /// Whom this agent compares with.
    pub peers: Peers,
    me: Id,
    identity: Arc<dyn Identity>,
    log_key: ([u8; 32], Vec<u8>),
    dial: Arc<dyn Dial>,
    world: Arc<dyn World>,
    events: Events,
    own: Arc<Own>,
    seen: Arc<Seen>,
    verified: Verified,
    begin: Instant,
    book: Book,
    /// By which peers know that orders are numbered anew.
    life: [u8; 16],
    /// How far each peer's orders were read, in which life of its.
    read: Mutex<HashMap<Id, ([u8; 16], u64)>>,
    /// Which peers have handed on an order that was refused here, one bit for each: one that spoils it keeps it from
    /// nobody else, and so many that hold it may count for more than one.
    refused: Mutex<HashMap<Id, u64>>,
    /// Orders of each peer whose time, by their signers' clocks (Unix milliseconds), has not come by this agent's.
    early: Mutex<HashMap<Id, Vec<(u64, Id)>>>,
    standing: Mutex<Standing>,
    asked: Mutex<Rate>,
    /// What was last signed for each peer: an element's key takes its time.
    signed: Mutex<HashMap<Id, Signed>>,
    /// What each peer was last found to have seen of this agent's log, which goes on from it.
    confirmed: Mutex<HashMap<Id, [u8; 32]>>,
    /// What each peer's log was last found to be, so that the operator is told once.
    told: Mutex<HashMap<Id, String>>,
}

/// What a meeting is put together from, beside its peers.
pub struct Means {
    /// The agent's key.
    pub identity: Arc<dyn Identity>,
    /// The log's public key and the identity's endorsement of it.
    pub log_key: ([u8; 32], Vec<u8>),
    /// The way to peers.
    pub dial: Arc<dyn Dial>,
    /// Clock and randomness.
    pub world: Arc<dyn World>,
    /// Where things are told.
    pub events: Events,
    /// The agent's own log.
    pub own: Own,
    /// The heads of others.
    pub seen: Seen,
    /// Orders that hold here.
    pub book: Book,
}

/// What came of asking a peer.
enum Came {
    /// All that it had to say; until the next time.
    Heard,
    /// Others must be heard before more may be asked.
    Waits,
}

/// A task that asks one peer again and again. It ends once the agent is gone.
pub type Exchanging = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Meeting {
    /// Nobody was asked yet.
    pub fn new(peers: Peers, means: Means) -> Self {
        let Means {
            identity,
            log_key,
            dial,
            world,
            events,
            own,
            seen,
            book,
        } = means;
        let mut life = [0; 16];
        world.random(&mut life);
        Self {
            begin: Instant::now(),
            book,
            life,
            read: Mutex::default(),
            refused: Mutex::default(),
            early: Mutex::default(),
            standing: Mutex::new(Standing::new(&peers)),
            peers,
            me: identity.agent_id(),
            identity,
            log_key,
            dial,
            world,
            events,
            own: Arc::new(own),
            seen: Arc::new(seen),
            verified: Verified::default(),
            asked: Mutex::new(Rate::new(PER_SECOND, 4 * PER_SECOND)),
            signed: Mutex::default(),
            confirmed: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The peer whose identity key is `spki`.
    pub fn find(&self, spki: &[u8]) -> Option<&Peer> {
        let id = formula::agent_id(spki);
        self.peers.all.iter().find(|peer| peer.id == id)
    }

    /// Milliseconds since this agent started, by a clock that nobody sets.
    fn elapsed(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// Why the agent, whose clock says `now` (Unix milliseconds), must decide nothing for which that matters, if so.
    pub fn wrong_clock(&self, now: u64) -> Option<String> {
        let at = self.elapsed();
        self.standing().wrong_clock(now, at)
    }

    /// How the agent stands with its peers.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the operator of what has changed.
    fn tell(&self, change: &Change) {
        match change {
            Change::None => {}
            Change::Enough => self.events.emit(Event::PeersHeard {
                heard: self.standing().count(),
                needed: self.peers.needed,
            }),
            Change::Lost => {
                let what = self.standing().lost().unwrap_or_default().to_owned();
                self.events.emit(Event::StateLost { what: &what });
            }
        }
    }

    /// Answers `peer`, whose identity key is `spki`, at `now` by this agent's clock (Unix milliseconds).
    pub async fn answer(
        &self,
        peer: &Peer,
        spki: &[u8],
        body: &[u8],
        now: u64,
    ) -> Result<Vec<u8>, Trouble> {
        let may = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.take(&peer.id, 1, now)
        };
        if !may {
            let why = format!("{} may ask {PER_SECOND} times a second", peer.name);
            return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
        }
        let asked = Exchange::decode(body).map_err(malformed)?;
        let (head, after) = (asked.head, asked.after);
        let (size, root) = self
            .verified
            .head(&peer.id, &head, spki)
            .map_err(malformed)?;
        let key = head.log_key;
        let shown = self.seen.note(&peer.id, head, (size, root), after.as_ref());
        self.judge(peer, size, &shown);
        if self.seen.due(APART.min(self.peers.every)) {
            let seen = self.seen.clone();
            let stored = self.beside(move || seen.store()).await;
            if let Some(Err(e)) = stored {
                let why = format!("what was seen of peers cannot be written: {e}");
                self.events.emit(Event::LogFailed { why: &why });
            }
        }
        let (mut seen, mut signature) = (Vec::new(), None);
        for (head, size, root) in self.seen.of(&peer.id) {
            if head.log_key == key {
                let statement = seen_statement(&peer.id, &key, size, &root);
                signature = Some(self.sign(&peer.id, statement)?);
            }
            seen.push(head);
        }
        let from = if asked.life == self.life {
            asked.from
        } else {
            0
        };
        let (count, ids) = self.book.page(from, IDS);
        let answer = Exchanged {
            ids,
            life: self.life,
            seen,
            clock: now,
            count,
            orders: self.hand_on(&asked.want),
            signature,
        };
        Ok(answer.encode())
    }

    /// Orders of these ids, as many as go into an answer.
    fn hand_on(&self, want: &[Id]) -> Vec<Vec<u8>> {
        let (mut orders, mut bytes) = (Vec::new(), 0);
        for id in want {
            // One that cannot be read now is asked for again.
            let Ok(Some(order)) = self.book.read(id) else {
                continue;
            };
            bytes += order.len();
            if bytes > HANDED_ON && !orders.is_empty() {
                break;
            }
            orders.push(order);
        }
        orders
    }

    fn sign(&self, peer: &Id, statement: [u8; 32]) -> Result<Vec<u8>, Trouble> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, signature)) = signed.get(peer)
            && *of == statement
        {
            return Ok(signature.clone());
        }
        let Ok(signature) = self.identity.sign(&statement) else {
            let why = "the agent's identity key does not answer";
            return trouble(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
        };
        signed.insert(*peer, (statement, signature.clone()));
        Ok(signature)
    }

    /// Tells the operator of a peer whose log is not what it was.
    fn judge(&self, peer: &Peer, size: u64, shown: &Shown) {
        let why = match shown {
            Shown::Fine | Shown::Unconfirmed => String::new(),
            Shown::Lower(seen) => format!(
                "it shows a log of {size} entries, and has shown {seen} before: it was restored from an old copy"
            ),
            Shown::Fork => format!("it has shown two logs of {size} entries"),
            Shown::TooMany => {
                "it has begun too many logs: remove it from this agent's file of peers, \
                               or have its operator say what it is about"
                    .into()
            }
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.insert(peer.id, why.clone()).unwrap_or_default();
        if !why.is_empty() && why != before {
            let peer = &peer.name;
            self.events.emit(Event::PeerBehind { peer, why: &why });
        }
    }

    /// One exchange: how far this agent is goes there, with what is asked for.
    async fn exchange(
        &self,
        peer: &Peer,
        way: &dyn Way,
        want: Vec<Id>,
        api: &Weak<Api>,
    ) -> Result<Exchanged, String> {
        let now = api.upgrade().ok_or("the agent has ended")?.now();
        let checkpoint = self
            .own
            .checkpoint()
            .ok_or("this agent's log has no head")?;
        let (log_key, endorsement) = self.log_key.clone();
        let (life, from) = self.place(&peer.id);
        let head = Head {
            log_key,
            checkpoint: checkpoint.to_string(),
            endorsement,
        };
        let (me, spki) = (&self.me, self.identity.spki());
        let good = (checkpoint.size, checkpoint.root);
        self.verified.own(me, &head, spki, good);
        let exchange = Exchange {
            from,
            life,
            want,
            head,
            after: self.confirmed(&peer.id),
            clock: now,
        };
        let asked = self.elapsed();
        let answer = timeout(PATIENCE, way.post(PATH, exchange.encode())).await;
        let answer = answer.map_err(|_| "it does not answer")?;
        let answer = answer.map_err(|e| match e {
            CallError::Problem(401 | 404, _) => {
                "it does not count this agent among its peers".into()
            }
            CallError::Problem(_, problem) => format!("{}: {}", problem.code, problem.message),
            CallError::Wire(e) => e.to_string(),
        })?;
        let answer = Exchanged::decode(&answer).map_err(|e| e.to_string())?;
        // Its clock was read about half way.
        let read = asked + (self.elapsed() - asked) / 2;
        self.standing().tells(&peer.id, answer.clock, read);
        Ok(answer)
    }

    /// Asks a peer once, and learns what it has ordered. Why nothing came of it, if so.
    async fn ask(
        &self,
        peer: &Peer,
        way: &mut Option<Arc<dyn Way>>,
        api: &Weak<Api>,
    ) -> Result<Came, String> {
        let standing = match way.as_ref().filter(|way| !way.is_closed()) {
            Some(way) => way.clone(),
            None => {
                let dialled = timeout(PATIENCE, self.dial.dial(&peer.address, peer.id)).await;
                let dialled = dialled.map_err(|_| "it does not complete a connection")?;
                let dialled = dialled.map_err(|e| e.to_string())?;
                way.insert(dialled).clone()
            }
        };
        let answer = self.exchange(peer, &*standing, Vec::new(), api).await?;
        let lost = self.compare(peer, &answer, standing.peer_spki()).await?;
        if let Some(what) = lost {
            let change = self.standing().lose(what);
            self.tell(&change);
            return Ok(Came::Heard);
        }
        if !self.standing().agrees(&peer.id) {
            return Ok(Came::Waits);
        }
        self.learn(peer, &*standing, answer, api).await?;
        let change = self.standing().heard(&peer.id);
        self.tell(&change);
        Ok(Came::Heard)
    }

    /// How far the orders of `peer` were read.
    fn place(&self, peer: &Id) -> ([u8; 16], u64) {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.get(peer).copied().unwrap_or_default()
    }

    fn read_to(&self, peer: &Id, place: ([u8; 16], u64)) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(*peer, place);
    }

    /// Takes every order of `peer` that is new here, beginning with those that `answer` names.
    async fn learn(
        &self,
        peer: &Peer,
        way: &dyn Way,
        mut answer: Exchanged,
        api: &Weak<Api>,
    ) -> Result<(), String> {
        loop {
            let before = self.place(&peer.id);
            let from = if answer.life == before.0 { before.1 } else { 0 };
            if answer.life != before.0 {
                // It is read from its beginning, and may have left out since what was overtaken.
                self.early().remove(&peer.id);
            }
            if answer.count > ORDERS {
                return Err("it says that it has too many orders".into());
            }
            let new = |id: &&Id| !self.book.has(id) && !self.was_refused(peer, id);
            let put_off = self.put_off(&peer.id, api);
            let named = answer.ids.iter().chain(&put_off);
            let missing: Vec<Id> = named.filter(new).copied().collect();
            let mut undecided = None;
            for some in missing.chunks(WANTED) {
                undecided = self
                    .take(peer, way, some.to_vec(), api)
                    .await?
                    .or(undecided);
            }
            if let Some(why) = undecided {
                return Err(why);
            }
            // What was refused meanwhile is to be judged again.
            if self.place(&peer.id) != before {
                answer = self.exchange(peer, way, Vec::new(), api).await?;
                continue;
            }
            let read = from + answer.ids.len() as u64;
            self.read_to(&peer.id, (answer.life, read));
            if read >= answer.count {
                return Ok(());
            }
            if answer.ids.is_empty() {
                return Err("it does not name the orders that it says it has".into());
            }
            answer = self.exchange(peer, way, Vec::new(), api).await?;
        }
    }

    /// Orders of `peer` that were put off and whose time has come, be it that a clock which was behind was set right.
    fn put_off(&self, peer: &Id, api: &Weak<Api>) -> Vec<Id> {
        let now = api.upgrade().map_or(0, |agent| agent.now());
        let mut early = self.early();
        let Some(of) = early.get_mut(peer) else {
            return Vec::new();
        };
        // Another peer may have handed it on.
        of.retain(|(_, id)| !self.book.has(id));
        let due = of.iter().filter(|(issued, _)| *issued <= now + WINDOW);
        due.map(|(_, id)| *id).collect()
    }

    fn early(&self) -> MutexGuard<'_, HashMap<Id, Vec<(u64, Id)>>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an order's time has not come at `now`: then it is asked for again, until it has. An error where too many of
    /// them wait already: none is passed over.
    fn puts_off(&self, peer: &Id, id: &Id, order: &Order, now: u64) -> Result<bool, String> {
        let mut early = self.early();
        let of = early.entry(*peer).or_default();
        of.retain(|(_, other)| other != id);
        if !is_early(order, true, now) {
            return Ok(false);
        }
        if of.len() >= EARLY {
            return Err(format!(
                "it hands on over {EARLY} orders of a time that has not come: compare clocks"
            ));
        }
        of.push((order.issued, *id));
        Ok(true)
    }

    /// Asks for these orders, and judges each. Why some cannot be judged at present, if so: the others are taken all the same.
    async fn take(
        &self,
        peer: &Peer,
        way: &dyn Way,
        mut want: Vec<Id>,
        api: &Weak<Api>,
    ) -> Result<Option<String>, String> {
        let mut undecided = None;
        while !want.is_empty() {
            let answer = self.exchange(peer, way, want.clone(), api).await?;
            if answer.orders.is_empty() {
                return Err("it does not hand on an order that it names".into());
            }
            for order in answer.orders {
                let word = Word::decode(&order).map_err(|e| e.to_string())?;
                let id = word.id().map_err(|e| e.to_string())?;
                if !want.contains(&id) {
                    return Err("it hands on what it was not asked for".into());
                }
                want.retain(|other| *other != id);
                let agent = api.upgrade().ok_or("the agent has ended")?;
                let holders = self.holders(peer, &id);
                let obeyed = match word {
                    Word::Order(signed) => {
                        let order = Order::decode(&signed.order).map_err(|e| e.to_string())?;
                        if self.puts_off(&peer.id, &id, &order, agent.now())? {
                            continue;
                        }
                        agent.obey(signed, Bearer::Peer(holders)).await
                    }
                    Word::Revocation(revocation) => match revocation.verify() {
                        Ok(verified) => {
                            agent
                                .end_grant(&revocation, verified, !holders.others())
                                .await
                        }
                        Err(e) => refused(Refusal::new(Code::Malformed, e.to_string())),
                    },
                };
                match obeyed.code {
                    Code::Done | Code::Retired => {}
                    Code::Unavailable => undecided = Some(obeyed.reason),
                    Code::Overloaded => return Err(obeyed.reason),
                    _ => self.refuse(peer, id),
                }
            }
        }
        Ok(undecided)
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<Id, u64>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bit of a peer, of whom there are at most 64.
    fn bit(&self, peer: &Peer) -> u64 {
        let place = self.peers.all.iter().position(|one| one.id == peer.id);
        place.map_or(0, |place| 1 << place)
    }

    fn was_refused(&self, peer: &Peer, id: &Id) -> bool {
        let bits = self.refusals().get(id).copied().unwrap_or(0);
        bits & self.bit(peer) != 0
    }

    /// How many peers hold an order that `peer` hands on, of those that were asked.
    fn holders(&self, peer: &Peer, id: &Id) -> Holders {
        let bits = self.refusals().get(id).copied().unwrap_or(0) | self.bit(peer);
        let all = self.peers.all.len();
        Holders {
            count: bits.count_ones() as usize,
            most: self.peers.needed.max(all / 2 + 1),
        }
    }

    fn refuse(&self, peer: &Peer, id: Id) {
        let bit = self.bit(peer);
        let mut refused = self.refusals();
        if refused.len() >= REFUSED && !refused.contains_key(&id) {
            refused.clear();
        }
        *refused.entry(id).or_default() |= bit;
    }

    /// The directory was read anew: what was refused may be permitted now, so that all peers are asked again.
    pub fn ask_again(&self) {
        self.refusals().clear();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.clear();
    }

    /// Whether what `peer` has seen of this agent's logs is what this agent has; what was lost, if not. An error where
    /// what it shows is none of this agent's.
    async fn compare(
        &self,
        peer: &Peer,
        answer: &Exchanged,
        spki: &[u8],
    ) -> Result<Option<String>, String> {
        let mut lost = None;
        for head in &answer.seen {
            let verified = self.verified.head(&peer.id, head, self.identity.spki());
            let (size, root) =
                verified.map_err(|e| format!("it shows what is not of this agent: {e}"))?;
            if head.log_key != self.log_key.0 {
                if !self.peers.former_logs.contains(&head.log_key) {
                    let key = hex::encode(head.log_key);
                    lost = Some(format!(
                        "{} has seen another log of this agent, of {size} entries: it is gone. Restore it; or, to \
                         go on with a new one, name {key} in former_logs in peers.toml",
                        peer.name
                    ));
                }
                continue;
            }
            let statement = seen_statement(&self.me, &head.log_key, size, &root);
            let good = |signature: &Vec<u8>| {
                let verified = &self.verified;
                verified.signature(&peer.id, spki, &statement, signature)
            };
            if !answer.signature.as_ref().is_some_and(good) {
                return Err("it does not sign for what it shows".into());
            }
            let own = self.own.clone();
            let compare = move || own.compare(size, &root);
            let found = match self.own.knows(size) {
                true => Some(compare()),
                false => self.beside(compare).await,
            };
            let found = found.unwrap_or_else(|| Err(io::Error::other("it was not read")));
            match found.map_err(|e| format!("this agent's own log cannot be read: {e}"))? {
                Match::Ours => self.confirm(&peer.id, statement),
                Match::Shorter(has) => {
                    lost = Some(format!(
                        "{} has seen {size} entries of this agent's log, which has {has}: this agent was restored \
                         from an old copy, and may have forgotten what was revoked. Restore the newest state; or move \
                         log/ away and name its key in former_logs in peers.toml",
                        peer.name
                    ));
                }
                Match::Other => {
                    lost = Some(format!(
                        "{} has seen other entries of this agent's log, up to {size}, than it has: one of them is a \
                         fork, since this agent was restored from an old copy. Restore the newest state; or move \
                         log/ away and name its key in former_logs in peers.toml",
                        peer.name
                    ));
                }
            }
        }
        Ok(lost)
    }

    fn confirmed(&self, peer: &Id) -> Option<[u8; 32]> {
        let confirmed = self.confirmed.lock();
        let confirmed = confirmed.unwrap_or_else(PoisonError::into_inner);
        confirmed.get(peer).copied()
    }

    fn confirm(&self, peer: &Id, statement: [u8; 32]) {
        let confirmed = self.confirmed.lock();
        let mut confirmed = confirmed.unwrap_or_else(PoisonError::into_inner);
        confirmed.insert(*peer, statement);
    }

    /// Does what waits for a disk, away from the thread that answers.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self.world.single_threaded() {
            true => Some(work()),
            false => tokio::task::spawn_blocking(work).await.ok(),
        }
    }

    async fn keep_asking(self: Arc<Self>, place: usize, api: Weak<Api>) {
        let peer = &self.peers.all[place];
        let (mut way, mut again) = (None, AGAIN);
        loop {
            if api.strong_count() == 0 {
                return;
            }
            match self.ask(peer, &mut way, &api).await {
                Ok(Came::Heard) => again = self.peers.every,
                Ok(Came::Waits) => again = AGAIN.min(self.peers.every),
                Err(why) => {
                    way = None;
                    self.standing().failed(&peer.id, why);
                    again = (2 * again).min(AGAIN_MOST).min(self.peers.every);
                }
            }
            sleep(again).await;
        }
    }
}

/// One task for each peer of the agent. They ask until the agent is gone, or they are dropped.
pub fn exchanges(api: &Arc<Api>) -> Vec<Exchanging> {
    let Some(meeting) = &api.meeting else {
        return Vec::new();
    };
    let task =
        |place| -> Exchanging { Box::pin(meeting.clone().keep_asking(place, Arc::downgrade(api))) };
    (0..meeting.peers.all.len()).map(task).collect()
}
