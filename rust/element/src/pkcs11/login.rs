//! Logging in to a token without ever endangering it: tokens count wrong PINs, and lock themselves for good.
//!
//! A PIN is offered once per process and place that it was read from. One that was wrong is not offered again, whoever
//! asks and however often; and none is offered at all if one more wrong one would lock the token.

use super::fault::Fault;
use super::module::Module;
use super::sessions::lock;
use super::{Config, printable};
use crate::{ElementError, SecretSource};
use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState};
use cryptoki::slot::{Slot, TokenInfo};
use evanesce_secret::SecretVec;
use std::sync::Mutex;

/// Where wrong PINs came from and which token they were for.
static REFUSED: Mutex<Vec<(Config, String)>> = Mutex::new(Vec::new());

/// Refuses a configuration whose PIN was wrong before in this process. At a terminal somebody may do better.
pub(super) fn not_refused_before(config: &Config) -> Result<(), ElementError> {
    let same = |other: &Config| {
        (&other.module, &other.token_label, other.slot, &other.pin)
            == (
                &config.module,
                &config.token_label,
                config.slot,
                &config.pin,
            )
    };
    match lock(&REFUSED).iter().find(|(other, _)| same(other)) {
        Some((_, why)) => Err(ElementError::Locked(why.clone())),
        None => Ok(()),
    }
}

/// Remembers that a configuration's PIN was refused.
pub(super) fn remember_refusal(config: &Config, why: &str) {
    if config.pin.is_some() && !matches!(config.pin, Some(SecretSource::Terminal { .. })) {
        lock(&REFUSED).push((config.clone(), why.to_owned()));
    }
}

/// Logs in as the security officer, offering the PIN once.
///
/// Errors: [`ElementError::Locked`] for everything that is about the PIN, and where one more wrong one would lock it.
pub(super) fn login_officer(
    module: &Module,
    session: &Session,
    info: &TokenInfo,
    pin: &SecretVec,
) -> Result<(), ElementError> {
    let locked = |why: &str| {
        Err(ElementError::Locked(format!(
            "token {:?}: {why}",
            printable(info.label())
        )))
    };
    if info.so_pin_locked() || info.so_pin_final_try() {
        return locked(
            "its security officer's PIN is locked, or would be after one more wrong one, and is not tried",
        );
    }
    match module.raw.login_officer(session, pin.expose()) {
        Ok(()) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::PinLocked,
            _,
        )) => locked("its security officer's PIN is wrong. It is not tried again; correct it"),
        Err(error) => Err(Fault::from(error).into()),
    }
}

/// Logs in as the user, offering the PIN at most once; None asks the token's own PIN pad.
///
/// Errors: [`ElementError::Locked`] for everything that is about the PIN.
pub(super) fn login(
    module: &Module,
    session: &Session,
    (slot, info): (Slot, &TokenInfo),
    pin: Option<&SecretVec>,
) -> Result<(), ElementError> {
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
    if pin.is_none() && !info.protected_authentication_path() {
        return locked("it wants a PIN, and none is configured");
    }
    if info.user_pin_final_try() {
        // A supervisor that restarts a misconfigured agent must not be what destroys the token.
        return locked(
            "one more wrong PIN would lock it for good, so the configured one is not tried; log in once by other \
                 means (pkcs11-tool --login --test) to show that the PIN is right, then start again",
        );
    }
    match module.raw.login(session, pin.map(SecretVec::expose)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(rv, _)) => match rv {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                let final_try = module
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
            _ => Err(Fault::from(Error::Pkcs11(rv, Function::Login)).into()),
        },
        Err(error) => Err(Fault::from(error).into()),
    }
}
