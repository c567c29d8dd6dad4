//! One token: found by label or slot, attached to, and attached to again when it was lost.
//!
//! PKCS#11 counts a login per process and token, so all users of a token share one [`Connection`]. One that was
//! locked out stays so until the process starts anew.

use super::fault::Fault;
use super::login::{login, login_officer, not_refused_before, remember_refusal};
use super::module::Module;
use super::sessions::{Attached, lock, open_session};
use super::{Config, printable};
use crate::{ElementError, SecretSource};
use cryptoki::session::{Session, SessionState};
use cryptoki::slot::{Slot, TokenInfo};
use evanesce_secret::SecretVec;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Looking for a lost token is not repeated before this has passed.
const PAUSE: Duration = Duration::from_millis(500);
/// Restarting the module for it (which disturbs its other tokens) starts at this pause, and doubles up to
/// [`LONGEST_PAUSE`] while it does not help.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How often one piece of work is begun anew because the token was lost: once for itself, and once for a module
/// that was restarted for another token's sake meanwhile.
pub(super) const REATTACHMENTS: usize = 2;

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
    /// The module's incarnation when attaching was last tried.
    incarnation: u64,
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
        not_refused_before(config)?;
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
                incarnation: 0,
                locked: None,
                tried: None,
                restart_pause: RESTART_PAUSE,
                restarted: None,
            }),
        });
        connection.attach_first().inspect_err(|error| {
            if let ElementError::Locked(why) = error {
                remember_refusal(config, why);
            }
        })?;
        all.push(Arc::downgrade(&connection));
        Ok(connection)
    }

    fn attach_first(&self) -> Result<(), ElementError> {
        let mut link = lock(&self.link);
        let incarnation = self.module.alone()?;
        link.incarnation = *incarnation;
        link.current = Some(self.attach(&mut link, *incarnation)?);
        Ok(())
    }

    /// Runs `work` with a session, once more for each time the token was lost and found again meanwhile.
    pub fn run<R>(
        &self,
        mut work: impl FnMut(&Arc<Attached>, &Module, &Session) -> Result<R, Fault>,
    ) -> Result<R, ElementError> {
        let mut attached = self.attached()?;
        for attempt in 0.. {
            match attached.with_session(|module, session| work(&attached, module, session)) {
                Err(fault) if fault.lost() && attempt < REATTACHMENTS => {
                    attached = self.reattach(&attached)?;
                }
                other => return Ok(other?),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Runs `begin` as the token's security officer and then `finish` as its user, in one session, whose objects end with it.
    ///
    /// A login is the whole process's, so everybody else waits meanwhile, and finds its keys anew afterwards. A wrong PIN is
    /// offered once.
    pub fn as_officer<B, R>(
        &self,
        officer: &SecretVec,
        begin: impl FnOnce(&Module, &Session) -> Result<B, Fault>,
        finish: impl FnOnce(&Module, &Session, B) -> Result<R, Fault>,
    ) -> Result<R, ElementError> {
        let mut link = lock(&self.link);
        if let Some(why) = &link.locked {
            return Err(ElementError::Locked(why.clone()));
        }
        let alone = self.module.alone()?;
        if let Some(current) = link.current.take() {
            current.abandon(*alone != current.incarnation);
        }
        let done = self.officer_session(officer, begin, finish);
        // Whatever came of it, the user is back.
        link.incarnation = *alone;
        link.current = Some(self.attach(&mut link, *alone)?);
        Ok(done?)
    }

    fn officer_session<B, R>(
        &self,
        officer: &SecretVec,
        begin: impl FnOnce(&Module, &Session) -> Result<B, Fault>,
        finish: impl FnOnce(&Module, &Session, B) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let (slot, info) = self.find()?;
        let session = open_session(&self.module.pkcs11, slot)?;
        let work = || {
            let state = session.get_session_info()?.session_state();
            if matches!(state, SessionState::RwUser | SessionState::RoUser) {
                session.logout()?;
            }
            login_officer(&self.module, &session, &info, officer)?;
            let begun = begin(&self.module, &session);
            session.logout()?;
            login(&self.module, &session, (slot, &info), self.pin.as_ref())?;
            finish(&self.module, &session, begun?)
        };
        let done = work();
        let _ = session.close();
        done
    }

    /// The current attachment.
    fn attached(&self) -> Result<Arc<Attached>, ElementError> {
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
        let disturbed = *alone != link.incarnation;
        if let Some((when, why)) = &link.tried
            && when.elapsed() < PAUSE
            && !disturbed
        {
            let why = why
                .clone()
                .unwrap_or_else(|| "the token fails again at once".to_owned());
            return Err(ElementError::Unavailable(why));
        }
        stale.abandon(*alone != stale.incarnation);
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
        link.incarnation = *alone;
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
        let session = open_session(pkcs11, slot).map_err(Fault::from)?;
        if let Err(error) = login(&self.module, &session, (slot, &info), self.pin.as_ref()) {
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
        let attached = Attached::new(
            self.module.clone(),
            incarnation,
            slot,
            label,
            self.limit,
            session,
        );
        Ok(Arc::new(attached))
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
}
