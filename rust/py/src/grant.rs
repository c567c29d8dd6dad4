//! Grants: signed with an identity that Python never sees, and read back verified.

use std::path::{Path, PathBuf};

use evanesce_wire::grant::{Grant, Must, PayloadBound, Revocation, Signed, chained};
use evanesce_wire::{FileIdentity, WireError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{hex, plain};

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(grant_sign, m)?)?;
    m.add_function(wrap_pyfunction!(grant_read, m)?)?;
    m.add_function(wrap_pyfunction!(grant_revoke, m)?)
}

/// (keys of the place, least, most, one of these texts): a range, or texts.
type BoundRow = (Vec<String>, Option<u64>, Option<u64>, Option<Vec<String>>);

fn identity(path: &Path) -> PyResult<FileIdentity> {
    FileIdentity::open(path).map_err(|e| plain("identity", e))
}

fn wrong(e: impl std::fmt::Display) -> PyErr {
    plain("grant-invalid", e)
}

#[pyfunction]
#[allow(clippy::too_many_arguments)] // the fields of one grant
#[pyo3(signature = (identity_file, token, delegate, actions, suites, bounds, count, not_before, expires, further, under=None))]
fn grant_sign<'py>(
    py: Python<'py>,
    identity_file: PathBuf,
    token: [u8; 32],
    delegate: [u8; 32],
    actions: Vec<String>,
    suites: Vec<String>,
    bounds: Vec<BoundRow>,
    count: Option<u64>,
    not_before: u64,
    expires: u64,
    further: bool,
    under: Option<Vec<u8>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let bound = |(at, min, max, among): BoundRow| {
        let must = match (min, max, among) {
            (Some(min), Some(max), None) => Must::Range { min, max },
            (None, None, Some(texts)) => Must::Among(texts),
            _ => return Err(plain("bad-input", "a bound is a range, or a list of texts")),
        };
        Ok(PayloadBound { at, must })
    };
    let bounds = bounds.into_iter().map(bound).collect::<PyResult<_>>()?;
    let signed = py.detach(|| {
        use evanesce_wire::Identity;
        let identity = identity(&identity_file)?;
        let mut nonce = [0; 16];
        evanesce_secret::random(&mut nonce);
        let parent = under
            .as_deref()
            .map(|bytes| Signed::decode(bytes).and_then(|signed| signed.verify()))
            .transpose()
            .map_err(wrong)?;
        let grant = Grant {
            token,
            grantor: identity.caller_id(),
            delegate,
            parent: parent.as_ref().map(|(_, id)| *id),
            further,
            actions,
            suites,
            bounds,
            count,
            not_before,
            expires,
            nonce,
        };
        // What nobody would take is not signed.
        Grant::decode(&grant.encode()).map_err(wrong)?;
        if let Some((parent, id)) = &parent {
            let own = evanesce_wire::grant::grant_id(&grant.encode());
            chained(&[(parent, id), (&grant, &own)]).map_err(wrong)?;
        }
        let signed = Signed::new(&grant, &identity).map_err(|e: WireError| plain("identity", e))?;
        Ok::<_, PyErr>(signed.encode())
    })?;
    Ok(PyBytes::new(py, &signed))
}

#[pyfunction]
fn grant_read(py: Python<'_>, chain: Vec<Vec<u8>>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let read = |bytes: &Vec<u8>| Signed::decode(bytes).and_then(|signed| signed.verify());
    let given = chain.iter().map(read).collect::<Result<Vec<_>, _>>();
    let given = given.map_err(wrong)?;
    let links: Vec<_> = given.iter().map(|(grant, id)| (grant, id)).collect();
    chained(&links).map_err(wrong)?;
    given
        .iter()
        .map(|(grant, id)| {
            let bound = |bound: &PayloadBound| -> BoundRow {
                let at = bound.at.clone();
                match &bound.must {
                    Must::Range { min, max } => (at, Some(*min), Some(*max), None),
                    Must::Among(texts) => (at, None, None, Some(texts.clone())),
                }
            };
            let dict = PyDict::new(py);
            dict.set_item("id", hex(id))?;
            dict.set_item("token", hex(&grant.token))?;
            dict.set_item("grantor", hex(&grant.grantor))?;
            dict.set_item("delegate", hex(&grant.delegate))?;
            dict.set_item("parent", grant.parent.as_ref().map(|id| hex(id)))?;
            dict.set_item("actions", &grant.actions)?;
            dict.set_item("suites", &grant.suites)?;
            dict.set_item("bounds", grant.bounds.iter().map(bound).collect::<Vec<_>>())?;
            dict.set_item("count", grant.count)?;
            dict.set_item("not_before", grant.not_before)?;
            dict.set_item("expires", grant.expires)?;
            dict.set_item("further", grant.further)?;
            Ok(dict)
        })
        .collect()
}

#[pyfunction]
fn grant_revoke<'py>(
    py: Python<'py>,
    identity_file: PathBuf,
    grant: Vec<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let revocation = py.detach(|| {
        let identity = identity(&identity_file)?;
        Revocation::new(&grant, &identity).map_err(|e| plain("identity", e))
    })?;
    Ok(PyBytes::new(py, &revocation.encode()))
}
