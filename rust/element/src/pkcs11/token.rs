//! One token: found by label or slot, logged in to once, and used through a pool of sessions.
//!
//! PKCS#11 counts a login per process and token, so all users of a token share one [`Connection`]. A wrong PIN
//! is offered once: from then on the connection is locked, and says so, until the process starts anew.

use super::fault::Fault;
use super::module::Module;
use super::{Config, printable};
use crate::{ElementError, SecretSource};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState};
use cryptoki::slot::{Slot, TokenInfo};
use evanesce_secret::SecretVec;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Looking for a lost token is not repeated before this has passed.
const PAUSE: Duration = Duration::from_millis(500);
/// Restarting the module for it (which disturbs its other tokens) starts at this pause, and doubles up to
/// [`LONGEST_PAUSE`] while it does not help.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Every token in use, so that a second user shares the first one's login.
static CONNECTIONS: Mutex<Vec<Weak<Connection>>> = Mutex::new(Vec::new());

/// This process's use of one token, across removals.
pub(super) struct Connection {
    module: Arc<Module>,
    label: Option<String>,
    slot: Option<u64>,
    pin: Option<SecretVec>,
    limit: usize,
    link: Mutex<Link>,
}

struct Link {
    current: Option<Arc<Attached>>,
    serial: Option<String>,
    /// Why the PIN may not be offered again.
    locked: Option<String>,
    /// When attaching last succeeded, or failed and why.
    tried: Option<(Instant, Option<String>)>,
    restart_pause: Duration,
    restarted: Option<Instant>,
}

impl Connection {
    /// The connection to a configuration's token, made and logged in if there is none yet.
    pub fn to(config: &Config) -> Result<Arc<Self>, ElementError> {
        let module = Module::of(config)?;
        let mut all = lock(&CONNECTIONS);
        all.retain(|connection| connection.strong_count() > 0);
        for other in all.iter().filter_map(Weak::upgrade) {
            if Arc::ptr_eq(&other.module, &module)
                && other.label == config.token_label
                && other.slot == config.slot
            {
                return Ok(other);
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let connection = Arc::new(Self {
            module,
            label: config.token_label.clone(),
            slot: config.slot,
            pin: config.pin.as_ref().map(SecretSource::read).transpose()?,
            limit: if config.sessions == 0 {
                cores
            } else {
                config.sessions
            },
            link: Mutex::new(Link {
                current: None,
                serial: None,
                locked: None,
                tried: None,
                restart_pause: RESTART_PAUSE,
                restarted: None,
            }),
        });
        {
            let mut link = lock(&connection.link);
            let _alone = connection.module.alone()?;
            let incarnation = *_alone;
            let attached = connection.attach(&mut link, incarnation)?;
            link.current = Some(attached);
        }
        all.push(Arc::downgrade(&connection));
        Ok(connection)
    }

    /// The current attachment.
    pub fn attached(&self) -> Result<Arc<Attached>, ElementError> {
        let link = lock(&self.link);
        link.current
            .clone()
            .ok_or_else(|| ElementError::Unavailable("the token was removed".to_owned()))
    }

    /// A new attachment in the place of `stale`, which was found lost; or the one somebody else made meanwhile.
    pub fn reattach(&self, stale: &Arc<Attached>) -> Result<Arc<Attached>, ElementError> {
        let mut link = lock(&self.link);
        if let Some(current) = &link.current
            && !Arc::ptr_eq(current, stale)
        {
            return Ok(current.clone());
        }
        if let Some(why) = &link.locked {
            return Err(ElementError::Locked(why.clone()));
        }
        let mut alone = self.module.alone()?;
        // A restart for another token's sake is no failure of this one, and needs no pause.
        let restarted = *alone != stale.incarnation;
        if let Some((when, why)) = &link.tried
            && when.elapsed() < PAUSE
            && !restarted
        {
            let why = why
                .clone()
                .unwrap_or_else(|| "the token fails again at once".to_owned());
            return Err(ElementError::Unavailable(why));
        }
        if !restarted {
            stale.abandon();
        }
        let first = self.attach(&mut link, *alone);
        let result = match first {
            Err(ElementError::Unavailable(why)) if self.may_restart(&mut link) => {
                match self.module.restart(&mut alone) {
                    Ok(()) => self.attach(&mut link, *alone),
                    Err(_) => Err(ElementError::Unavailable(why)),
                }
            }
            other => other,
        };
        match &result {
            Ok(attached) => {
                link.current = Some(attached.clone());
                link.restart_pause = RESTART_PAUSE;
                link.tried = Some((Instant::now(), None));
            }
            Err(ElementError::Unavailable(why)) => {
                link.tried = Some((Instant::now(), Some(why.clone())))
            }
            Err(_) => {}
        }
        result
    }

    fn may_restart(&self, link: &mut Link) -> bool {
        match link.restarted {
            Some(when) if when.elapsed() < link.restart_pause => return false,
            Some(_) => link.restart_pause = (2 * link.restart_pause).min(LONGEST_PAUSE),
            None => {}
        }
        link.restarted = Some(Instant::now());
        true
    }

    /// Finds the token, opens a first session and logs in. Called by whoever is alone in the module.
    fn attach(&self, link: &mut Link, incarnation: u64) -> Result<Arc<Attached>, ElementError> {
        let (slot, info) = self.find()?;
        let serial = info.serial_number().to_owned();
        if let Some(known) = &link.serial
            && *known != serial
        {
            // Another token may have another PIN, and a wrong one costs one of its tries.
            return Err(ElementError::Unavailable(format!(
                "there is another token in the place of this one (serial {}, was {})",
                printable(&serial),
                printable(known)
            )));
        }
        let pkcs11 = &self.module.pkcs11;
        // Read-write, or the probe would mistake a read-only session for a token that refuses.
        let session = match pkcs11.open_rw_session_no_drop(slot) {
            Err(Error::Pkcs11(RvError::TokenWriteProtected, _)) => {
                pkcs11.open_ro_session_no_drop(slot)
            }
            other => other,
        };
        let session = session.map_err(Fault::from)?;
        if let Err(error) = self.login(&session, slot, &info) {
            if let ElementError::Locked(why) = &error {
                link.locked = Some(why.clone());
            }
            let _ = session.close();
            return Err(error);
        }
        let vendor = pkcs11.get_library_info().map_err(Fault::from)?;
        let label = format!(
            "{} {} {}, token {:?}",
            printable(vendor.manufacturer_id()),
            printable(vendor.library_description()),
            vendor.library_version(),
            printable(info.label()),
        );
        link.serial = Some(serial);
        Ok(Arc::new(Attached {
            module: self.module.clone(),
            incarnation,
            slot,
            label,
            limit: self.limit,
            pool: Mutex::new(Pool {
                idle: vec![session],
                open: 1,
            }),
            returned: Condvar::new(),
        }))
    }

    fn find(&self) -> Result<(Slot, TokenInfo), ElementError> {
        let pkcs11 = &self.module.pkcs11;
        let slots = pkcs11.get_slots_with_token().map_err(Fault::from)?;
        // A slot that cannot say what is in it cannot be the one that is wanted.
        let tokens = slots
            .into_iter()
            .filter_map(|slot| Some((slot, pkcs11.get_token_info(slot).ok()?)));
        let (mut wanted, others): (Vec<_>, Vec<_>) = tokens.partition(|(slot, info)| {
            self.label
                .as_ref()
                .is_none_or(|label| info.label() == label)
                && self.slot.is_none_or(|number| slot.id() == number)
                && info.token_initialized()
        });
        let shown = |tokens: &[(Slot, TokenInfo)]| {
            let labels = tokens.iter().filter(|(_, info)| info.token_initialized());
            let labels: Vec<_> = labels
                .map(|(slot, info)| format!("{:?} in slot {slot}", printable(info.label())))
                .collect();
            if labels.is_empty() {
                "none".to_owned()
            } else {
                labels.join(", ")
            }
        };
        match wanted.len() {
            1 => Ok(wanted.remove(0)),
            0 => {
                let label = self
                    .label
                    .as_ref()
                    .map(|label| format!(" with the label {:?}", printable(label)));
                let slot = self.slot.map(|number| format!(" in slot {number}"));
                Err(ElementError::Unavailable(format!(
                    "no initialised token{}{}; {} shows: {}",
                    label.unwrap_or_default(),
                    slot.unwrap_or_default(),
                    self.module.path(),
                    shown(&others)
                )))
            }
            _ => Err(ElementError::Config(format!(
                "several tokens fit; name one by its label or slot: {}",
                shown(&wanted)
            ))),
        }
    }

    /// Logs in, offering the PIN at most once.
    fn login(&self, session: &Session, slot: Slot, info: &TokenInfo) -> Result<(), ElementError> {
        let locked = |why: &str| {
            Err(ElementError::Locked(format!(
                "token {:?}: {why}",
                printable(info.label())
            )))
        };
        let state = session
            .get_session_info()
            .map_err(Fault::from)?
            .session_state();
        if matches!(state, SessionState::RwUser | SessionState::RoUser) || !info.login_required() {
            return Ok(());
        }
        if info.user_pin_locked() {
            return locked(
                "its PIN is locked after too many wrong ones; its security officer can reset it",
            );
        }
        if self.pin.is_none() && !info.protected_authentication_path() {
            return locked("it wants a PIN, and none is configured");
        }
        if info.user_pin_final_try() {
            // A supervisor that restarts a misconfigured agent must not be what destroys the token.
            return locked(
                "one more wrong PIN would lock it for good, so the configured one is not tried; log in once by other \
                 means (pkcs11-tool --login --test) to show that the PIN is right, then start again",
            );
        }
        let pin = self.pin.as_ref().map(SecretVec::expose);
        match self.module.raw.login(session, pin) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(rv, _)) => match rv {
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                    let final_try = self
                        .module
                        .pkcs11
                        .get_token_info(slot)
                        .is_ok_and(|info| info.user_pin_final_try());
                    let left = if final_try {
                        " One more wrong one would lock it for good."
                    } else {
                        ""
                    };
                    locked(&format!(
                        "the PIN is wrong. It is not tried again, because tokens count wrong PINs and lock \
                         themselves.{left} Correct it and start again"
                    ))
                }
                RvError::PinLocked => locked(
                    "its PIN is locked after too many wrong ones; its security officer can reset it",
                ),
                RvError::PinExpired => locked("its PIN has expired; set a new one"),
                RvError::UserPinNotInitialized => {
                    locked("no user PIN has been set on it yet; its security officer can set one")
                }
                _ => Err(Fault::from(Error::Pkcs11(rv, cryptoki::context::Function::Login)).into()),
            },
            Err(error) => Err(Fault::from(error).into()),
        }
    }
}

/// One stay of the token in its slot: sessions that share a login, until it is removed.
pub(super) struct Attached {
    module: Arc<Module>,
    incarnation: u64,
    slot: Slot,
    label: String,
    limit: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

struct Pool {
    idle: Vec<Session>,
    open: usize,
}

impl Attached {
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
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if pool.open < self.limit {
                match self.module.pkcs11.open_rw_session_no_drop(self.slot) {
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

    /// Closes every session. Called by whoever is alone in the module.
    fn abandon(&self) {
        lock(&self.pool).idle.clear();
        let _ = self.module.raw.close_all(self.slot);
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
            && let Ok(fresh) = self
                .attached
                .module
                .pkcs11
                .open_rw_session_no_drop(self.attached.slot)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
