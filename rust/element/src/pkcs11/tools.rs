//! What a probe attacks with: keys to wrap under and to derive with, and the attributes that would loosen a root.
//!
//! They are session objects, destroyed when the probe ends in whatever way.

use super::fault::{Fault, words};
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
    /// What is not tried for want of a tool, and why the token did not make it.
    pub missing: Vec<String>,
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

    /// Makes what the token will make, and notes what it will not.
    pub fn make(session: &'a Session) -> Result<Self, Fault> {
        let mut tools = Self {
            session,
            made: Vec::new(),
            aes: None,
            des: None,
            des3: None,
            rsa: None,
            other: None,
            missing: Vec::new(),
        };
        let wraps = [Attribute::Wrap(true), Attribute::Encrypt(true)];
        let derives = [Attribute::Derive(true)];
        let secret = |what, kind, generator, length, uses| SecretTool {
            what,
            kind,
            generator,
            length,
            uses,
        };
        use KeyType as Kind;
        use Mechanism as By;
        tools.aes = tools.secret(&secret(
            "wrap under AES",
            Kind::AES,
            By::AesKeyGen,
            32,
            &wraps,
        ))?;
        tools.des = tools.secret(&secret(
            "wrap under DES",
            Kind::DES,
            By::DesKeyGen,
            8,
            &wraps,
        ))?;
        tools.des3 = tools.secret(&secret(
            "wrap under DES3",
            Kind::DES3,
            By::Des3KeyGen,
            24,
            &wraps,
        ))?;
        tools.other = tools.secret(&secret(
            "derive after another key",
            Kind::GENERIC_SECRET,
            By::GenericSecretKeyGen,
            32,
            &derives,
        ))?;
        tools.rsa = tools.rsa()?;
        Ok(tools)
    }

    /// Generated; or else a known one, under a template that asks for nothing but its use.
    fn secret(&mut self, tool: &SecretTool) -> Result<Option<ObjectHandle>, Fault> {
        let begin = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(tool.kind),
            Attribute::Token(false),
        ];
        let generated = [&begin, tool.uses].concat();
        let fixed = matches!(tool.kind, KeyType::DES | KeyType::DES3);
        let length = (!fixed).then(|| Attribute::ValueLen((tool.length as u64).into()));
        let generated: Vec<_> = generated.into_iter().chain(length).collect();
        let value = Attribute::Value(known_key(tool.length));
        let known = [&begin, &tool.uses[..1], &[value]].concat();
        let session = self.session;
        self.first_of(
            tool.what,
            [
                &|| Ok(vec![session.generate_key(&tool.generator, &generated)?]),
                &|| Ok(vec![session.create_object(&known)?]),
            ],
        )
    }

    fn rsa(&mut self) -> Result<Option<ObjectHandle>, Fault> {
        let wraps = [
            Attribute::Token(false),
            Attribute::Wrap(true),
            Attribute::Encrypt(true),
        ];
        let exponent = Attribute::PublicExponent(vec![1, 0, 1]);
        let known = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Modulus(RSA_2048.to_vec()),
            exponent.clone(),
        ];
        let whole = [&known[..], &wraps].concat();
        let least = [&known[..], &wraps[..2]].concat();
        let public = [&wraps[..], &[Attribute::ModulusBits(2048.into()), exponent]].concat();
        let private = [Attribute::Token(false)];
        let session = self.session;
        self.first_of(
            "wrap under RSA",
            [
                &|| Ok(vec![session.create_object(&whole)?]),
                &|| Ok(vec![session.create_object(&least)?]),
                &|| {
                    let by = Mechanism::RsaPkcsKeyPairGen;
                    let pair = session.generate_key_pair(&by, &public, &private)?;
                    Ok(vec![pair.0, pair.1])
                },
            ],
        )
    }

    /// The first tool that the token makes in one of `ways`; the first of its objects is the one to use. Without any,
    /// `what` is noted as not tried.
    fn first_of<const N: usize>(
        &mut self,
        what: &str,
        ways: [&dyn Fn() -> cryptoki::error::Result<Vec<ObjectHandle>>; N],
    ) -> Result<Option<ObjectHandle>, Fault> {
        match first_made(ways)? {
            Ok(made) => {
                self.made.extend(&made);
                Ok(made.first().copied())
            }
            Err(why) => {
                self.missing.push(format!("not tried: {what}: {why}"));
                Ok(None)
            }
        }
    }
}

/// What the first way that works made, or why none did, in the token's words.
fn first_made<T, const N: usize>(
    ways: [&dyn Fn() -> cryptoki::error::Result<T>; N],
) -> Result<Result<T, String>, Fault> {
    let mut refusals = Vec::new();
    for way in ways {
        match attempt(way())? {
            Tried::Done(made) => return Ok(Ok(made)),
            Tried::Refused(words) | Tried::Failed(words) => refusals.push(words),
        }
    }
    refusals.dedup();
    Ok(Err(refusals.join("; ")))
}

/// A fresh key that this process knows for a moment. DES wants odd parity, and the others do not mind it.
fn known_key(length: usize) -> Vec<u8> {
    let mut key = vec![0; length];
    evanesce_secret::random(&mut key);
    for byte in &mut key {
        *byte ^= u8::from(byte.count_ones() % 2 == 0);
    }
    key
}

/// A secret key to attack with.
struct SecretTool<'a> {
    /// What it is for, in words.
    what: &'static str,
    kind: KeyType,
    generator: Mechanism<'static>,
    /// In bytes.
    length: usize,
    /// The first is what it is made for.
    uses: &'a [Attribute],
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

/// What came of an attempt.
pub(super) enum Tried<T> {
    /// It got through.
    Done(T),
    /// The token said no, in these words.
    Refused(String),
    /// It was not decided: the token failed, and nothing was learnt.
    Failed(String),
}

/// What came of an attempt. `Err` if the token is lost, so that nothing can be learnt from any.
pub(super) fn attempt<T>(result: cryptoki::error::Result<T>) -> Result<Tried<T>, Fault> {
    let error = match result {
        Ok(value) => return Ok(Tried::Done(value)),
        Err(error) => error,
    };
    let words = words(&error);
    let fault = Fault::from(error);
    if fault.lost_for_certain() {
        Err(fault)
    } else if fault.transient() {
        Ok(Tried::Failed(words))
    } else {
        Ok(Tried::Refused(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;
    use cryptoki::error::{Error, RvError};

    fn no<T>(rv: RvError, function: Function) -> cryptoki::error::Result<T> {
        Err(Error::Pkcs11(rv, function))
    }

    #[test]
    fn a_tool_that_no_way_makes_is_missed_in_the_tokens_own_words() {
        let invalid = || no::<u8>(RvError::MechanismInvalid, Function::GenerateKey);
        let short = || no(RvError::DeviceMemory, Function::CreateObject);
        let works = || Ok(7);
        let gone = || no(RvError::DeviceRemoved, Function::CreateObject);
        assert_eq!(first_made([&invalid, &works]).unwrap(), Ok(7));
        assert_eq!(
            first_made([&invalid, &short]).unwrap(),
            Err("C_GenerateKey: CKR_MECHANISM_INVALID; C_CreateObject: CKR_DEVICE_MEMORY".into())
        );
        assert!(
            first_made([&invalid, &gone, &works]).is_err(),
            "a lost token is no refusal"
        );
    }

    #[test]
    fn a_failure_is_told_from_a_refusal() {
        let try_it = |rv| attempt(no::<()>(rv, Function::WrapKey)).unwrap();
        for rv in [RvError::DeviceMemory, RvError::FunctionFailed] {
            assert!(matches!(try_it(rv), Tried::Failed(words) if words.starts_with("C_WrapKey: ")));
        }
        for rv in [RvError::KeyUnextractable, RvError::MechanismInvalid] {
            assert!(matches!(try_it(rv), Tried::Refused(_)));
        }
        assert!(attempt(no::<()>(RvError::TokenNotPresent, Function::WrapKey)).is_err());
    }

    #[test]
    fn a_known_key_has_the_parity_that_des_wants() {
        let (one, other) = (known_key(24), known_key(24));
        assert_ne!(one, other);
        assert!(one.iter().all(|byte| byte.count_ones() % 2 == 1));
    }
}
