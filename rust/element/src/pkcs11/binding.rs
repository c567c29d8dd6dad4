//! Keys in a token that are found again when the token was removed and is back.

use super::Config;
use super::fault::Fault;
use super::module::Module;
use super::sessions::Attached;
use super::token::{Connection, REATTACHMENTS};
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
        let bound = connection.run(|attached, module, session| {
            Ok(Bound {
                attached: attached.clone(),
                keys: find(attached, module, session)?,
            })
        })?;
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
    /// `work` again.
    pub fn run<R>(
        &self,
        mut work: impl FnMut(&Module, &Session, &K) -> Result<R, Fault>,
    ) -> Result<R, ElementError> {
        let mut bound = self.bound();
        for attempt in 0.. {
            let result = bound
                .attached
                .with_session(|module, session| work(module, session, &bound.keys));
            match result {
                Err(fault) if fault.lost() && attempt < REATTACHMENTS => {
                    bound = off_crucible(|| self.rebind(&bound))?;
                }
                other => return Ok(other?),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn rebind(&self, stale: &Bound<K>) -> Result<Arc<Bound<K>>, ElementError> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.bound();
        if !Arc::ptr_eq(&now.attached, &stale.attached) {
            return Ok(now);
        }
        let attached = self.connection.reattach(&stale.attached)?;
        let keys =
            attached.with_session(|module, session| (self.find)(&attached, module, session))?;
        let found = Arc::new(Bound { attached, keys });
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
