//! Keys that are made in a token, stay in it and work in it: what an HSM is for.
//!
//! Roots ([`super::element`]) answer one verb for the protocol; these are keys of the user's own, named by label, of whatever
//! kinds the module has. From the bottom up: [`kind`] what can be made, [`public`] public halves as SubjectPublicKeyInfo,
//! [`work`] the mechanisms that suites stand for; this file, keys that are found again when the token was away.
//!
//! Guaranteed: what is made here is sensitive and cannot be extracted, by the token's own word, or is destroyed again; a label is
//! one key; what is decrypted lies in locked memory. Nothing is emulated: a suite that the module does not have is refused by name.
//! Not guaranteed: that the module keeps its word. Its weaknesses are those the element's probe finds ([`super::probe`]).

mod backup;
mod joint;
mod kind;
mod once;
mod public;
mod work;

use super::binding::Binding;
use super::fault::Fault;
use super::module::Module;
use super::template::{Purpose, strictest};
use super::token::Connection;
use super::{Config, printable};
use crate::ElementError;
use crate::software::parse_epoch;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use evanesce_secret::{SecretVec, on_crucible};
use std::fmt;
use std::sync::{Arc, Mutex};

pub use backup::Wrapped;
pub use joint::seal;
pub use kind::Kind;
pub(super) use kind::P256;
pub use once::{Use, Used};

/// Keys in one token.
pub struct Keys {
    config: Config,
    connection: Arc<Connection>,
    refusals: Mutex<Refusals>,
}

/// What the module refused of the templates of keys that came in: asking again would be an attempt more for each attribute, of
/// which SoftHSM keeps an object without a value each time.
type Refusals = Vec<(Kind, Leaves, Vec<AttributeType>)>;

/// One key, ready for use: its handle is looked up once, not for each operation.
pub struct Key {
    label: String,
    kind: Kind,
    public: Option<Vec<u8>>,
    binding: Binding<Handles>,
}

/// What a token says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// CKA_LABEL.
    pub label: String,
    /// What it is; None for a kind that is not served here.
    pub kind: Option<Kind>,
    /// CKA_SENSITIVE: it does not leave in the clear.
    pub sensitive: bool,
    /// CKA_SENSITIVE and not CKA_EXTRACTABLE: the token does not give it out.
    pub stays: bool,
    /// Whether it may leave wrapped, for a backup.
    pub leaves: Leaves,
    /// CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE and CKA_LOCAL: nor did it ever, and it was made there.
    pub always: bool,
}

/// Whether a key may ever leave its token, sensitive as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Non-extractable: it cannot be backed up.
    Never,
    /// Wrapped by a key of which the security officer says that it is trusted (CKA_WRAP_WITH_TRUSTED).
    UnderTrusted,
    /// Wrapped by any key: whoever has the PIN can have it.
    UnderAny,
}

/// Whether a module does a suite with a kind of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The kind of key that was tried.
    pub kind: Kind,
    /// The suite.
    pub suite: &'static str,
    /// Why it does not; None if it does.
    pub refused: Option<String>,
}

#[derive(Clone, Copy)]
struct Handles {
    /// The secret key or the private half.
    secret: ObjectHandle,
    public: Option<ObjectHandle>,
}

/// Why a key was not made, found or used. Never contains a secret.
#[derive(Debug)]
pub enum KeyError {
    /// No key with this label, or none of a kind that is served here.
    Unknown(String),
    /// There is a key with this label, and it is left alone.
    Exists(String),
    /// This module or key does not do this; says what.
    Unsupported(String),
    /// What was asked cannot be right; says why.
    Input(String),
    /// The ciphertext was not made under this key, or was changed.
    Decryption,
    /// The token or its module.
    Element(ElementError),
}

impl Keys {
    /// Logs in to the configuration's token.
    ///
    /// # Errors
    /// [`KeyError::Element`], as [`super::Pkcs11Element::open`] without the probe.
    pub fn open(config: &Config) -> Result<Self, KeyError> {
        Ok(Self {
            config: config.clone(),
            connection: Connection::to(config)?,
            refusals: Mutex::default(),
        })
    }

    /// Library and token, for people.
    pub fn token(&self) -> Result<String, KeyError> {
        Ok(self
            .connection
            .run(|attached, _, _| Ok(attached.label().to_owned()))?)
    }

    /// Makes a key in the token, under the strictest template that the module takes.
    ///
    /// # Errors
    /// [`KeyError::Exists`]; [`KeyError::Unsupported`] if the module does not make this kind, or made it such that it may leave (it
    /// is destroyed again); [`KeyError::Input`] for a label that is an element's root's.
    pub fn generate(&self, kind: Kind, label: &str) -> Result<Key, KeyError> {
        self.make(kind, label, Leaves::Never)
    }

    /// As [`generate`](Self::generate), one that can be backed up: by a trusted key alone, where the module has that; in any other
    /// ([`Described::leaves`] says) by whoever has the PIN.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_for_backup(&self, kind: Kind, label: &str) -> Result<Key, KeyError> {
        self.make(kind, label, Leaves::UnderTrusted)
    }

    fn make(&self, kind: Kind, label: &str, leaves: Leaves) -> Result<Key, KeyError> {
        self.not_a_root(label)?;
        self.whole_or_not(label, |module, session, there| {
            let handles = match make(session, kind, label, leaves) {
                Err(fault) if fault.rv().is_some() && !fault.lost_for_certain() => {
                    return Ok(Err(unsupported(kind.name(), &fault)));
                }
                other => other?,
            };
            *there = true;
            let described = describe(session, handles.secret, label)?;
            if let Err(fault) = work::shows(module, session, kind, handles.secret) {
                return Ok(Err(unsupported(kind.name(), &fault)));
            }
            let kept = match leaves {
                Leaves::Never => described.stays,
                _ => described.sensitive && described.leaves != Leaves::Never,
            };
            Ok(match kept {
                true => Ok(()),
                false => Err(KeyError::Unsupported(format!(
                    "{}: the module made one that is not what was asked for; it was destroyed again",
                    kind.name()
                ))),
            })
        })
    }

    /// A new key with this label; if it cannot be had whole, nothing of it stays in the token. `work` says when there is
    /// something.
    fn whole_or_not(
        &self,
        label: &str,
        mut work: impl FnMut(&Module, &Session, &mut bool) -> Result<Result<(), KeyError>, Fault>,
    ) -> Result<Key, KeyError> {
        let mut there = false;
        let made = self.run(|module, session| {
            if there {
                // Of an attempt in which the token was lost.
                destroy(session, label)?;
                there = false;
            }
            if !objects(session, label)?.is_empty() {
                return Ok(Err(KeyError::Exists(printable(label))));
            }
            work(module, session, &mut there)
        });
        let key = made.and_then(|made| made).and_then(|()| self.key(label));
        key.map_err(|why| match there.then(|| self.destroy(label)) {
            None | Some(Ok(()) | Err(KeyError::Unknown(_))) => why,
            Some(Err(left)) => KeyError::Element(ElementError::Unavailable(format!(
                "{why}; what was made of {:?} could not be destroyed again: {left}",
                printable(label)
            ))),
        })
    }

    /// The key with this label.
    ///
    /// # Errors
    /// [`KeyError::Unknown`].
    pub fn key(&self, label: &str) -> Result<Key, KeyError> {
        self.not_a_root(label)?;
        let found = self.run(|_, session| {
            let Some(handles) = find(session, label)? else {
                return Ok(None);
            };
            let Some(kind) = kind::of(session, handles.secret)? else {
                return Ok(None);
            };
            let public = public_half(session, kind, handles)?;
            Ok(Some((kind, public)))
        })?;
        let (kind, public) = found.ok_or_else(|| KeyError::Unknown(printable(label)))?;
        let wanted = label.to_owned();
        let same = public.clone();
        let binding = Binding::new(&self.config, move |_, _, session| {
            let gone =
                || ElementError::Unavailable(format!("the key {:?} is gone", printable(&wanted)));
            let handles = find(session, &wanted)?.ok_or_else(gone)?;
            // A token that was away may have come back with something else under the label.
            let public = public_half(session, kind, handles)?;
            if kind::of(session, handles.secret)? != Some(kind) || public != same {
                let what = format!(
                    "the token came back with another key {:?}",
                    printable(&wanted)
                );
                return Err(ElementError::Unavailable(what).into());
            }
            Ok(handles)
        })?
        .mortal();
        Ok(Key {
            label: label.to_owned(),
            kind,
            public,
            binding,
        })
    }

    /// Every secret or private key in the token, by label; roots of an element under this configuration's label aside.
    pub fn list(&self) -> Result<Vec<Described>, KeyError> {
        let mut all = self.run(|_, session| {
            let mut all = Vec::new();
            for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
                for handle in
                    session.find_objects(&[Attribute::Class(class), Attribute::Token(true)])?
                {
                    let label = match session
                        .get_attributes(handle, &[AttributeType::Label])?
                        .pop()
                    {
                        Some(Attribute::Label(label)) => {
                            String::from_utf8_lossy(&label).into_owned()
                        }
                        _ => String::new(),
                    };
                    all.push(describe(session, handle, &label)?);
                }
            }
            Ok(all)
        })?;
        all.retain(|key| self.not_a_root(&key.label).is_ok());
        all.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(all)
    }

    /// Destroys the key with this label in the token, both halves, for good.
    ///
    /// # Errors
    /// [`KeyError::Unknown`].
    pub fn destroy(&self, label: &str) -> Result<(), KeyError> {
        self.not_a_root(label)?;
        match self.run(|_, session| destroy(session, label))? {
            0 => Err(KeyError::Unknown(printable(label))),
            _ => Ok(()),
        }
    }

    /// What this module does of these kinds and their suites, tried with keys that end with the session: whether each works,
    /// or why not. RSA keys of 4096 bits can take a module half a minute to make.
    pub fn capabilities(&self, kinds: &[Kind]) -> Result<Vec<Capability>, KeyError> {
        let mut found = Vec::new();
        for &kind in kinds {
            let tried = self.run(|module, session| work::try_kind(module, session, kind))?;
            found.extend(tried.into_iter().map(|(suite, refused)| Capability {
                kind,
                suite,
                refused,
            }));
        }
        Ok(found)
    }

    /// An element's roots sign for anybody who finds them by label, and must be no more than roots.
    fn not_a_root(&self, label: &str) -> Result<(), KeyError> {
        let epoch = label
            .strip_prefix(&self.config.root_label)
            .and_then(|rest| rest.strip_prefix('-'));
        match epoch.and_then(|epoch| parse_epoch(epoch.as_bytes())) {
            None if label.is_empty() => Err(KeyError::Input("a key needs a label".to_owned())),
            None => Ok(()),
            Some(_) => Err(KeyError::Input(format!(
                "{:?} is the label of an element's root, and is left alone",
                printable(label)
            ))),
        }
    }

    fn run<R>(
        &self,
        mut work: impl FnMut(&Module, &Session) -> Result<R, Fault>,
    ) -> Result<R, KeyError> {
        Ok(self
            .connection
            .run(|_, module, session| work(module, session))?)
    }
}

impl Key {
    /// CKA_LABEL.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// SubjectPublicKeyInfo (DER) of a key pair.
    pub fn public(&self) -> Option<&[u8]> {
        self.public.as_deref()
    }

    /// A signature over the whole message, in the form that the suite of this name has everywhere (PROTOCOL §7).
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for a suite that this kind or module does not do.
    pub fn sign(&self, suite: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.signs(suite, &[message])?.remove(0))
    }

    /// Signatures of any number of messages in one session of the token, in their order.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn signs(&self, suite: &str, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>, KeyError> {
        let signing = work::Signing::of(self.kind, suite)?;
        self.run(suite, |module, session, secret| {
            messages
                .iter()
                .map(|message| signing.sign(module, session, secret, message))
                .collect()
        })
    }

    /// MACs of any number of messages in one session of the token, whole, in their order (PROTOCOL §7).
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn macs(&self, suite: &str, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>, KeyError> {
        let macing = work::Macing::of(self.kind, suite)?;
        self.run(suite, |module, session, secret| {
            // Made beforehand: between the module's own, they would leave its heap in pieces, at some percent of the rate.
            let mut macs = vec![macing.empty(); messages.len()];
            for (message, mac) in messages.iter().zip(&mut macs) {
                macing.mac_into(module, session, secret, message, mac)?;
            }
            Ok(macs)
        })
    }

    /// nonce ‖ ciphertext ‖ tag under a random 12-byte nonce; good for 2³² messages a key, which nobody counts.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn encrypt(&self, suite: &str, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.encrypts(suite, &[(aad, plaintext)])?.remove(0))
    }

    /// As [`encrypt`](Self::encrypt), any number of (additional data, plaintext) in one session of the token.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn encrypts(
        &self,
        suite: &str,
        plaintexts: &[(&[u8], &[u8])],
    ) -> Result<Vec<Vec<u8>>, KeyError> {
        work::encrypts(self.kind, suite)?;
        self.run(suite, |module, session, secret| {
            plaintexts
                .iter()
                .map(|(aad, plaintext)| work::encrypt(module, session, secret, aad, plaintext))
                .collect()
        })
    }

    /// What was encrypted under this key, in locked memory.
    ///
    /// # Errors
    /// [`KeyError::Decryption`]; otherwise as [`sign`](Self::sign).
    pub fn decrypt(
        &self,
        suite: &str,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<SecretVec, KeyError> {
        let opening = work::Opening::of(self.kind, suite)?;
        let sealed = opening.split(ciphertext)?;
        on_crucible(|| {
            self.run(suite, |module, session, secret| {
                opening.open(module, session, secret, aad, sealed)
            })
        })?
        .ok_or(KeyError::Decryption)
    }

    fn run<R>(
        &self,
        suite: &str,
        mut work: impl FnMut(&Module, &Session, ObjectHandle) -> Result<R, Fault>,
    ) -> Result<R, KeyError> {
        self.binding.run(|module, session, handles| {
            match work(module, session, handles.secret) {
                Err(fault) if work::refused(&fault) => Ok(Err(unsupported(suite, &fault))),
                other => Ok(Ok(other?)),
            }
        })?
    }
}

/// Everything with this label that is a key.
fn objects(session: &Session, label: &str) -> Result<Vec<(ObjectClass, ObjectHandle)>, Fault> {
    let mut all = Vec::new();
    for class in [
        ObjectClass::SECRET_KEY,
        ObjectClass::PRIVATE_KEY,
        ObjectClass::PUBLIC_KEY,
    ] {
        let found = session.find_objects(&[
            Attribute::Class(class),
            Attribute::Token(true),
            Attribute::Label(label.into()),
        ])?;
        all.extend(found.into_iter().map(|handle| (class, handle)));
    }
    Ok(all)
}

fn find(session: &Session, label: &str) -> Result<Option<Handles>, Fault> {
    let all = objects(session, label)?;
    let of = |class| {
        all.iter()
            .filter(move |(found, _)| *found == class)
            .map(|(_, handle)| *handle)
    };
    let secrets: Vec<_> = of(ObjectClass::SECRET_KEY)
        .chain(of(ObjectClass::PRIVATE_KEY))
        .collect();
    let publics: Vec<_> = of(ObjectClass::PUBLIC_KEY).collect();
    match (&secrets[..], &publics[..]) {
        ([], _) => Ok(None),
        ([secret], [] | [_]) => Ok(Some(Handles {
            secret: *secret,
            public: publics.first().copied(),
        })),
        _ => Err(ElementError::Config(format!(
            "the token holds several keys {:?}; it cannot be known which is meant",
            printable(label)
        ))
        .into()),
    }
}

/// SubjectPublicKeyInfo of a key pair.
fn public_half(session: &Session, kind: Kind, handles: Handles) -> Result<Option<Vec<u8>>, Fault> {
    match handles.public {
        Some(public) => public::spki(session, kind, public),
        None => Ok(None),
    }
}

fn destroy(session: &Session, label: &str) -> Result<usize, Fault> {
    let all = objects(session, label)?;
    for (_, handle) in &all {
        session.destroy_object(*handle)?;
    }
    Ok(all.len())
}

fn make(session: &Session, kind: Kind, label: &str, leaves: Leaves) -> Result<Handles, Fault> {
    let mut id = [0; 16];
    evanesce_secret::random(&mut id);
    let (handles, _) = strictest(kind.strict(leaves), |strict, purpose| {
        let handles = kind.generate(session, strict, Some((label, &id)))?;
        if purpose == Purpose::Try {
            session.destroy_object(handles.0)?;
            if let Some(public) = handles.1 {
                session.destroy_object(public)?;
            }
        }
        Ok(handles)
    })?;
    Ok(Handles {
        secret: handles.0,
        public: handles.1,
    })
}

fn describe(session: &Session, handle: ObjectHandle, label: &str) -> Result<Described, Fault> {
    let says = |kind, wanted: Attribute| -> bool {
        session
            .get_attributes(handle, &[kind])
            .is_ok_and(|held| held.first() == Some(&wanted))
    };
    let sensitive = says(AttributeType::Sensitive, Attribute::Sensitive(true));
    let stays = sensitive && says(AttributeType::Extractable, Attribute::Extractable(false));
    let always = stays
        && says(
            AttributeType::AlwaysSensitive,
            Attribute::AlwaysSensitive(true),
        )
        && says(
            AttributeType::NeverExtractable,
            Attribute::NeverExtractable(true),
        )
        && says(AttributeType::Local, Attribute::Local(true));
    Ok(Described {
        label: label.to_owned(),
        kind: kind::of(session, handle)?,
        sensitive,
        stays,
        leaves: backup::leaves(session, handle)?,
        always,
    })
}

fn unsupported(what: &str, fault: &Fault) -> KeyError {
    KeyError::Unsupported(format!(
        "{what}: the module says {}",
        super::fault::said(fault)
    ))
}

impl From<ElementError> for KeyError {
    fn from(error: ElementError) -> Self {
        Self::Element(error)
    }
}

impl From<evanesce_secret::Error> for KeyError {
    fn from(error: evanesce_secret::Error) -> Self {
        Self::Element(error.into())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(label) => {
                write!(f, "the token holds no key {label:?} that can be used here")
            }
            Self::Exists(label) => write!(
                f,
                "there is a key {label:?} in the token already; it is left alone"
            ),
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Input(why) => f.write_str(why),
            Self::Decryption => {
                f.write_str("the ciphertext was not made under this key, or was changed")
            }
            Self::Element(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for KeyError {}
