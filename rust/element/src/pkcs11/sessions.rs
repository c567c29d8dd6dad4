//! A token's sessions: opened as needed up to a limit, each used by one thread at a time.

use super::fault::Fault;
use super::module::Module;
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// One stay of the token in its slot: sessions that share a login, until it is removed.
pub(super) struct Attached {
    module: Arc<Module>,
    pub incarnation: u64,
    slot: Slot,
    label: String,
    limit: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

struct Pool {
    idle: Vec<Session>,
    open: usize,
    /// Set when the token was lost: from then on nothing is done through this attachment, even if
    /// its handles happen to mean something again.
    abandoned: bool,
}

impl Attached {
    /// A stay that begins with one session, logged in.
    pub fn new(
        module: Arc<Module>,
        incarnation: u64,
        slot: Slot,
        label: String,
        limit: usize,
        session: Session,
    ) -> Self {
        let pool = Pool {
            idle: vec![session],
            open: 1,
            abandoned: false,
        };
        let returned = Condvar::new();
        Self {
            module,
            incarnation,
            slot,
            label,
            limit,
            pool: Mutex::new(pool),
            returned,
        }
    }

    /// Library and token, for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The token's slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Runs `work` with a session of its own. A session in which something failed is not used again.
    pub fn with_session<R>(
        &self,
        work: impl FnOnce(&Module, &Session) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let incarnation = self.module.enter()?;
        if *incarnation != self.incarnation {
            return Err(Fault::Stale);
        }
        let mut lease = Lease {
            attached: self,
            session: Some(self.take()?),
            failed: true,
        };
        let session = lease.session.as_ref().expect("taken back on drop only");
        let result = work(&self.module, session);
        lease.failed = matches!(result, Err(Fault::Module(_)));
        result
    }

    /// An idle session, a new one, or the next that is returned.
    fn take(&self) -> Result<Session, Fault> {
        let mut pool = lock(&self.pool);
        loop {
            if pool.abandoned {
                return Err(Fault::Stale);
            }
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if pool.open < self.limit {
                match open_session(&self.module.pkcs11, self.slot) {
                    Ok(session) => {
                        pool.open += 1;
                        return Ok(session);
                    }
                    // The token has fewer than we hoped for: share those there are.
                    Err(Error::Pkcs11(RvError::SessionCount, _)) if pool.open > 0 => {}
                    Err(error) => return Err(error.into()),
                }
            }
            pool = self
                .returned
                .wait(pool)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives every session up. Called by whoever is alone in the module; after a restart there is nothing to
    /// close, and the numbers may be somebody else's.
    pub fn abandon(&self, restarted: bool) {
        let mut pool = lock(&self.pool);
        pool.abandoned = true;
        pool.idle.clear();
        if !restarted {
            let _ = self.module.raw.close_all(self.slot);
        }
    }
}

/// A session in use.
struct Lease<'a> {
    attached: &'a Attached,
    session: Option<Session>,
    failed: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        let mut pool = lock(&self.attached.pool);
        // A failed operation may linger in its session. The new session comes first: closing the last one would
        // log the token out.
        if self.failed
            && let Ok(fresh) = open_session(&self.attached.module.pkcs11, self.attached.slot)
        {
            let _ = std::mem::replace(&mut session, fresh).close();
        }
        pool.idle.push(session);
        self.attached.returned.notify_one();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut lock(&self.pool).idle);
        // After a restart or in a forked child the numbers are somebody else's.
        if !idle.is_empty()
            && let Ok(incarnation) = self.module.enter()
            && *incarnation == self.incarnation
        {
            for session in idle {
                let _ = session.close();
            }
        }
    }
}

/// Opens a session that is not closed on drop, since its number may be somebody else's by then.
///
/// Read-write where the token allows, or the probe would mistake a read-only session for a token that refuses.
pub(super) fn open_session(pkcs11: &Pkcs11, slot: Slot) -> cryptoki::error::Result<Session> {
    match pkcs11.open_rw_session_no_drop(slot) {
        Err(Error::Pkcs11(RvError::TokenWriteProtected, _)) => pkcs11.open_ro_session_no_drop(slot),
        other => other,
    }
}

/// A mutex whose holders leave nothing half done, so that a panic in one is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
