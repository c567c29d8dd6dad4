//! A key that is in a token for one operation: unwrapped into a session object, used there, destroyed.
//!
//! The object is sensitive and non-extractable by the token's own word, or it is not used. It lives in one session of one call, is
//! nobody else's to find, and goes with the session if destroying it fails.

use super::backup::put_kek;
use super::{KeyError, Keys, Leaves, Wrapped, describe, unsupported, work};
use crate::pkcs11::binding::off_crucible;
use crate::pkcs11::fault::Fault;
use crate::pkcs11::module::Module;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use evanesce_secret::{Secret, SecretVec};

/// What a key is to do once.
#[derive(Clone, Copy)]
pub enum Use<'a> {
    /// Sign a message.
    Sign(&'a [u8]),
    /// MAC a message.
    Mac(&'a [u8]),
    /// Encrypt a plaintext.
    Encrypt {
        /// Authenticated along with it.
        aad: &'a [u8],
        /// What is encrypted.
        plaintext: &'a [u8],
    },
    /// Decrypt a ciphertext.
    Decrypt {
        /// As it was for the encryption.
        aad: &'a [u8],
        /// What was encrypted.
        ciphertext: &'a [u8],
    },
}

/// What came of it.
pub enum Used {
    /// A signature, MAC or ciphertext.
    Public(Vec<u8>),
    /// A plaintext.
    Secret(SecretVec),
}

impl Keys {
    /// Does one thing with a key that comes and goes.
    ///
    /// May be called on a crucible thread: the module runs on an ordinary stack, and is given the KEK and what is wrapped under it.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] where the module does not take the key in, would give it out, or does not do this with it;
    /// [`KeyError::Decryption`].
    pub fn once(
        &self,
        wrapped: &Wrapped,
        kek: &Secret<32>,
        suite: &str,
        what: Use,
    ) -> Result<Used, KeyError> {
        let kind = wrapped.kind;
        let sealed = match what {
            Use::Decrypt { ciphertext, .. } => {
                Some(work::Opening::of(kind, suite)?.split(ciphertext)?)
            }
            _ => None,
        };
        let act = |module: &Module, session: &Session, key: ObjectHandle| {
            let done = match what {
                Use::Sign(message) => work::Signing::of(kind, suite)
                    .map(|signing| signing.sign(module, session, key, message)),
                Use::Mac(message) => work::Macing::of(kind, suite)
                    .map(|macing| macing.mac(module, session, key, message)),
                Use::Encrypt { aad, plaintext } => work::encrypts(kind, suite)
                    .map(|()| work::encrypt(module, session, key, aad, plaintext)),
                Use::Decrypt { aad, .. } => {
                    let opening = match work::Opening::of(kind, suite) {
                        Ok(opening) => opening,
                        Err(refused) => return Ok(Err(refused)),
                    };
                    let sealed = sealed.expect("split above");
                    let opened = opening.open(module, session, key, aad, sealed)?;
                    return Ok(opened.map(Used::Secret).ok_or(KeyError::Decryption));
                }
            };
            match done {
                Ok(Ok(bytes)) => Ok(Ok(Used::Public(bytes))),
                Ok(Err(fault)) if work::refused(&fault) => Ok(Err(unsupported(suite, &fault))),
                Ok(Err(fault)) => Err(fault),
                Err(refused) => Ok(Err(refused)),
            }
        };
        off_crucible(|| {
            self.run(|module, session| -> Result<Result<Used, KeyError>, Fault> {
                let kek = put_kek(module, session, kek, None)?;
                let taken = self.take_in(module, session, kek, wrapped, None, Leaves::Never);
                session.destroy_object(kek)?;
                let key = match taken? {
                    Ok(key) => key,
                    Err(why) => {
                        return Ok(Err(KeyError::Unsupported(format!(
                            "take in a {} that is wrapped: {why}",
                            kind.name()
                        ))));
                    }
                };
                let done = match describe(session, key, "")?.stays {
                    true => act(module, session, key),
                    false => Ok(Err(KeyError::Unsupported(format!(
                        "{}: the module would give it out, so it was not used there",
                        kind.name()
                    )))),
                };
                session.destroy_object(key)?;
                done
            })
        })?
    }
}
