//! A backup's key (KEK) that is put together inside the token, from components that come sealed to a key of the token's: on this
//! side there is nothing but ciphertext.
//!
//! The token has a *transport key*, an RSA pair that unwraps and does nothing else. Each component (32 bytes) is a key object from
//! the moment it is unwrapped (RSA-OAEP, SHA-256, what the KEK is for being the label); the KEK is SHA-256 of all of them, one after the other
//! (CKM_CONCATENATE_BASE_AND_KEY, CKM_SHA256_KEY_DERIVATION), and unwraps. So all custodians are needed: PKCS#11 has no mechanism
//! that puts a threshold of shares together, nor one that takes in what is sealed as agents seal it.
//!
//! Not guaranteed: what a module lets whoever has a session do instead. [`Keys::joint_weaknesses`] tries it.

use super::{KeyError, Keys, Kind, Wrapped, describe, find, kind, unsupported, work};
use crate::ElementError;
use crate::pkcs11::fault::{Fault, said};
use crate::pkcs11::module::Module;
use crate::pkcs11::template::{Purpose, strictest};
use crate::pkcs11::{printable, probe};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CK_MECHANISM, CKM_SHA256_KEY_DERIVATION};
use evanesce_secret::{Secret, on_crucible};
use std::ptr::null_mut;

const TRANSPORT: Kind = Kind::Rsa(3072);
/// What a component of the moment is for.
const PROBE: &[u8] = b"weaknesses";

/// The transport key that components were sealed to, and for what.
struct Sealing<'a>(ObjectHandle, &'a [u8]);

impl Keys {
    /// Makes a transport key in the token; SubjectPublicKeyInfo (DER) of it, to which [`seal`] seals.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn make_transport(&self, label: &str) -> Result<Vec<u8>, KeyError> {
        self.not_a_root(label)?;
        let id = kind::id(TRANSPORT);
        let made = self.whole_or_not(label, |_, session, there| {
            let wishes = vec![
                Attribute::Copyable(false),
                Attribute::Modifiable(false),
                Attribute::Derive(false),
                Attribute::Sign(false),
                Attribute::Decrypt(false),
                Attribute::Private(true),
                Attribute::Extractable(false),
                Attribute::Sensitive(true),
            ];
            let made = strictest(wishes, |strict, purpose| {
                let (secret, public) = TRANSPORT.transport(session, strict, (label, &id))?;
                if purpose == Purpose::Try {
                    session.destroy_object(secret)?;
                    session.destroy_object(public)?;
                }
                Ok(secret)
            });
            let (secret, _) = match made {
                Err(fault) if fault.rv().is_some() && !fault.lost_for_certain() => {
                    return Ok(Err(unsupported("a transport key", &fault)));
                }
                other => other?,
            };
            *there = true;
            Ok(match describe(session, secret, label)?.stays {
                true => Ok(()),
                false => Err(gives_out("a transport key")),
            })
        })?;
        made.public().map(<[u8]>::to_vec).ok_or_else(|| {
            KeyError::Unsupported("the module does not say its public half".to_owned())
        })
    }

    /// As [`restore`](Self::restore), the KEK being that of these components, each sealed to the transport key for `context`, in
    /// their order.
    ///
    /// # Errors
    /// [`KeyError::Unknown`] without that transport key; [`KeyError::Unsupported`] where the module cannot put the KEK together, or
    /// does not unwrap under it, as when a component is another or for something else; otherwise as [`restore`](Self::restore).
    pub fn restore_joint(
        &self,
        label: &str,
        wrapped: &Wrapped,
        transport: &str,
        components: &[Vec<u8>],
        context: &[u8],
        may_leave: bool,
    ) -> Result<super::Key, KeyError> {
        self.not_a_root(transport)?;
        self.bring_in(label, wrapped, may_leave, |module, session| {
            let Some(handles) = find(session, transport)? else {
                return Ok(Err(KeyError::Unknown(printable(transport))));
            };
            let of = Sealing(handles.secret, context);
            join(module, session, &of, components)
        })
    }

    /// How whoever has a session could have what is to stay in the token: each way that was tried with components of the moment
    /// and got through, as the probe of an element names them.
    ///
    /// # Errors
    /// As [`restore_joint`](Self::restore_joint).
    pub fn joint_weaknesses(&self, transport: &str) -> Result<Vec<String>, KeyError> {
        let public = self.key(transport)?.public().map(<[u8]>::to_vec);
        let public = public.ok_or_else(|| KeyError::Unknown(printable(transport)))?;
        let component = Secret::<32>::random()?;
        let sealed = on_crucible(|| seal(component.expose(), PROBE, &public))?;
        self.run(|module, session| {
            let Some(handles) = find(session, transport)? else {
                return Ok(Err(KeyError::Unknown(printable(transport))));
            };
            let of = Sealing(handles.secret, PROBE);
            let kek = match join(module, session, &of, &[sealed.clone(), sealed.clone()])? {
                Ok(kek) => kek,
                Err(why) => return Ok(Err(why)),
            };
            let found = probe::secret(module, session, kek);
            session.destroy_object(kek)?;
            let mut found = found?;
            // PKCS#11 has the caller say what an unwrapped key is to be.
            let loose = [Attribute::Sensitive(false), Attribute::Extractable(true)];
            if let Ok(taken) = component_of(session, &of, &sealed, &loose) {
                let mut read = Secret::<32>::zeroed()?;
                let length = module.raw.read_value(session, taken, read.expose_mut());
                session.destroy_object(taken)?;
                if length.is_ok_and(|length| length == 32) && read.expose() == component.expose() {
                    found.push("unwrap: a component, readable".to_owned());
                }
            }
            Ok(Ok(found))
        })?
    }
}

/// A component, sealed to a transport key (RSAES-OAEP, RFC 8017, with SHA-256) for `context`, which is the label and without which
/// no token opens it; on a crucible thread.
///
/// # Errors
/// [`KeyError::Input`] for what is no RSA public key.
pub fn seal(component: &[u8; 32], context: &[u8], transport: &[u8]) -> Result<Vec<u8>, KeyError> {
    let wrong = || KeyError::Input("the transport key is no RSA public key".to_owned());
    let key = PublicEncryptingKey::from_der(transport).map_err(|_| wrong())?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| wrong())?;
    let mut out = vec![0; key.ciphertext_size()];
    let failed = |_| ElementError::Unavailable("RSA-OAEP cannot be had".to_owned());
    let length = key
        .encrypt(&OAEP_SHA256_MGF1SHA256, component, &mut out, Some(context))
        .map_err(failed)?
        .len();
    out.truncate(length);
    Ok(out)
}

/// The KEK as a session object; what it was made of is destroyed again, whatever comes of it.
fn join(
    module: &Module,
    session: &Session,
    of: &Sealing,
    components: &[Vec<u8>],
) -> Result<Result<ObjectHandle, KeyError>, Fault> {
    let mut parts = Vec::new();
    let joined = join_into(module, session, of, components, &mut parts);
    let kek = match joined {
        Ok(Ok(_)) => parts.pop(),
        _ => None,
    };
    let destroyed = destroy(session, parts);
    if destroyed.is_err() {
        let _ = destroy(session, kek);
    }
    match (joined, destroyed) {
        (Ok(_), Err(fault)) => Err(fault),
        (Err(fault), _) if fault.rv().is_some() && !fault.lost_for_certain() => {
            Ok(Err(KeyError::Unsupported(format!(
                "put a key together: the module says {}",
                said(&fault)
            ))))
        }
        (other, _) => other,
    }
}

/// All of them, whatever comes of one: the session is used again, and keeps what is left.
fn destroy(
    session: &Session,
    objects: impl IntoIterator<Item = ObjectHandle>,
) -> Result<(), Fault> {
    let mut all = Ok(());
    for object in objects {
        all = all.and(session.destroy_object(object).map_err(Fault::from));
    }
    all
}

/// The KEK, which is the last of `parts` then.
fn join_into(
    module: &Module,
    session: &Session,
    of: &Sealing,
    components: &[Vec<u8>],
    parts: &mut Vec<ObjectHandle>,
) -> Result<Result<ObjectHandle, KeyError>, Fault> {
    let strict = [Attribute::Sensitive(true), Attribute::Extractable(false)];
    let mut so_far = None;
    for component in components {
        let taken = component_of(session, of, component, &strict)?;
        parts.push(taken);
        let joined = match so_far {
            None => taken,
            Some(before) => {
                let with = Mechanism::ConcatenateBaseAndKey(taken);
                let joined = session.derive_key(&with, before, &material(&strict))?;
                parts.push(joined);
                joined
            }
        };
        if !describe(session, joined, "")?.stays {
            return Ok(Err(gives_out("a component")));
        }
        so_far = Some(joined);
    }
    let Some(all) = so_far.filter(|_| components.len() > 1) else {
        return Ok(Err(KeyError::Input(
            "a joint key takes two components at least".to_owned(),
        )));
    };
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Unwrap(true),
        Attribute::Wrap(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Derive(false),
    ];
    template.extend(strict);
    let hash = CK_MECHANISM {
        mechanism: CKM_SHA256_KEY_DERIVATION,
        pParameter: null_mut(),
        ulParameterLen: 0,
    };
    // SAFETY: this mechanism takes no parameter.
    let kek = unsafe { module.raw.derive(session, hash, all, &template) }?;
    parts.push(kek);
    match describe(session, kek, "")?.stays {
        true => Ok(Ok(kek)),
        false => Ok(Err(gives_out("the key that was put together"))),
    }
}

fn component_of(
    session: &Session,
    Sealing(transport, context): &Sealing,
    sealed: &[u8],
    how: &[Attribute],
) -> Result<ObjectHandle, Fault> {
    Ok(session.unwrap_key(
        &work::oaep(Some(context)),
        *transport,
        sealed,
        &material(how),
    )?)
}

/// A secret that can only be derived from.
fn material(how: &[Attribute]) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Derive(true),
        Attribute::Sign(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
    ];
    template.extend_from_slice(how);
    template
}

fn gives_out(what: &str) -> KeyError {
    KeyError::Unsupported(format!(
        "{what}: the module would give it out, so it was not used"
    ))
}
