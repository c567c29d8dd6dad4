//! What a probe attacks with: keys to wrap under and to derive with, and the attributes that would loosen a root.
//!
//! They are session objects, destroyed when the probe ends in whatever way.

use super::fault::Fault;
use super::mechanism::Wrapper;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// The RSA-2048 factoring challenge: a public key to wrap under that nobody has the private half of, so
/// that a root which does get out is not given to anyone.
const RSA_2048: [u8; 256] = *b"\
    \xc7\x97\x0c\xee\xdc\xc3\xb0\x75\x44\x90\x20\x1a\x7a\xa6\x13\xcd\
    \x73\x91\x10\x81\xc7\x90\xf5\xf1\xa8\x72\x6f\x46\x35\x50\xbb\x5b\
    \x7f\xf0\xdb\x8e\x1e\xa1\x18\x9e\xc7\x2f\x93\xd1\x65\x00\x11\xbd\
    \x72\x1a\xee\xac\xc2\xac\xde\x32\xa0\x41\x07\xf0\x64\x8c\x28\x13\
    \xa3\x1f\x5b\x0b\x77\x65\xff\x8b\x44\xb4\xb6\xff\xc9\x33\x84\xb6\
    \x46\xeb\x09\xc7\xcf\x5e\x85\x92\xd4\x0e\xa3\x3c\x80\x03\x9f\x35\
    \xb4\xf1\x4a\x04\xb5\x1f\x7b\xfd\x78\x1b\xe4\xd1\x67\x31\x64\xba\
    \x8e\xb9\x91\xc2\xc4\xd7\x30\xbb\xbe\x35\xf5\x92\xbd\xef\x52\x4a\
    \xf7\xe8\xda\xef\xd2\x6c\x66\xfc\x02\xc4\x79\xaf\x89\xd6\x4d\x37\
    \x3f\x44\x27\x09\x43\x9d\xe6\x6c\xeb\x95\x5f\x3e\xa3\x7d\x51\x59\
    \xf6\x13\x58\x09\xf8\x53\x34\xb5\xcb\x18\x13\xad\xdc\x80\xcd\x05\
    \x60\x9f\x10\xac\x6a\x95\xad\x65\x87\x2c\x90\x95\x25\xbd\xad\x32\
    \xbc\x72\x95\x92\x64\x29\x20\xf2\x4c\x61\xdc\x5b\x3c\x3b\x79\x23\
    \xe5\x6b\x16\xa4\xd9\xd3\x73\xd8\x72\x1f\x24\xa3\xfc\x0f\x1b\x31\
    \x31\xf5\x56\x15\x17\x28\x66\xbc\xcc\x30\xf9\x50\x54\xc8\x24\xe7\
    \x33\xa5\xeb\x68\x17\xf7\xbc\x16\x39\x9d\x48\xc6\x36\x1c\xc7\xe5";

/// Keys to attack with; a token may not make all of them.
pub(super) struct Tools<'a> {
    session: &'a Session,
    made: Vec<ObjectHandle>,
    aes: Option<ObjectHandle>,
    des: Option<ObjectHandle>,
    des3: Option<ObjectHandle>,
    rsa: Option<ObjectHandle>,
    /// An ordinary secret that may be derived from.
    pub other: Option<ObjectHandle>,
}

impl<'a> Tools<'a> {
    /// The key to wrap under, if the token made it.
    pub fn wrapper(&self, wrapper: Wrapper) -> Option<ObjectHandle> {
        match wrapper {
            Wrapper::Aes => self.aes,
            Wrapper::Des => self.des,
            Wrapper::Des3 => self.des3,
            Wrapper::Rsa => self.rsa,
        }
    }

    /// Makes what the token will make.
    pub fn make(session: &'a Session) -> Result<Self, Fault> {
        let mut tools = Self {
            session,
            made: Vec::new(),
            aes: None,
            des: None,
            des3: None,
            rsa: None,
            other: None,
        };
        let wrapper = |kind, length: Option<u64>| {
            let mut template = vec![
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(kind),
                Attribute::Token(false),
                Attribute::Wrap(true),
                Attribute::Encrypt(true),
            ];
            template.extend(length.map(|length| Attribute::ValueLen(length.into())));
            template
        };
        let other = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Derive(true),
            Attribute::ValueLen(32.into()),
        ];
        let aes = wrapper(KeyType::AES, Some(32));
        let des = wrapper(KeyType::DES, None);
        let des3 = wrapper(KeyType::DES3, None);
        let generate =
            |mechanism, template: &[Attribute]| session.generate_key(mechanism, template);
        tools.aes = tools.keep(generate(&Mechanism::AesKeyGen, &aes))?;
        tools.des = tools.keep(generate(&Mechanism::DesKeyGen, &des))?;
        tools.des3 = tools.keep(generate(&Mechanism::Des3KeyGen, &des3))?;
        tools.other = tools.keep(generate(&Mechanism::GenericSecretKeyGen, &other))?;
        tools.rsa = tools.rsa()?;
        Ok(tools)
    }

    fn rsa(&mut self) -> Result<Option<ObjectHandle>, Fault> {
        let wraps = [
            Attribute::Token(false),
            Attribute::Wrap(true),
            Attribute::Encrypt(true),
        ];
        let exponent = Attribute::PublicExponent(vec![1, 0, 1]);
        let mut known = vec![
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Modulus(RSA_2048.to_vec()),
            exponent.clone(),
        ];
        known.extend_from_slice(&wraps);
        if let Some(key) = self.keep(self.session.create_object(&known))? {
            return Ok(Some(key));
        }
        let mut public = wraps.to_vec();
        public.extend([Attribute::ModulusBits(2048.into()), exponent]);
        let private = [Attribute::Token(false)];
        let pair = self
            .session
            .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private);
        let Some((public, private)) = attempt(pair)? else {
            return Ok(None);
        };
        self.made.extend([public, private]);
        Ok(Some(public))
    }

    fn keep(
        &mut self,
        made: cryptoki::error::Result<ObjectHandle>,
    ) -> Result<Option<ObjectHandle>, Fault> {
        let made = attempt(made)?;
        self.made.extend(made);
        Ok(made)
    }
}

impl Drop for Tools<'_> {
    fn drop(&mut self) {
        for object in self.made.drain(..) {
            // They are session objects: the token forgets them with the session in any case.
            let _ = self.session.destroy_object(object);
        }
    }
}

/// Attributes that would loosen a root if they were set so, and what sets them back.
pub(super) fn looser() -> Vec<(&'static str, Attribute, Attribute)> {
    vec![
        (
            "CKA_SENSITIVE",
            Attribute::Sensitive(false),
            Attribute::Sensitive(true),
        ),
        (
            "CKA_EXTRACTABLE",
            Attribute::Extractable(true),
            Attribute::Extractable(false),
        ),
        (
            "CKA_DERIVE",
            Attribute::Derive(true),
            Attribute::Derive(false),
        ),
        ("CKA_WRAP", Attribute::Wrap(true), Attribute::Wrap(false)),
        (
            "CKA_UNWRAP",
            Attribute::Unwrap(true),
            Attribute::Unwrap(false),
        ),
        (
            "CKA_ENCRYPT",
            Attribute::Encrypt(true),
            Attribute::Encrypt(false),
        ),
        (
            "CKA_DECRYPT",
            Attribute::Decrypt(true),
            Attribute::Decrypt(false),
        ),
        (
            "CKA_PRIVATE",
            Attribute::Private(false),
            Attribute::Private(true),
        ),
        (
            "CKA_MODIFIABLE",
            Attribute::Modifiable(true),
            Attribute::Modifiable(false),
        ),
        (
            "CKA_COPYABLE",
            Attribute::Copyable(true),
            Attribute::Copyable(false),
        ),
    ]
}

/// What an attempt yielded, None if the token refused it. `Err` if the token is lost, so that nothing
/// can be learnt.
pub(super) fn attempt<T>(result: cryptoki::error::Result<T>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let fault = Fault::from(error);
            if fault.lost_for_certain() {
                Err(fault)
            } else {
                Ok(None)
            }
        }
    }
}
