//! Elements behind PKCS#11: any module that signs with CKM_SHA256_HMAC (PROTOCOL §5).
//!
//! Roots are made inside the token under the strictest template it takes. Then, and at every later start,
//! [`probe`] *tries* to get them out or to loosen them; a token that lets one attempt through is refused
//! unless the operator accepted that, and every way is named in [`Description::weaknesses`].
//!
//! Guaranteed: a wrong PIN is offered once and never again; a removed token is looked for, logged in to and
//! probed again when it is back; HMACs are written where the caller wants them and nowhere else by this
//! crate. Not guaranteed: that the module's own memory, or the device behind it, keeps a secret. What no
//! attempt here gets through may still fall to an attempt that is not made.
//!
//! From the bottom up: [`raw`] is what `cryptoki` does not offer, [`module`] a shared library (one per process),
//! [`login`],
//! [`sessions`] and [`token`] the use of a token, [`binding`] keys in it that survive its removal, [`template`]
//! and [`root`] how roots are made, [`mechanism`], [`tools`] and [`probe`] how they are attacked, [`element`] and
//! [`identity`] what agents use, and beside them [`keys`], which are the user's own.

mod binding;
mod der;
mod element;
mod fault;
mod identity;
mod keys;
mod login;
mod mechanism;
mod module;
mod probe;
mod raw;
mod root;
mod sessions;
mod template;
mod token;
mod tools;

#[cfg(doc)]
use crate::Description;
use crate::{ElementError, SecretSource};
use evanesce_secret::Secret;
use std::path::PathBuf;

pub use element::Pkcs11Element;
pub use identity::P256Identity;
pub use keys::{
    Capability, Described, Key, KeyError, Keys, Kind, Leaves, Use, Used, Wrapped, seal,
};

/// Which module, which token in it, and how to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The module's shared library.
    pub module: PathBuf,
    /// The token's label; preferred over `slot`, since slot numbers change.
    pub token_label: Option<String>,
    /// The slot's number. With neither, the module must show exactly one initialised token.
    pub slot: Option<u64>,
    /// The user PIN; None for tokens without one or with a PIN pad of their own. Read once per process and token.
    pub pin: Option<SecretSource>,
    /// Roots have the CKA_LABEL `<root_label>-<epoch>`.
    pub root_label: String,
    /// Use the element even if the probe gets something through; every weakness is then named.
    pub accept_weak_element: bool,
    /// The string some modules want in C_Initialize's pReserved (NSS softokn:
    /// `configdir='sql:/path' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`).
    pub init_args: Option<String>,
    /// At most this many sessions are open at once; 0 means one per core.
    pub sessions: usize,
}

/// Puts a known root into the token: for tests with known roots, and for migration. **Dangerous**: a root that
/// was ever outside an element is worth no more than the place it was in, and no probe can tell.
///
/// Otherwise as [`Pkcs11Element::create_root`].
pub fn dangerous_import_root(
    config: &Config,
    epoch: u64,
    root: &Secret<32>,
) -> Result<Pkcs11Element, ElementError> {
    Pkcs11Element::make_root(config, epoch, Some(root))
}

/// Destroys the root of `epoch` inside the token, for good. No probe and no weakness stands in the way.
///
/// Errors: [`ElementError::EpochNotHeld`] if there is none.
pub fn destroy_root(config: &Config, epoch: u64) -> Result<(), ElementError> {
    token::Connection::to(config)?.run(|_, module, session| {
        let found = root::find(module, session, &config.root_label)?;
        let place = found.binary_search_by_key(&epoch, |(epoch, _)| *epoch);
        let place = place.map_err(|_| ElementError::EpochNotHeld(epoch))?;
        Ok(session.destroy_object(found[place].1)?)
    })
}

/// Makes a new P-256 key pair with the CKA_LABEL `label` inside the token; refused if there is one.
pub fn create_identity(config: &Config, label: &str) -> Result<P256Identity, ElementError> {
    P256Identity::create(config, label)
}

/// Opens the key pair with the CKA_LABEL `label`.
pub fn open_identity(config: &Config, label: &str) -> Result<P256Identity, ElementError> {
    P256Identity::open(config, label)
}

/// What a token or module says about itself, fit to be printed: it may be hostile, or padding.
fn printable(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_control() && *c != '\u{fffd}');
    kept.take(64).collect::<String>().trim().to_owned()
}
