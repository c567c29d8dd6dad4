//! Keys in a token that are found again when the token was removed and is back.

use super::Config;
use super::fault::Fault;
use super::module::Module;
use super::token::{Attached, Connection};
use crate::ElementError;
use cryptoki::session::Session;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Finds keys `K` in a freshly attached token.
type Find<K> = Box<dyn Fn(&Attached, &Module, &Session) -> Result<K, Fault> + Send + Sync>;

/// A connection and the keys `K` found through it, which change with each attachment.
pub(super) struct Binding<K> {
    connection: Arc<Connection>,
    find: Find<K>,
    bound: RwLock<Arc<Bound<K>>>,
    /// Held by the one thread that looks for a lost token.
    looking: Mutex<()>,
}

/// Keys of one attachment.
pub(super) struct Bound<K> {
    attached: Arc<Attached>,
    pub keys: K,
}

impl<K: Send + Sync> Binding<K> {
    /// Connects to the configuration's token and finds the keys.
    pub fn new(
        config: &Config,
        find: impl Fn(&Attached, &Module, &Session) -> Result<K, Fault> + Send + Sync + 'static,
    ) -> Result<Self, ElementError> {
        let connection = Connection::to(config)?;
        let find: Find<K> = Box::new(find);
        let attached = connection.attached()?;
        let bound = match bind(&find, attached.clone()) {
            Err(fault) if fault.lost() => bind(&find, connection.reattach(&attached)?)?,
            other => other?,
        };
        let bound = RwLock::new(Arc::new(bound));
        Ok(Self {
            connection,
            find,
            bound,
            looking: Mutex::new(()),
        })
    }

    /// The keys as last found.
    pub fn bound(&self) -> Arc<Bound<K>> {
        self.bound
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs `work` with the keys and a session; if the token turns out to be lost, looks for it and runs
    /// `work` once more.
    pub fn run<R>(
        &self,
        mut work: impl FnMut(&Module, &Session, &K) -> Result<R, Fault>,
    ) -> Result<R, ElementError> {
        let mut attempt = |bound: &Bound<K>| {
            bound
                .attached
                .with_session(|module, session| work(module, session, &bound.keys))
        };
        let bound = self.bound();
        match attempt(&bound) {
            Err(fault) if fault.lost() => {}
            other => return Ok(other?),
        }
        let bound = off_crucible(|| self.rebind(&bound))?;
        Ok(attempt(&bound)?)
    }

    fn rebind(&self, stale: &Bound<K>) -> Result<Arc<Bound<K>>, ElementError> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.bound();
        if !Arc::ptr_eq(&now.attached, &stale.attached) {
            return Ok(now);
        }
        let attached = self.connection.reattach(&stale.attached)?;
        let found = Arc::new(bind(&self.find, attached)?);
        *self.bound.write().unwrap_or_else(PoisonError::into_inner) = found.clone();
        Ok(found)
    }
}

impl<K> Bound<K> {
    /// Library and token, for people.
    pub fn label(&self) -> &str {
        self.attached.label()
    }
}

fn bind<K>(find: &Find<K>, attached: Arc<Attached>) -> Result<Bound<K>, Fault> {
    let keys = attached.with_session(|module, session| find(&attached, module, session))?;
    Ok(Bound { attached, keys })
}

/// Runs `work` on an ordinary stack: finding and probing a token takes a module deep, and a crucible's stack is
/// only as large as cryptography needs. No root or HMAC is touched in it.
fn off_crucible<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if !evanesce_secret::is_crucible_thread() {
        return work();
    }
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
