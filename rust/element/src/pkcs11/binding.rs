//! Keys in a token that are found again when the token was removed and is back.

use super::Config;
use super::fault::Fault;
use super::module::Module;
use super::sessions::Attached;
use super::token::{Connection, REATTACHMENTS};
use crate::ElementError;
use cryptoki::object::Attribute;
use cryptoki::session::Session;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Finds keys `K` in a freshly attached token.
type Find<K> = Box<dyn Fn(&Attached, &Module, &Session) -> Result<K, Fault> + Send + Sync>;

/// A connection and the keys `K` found through it, which change with each attachment.
pub(super) struct Binding<K> {
    connection: Arc<Connection>,
    find: Find<K>,
    bound: RwLock<Arc<Bound<K>>>,
    /// A key may be destroyed while its token is well: it is looked for there first, which disturbs nobody.
    mortal: bool,
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
            mortal: false,
            looking: Mutex::new(()),
        })
    }

    /// The same for keys that others may destroy.
    pub fn mortal(mut self) -> Self {
        self.mortal = true;
        self
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
                    let here = self.mortal && fault.about_a_handle();
                    bound = off_crucible(|| self.rebind(&bound, here))?;
                }
                other => return Ok(other?),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Finds the keys anew: `here`, in the attachment that there is, or in a new one.
    fn rebind(&self, stale: &Arc<Bound<K>>, here: bool) -> Result<Arc<Bound<K>>, ElementError> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.bound();
        if !Arc::ptr_eq(&now, stale) {
            return Ok(now);
        }
        let find = |attached: &Arc<Attached>| {
            attached.with_session(|module, session| (self.find)(attached, module, session))
        };
        let found = if here {
            Some(find(&stale.attached))
        } else {
            None
        };
        let (attached, keys) = match found {
            Some(Ok(keys)) => (stale.attached.clone(), keys),
            Some(Err(Fault::Element(gone))) if holds_any(&stale.attached) => return Err(gone),
            Some(Err(_)) | None => {
                let attached = self.connection.reattach(&stale.attached)?;
                let keys = find(&attached)?;
                (attached, keys)
            }
        };
        let found = Arc::new(Bound { attached, keys });
        *self.bound.write().unwrap_or_else(PoisonError::into_inner) = found.clone();
        Ok(found)
    }
}

/// Whether a token shows any object: SoftHSM shows none of one that was removed, and says no more than that.
fn holds_any(attached: &Attached) -> bool {
    let found = attached.with_session(|_, session| {
        Ok(!session.find_objects(&[Attribute::Token(true)])?.is_empty())
    });
    found.unwrap_or(false)
}

impl<K> Bound<K> {
    /// Library and token, for people.
    pub fn label(&self) -> &str {
        self.attached.label()
    }
}

/// Runs `work` on an ordinary stack: finding and probing a token takes a module deep, and a crucible's stack is
/// only as large as cryptography needs. No root or HMAC is touched in it.
pub(super) fn off_crucible<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if !evanesce_secret::is_crucible_thread() {
        return work();
    }
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
