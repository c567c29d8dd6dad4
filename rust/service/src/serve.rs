//! What each endpoint does, whoever carries requests here (docs/reconstructor-api.md).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use evanesce_quorum::Reconstructor;
use evanesce_wire::message::{
    Envelope, Operate, Problem, Serving, SessionAnswer, Standing, envelope_aad,
};
use evanesce_wire::session::{self, Offer};
use evanesce_wire::sessions::Sessions;
use evanesce_wire::{Id, Identity, System, WireError, World};
use http::{Method, StatusCode};
use tokio::sync::oneshot;
use zeroize::Zeroize;

use crate::callers::Callers;
use crate::config::{Config, Limits};
use crate::operate::operate;

/// What every request is answered from.
pub struct Service {
    /// Who asks the agents and operates.
    pub reconstructor: Reconstructor,
    /// Its key, to agents and to callers.
    pub identity: Arc<dyn Identity>,
    /// Its id to those who connect to it.
    pub id: Id,
    /// Whom it works for.
    pub callers: RwLock<Callers>,
    /// The sessions with them.
    pub sessions: Mutex<Sessions>,
    /// The sessions with agents, as callers are told of them.
    pub standing: Mutex<Arc<evanesce_wire::message::Sessions>>,
    /// What `/v1/status` says; clock, agents and the asker are filled in.
    pub serving: Serving,
    /// How much is taken on at once.
    pub limits: Limits,
    /// Operations under way, in all and by caller.
    pub under_way: UnderWay,
}

/// An answer other than 200.
pub struct Trouble(StatusCode, &'static str, String);

type Answer = Result<Vec<u8>, Trouble>;

fn malformed(e: impl std::fmt::Display) -> Trouble {
    Trouble(StatusCode::BAD_REQUEST, "malformed", e.to_string())
}

impl Service {
    /// Answers one request of the peer who has proven the key `spki`, whose caller id is `caller`.
    pub async fn handle(
        self: &Arc<Self>,
        caller: &Id,
        spki: &[u8],
        method: &Method,
        path: &str,
        body: Vec<u8>,
    ) -> (StatusCode, Vec<u8>) {
        match self.route(caller, spki, method, path, body).await {
            Ok(body) => (StatusCode::OK, body),
            Err(Trouble(status, code, message)) => {
                let code = code.into();
                (status, Problem { code, message }.encode())
            }
        }
    }

    async fn route(
        self: &Arc<Self>,
        caller: &Id,
        spki: &[u8],
        method: &Method,
        path: &str,
        body: Vec<u8>,
    ) -> Answer {
        let Some(name) = self.name(caller) else {
            let id = hex::encode(caller);
            let why = format!("this reconstructor does not work for the identity {id}");
            return Err(Trouble(StatusCode::UNAUTHORIZED, "unknown-identity", why));
        };
        match (method, path) {
            (&Method::POST, "/v1/operate") => self.operate(caller, body).await,
            (&Method::POST, "/v1/session") => self.session(caller, spki, &body),
            (&Method::GET, "/v1/sessions") => Ok(self.refresh(Config::PATIENCE).await.encode()),
            (&Method::GET, "/v1/status") => Ok(self.status(name).encode()),
            _ => {
                let why = "no such endpoint".into();
                Err(Trouble(StatusCode::NOT_FOUND, "not-found", why))
            }
        }
    }

    /// The name of a caller it works for.
    pub fn name(&self, caller: &Id) -> Option<String> {
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        callers.name(caller).map(str::to_owned)
    }

    fn status(&self, caller: String) -> Serving {
        Serving {
            clock: System.unix_millis(),
            agents: self.told().agents.len() as u64,
            caller,
            ..self.serving.clone()
        }
    }

    /// A sealing session with a caller, as an agent has one with a reconstructor (PROTOCOL §6, Transport).
    fn session(&self, caller: &Id, spki: &[u8], body: &[u8]) -> Answer {
        let offer = Offer::decode(body).map_err(malformed)?;
        let now = System.unix_seconds();
        if self.sessions().answered(&offer.statement()) {
            let why = "this offer was answered before".into();
            return Err(Trouble(StatusCode::CONFLICT, "session", why));
        }
        let answered = session::answer(&offer, spki, &*self.identity, now);
        let (answer, session) = answered.map_err(|e| {
            let (status, code) = match &e {
                WireError::WrongPeer(_) => (StatusCode::FORBIDDEN, "wrong-peer"),
                WireError::SessionEnded => (StatusCode::CONFLICT, "session"),
                WireError::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
                _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            };
            Trouble(status, code, e.to_string())
        })?;
        self.sessions().keep(session, *caller, now);
        // A reconstructor has no log: no key of one, and nothing that endorses it.
        let answer = SessionAnswer {
            answer,
            log_key: [0; 32],
            endorsement: Vec::new(),
        };
        Ok(answer.encode())
    }

    async fn operate(&self, caller: &Id, body: Vec<u8>) -> Answer {
        let Some(_place) = self.under_way.enter(caller, &self.limits) else {
            let why = "too many operations under way, in all or of this caller".into();
            return Err(Trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why));
        };
        let mut envelope = Envelope::decode(&body).map_err(malformed)?;
        drop(body);
        let now = System.unix_seconds();
        let found = self.sessions().find(&envelope.session, caller, now);
        let Some(session) = found else {
            let why = "no such session: offer a new one".into();
            return Err(Trouble(StatusCode::CONFLICT, "session", why));
        };
        let aad = envelope_aad("operate", &self.id);
        let plain = session.open(envelope.counter, &aad, &mut envelope.sealed);
        let asked = Operate::decode(plain.map_err(malformed)?).map_err(malformed);
        envelope.sealed.zeroize();
        let asked = asked?;
        let (version, named) = (asked.version, asked.holders.clone());
        let (begun, deadline) = (Instant::now(), Duration::from_millis(asked.deadline));
        let mut operated = operate(&self.reconstructor, *caller, asked, &session, &self.id).await;
        let mut told = self.told();
        let stale = |told: &evanesce_wire::message::Sessions| {
            named.iter().any(|to| {
                let now = told.with(&to.agent);
                now.is_none_or(|now| now.session != to.session)
            })
        };
        // Whether it failed because a session has just ended, the next look tells. That takes no time of those that
        // agents did not answer in time: these are told so within their deadline.
        let early = begun.elapsed() < deadline / 2;
        if operated.problem.is_some() && !operated.faults.is_empty() && early && !stale(&told) {
            told = self.refresh(deadline / 4).await;
        }
        operated.sessions = (told.version != version).then(|| (*told).clone());
        Ok(operated.encode())
    }

    /// Looks which sessions stand, and tells of them under a new version if they are others.
    /// Agents without one are waited for, for as long as `patience`.
    pub async fn refresh(&self, patience: Duration) -> Arc<evanesce_wire::message::Sessions> {
        let (tell, heard) = oneshot::channel();
        let done = Box::new(move |result| {
            let _ = tell.send(result);
        });
        self.reconstructor.sessions(patience, done);
        if let Ok(Ok(agents)) = heard.await {
            let mut standing = self.standing();
            let which =
                |all: &[Standing]| all.iter().map(|s| (s.agent, s.session)).collect::<Vec<_>>();
            if which(&standing.agents) != which(&agents) {
                let version = standing.version + 1;
                *standing = Arc::new(evanesce_wire::message::Sessions { version, agents });
            }
        }
        self.told()
    }

    fn told(&self) -> Arc<evanesce_wire::message::Sessions> {
        self.standing().clone()
    }

    fn standing(&self) -> MutexGuard<'_, Arc<evanesce_wire::message::Sessions>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Operations under way.
#[derive(Default)]
pub struct UnderWay {
    all: AtomicUsize,
    by_caller: Mutex<HashMap<Id, usize>>,
}

/// One of them, until it is dropped.
pub struct Place<'a>(&'a UnderWay, Id);

impl UnderWay {
    /// One more of this caller's, if there is room.
    pub fn enter(&self, caller: &Id, limits: &Limits) -> Option<Place<'_>> {
        let mut by_caller = self.by_caller();
        let own = by_caller.entry(*caller).or_default();
        if *own >= limits.operations_per_caller || self.all.load(Relaxed) >= limits.operations {
            return None;
        }
        *own += 1;
        self.all.fetch_add(1, Relaxed);
        Some(Place(self, *caller))
    }

    fn by_caller(&self) -> MutexGuard<'_, HashMap<Id, usize>> {
        self.by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.all.fetch_sub(1, Relaxed);
        let mut by_caller = self.0.by_caller();
        if let Some(own) = by_caller.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                by_caller.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_room_for_others_and_gives_back_what_it_took() {
        let limits = Limits {
            operations: 3,
            operations_per_caller: 2,
            ..Limits::default()
        };
        let under_way = UnderWay::default();
        let (one, two) = ([1; 32], [2; 32]);
        let first = under_way.enter(&one, &limits).unwrap();
        let _second = under_way.enter(&one, &limits).unwrap();
        assert!(under_way.enter(&one, &limits).is_none(), "its own bound");
        let _third = under_way.enter(&two, &limits).unwrap();
        assert!(under_way.enter(&two, &limits).is_none(), "everybody's");
        drop(first);
        assert!(under_way.enter(&two, &limits).is_some());
        assert_eq!(under_way.by_caller().len(), 2);
    }
}
