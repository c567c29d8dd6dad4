//! What it takes to get a root out of its token: tried, not read off (PROTOCOL §5).
//!
//! Attributes and mechanism lists say what a token promises. The probe does what a thief would do who has a session: read
//! the root, wrap it, loosen it, copy it loosened, derive from it. Every attempt that the token lets through is
//! a weakness, named `"wrap: CKM_AES_CBC_PAD, …"`. Whatever an attempt made is destroyed, wiped or set back.
//!
//! What it cannot show: that there is no other way. Mechanisms that it does not know are named in its notes.

use super::fault::Fault;
use super::mechanism::{AGREEMENTS, DERIVINGS, Deriving, Shape, WRAPPINGS, Wrapper};
use super::module::Module;
use super::root;
use super::token::Attached;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CKF_DERIVE, CKF_WRAP};
use evanesce_secret::{Secret, SecretVec};
use std::cell::RefCell;
use std::collections::BTreeMap;

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

/// What probing a token's roots found.
pub(super) struct Found {
    /// One entry per verb that got through, empty if none did.
    pub weaknesses: Vec<String>,
    /// What is worth knowing but no weakness.
    pub notes: Vec<String>,
}

/// Probes every root. `Err` only if the token was lost meanwhile: then nothing was found out.
pub(super) fn roots(
    attached: &Attached,
    module: &Module,
    session: &Session,
    roots: &[(u64, ObjectHandle)],
) -> Result<Found, Fault> {
    let probe = Probe {
        module,
        session,
        made: RefCell::default(),
    };
    let tools = probe.tools()?;
    let (mut weaknesses, mut notes) = (BTreeMap::new(), BTreeMap::new());
    for (epoch, root) in roots {
        for weakness in probe.attack(*root, &tools)? {
            weaknesses
                .entry(weakness)
                .or_insert_with(Vec::new)
                .push(*epoch);
        }
        for note in root::loose(session, *root)? {
            notes.entry(note).or_insert_with(Vec::new).push(*epoch);
        }
    }
    let mut notes = by_epoch(notes, roots.len());
    notes.extend(untried(attached, module));
    Ok(Found {
        weaknesses: by_epoch(weaknesses, roots.len()),
        notes,
    })
}

/// Findings, with the epochs they hold for unless that is all.
fn by_epoch(findings: BTreeMap<String, Vec<u64>>, all: usize) -> Vec<String> {
    let said = |(finding, epochs): (String, Vec<u64>)| match epochs.len() == all {
        true => finding,
        false => {
            let epochs: Vec<_> = epochs.iter().map(u64::to_string).collect();
            format!("{finding} (epoch {})", epochs.join(", "))
        }
    };
    findings.into_iter().map(said).collect()
}

/// Mechanisms that the token offers for wrapping or deriving and the probe does not know.
fn untried(attached: &Attached, module: &Module) -> Option<String> {
    let known = |number: &u64| {
        WRAPPINGS.iter().any(|way| way.mechanism == *number)
            || DERIVINGS.iter().any(|way| way.mechanism == *number)
            || AGREEMENTS.contains(number)
    };
    let unknown: Vec<_> = module
        .raw
        .mechanisms(attached.slot())
        .unwrap_or_default()
        .into_iter()
        .filter(|number| !known(number))
        .filter(|number| {
            let flags = module
                .raw
                .mechanism_flags(attached.slot(), *number)
                .unwrap_or_default();
            flags & (CKF_WRAP | CKF_DERIVE) != 0
        })
        .map(|number| format!("{number:#x}"))
        .collect();
    (!unknown.is_empty()).then(|| {
        format!(
            "offered for wrapping or deriving, but not tried: {}",
            unknown.join(", ")
        )
    })
}

/// A session, and the objects made in it, which are destroyed when the probe ends in whatever way.
struct Probe<'a> {
    module: &'a Module,
    session: &'a Session,
    made: RefCell<Vec<ObjectHandle>>,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        for object in self.made.borrow_mut().drain(..) {
            // They are session objects: the token forgets them with the session in any case.
            let _ = self.session.destroy_object(object);
        }
    }
}

/// Keys to attack with; a token may not make all of them.
struct Tools {
    aes: Option<ObjectHandle>,
    des: Option<ObjectHandle>,
    des3: Option<ObjectHandle>,
    rsa: Option<ObjectHandle>,
    /// An ordinary secret that may be derived from.
    other: Option<ObjectHandle>,
}

impl Tools {
    fn wrapper(&self, wrapper: Wrapper) -> Option<ObjectHandle> {
        match wrapper {
            Wrapper::Aes => self.aes,
            Wrapper::Des => self.des,
            Wrapper::Des3 => self.des3,
            Wrapper::Rsa => self.rsa,
        }
    }
}

/// Attributes that would loosen a root if they were set so, and what sets them back.
fn looser() -> Vec<(&'static str, Attribute, Attribute)> {
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

impl Probe<'_> {
    /// Every attack on one root: what got through, as `"verb: how, how"`.
    fn attack(&self, root: ObjectHandle, tools: &Tools) -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        let mut add = |verb: &str, ways: Vec<String>| {
            if !ways.is_empty() {
                found.push(format!("{verb}: {}", ways.join(", ")));
            }
        };
        add("read", self.read(root)?);
        add("wrap", self.wrap(root, tools)?);
        add("derive", self.derive(root, tools)?);
        add("copy", self.copy(root)?);
        add("change", self.change(root)?);
        // A token that died half way refuses everything, and would pass.
        let mut y = Secret::zeroed()?;
        root::hmac(
            self.module,
            self.session,
            root,
            b"evanesce: still there?",
            y.expose_mut(),
        )?;
        Ok(found)
    }

    fn read(&self, root: ObjectHandle) -> Result<Vec<String>, Fault> {
        Ok(if self.readable(root)? {
            vec!["CKA_VALUE".to_owned()]
        } else {
            Vec::new()
        })
    }

    fn readable(&self, key: ObjectHandle) -> Result<bool, Fault> {
        let mut value = SecretVec::zeroed(1024)?;
        let got = attempt(
            self.module
                .raw
                .read_value(self.session, key, value.expose_mut()),
        )?;
        Ok(got.is_some_and(|length| length > 0))
    }

    fn wrap(&self, root: ObjectHandle, tools: &Tools) -> Result<Vec<String>, Fault> {
        let mut ways = Vec::new();
        let mut wrapped = SecretVec::zeroed(4096)?;
        for way in WRAPPINGS {
            let Some(wrapper) = tools.wrapper(way.wrapper) else {
                continue;
            };
            let got = way.shape.with(way.mechanism, wrapper, |mechanism| {
                // SAFETY: the table gives every mechanism the parameter that the standard gives it.
                unsafe {
                    self.module.raw.wrap(
                        self.session,
                        mechanism,
                        wrapper,
                        root,
                        wrapped.expose_mut(),
                    )
                }
            });
            if attempt(got)?.is_some_and(|length| length > 0) {
                push_new(&mut ways, way.name);
            }
        }
        Ok(ways)
    }

    fn derive(&self, root: ObjectHandle, tools: &Tools) -> Result<Vec<String>, Fault> {
        let mut ways = Vec::new();
        for way in DERIVINGS {
            let key = tools.other.unwrap_or(root);
            if self.derives(way, root, key)? {
                push_new(&mut ways, way.name);
            }
            // The other way round the root is only a parameter, and its own CKA_DERIVE may not be asked for.
            if matches!(way.shape, Shape::Key)
                && let Some(other) = tools.other
                && self.derives(way, other, root)?
            {
                push_new(&mut ways, &format!("{} after another key", way.name));
            }
        }
        Ok(ways)
    }

    fn derives(
        &self,
        way: &Deriving,
        base: ObjectHandle,
        key: ObjectHandle,
    ) -> Result<bool, Fault> {
        let data = way.name == "CKM_HKDF_DATA";
        let class = if data {
            ObjectClass::DATA
        } else {
            ObjectClass::SECRET_KEY
        };
        let mut template = vec![Attribute::Class(class), Attribute::Token(false)];
        if !data {
            template.push(Attribute::KeyType(KeyType::GENERIC_SECRET));
        }
        template.push(Attribute::ValueLen(16.into()));
        let plain = template.clone();
        if !data {
            template.extend([Attribute::Sensitive(false), Attribute::Extractable(true)]);
        }
        for template in [template, plain] {
            let made = way.shape.with(way.mechanism, key, |mechanism| {
                // SAFETY: the table gives every mechanism the parameter that the standard gives it.
                unsafe {
                    self.module
                        .raw
                        .derive(self.session, mechanism, base, &template)
                }
            });
            if let Some(made) = attempt(made)? {
                self.session.destroy_object(made)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn copy(&self, root: ObjectHandle) -> Result<Vec<String>, Fault> {
        let mut ways = Vec::new();
        for (name, loose, _) in looser() {
            let template = [Attribute::Token(false), loose.clone()];
            if let Some(copy) = attempt(self.session.copy_object(root, &template))? {
                let loosened = self.holds(copy, &loose)? && !self.holds(root, &loose)?;
                self.session.destroy_object(copy)?;
                if loosened {
                    push_new(&mut ways, name);
                }
            }
        }
        // Or in two steps.
        if let Some(copy) = attempt(self.session.copy_object(root, &[Attribute::Token(false)]))? {
            let changed = self.change(copy);
            self.session.destroy_object(copy)?;
            for name in changed? {
                push_new(&mut ways, &name);
            }
        }
        Ok(ways)
    }

    fn change(&self, key: ObjectHandle) -> Result<Vec<String>, Fault> {
        let mut ways = Vec::new();
        for (name, loose, strict) in looser() {
            if self.holds(key, &loose)? {
                continue;
            }
            let changed = attempt(
                self.session
                    .update_attributes(key, std::slice::from_ref(&loose)),
            )?;
            // Some modules say yes and do nothing.
            if changed.is_some() && self.holds(key, &loose)? {
                let _ = attempt(self.session.update_attributes(key, &[strict]))?;
                let stuck = if self.holds(key, &loose)? {
                    " (and it could not be set back)"
                } else {
                    ""
                };
                push_new(&mut ways, &format!("{name}{stuck}"));
            }
        }
        Ok(ways)
    }

    /// True if the object has exactly this attribute.
    fn holds(&self, object: ObjectHandle, attribute: &Attribute) -> Result<bool, Fault> {
        let held = attempt(
            self.session
                .get_attributes(object, &[attribute.attribute_type()]),
        )?;
        Ok(held.is_some_and(|held| held.first() == Some(attribute)))
    }

    fn tools(&self) -> Result<Tools, Fault> {
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
        Ok(Tools {
            aes: self.keep(self.session.generate_key(&Mechanism::AesKeyGen, &aes))?,
            des: self.keep(self.session.generate_key(&Mechanism::DesKeyGen, &des))?,
            des3: self.keep(self.session.generate_key(&Mechanism::Des3KeyGen, &des3))?,
            rsa: self.rsa()?,
            other: self.keep(
                self.session
                    .generate_key(&Mechanism::GenericSecretKeyGen, &other),
            )?,
        })
    }

    fn rsa(&self) -> Result<Option<ObjectHandle>, Fault> {
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
        self.made.borrow_mut().extend([public, private]);
        Ok(Some(public))
    }

    fn keep(
        &self,
        made: cryptoki::error::Result<ObjectHandle>,
    ) -> Result<Option<ObjectHandle>, Fault> {
        let made = attempt(made)?;
        self.made.borrow_mut().extend(made);
        Ok(made)
    }
}

/// What an attempt yielded, None if the token refused it. `Err` if the token is lost, so that nothing
/// can be learnt.
fn attempt<T>(result: cryptoki::error::Result<T>) -> Result<Option<T>, Fault> {
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

fn push_new(ways: &mut Vec<String>, way: &str) {
    if !ways.iter().any(|known| known == way) {
        ways.push(way.to_owned());
    }
}
