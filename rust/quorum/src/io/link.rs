//! The way to one holder: a connection pinned to its key, and a sealing session inside it (PROTOCOL §6).
//!
//! Both are made when first needed and shared by whoever needs them meanwhile. A session is renewed before
//! its hour ends and when the agent no longer knows it; a connection that broke, or fell silent, is made anew,
//! ever more slowly while that fails. Nothing here waits for another holder.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evanesce_wire::client::{CallError, Dial, Way};
use evanesce_wire::message::{Envelope, Obeyed, SessionAnswer, Status, envelope_aad};
use evanesce_wire::session::{PendingSession, SealingSession};
use evanesce_wire::{Identity, WireError, World};
use tokio::spawn;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::answers::Peer;
use crate::fault::{Trouble, remark};
use crate::holder::Holder;

mod once;

pub(crate) use once::Unheard;

/// A session is renewed when less than this is left of it, in seconds: longer than any request is under way.
const RENEW_BEFORE: u64 = 300;
/// How long a connection, TLS and a session may take together.
const ESTABLISH: Duration = Duration::from_secs(5);
/// An attempt that has brought nothing for this long is made beside anew: what was lost on its way, or came to a host
/// that has started again since, must not cost all of the time above.
const ANEW: Duration = Duration::from_secs(1);
/// After a failed attempt the next one waits at least this long; doubled by each further failure.
const BACKOFF: Duration = Duration::from_millis(20);
/// The longest such wait: a holder that comes back is noticed within it.
const BACKOFF_MOST: Duration = Duration::from_millis(320);

/// Why a holder cannot be asked, or did not answer.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub trouble: Trouble,
    pub detail: String,
}

impl Down {
    pub fn new(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self {
            trouble,
            detail: detail.into(),
        }
    }

    /// It has said nothing.
    pub fn slow() -> Self {
        Self::new(Trouble::Slow, "it did not answer in time")
    }

    /// Nobody can say where it is.
    pub fn unknown_holder() -> Self {
        Self::new(Trouble::UnknownHolder, "its id is not in your quorum file")
    }

    /// The task that was to ask it is gone without a word: nothing is known of the holder, and so nothing good.
    pub fn broke_off() -> Self {
        Self::new(Trouble::Unreachable, "the task that asked it broke off")
    }
}

/// An established way: everything needed to ask.
pub(crate) struct Live {
    connection: Arc<dyn Way>,
    pub session: Arc<SealingSession>,
    pub peer: Peer,
    /// How long the session's own round trip took.
    pub round_trip: Duration,
}

type Outcome = Result<Arc<Live>, Down>;

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    /// A connection whose session has ended.
    spare: Option<Arc<dyn Way>>,
    /// Who waits for the attempt under way, if there is one, in the order of their asking.
    attempt: Option<Vec<oneshot::Sender<Outcome>>>,
    not_before: Option<Instant>,
    failures: u32,
}

/// The way to one holder.
pub(crate) struct Link {
    pub holder: Holder,
    identity: Arc<dyn Identity>,
    world: Arc<dyn World>,
    dial: Arc<dyn Dial>,
    state: Mutex<State>,
}

impl Link {
    pub fn new(
        holder: Holder,
        identity: Arc<dyn Identity>,
        world: Arc<dyn World>,
        dial: Arc<dyn Dial>,
    ) -> Self {
        Self {
            holder,
            identity,
            world,
            dial,
            state: Mutex::default(),
        }
    }

    /// The way, if it stands.
    pub fn live(&self) -> Option<Arc<Live>> {
        let state = self.state();
        let live = state.live.as_ref()?;
        (!live.connection.is_closed() && self.world.unix_seconds() < live.session.not_after)
            .then(|| live.clone())
    }

    /// The way, made if need be. Waits as long as that takes, which is bounded.
    pub async fn ready(self: &Arc<Self>) -> Outcome {
        if let Some(live) = self.live() {
            self.renew_early();
            return Ok(live);
        }
        self.attempt().await.unwrap_or_else(|_| {
            Err(Down::new(
                Trouble::Unreachable,
                "the attempt to connect was given up",
            ))
        })
    }

    /// A session about to end is renewed beside the requests that still use it.
    pub fn renew_early(self: &Arc<Self>) {
        let ends = self
            .state()
            .live
            .as_ref()
            .map(|live| live.session.not_after);
        if ends.is_some_and(|ends| ends < self.world.unix_seconds() + RENEW_BEFORE) {
            self.attempt();
        }
    }

    /// Posts `body`, sealed, and gives the answer. `verb` is the path's last part.
    pub async fn post(&self, live: &Live, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let (counter, sealed) = live
            .session
            .seal_message(&envelope_aad(verb, &self.holder.id), body)?;
        let envelope = Envelope {
            session: live.session.id,
            counter,
            sealed,
        };
        live.connection
            .post(&format!("/v1/{verb}"), envelope.encode())
            .await
    }

    /// Composes, posts and decodes; once more where the session is no longer known or a connection that stood for
    /// some time turns out to be broken. Gives up at `until`.
    pub async fn exchange<T>(
        self: &Arc<Self>,
        verb: &str,
        until: Instant,
        compose: impl FnMut(&Live) -> Result<Vec<u8>, Down>,
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
    ) -> Result<(T, Arc<Live>), Down> {
        within(until, self.ask(verb, true, compose, decode, |_| true)).await
    }

    /// Composes, posts and decodes; once more where the same request may succeed on a new session or connection, and what
    /// went wrong `may` be followed by another. Unsealed, over the connection alone.
    async fn ask<T>(
        self: &Arc<Self>,
        verb: &str,
        sealed: bool,
        mut compose: impl FnMut(&Live) -> Result<Vec<u8>, Down>,
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
        may: impl Fn(&CallError) -> bool,
    ) -> Result<(T, Arc<Live>), Down> {
        let mut again = true;
        loop {
            let stood = self.live().is_some();
            let live = self.ready().await?;
            let body = compose(&live)?;
            let answer = match sealed {
                true => self.post(&live, verb, body).await,
                false => live.connection.post(&format!("/v1/{verb}"), body).await,
            };
            let error = match answer {
                Ok(answer) => match decode(&answer) {
                    Ok(answer) => return Ok((answer, live)),
                    Err(e) => return Err(down(&CallError::Wire(e))),
                },
                Err(error) => error,
            };
            // It drops what is of no use any more, whether or not this is asked for again.
            let another = self.worth_another(&error, &live, stood);
            if !(may(&error) && another && again) {
                return Err(down(&error));
            }
            again = false;
        }
    }

    /// Whether the same request may succeed on a new session or connection; if so, drops the old one.
    pub fn worth_another(&self, error: &CallError, live: &Arc<Live>, stood: bool) -> bool {
        match error {
            CallError::Problem(409, _) | CallError::Wire(WireError::SessionEnded) => {
                self.drop_session(live);
                true
            }
            CallError::Wire(WireError::Unreachable(_)) => {
                self.drop_way(live);
                stood
            }
            _ => false,
        }
    }

    /// Gets what is public there, over a connection that is made if need be.
    pub async fn get(self: &Arc<Self>, path: &str) -> Result<Vec<u8>, Down> {
        let live = self.ready().await?;
        live.connection.get(path).await.map_err(|e| down(&e))
    }

    /// The agent's own account of itself.
    pub async fn status(self: &Arc<Self>) -> Result<(Status, Duration), Down> {
        let live = self.ready().await?;
        let asked = Instant::now();
        let answer = live
            .connection
            .get("/v1/status")
            .await
            .map_err(|e| down(&e))?;
        let took = asked.elapsed();
        Ok((
            Status::decode(&answer).map_err(|e| down(&CallError::Wire(e)))?,
            took,
        ))
    }

    /// Gives the agent an order, which needs no seal: it is signed, and no secret.
    pub async fn order(self: &Arc<Self>, body: Vec<u8>) -> Result<(Obeyed, Arc<Live>), Down> {
        let compose = |_: &Live| Ok(body.clone());
        self.ask("order", false, compose, Obeyed::decode, |_| true)
            .await
    }

    /// Posts a body as it is, over the connection alone.
    pub async fn tell(self: &Arc<Self>, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, Down> {
        let live = self.ready().await?;
        let answer = live.connection.post(&format!("/v1/{verb}"), body).await;
        answer.map_err(|e| down(&e))
    }

    /// Forgets the connection and the session.
    pub fn drop_way(&self, live: &Arc<Live>) {
        let mut state = self.state();
        if state
            .live
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, live))
        {
            state.live = None;
        }
    }

    /// Forgets the session alone.
    fn drop_session(&self, live: &Arc<Live>) {
        let mut state = self.state();
        if state
            .live
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, live))
        {
            state.live = None;
            state.spare = Some(live.connection.clone());
        }
    }

    /// Joins the attempt under way, or begins one.
    fn attempt(self: &Arc<Self>) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        let not_before = {
            let mut state = self.state();
            if let Some(waiting) = &mut state.attempt {
                waiting.push(tell);
                return told;
            }
            state.attempt = Some(vec![tell]);
            state.not_before
        };
        let attempt = Attempt(self.clone());
        spawn(async move {
            let link = &attempt.0;
            if let Some(when) = not_before {
                sleep_until(when).await;
            }
            let outcome = match timeout(ESTABLISH, link.race()).await {
                Ok(outcome) => outcome.map(Arc::new),
                Err(_) => Err(Down::new(
                    Trouble::Unreachable,
                    "it does not complete a connection",
                )),
            };
            let mut state = link.state();
            let waiting = state.attempt.take().unwrap_or_default();
            match &outcome {
                Ok(live) => {
                    state.live = Some(live.clone());
                    (state.failures, state.not_before) = (0, None);
                }
                Err(_) => {
                    let wait = BACKOFF * (1 << state.failures.min(8));
                    state.failures += 1;
                    state.not_before = Some(Instant::now() + wait.min(BACKOFF_MOST));
                }
            }
            drop(state);
            for tell in waiting {
                let _ = tell.send(outcome.clone());
            }
        });
        told
    }

    /// Establishes a way, beginning once more each time that nothing has come of it for [`ANEW`]. Whichever ends
    /// first decides; the others end with it.
    async fn race(self: &Arc<Self>) -> Result<Live, Down> {
        let mut attempts = JoinSet::new();
        loop {
            let (link, first) = (self.clone(), attempts.is_empty());
            attempts.spawn(async move { link.establish(first).await });
            match timeout(ANEW, attempts.join_next()).await {
                Ok(Some(Ok(outcome))) => return outcome,
                Ok(_) => return Err(Down::broke_off()),
                Err(_) => {}
            }
        }
    }

    /// A connection, unless one stands that may be used, and a session on it.
    async fn establish(&self, may_stand: bool) -> Result<Live, Down> {
        // A standing connection only needs a new session.
        let standing = may_stand.then(|| {
            let mut state = self.state();
            let spare = state.spare.take();
            state
                .live
                .as_ref()
                .map(|live| live.connection.clone())
                .or(spare)
        });
        if let Some(connection) = standing.flatten().filter(|standing| !standing.is_closed()) {
            match self.open_session(connection).await {
                // It broke without a sign of it: that says nothing of the holder.
                Err(CallError::Wire(WireError::Unreachable(_))) => {}
                outcome => return outcome.map_err(|e| down(&e)),
            }
        }
        let connection = self.dial.dial(&self.holder.address, self.holder.id).await;
        let connection = connection.map_err(|e| down(&CallError::Wire(e)))?;
        self.open_session(connection).await.map_err(|e| down(&e))
    }

    async fn open_session(&self, connection: Arc<dyn Way>) -> Result<Live, CallError> {
        let id = self.holder.id;
        let (pending, offer) =
            PendingSession::offer(&*self.identity, id, self.world.unix_seconds())?;
        let asked = Instant::now();
        let answer = connection.post("/v1/session", offer.encode()).await?;
        let round_trip = asked.elapsed();
        let answer = SessionAnswer::decode(&answer)?;
        let spki = connection.peer_spki().to_vec();
        let session = Arc::new(pending.accept(&answer.answer, &spki)?);
        let SessionAnswer {
            log_key,
            endorsement,
            ..
        } = answer;
        Ok(Live {
            connection,
            session,
            peer: Peer {
                id,
                spki,
                log_key,
                endorsement,
            },
            round_trip,
        })
    }

    /// Never held while waiting.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of it, if it does in time.
async fn within<T>(
    until: Instant,
    whole: impl Future<Output = Result<T, Down>>,
) -> Result<T, Down> {
    let slow = |_| Err(Down::slow());
    timeout_at(until, whole).await.unwrap_or_else(slow)
}

/// An attempt under way. One that breaks off leaves nobody waiting for it, and no other held up.
struct Attempt(Arc<Link>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.state().attempt = None;
    }
}

/// What a failed call means.
pub(crate) fn down(error: &CallError) -> Down {
    let (trouble, detail) = match error {
        CallError::Wire(e) => {
            let trouble = match e {
                WireError::Unreachable(_) | WireError::WrongPeer(_) | WireError::SessionEnded => {
                    Trouble::Unreachable
                }
                WireError::Malformed(_) | WireError::Unsealable => Trouble::Lied,
                WireError::Identity(_) => Trouble::OwnIdentity,
                WireError::Memory(_) => Trouble::OwnMemory,
            };
            let text = e.to_string();
            let text = text.strip_prefix("unreachable: ").unwrap_or(&text);
            (trouble, remark(text))
        }
        CallError::Problem(status, problem) => {
            let trouble = match status {
                401 => Trouble::Stranger,
                403 => Trouble::Role,
                400 | 413 => Trouble::Malformed,
                429 => Trouble::Overloaded,
                503 => Trouble::Unavailable,
                _ => Trouble::Unreachable,
            };
            (
                trouble,
                format!("{}: {}", remark(&problem.code), remark(&problem.message)),
            )
        }
    };
    Down { trouble, detail }
}
