//! What waits to be asked of one holder, and the requests it goes out in.
//!
//! Pure. What queued while requests were under way shares the next one; nothing waits for company. How many
//! may be under way follows from the way there: on a short one few, so that under load many openings share
//! the cost of a request; on a long one as many as it takes that no opening waits for another's round trip.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use evanesce_token::{Body, Token, formula};
use evanesce_wire::Id;
use evanesce_wire::limits::{INLINE_HEADER, REPLAY_WINDOW};
use evanesce_wire::message::{Batch, Context, Opening, Request, SeatRow};

use crate::work::{Statement, Work};

/// Most openings that share a request: bounds how long an agent is busy with one.
const OPENINGS_AT_ONCE: usize = 128;
/// Most bytes of requests and contexts that share a request, about.
const BYTES_AT_ONCE: usize = 1 << 20;
/// Requests under way when the way there costs nothing.
const UNDER_WAY_LEAST: usize = 3;
/// Requests under way before anything is known of the way there.
const UNDER_WAY_FIRST: usize = 16;
/// Most requests under way.
const UNDER_WAY_MOST: usize = 128;
/// One more for each such stretch of the way, in µs.
const STRETCH: u64 = 500;
/// Most shares under way: each takes a counter of the session, and counters far apart cannot both be opened.
const SHARES_UNDER_WAY: usize = REPLAY_WINDOW as usize / 4;
/// Most tokens of which it is remembered that an agent holds their context.
const CONTEXTS_KNOWN: usize = 4096;
/// A request is good for this long, in seconds: room for clocks that differ by as much.
const REQUEST_LIFE: u64 = 60;

/// One opening's seats at one holder.
pub(crate) struct Ask {
    /// The opening.
    pub key: u64,
    pub work: Arc<Work>,
    pub seats: Vec<u32>,
    /// When it was asked, in µs.
    pub at: u64,
    /// Whether it waited for a connection, so that its answer time says nothing of the holder.
    pub cold: bool,
    /// Whether it was sent before: then everything goes whole.
    pub again: bool,
}

/// An ask under way.
pub(crate) struct Sent {
    pub ask: Ask,
    pub request_hash: [u8; 32],
    /// Whether the context went by id.
    pub by_id: bool,
}

/// One holder's queue.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Ask>,
    under_way: usize,
    shares_under_way: usize,
}

impl Outbox {
    pub fn push(&mut self, ask: Ask) {
        self.queue.push_back(ask);
    }

    /// Forgets what is no longer wanted; says whether anything is left.
    pub fn retain(&mut self, wanted: impl Fn(u64) -> bool) -> bool {
        self.queue.retain(|ask| wanted(ask.key));
        !self.queue.is_empty()
    }

    /// Everything that waits: there is no way to ask it.
    pub fn drain(&mut self) -> Vec<Ask> {
        self.queue.drain(..).collect()
    }

    /// The next request's openings, if a request may go out now. `fastest` is the shortest way there and back, in µs.
    pub fn take(&mut self, fastest: Option<u64>) -> Option<Vec<Ask>> {
        if self.queue.is_empty() || self.under_way >= most_under_way(fastest) {
            return None;
        }
        let (mut bytes, mut shares, mut count) = (0, self.shares_under_way, 0);
        for ask in self.queue.iter().take(OPENINGS_AT_ONCE) {
            bytes += ask.work.wire_size() + ask.work.token.body.header_bytes.len();
            shares += ask.seats.len();
            let first = count == 0 && self.under_way == 0;
            if !first && (bytes > BYTES_AT_ONCE || shares > SHARES_UNDER_WAY) {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let asks: Vec<Ask> = self.queue.drain(..count).collect();
        self.under_way += 1;
        self.shares_under_way += shares_of(&asks);
        Some(asks)
    }

    /// A request that [`take`](Self::take) gave, with this many shares in it, has ended, however it did.
    pub fn ended(&mut self, shares: usize) {
        self.under_way -= 1;
        self.shares_under_way -= shares;
    }
}

/// Seats asked for.
pub(crate) fn shares_of(asks: &[Ask]) -> usize {
    asks.iter().map(|ask| ask.seats.len()).sum()
}

fn most_under_way(fastest: Option<u64>) -> usize {
    match fastest {
        Some(way) => (UNDER_WAY_LEAST + (way / STRETCH) as usize).min(UNDER_WAY_MOST),
        None => UNDER_WAY_FIRST,
    }
}

/// Which contexts an agent holds, so that long headers need not travel twice.
#[derive(Default)]
pub(crate) struct Contexts(HashSet<Id>);

impl Contexts {
    /// The agent has taken this token's context whole.
    pub fn learn(&mut self, token: &Token) {
        if token.body.header_bytes.len() > INLINE_HEADER {
            if self.0.len() >= CONTEXTS_KNOWN {
                self.0.clear();
            }
            self.0.insert(*token.id());
        }
    }

    pub fn forget(&mut self, token: &Id) {
        self.0.remove(token);
    }

    fn holds(&self, token: &Token) -> bool {
        token.body.header_bytes.len() > INLINE_HEADER && self.0.contains(token.id())
    }
}

/// Who asks, and under which session.
pub(crate) struct Asker<'a> {
    pub caller: &'a Id,
    pub session: &'a Id,
    /// Unix seconds.
    pub now: u64,
}

/// The request's body, with each distinct context once.
pub(crate) fn compose(
    asks: Vec<Ask>,
    asker: &Asker,
    known: &Contexts,
    ids: &mut Ids,
) -> (Vec<u8>, Vec<Sent>) {
    let mut batch = Batch {
        contexts: Vec::new(),
        openings: Vec::with_capacity(asks.len()),
    };
    let mut places: HashMap<Id, (usize, bool)> = HashMap::with_capacity(asks.len().min(16));
    let mut sent = Vec::with_capacity(asks.len());
    for ask in asks {
        let token = &ask.work.token;
        let (context, by_id) = match places.get(token.id()) {
            Some(&(place, by_id)) if !(by_id && ask.again) => (place, by_id),
            _ => {
                let by_id = known.holds(token) && !ask.again;
                batch.contexts.push(if by_id {
                    Context::Known(*token.id())
                } else {
                    full(&token.body)
                });
                let place = (batch.contexts.len() - 1, by_id);
                places.insert(*token.id(), place);
                place
            }
        };
        let requests: Vec<Vec<u8>> = ask
            .work
            .statements
            .iter()
            .map(|s| request(s, token, asker, ids.next()).encode())
            .collect();
        let request_hash = match &requests[..] {
            [one] => formula::request_hash(&[one]),
            many => formula::request_hash(&many.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        };
        batch.openings.push(Opening {
            context,
            requests,
            rows: rows(token, &ask.seats),
        });
        sent.push(Sent {
            ask,
            request_hash,
            by_id,
        });
    }
    (batch.encode(), sent)
}

/// The same for `check`, which asks for no operation.
pub(crate) fn compose_check(token: &Token, seats: &[u32]) -> Vec<u8> {
    let opening = Opening {
        context: 0,
        requests: Vec::new(),
        rows: rows(token, seats),
    };
    Batch {
        contexts: vec![full(&token.body)],
        openings: vec![opening],
    }
    .encode()
}

fn request(statement: &Statement, token: &Token, asker: &Asker, id: [u8; 16]) -> Request {
    Request {
        token: *token.id(),
        action: statement.action.to_owned(),
        suite: statement.suite.to_owned(),
        input: statement.input,
        caller: *asker.caller,
        session: *asker.session,
        id,
        not_after: asker.now + REQUEST_LIFE,
        payload: None,
    }
}

fn rows(token: &Token, seats: &[u32]) -> Vec<SeatRow> {
    let row = |&seat: &u32| {
        let row = &token.rows[seat as usize];
        SeatRow {
            seat,
            holder: row.holder,
            epoch: row.epoch,
            correction: row.correction,
        }
    };
    seats.iter().map(row).collect()
}

/// What an agent is given of a token, whole.
pub(crate) fn full(body: &Body) -> Context {
    Context::Full {
        header: body.header_bytes.clone(),
        anchor: body.anchor,
        commitments: body.commitments.clone(),
        public: body.public_hash,
        sealed: body.sealed_hash,
    }
}

/// Fresh request ids, drawn many at a time.
pub(crate) struct Ids {
    drawn: [[u8; 16]; IDS],
    used: usize,
}

const IDS: usize = 256;

impl Default for Ids {
    fn default() -> Self {
        Self {
            drawn: [[0; 16]; IDS],
            used: IDS,
        }
    }
}

impl Ids {
    fn next(&mut self) -> [u8; 16] {
        if self.used == IDS {
            evanesce_secret::random(self.drawn.as_flattened_mut());
            self.used = 0;
        }
        self.used += 1;
        self.drawn[self.used - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_suite::catalogue;
    use evanesce_token::{Gate, Header, Row};
    use std::time::Duration;

    fn token(policy: usize, nonce: u8) -> Arc<Token> {
        let header = Header {
            key: [1; 32],
            nonce: [nonce; 32],
            name: "k".into(),
            suites: vec!["hmac-sha256".into()],
            quorum: Gate::parse("1 of (a, b)").unwrap(),
            policy: "x".repeat(policy),
            created: 0,
            expires: None,
            replaces: None,
        };
        let row = Row {
            holder: [2; 32],
            epoch: 0,
            correction: [3; 32],
            signature: vec![],
        };
        let public = Default::default();
        let token = Token::assemble(
            &header,
            [4; 32],
            vec![[5; 32]; 2],
            public,
            None,
            vec![row; 2],
            catalogue(),
        );
        Arc::new(token.unwrap())
    }

    fn ask(key: u64, token: &Arc<Token>) -> Ask {
        let work = Arc::new(Work::bare(token.clone(), "open", Duration::from_secs(1)));
        Ask {
            key,
            work,
            seats: vec![0],
            at: 0,
            cold: false,
            again: false,
        }
    }

    fn composed(asks: Vec<Ask>, known: &Contexts) -> (Batch, Vec<Sent>) {
        let asker = Asker {
            caller: &[7; 32],
            session: &[8; 32],
            now: 1000,
        };
        let (body, sent) = compose(asks, &asker, known, &mut Ids::default());
        (Batch::decode(&body).unwrap(), sent)
    }

    #[test]
    fn what_queued_while_requests_were_under_way_shares_the_next() {
        let token = token(0, 0);
        let mut outbox = Outbox::default();
        for key in 0..UNDER_WAY_LEAST as u64 {
            outbox.push(ask(key, &token));
            assert_eq!(
                outbox.take(Some(0)).map(|asks| asks.len()),
                Some(1),
                "nothing waits for company"
            );
        }
        for key in 10..26 {
            outbox.push(ask(key, &token));
            assert!(outbox.take(Some(0)).is_none());
        }
        outbox.ended(1);
        assert_eq!(outbox.take(Some(0)).map(|asks| asks.len()), Some(16));
        assert!(outbox.take(Some(0)).is_none());
    }

    #[test]
    fn across_a_long_way_nobody_waits_for_anothers_round_trip() {
        let token = token(0, 0);
        let mut outbox = Outbox::default();
        for key in 0..64 {
            outbox.push(ask(key, &token));
            assert!(outbox.take(Some(40_000)).is_some());
        }
    }

    #[test]
    fn a_request_is_bounded_and_so_are_the_shares_under_way() {
        let token = token(0, 0);
        let mut outbox = Outbox::default();
        (0..5_000).for_each(|key| outbox.push(ask(key, &token)));
        let mut taken = 0;
        while let Some(asks) = outbox.take(Some(1_000_000)) {
            assert!(asks.len() <= OPENINGS_AT_ONCE);
            taken += asks.len();
        }
        assert_eq!(taken, SHARES_UNDER_WAY);
        assert!(outbox.retain(|key| key >= 4_999));
        assert_eq!(outbox.drain().len(), 1);
    }

    #[test]
    fn each_context_travels_once_and_long_ones_by_id_once_they_are_known() {
        let (short, long) = (token(0, 0), token(5_000, 1));
        let asks = || vec![ask(0, &short), ask(1, &long), ask(2, &short), ask(3, &long)];
        let mut known = Contexts::default();
        known.learn(&short);
        let (batch, sent) = composed(asks(), &known);
        assert_eq!(batch.contexts.len(), 2);
        assert!(
            batch
                .contexts
                .iter()
                .all(|context| matches!(context, Context::Full { .. }))
        );
        assert!(sent.iter().all(|sent| !sent.by_id));
        known.learn(&long);
        let (batch, sent) = composed(asks(), &known);
        assert_eq!(batch.contexts[1], Context::Known(*long.id()));
        assert_eq!(
            sent.iter().map(|sent| sent.by_id).collect::<Vec<_>>(),
            [false, true, false, true]
        );
        let mut again = asks();
        again[3].again = true;
        let (batch, sent) = composed(again, &known);
        assert!(
            !sent[3].by_id
                && matches!(
                    batch.contexts[batch.openings[3].context],
                    Context::Full { .. }
                )
        );
        known.forget(long.id());
        assert!(composed(asks(), &known).1.iter().all(|sent| !sent.by_id));
    }

    #[test]
    fn no_two_requests_have_one_id() {
        let token = token(0, 0);
        let (batch, sent) = composed(
            (0..600).map(|key| ask(key, &token)).collect(),
            &Contexts::default(),
        );
        let ids: HashSet<[u8; 16]> = batch
            .openings
            .iter()
            .map(|opening| Request::decode(&opening.requests[0]).unwrap().id)
            .collect();
        assert_eq!(ids.len(), 600);
        let hashes: HashSet<[u8; 32]> = sent.iter().map(|sent| sent.request_hash).collect();
        assert_eq!(hashes.len(), 600);
        let request = &batch.openings[0].requests[0];
        assert_eq!(sent[0].request_hash, formula::request_hash(&[request]));
    }
}
