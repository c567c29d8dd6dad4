//! What it takes to get a root out of its token: tried, not read off (PROTOCOL §5).
//!
//! Attributes and mechanism lists say what a token promises. The probe does what a thief would do who has a session: read
//! the root, wrap it, loosen it, copy it loosened, derive from it. Every attempt that the token lets through is
//! a weakness of its own, named `"wrap: CKM_AES_CBC_PAD"`. Whatever an attempt made is destroyed, wiped or set back.
//!
//! What it cannot show: that there is no other way. Its notes name what it did not try: mechanisms that it does not
//! know, what the token made it no key for, and attempts in which the token failed instead of saying no.

use super::fault::Fault;
use super::mechanism::{AGREEMENTS, DERIVINGS, Deriving, Shape, WRAPPINGS};
use super::module::Module;
use super::root;
use super::sessions::Attached;
use super::tools::{Tools, Tried, attempt, looser};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{CKF_DERIVE, CKF_WRAP};
use evanesce_secret::{Secret, SecretVec};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What probing a token's roots found.
pub(super) struct Found {
    /// One entry per verb and way that got through, empty if none did.
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
    let tools = Tools::make(session)?;
    let probe = Probe {
        module,
        session,
        undecided: RefCell::default(),
    };
    let (mut weaknesses, mut notes) = (BTreeMap::new(), BTreeMap::new());
    for (epoch, root) in roots {
        for weakness in probe.attack(*root, &tools)? {
            weaknesses
                .entry(weakness)
                .or_insert_with(Vec::new)
                .push(*epoch);
        }
        for note in root::loose(session, *root)?
            .into_iter()
            .chain(probe.undecided())
        {
            notes.entry(note).or_insert_with(Vec::new).push(*epoch);
        }
    }
    let mut notes = by_epoch(notes, roots.len());
    notes.extend(tools.missing.iter().cloned());
    notes.extend(untried(attached, module));
    Ok(Found {
        weaknesses: by_epoch(weaknesses, roots.len()),
        notes,
    })
}

/// Probes any other secret that should stay in the token: what got through, each as `"verb: how"`.
pub(super) fn secret(
    module: &Module,
    session: &Session,
    key: ObjectHandle,
) -> Result<Vec<String>, Fault> {
    let tools = Tools::make(session)?;
    let probe = Probe {
        module,
        session,
        undecided: RefCell::default(),
    };
    probe.ways_out(key, &tools)
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

/// A token under attack.
struct Probe<'a> {
    module: &'a Module,
    session: &'a Session,
    /// Verb and return value of every attempt on the root under attack that taught nothing, with the ways tried.
    undecided: RefCell<BTreeMap<(&'static str, String), Vec<String>>>,
}

impl Probe<'_> {
    /// What an attempt yielded, None if the token refused it or failed at it.
    fn attempt<T>(
        &self,
        verb: &'static str,
        way: &str,
        result: cryptoki::error::Result<T>,
    ) -> Result<Option<T>, Fault> {
        match attempt(result)? {
            Tried::Done(value) => Ok(Some(value)),
            Tried::Refused(_) => Ok(None),
            Tried::Failed(words) => {
                let mut undecided = self.undecided.borrow_mut();
                push_new(undecided.entry((verb, words)).or_default(), way);
                Ok(None)
            }
        }
    }

    /// What the last attack left undecided, as notes.
    fn undecided(&self) -> Vec<String> {
        let undecided = self.undecided.take().into_iter();
        undecided
            .map(|((verb, words), ways)| {
                format!("nothing learnt: {verb}: {}: {words}", ways.join(", "))
            })
            .collect()
    }

    /// Every attack on one root: what got through, each as `"verb: how"`.
    fn attack(&self, root: ObjectHandle, tools: &Tools) -> Result<Vec<String>, Fault> {
        let found = self.ways_out(root, tools)?;
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

    fn ways_out(&self, root: ObjectHandle, tools: &Tools) -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        let mut add = |verb: &str, ways: Vec<String>| {
            found.extend(ways.iter().map(|way| format!("{verb}: {way}")));
        };
        add("read", self.read(root)?);
        add("wrap", self.wrap(root, tools)?);
        add("derive", self.derive(root, tools)?);
        add("copy", self.copy(root)?);
        add("change", self.change(root)?);
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
        let got = self
            .module
            .raw
            .read_value(self.session, key, value.expose_mut());
        let got = self.attempt("read", "CKA_VALUE", got)?;
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
            let got = self.attempt("wrap", way.name, got)?;
            if got.is_some_and(|length| length > 0) {
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
            if let Some(made) = self.attempt("derive", way.name, made)? {
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
            let copy = self.session.copy_object(root, &template);
            if let Some(copy) = self.attempt("copy", name, copy)? {
                let loosened = self.holds(copy, &loose)? && !self.holds(root, &loose)?;
                self.session.destroy_object(copy)?;
                if loosened {
                    push_new(&mut ways, name);
                }
            }
        }
        // Or in two steps.
        let copy = self.session.copy_object(root, &[Attribute::Token(false)]);
        if let Some(copy) = self.attempt("copy", "as it is", copy)? {
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
            let changed = self
                .session
                .update_attributes(key, std::slice::from_ref(&loose));
            let changed = self.attempt("change", name, changed)?;
            // Some modules say yes and do nothing.
            if changed.is_some() && self.holds(key, &loose)? {
                // Whether that worked is looked at, not believed.
                let back = self.session.update_attributes(key, &[strict]);
                attempt(back)?;
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
        let kind = attribute.attribute_type();
        let held = self.session.get_attributes(object, &[kind]);
        let held = self.attempt("look at", &kind.to_string(), held)?;
        Ok(held.is_some_and(|held| held.first() == Some(attribute)))
    }
}

fn push_new(ways: &mut Vec<String>, way: &str) {
    if !ways.iter().any(|known| known == way) {
        ways.push(way.to_owned());
    }
}
