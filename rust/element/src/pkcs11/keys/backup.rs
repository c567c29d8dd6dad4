//! A key leaves its token under another key, and comes into a second token: backups (docs/custody.md).
//!
//! The wrapping key (KEK) is the caller's, in locked memory, and in a token for the length of one call, as a session object. Wrapped
//! is what RFC 5649 (or RFC 3394, which says the same of whole blocks) makes of the key's bytes or its PKCS#8 form. A key that only a
//! trusted KEK may wrap needs the token's security officer, who alone can say that a key is trusted.

use super::{Key, KeyError, Keys, Kind, Leaves, describe, find, kind, public};
use crate::pkcs11::fault::{Fault, said};
use crate::pkcs11::mechanism::{RFC_3394, RFC_5649};
use crate::pkcs11::module::Module;
use crate::pkcs11::printable;
use crate::pkcs11::template::{Purpose, strictest};
use crate::{ElementError, SecretSource};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_MECHANISM, CK_MECHANISM_TYPE};
use evanesce_secret::Secret;
use std::ptr::null_mut;
use std::sync::PoisonError;

/// Bytes of a wrapped RSA-4096 key, and room to spare.
const LARGEST: usize = 8 << 10;

/// CKA_NSS_DB, NSS's own.
const NSS_DB: CK_ATTRIBUTE_TYPE = 0xd5a0_db00;

/// A key as it leaves a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// What it is.
    pub kind: Kind,
    /// SubjectPublicKeyInfo (DER) of a key pair.
    pub public: Option<Vec<u8>>,
    /// RFC 5649 or RFC 3394 under the KEK.
    pub bytes: Vec<u8>,
}

impl Keys {
    /// Whether a key may leave, found by trying: a module may say that only a trusted key wraps it, and wrap it under any (NSS does).
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn leaves(&self, label: &str) -> Result<Leaves, KeyError> {
        self.not_a_root(label)?;
        let throwaway = Secret::<32>::random()?;
        let found = self.run(|module, session| {
            let Some(handles) = find(session, label)? else {
                return Ok(None);
            };
            let word = leaves(session, handles.secret)?;
            if word != Leaves::UnderTrusted {
                return Ok(Some(word));
            }
            let kek = put_kek(module, session, &throwaway, None)?;
            let wrapped = wrap(module, session, kek, handles.secret)?;
            session.destroy_object(kek)?;
            Ok(Some(match wrapped {
                Ok(_) => Leaves::UnderAny,
                Err(_) => Leaves::UnderTrusted,
            }))
        })?;
        found.ok_or_else(|| KeyError::Unknown(printable(label)))
    }

    /// Wraps the key with this label under a KEK. `officer`: the security officer's PIN, for a key that only a trusted KEK may wrap;
    /// then nobody else uses the token meanwhile, for a login is the whole process's.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for a key that does not leave, or where the module cannot wrap it; [`KeyError::Input`] without
    /// the officer, where that one is needed; otherwise as [`key`](Self::key).
    pub fn back_up(
        &self,
        label: &str,
        kek: &Secret<32>,
        officer: Option<&SecretSource>,
    ) -> Result<Wrapped, KeyError> {
        let key = self.key(label)?;
        let leaves = self.leaves(label)?;
        let out = |module: &Module, session: &Session, kek: ObjectHandle| {
            let secret = match find(session, label)? {
                Some(handles) => handles.secret,
                None => return Ok(Err(KeyError::Unknown(printable(label)))),
            };
            Ok(wrap(module, session, kek, secret)?.map_err(|why| {
                KeyError::Unsupported(format!("back up a {}: {why}", key.kind.name()))
            }))
        };
        let bytes = match (leaves, officer) {
            (Leaves::Never, _) => {
                return Err(KeyError::Unsupported(format!(
                    "{:?} cannot be backed up: it was made non-extractable, and the token does not give it out under any key",
                    printable(label)
                )));
            }
            (Leaves::UnderTrusted, None) => {
                return Err(KeyError::Input(format!(
                    "only a trusted key may wrap {:?}, and only the token's security officer can say that one is; the officer's PIN is missing",
                    printable(label)
                )));
            }
            (Leaves::UnderTrusted, Some(officer)) => {
                let pin = officer.read()?;
                self.connection.as_officer(
                    &pin,
                    |module, session| put_kek(module, session, kek, Some(Attribute::Trusted(true))),
                    out,
                )?
            }
            (Leaves::UnderAny, _) => self.run(|module, session| {
                let kek = put_kek(module, session, kek, None)?;
                let wrapped = out(module, session, kek);
                session.destroy_object(kek)?;
                wrapped
            })?,
        }?;
        Ok(Wrapped {
            kind: key.kind,
            public: key.public,
            bytes,
        })
    }

    /// Unwraps a key into this token, under this label, sensitive and (unless it is to be backed up again) non-extractable.
    ///
    /// Whether it is the key that was wrapped is the caller's to check: a pair by its public half, which is put beside it as it
    /// is given here.
    ///
    /// # Errors
    /// [`KeyError::Exists`]; [`KeyError::Unsupported`] if the module does not unwrap it, or such that it could leave (it is
    /// destroyed again); [`KeyError::Input`] for a label that is an element's root's.
    pub fn restore(
        &self,
        label: &str,
        wrapped: &Wrapped,
        kek: &Secret<32>,
        may_leave: bool,
    ) -> Result<Key, KeyError> {
        self.bring_in(label, wrapped, may_leave, |module, session| {
            Ok(Ok(put_kek(module, session, kek, None)?))
        })
    }

    /// The same, the KEK being a session object that `kek` makes.
    pub(super) fn bring_in(
        &self,
        label: &str,
        wrapped: &Wrapped,
        may_leave: bool,
        mut kek: impl FnMut(&Module, &Session) -> Result<Result<ObjectHandle, KeyError>, Fault>,
    ) -> Result<Key, KeyError> {
        self.not_a_root(label)?;
        let kind = wrapped.kind;
        let public = wrapped
            .public
            .as_deref()
            .map(|spki| public::template(kind, spki).ok_or(KeyError::Decryption))
            .transpose()?;
        let cannot = |why: String| {
            KeyError::Unsupported(format!("take in a {} that is wrapped: {why}", kind.name()))
        };
        self.whole_or_not(label, |module, session, there| {
            let kek = match kek(module, session)? {
                Ok(kek) => kek,
                Err(why) => return Ok(Err(why)),
            };
            let id = kind::id(kind);
            let leaves = match may_leave {
                true => Leaves::UnderTrusted,
                false => Leaves::Never,
            };
            let name = Some((label, &id[..]));
            let taken = self.take_in(module, session, kek, wrapped, name, leaves);
            *there = matches!(taken, Ok(Ok(_)));
            session.destroy_object(kek)?;
            let secret = match taken? {
                Ok(found) => found,
                Err(why) => return Ok(Err(cannot(why))),
            };
            if let Some(public) = &public {
                let mut template = public.clone();
                template.extend([
                    Attribute::Token(true),
                    Attribute::Private(false),
                    Attribute::Label(label.into()),
                    Attribute::Id(id),
                    Attribute::Verify(true),
                ]);
                if matches!(kind, Kind::Rsa(_)) {
                    template.push(Attribute::Encrypt(true));
                }
                if let Err(error) = session.create_object(&template) {
                    return Ok(Err(cannot(said(&error.into()))));
                }
            }
            let described = describe(session, secret, label)?;
            let kept = if may_leave {
                described.sensitive && described.leaves != Leaves::Never
            } else {
                described.stays
            };
            Ok(match kept {
                true => Ok(()),
                false => Err(cannot(
                    "the module made it such that it would give it out; it was destroyed again"
                        .to_owned(),
                )),
            })
        })
    }
    /// The key as an object of the token; without a name one that ends with the session.
    pub(super) fn take_in(
        &self,
        module: &Module,
        session: &Session,
        kek: ObjectHandle,
        wrapped: &Wrapped,
        name: Option<(&str, &[u8])>,
        leaves: Leaves,
    ) -> Result<Result<ObjectHandle, String>, Fault> {
        let known = self.refused(wrapped.kind, leaves);
        // NSS wants the point beside a private key, as an attribute of its own, which others do not know.
        let spki = wrapped.public.as_deref();
        let point = spki.and_then(|spki| public::point(wrapped.kind, spki));
        let beside = point.map(|point| {
            Attribute::VendorDefined((AttributeType::VendorDefined(NSS_DB), point.to_vec()))
        });
        let with = |mechanism, beside: Option<&Attribute>| {
            let mut wishes = wrapped.kind.strict(leaves);
            wishes.retain(|wish| !known.contains(&wish.attribute_type()));
            let (handle, refused) = strictest(wishes, |strict, purpose| {
                let mut template = wrapped.kind.unwrapped(strict, name);
                template.extend(beside.cloned());
                // SAFETY: these mechanisms take no parameter.
                let handle = unsafe {
                    module
                        .raw
                        .unwrap(session, plain(mechanism), kek, &wrapped.bytes, &template)
                }?;
                if purpose == Purpose::Try {
                    session.destroy_object(handle)?;
                }
                Ok(handle)
            })?;
            self.refuses(wrapped.kind, leaves, refused);
            Ok(handle)
        };
        first(|mechanism| match with(mechanism, None) {
            Err(Fault::Module(Error::Pkcs11(RvError::TemplateIncomplete, _)))
                if beside.is_some() =>
            {
                with(mechanism, beside.as_ref())
            }
            other => other,
        })
    }

    /// What the module has refused of such a key's template so far.
    fn refused(&self, kind: Kind, leaves: Leaves) -> Vec<AttributeType> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = refusals
            .iter()
            .filter(|(of, leaving, _)| (*of, *leaving) == (kind, leaves));
        of_it.flat_map(|(_, _, refused)| refused.clone()).collect()
    }

    fn refuses(&self, kind: Kind, leaves: Leaves, refused: Vec<AttributeType>) {
        if !refused.is_empty() {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.push((kind, leaves, refused));
        }
    }
}

impl Wrapped {
    /// A key that is known here, wrapped under a KEK (RFC 5649), to be taken into a token: PKCS#8 DER, or a secret key's bytes.
    /// On a crucible thread. **Dangerous**: a key that was outside is worth no more than the place it was in.
    pub fn dangerous(
        kind: Kind,
        public: Option<Vec<u8>>,
        key: &[u8],
        kek: &Secret<32>,
    ) -> Result<Self, KeyError> {
        let failed = |_| ElementError::Unavailable("AES key wrap cannot be had".to_owned());
        let wrapping = AesKek::new(&AES_256, kek.expose()).map_err(failed)?;
        let mut bytes = vec![0; key.len().next_multiple_of(8) + 8];
        let length = wrapping
            .wrap_with_padding(key, &mut bytes)
            .map_err(failed)?
            .len();
        bytes.truncate(length);
        Ok(Self {
            kind,
            public,
            bytes,
        })
    }
}

/// The KEK as a session object of the token's, to wrap and to unwrap alone.
pub(super) fn put_kek(
    module: &Module,
    session: &Session,
    kek: &Secret<32>,
    trusted: Option<Attribute>,
) -> Result<ObjectHandle, Fault> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        // A security officer sees no private objects.
        Attribute::Private(trusted.is_none()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ];
    template.extend(trusted);
    Ok(module
        .raw
        .create_with_value(session, &template, kek.expose())?)
}

/// The key wrapped by the first mechanism that the module has, or why by none.
fn wrap(
    module: &Module,
    session: &Session,
    kek: ObjectHandle,
    secret: ObjectHandle,
) -> Result<Result<Vec<u8>, String>, Fault> {
    first(|mechanism| {
        let mut out = vec![0; LARGEST];
        // SAFETY: these mechanisms take no parameter.
        let length = unsafe {
            module
                .raw
                .wrap(session, plain(mechanism), kek, secret, &mut out)
        }?;
        out.truncate(length);
        Ok(out)
    })
}

/// What the first mechanism brings that works, or what the module said to each.
fn first<T>(
    mut with: impl FnMut(CK_MECHANISM_TYPE) -> Result<T, Fault>,
) -> Result<Result<T, String>, Fault> {
    let mut refusals = Vec::new();
    for mechanism in RFC_5649.iter().chain(RFC_3394) {
        match with(*mechanism) {
            Ok(done) => return Ok(Ok(done)),
            Err(fault) if fault.rv().is_some() && !fault.lost_for_certain() => {
                refusals.push(said(&fault));
            }
            Err(fault) => return Err(fault),
        }
    }
    refusals.dedup();
    Ok(Err(format!("the module says {}", refusals.join("; "))))
}

fn plain(mechanism: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism,
        pParameter: null_mut(),
        ulParameterLen: 0,
    }
}

/// What a token says of whether a key may leave it.
pub(super) fn leaves(session: &Session, handle: ObjectHandle) -> Result<Leaves, Fault> {
    let says = |kind, wanted: Attribute| -> bool {
        session
            .get_attributes(handle, &[kind])
            .is_ok_and(|held| held.first() == Some(&wanted))
    };
    if !says(AttributeType::Extractable, Attribute::Extractable(true)) {
        return Ok(Leaves::Never);
    }
    Ok(
        match says(
            AttributeType::WrapWithTrusted,
            Attribute::WrapWithTrusted(true),
        ) {
            true => Leaves::UnderTrusted,
            false => Leaves::UnderAny,
        },
    )
}
