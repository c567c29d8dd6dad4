//! Roots in a token, as an [`Element`].

use super::Config;
use super::binding::Binding;
use super::fault::Fault;
use super::module::Module;
use super::root::{self, Origin};
use super::sessions::Attached;
use super::token::Connection;
use super::{printable, probe};
use crate::{Description, Element, ElementError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use evanesce_secret::{Secret, on_crucible};
use std::sync::OnceLock;

/// Roots inside a PKCS#11 token, probed.
pub struct Pkcs11Element {
    binding: Binding<Roots>,
}

/// The roots of one attachment and what the probe found.
struct Roots {
    /// Ascending by epoch, not empty.
    handles: Vec<(u64, ObjectHandle)>,
    weaknesses: Vec<String>,
    notes: Vec<String>,
}

impl Pkcs11Element {
    /// Makes a new random root for `epoch` inside the token, probes it with the others, and opens the element.
    /// If that fails, or the token is weak and that is not accepted, the new root is destroyed again.
    ///
    /// Errors as [`open`](Self::open); [`ElementError::Config`] if there is a root for `epoch` already.
    pub fn create_root(config: &Config, epoch: u64) -> Result<Self, ElementError> {
        Self::make_root(config, epoch, None)
    }

    pub(super) fn make_root(
        config: &Config,
        epoch: u64,
        imported: Option<&Secret<32>>,
    ) -> Result<Self, ElementError> {
        let origin = imported.map_or(Origin::Generated, Origin::Imported);
        // Held to the end, so that opening finds the token logged in.
        let connection = Connection::to(config)?;
        connection.run(|_, module, session| {
            root::make(module, session, &config.root_label, epoch, &origin)
        })?;
        Self::open(config).inspect_err(|_| {
            // The first error is what counts; a root that stays behind is found by the next attempt.
            let _ = super::destroy_root(config, epoch);
        })
    }

    /// Logs in, finds every root `<root_label>-<epoch>` and probes each.
    ///
    /// Errors: [`ElementError::Weak`] if something got through and that is not accepted,
    /// [`ElementError::Locked`] for the PIN, [`ElementError::Unavailable`] if the token is not there,
    /// [`ElementError::Config`] if the module does not start or there is no root.
    pub fn open(config: &Config) -> Result<Self, ElementError> {
        let (wanted, known) = (config.clone(), OnceLock::new());
        let find = move |attached: &Attached, module: &Module, session: &Session| {
            let roots = find_and_probe(&wanted, attached, module, session)?;
            refuse_new(known.get_or_init(|| roots.weaknesses.clone()), &roots)?;
            Ok(roots)
        };
        Ok(Self {
            binding: Binding::new(config, find)?,
        })
    }
}

impl Element for Pkcs11Element {
    fn description(&self) -> Description {
        let bound = self.binding.bound();
        Description {
            kind: "pkcs11",
            label: bound.label().to_owned(),
            development: false,
            weaknesses: bound.keys.weaknesses.clone(),
            notes: bound.keys.notes.clone(),
        }
    }

    fn epochs(&self) -> Vec<u64> {
        self.binding
            .bound()
            .keys
            .handles
            .iter()
            .map(|(epoch, _)| *epoch)
            .collect()
    }

    fn current(&self) -> u64 {
        self.binding
            .bound()
            .keys
            .handles
            .last()
            .expect("an element has a root")
            .0
    }

    fn evaluate(&self, epoch: u64, input: &[u8; 32], y: &mut [u8; 32]) -> Result<(), ElementError> {
        let result = on_crucible(|| {
            self.binding.run(|module, session, roots| {
                let place = roots
                    .handles
                    .binary_search_by_key(&epoch, |(epoch, _)| *epoch);
                let place = place.map_err(|_| ElementError::EpochNotHeld(epoch))?;
                root::hmac(module, session, roots.handles[place].1, input, y)
            })
        });
        if result.is_err() {
            *y = [0; 32];
        }
        result
    }
}

/// What was accepted is what was told at the start, in status and receipts. A token that comes back weaker waits for
/// the operator's word.
fn refuse_new(known: &[String], roots: &Roots) -> Result<(), ElementError> {
    let ways = roots.weaknesses.iter().filter(|way| !known.contains(way));
    let ways: Vec<&str> = ways.map(String::as_str).collect();
    match ways.is_empty() {
        true => Ok(()),
        false => Err(ElementError::Unavailable(format!(
            "the token is back and lets roots out or loosens them in ways it did not before ({}); restart to have \
             them told and accepted",
            ways.join("; ")
        ))),
    }
}

fn find_and_probe(
    config: &Config,
    attached: &Attached,
    module: &Module,
    session: &Session,
) -> Result<Roots, Fault> {
    let handles = root::find(module, session, &config.root_label)?;
    if handles.is_empty() {
        let label = printable(&config.root_label);
        let what = format!("the token holds no root: no secret key is labelled {label:?}-<epoch>");
        return Err(ElementError::Config(what).into());
    }
    let found = probe::roots(attached, module, session, &handles)?;
    if !found.weaknesses.is_empty() && !config.accept_weak_element {
        return Err(ElementError::Weak(found.weaknesses).into());
    }
    Ok(Roots {
        handles,
        weaknesses: found.weaknesses,
        notes: found.notes,
    })
}
