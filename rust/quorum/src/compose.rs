//! The bodies of requests: `contribute`, `retire` and `check` (PROTOCOL §6, Request).
//!
//! Pure. Each distinct token's context goes once into a request, and by its id where the agent holds it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evanesce_token::{Body, Token, formula};
use evanesce_wire::limits::INLINE_HEADER;
use evanesce_wire::message::{Batch, Context, Evidence, Opening, Request, SeatRow};
use evanesce_wire::{Id, World};

use crate::outbox::Ask;
use crate::work::{Statement, Work};

/// Most tokens of which it is remembered that an agent holds their context.
const CONTEXTS_KNOWN: usize = 4096;
/// A request is good for this long, in seconds: room for clocks that differ by as much.
pub(crate) const REQUEST_LIFE: u64 = 60;

/// An ask under way.
pub(crate) struct Sent {
    pub ask: Ask,
    pub request_hash: [u8; 32],
    /// Whether the context went by id.
    pub by_id: bool,
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
        let requests = match &ask.work.carried {
            None => own(&ask.work, asker, ids),
            // One that is not for this session gets no request at all: in its own name this side asks for nothing.
            Some(carried) => match carried.under(asker.session) {
                Some(to) => carried.requests(&ask.work, to),
                None => Vec::new(),
            },
        };
        let salts = (0..requests.len()).map(|place| ask.work.payload(place).map(|(_, salt)| salt));
        let salts = salts.collect();
        let request_hash = match &requests[..] {
            [one] => formula::request_hash(&[one]),
            many => formula::request_hash(&many.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        };
        batch.openings.push(Opening {
            context,
            requests,
            salts,
            evidence: ask.work.evidence.clone(),
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
        salts: Vec::new(),
        evidence: Evidence::default(),
        rows: rows(token, seats),
    };
    Batch {
        contexts: vec![full(&token.body)],
        openings: vec![opening],
    }
    .encode()
}

/// The requests of an operation of this side's own.
fn own(work: &Work, asker: &Asker, ids: &mut Ids) -> Vec<Vec<u8>> {
    let not_after = asker.now + REQUEST_LIFE;
    let each = work.statements.iter().enumerate();
    each.map(|(place, statement)| {
        let payload = work.payload(place).map(|(payload, _)| payload);
        let (caller, session, id) = (asker.caller, asker.session, ids.next());
        request(
            statement,
            payload,
            &work.token,
            caller,
            session,
            id,
            not_after,
        )
        .encode()
    })
    .collect()
}

/// One request (PROTOCOL §6).
pub(crate) fn request(
    statement: &Statement,
    payload: Option<&[u8]>,
    token: &Token,
    caller: &Id,
    session: &Id,
    id: [u8; 16],
    not_after: u64,
) -> Request {
    Request {
        token: *token.id(),
        action: statement.action.to_owned(),
        suite: statement.suite.to_owned(),
        input: statement.input,
        caller: *caller,
        session: *session,
        id,
        not_after,
        payload: payload.map(<[u8]>::to_vec),
    }
}

fn rows(token: &Token, seats: &[u32]) -> Vec<SeatRow> {
    let row = |&seat: &u32| SeatRow::of(seat, &token.rows[seat as usize]);
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
    world: Arc<dyn World>,
    drawn: [[u8; 16]; IDS],
    used: usize,
}

const IDS: usize = 256;

impl Ids {
    pub fn new(world: Arc<dyn World>) -> Self {
        Self {
            world,
            drawn: [[0; 16]; IDS],
            used: IDS,
        }
    }

    pub fn next(&mut self) -> [u8; 16] {
        if self.used == IDS {
            self.world.random(self.drawn.as_flattened_mut());
            self.used = 0;
        }
        self.used += 1;
        self.drawn[self.used - 1]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::work::Work;
    use evanesce_suite::catalogue;
    use evanesce_token::{Gate, Header, Row};
    use evanesce_wire::System;
    use std::time::Duration;

    pub(crate) fn token(policy: usize, nonce: u8) -> Arc<Token> {
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

    pub(crate) fn ask(key: u64, token: &Arc<Token>) -> Ask {
        let work = Arc::new(Work::bare(
            token.clone(),
            "open",
            crate::Settled::default(),
            Duration::from_secs(1),
            &System,
        ));
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
        let (body, sent) = compose(asks, &asker, known, &mut Ids::new(Arc::new(System)));
        (Batch::decode(&body).unwrap(), sent)
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
