//! The audit build's scanner and its planted leaks (feature `audit` only; never in a product build).
//!
//! Two functions for `tests/residue`. [`audit_scan`] looks for needles in all that a process maps readable, from
//! inside or outside, or in a file; [`audit_plant`] leaks one on purpose, so that the scan can be seen to find it.
//! Needles come masked and stay masked, so that the scanner is never what it finds.
//!
//! Does not: know what a needle is, or whether a place is one where it may be. That is for the caller to judge.

mod forms;
mod index;
mod plant;
mod scan;

use pyo3::prelude::*;

use crate::error::plain;
use index::Index;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(audit_scan, m)?)?;
    m.add_function(wrap_pyfunction!(audit_plant, m)?)
}

/// XORed over everything secret that the scanner is given, byte by byte, again and again.
type Mask = [u8; 8];

/// (needle's label, form, mapping or file, address or offset, bytes in a row).
type Hit = (String, &'static str, String, u64, u64);

/// Scans targets (`self`, a process id, or the path of a file) for masked needles. Returns, per target, what
/// was found, the bytes looked at, and why it could not be scanned, if so.
#[pyfunction]
fn audit_scan(
    py: Python<'_>,
    targets: Vec<String>,
    needles: Vec<(String, Vec<u8>)>,
    mask: Mask,
) -> Vec<(Vec<Hit>, u64, Option<String>)> {
    py.detach(|| {
        let index = Index::new(&needles, mask);
        targets
            .iter()
            .map(|target| {
                let result = if target == "self" || target.bytes().all(|b| b.is_ascii_digit()) {
                    scan::process(&index, target)
                } else {
                    scan::file(&index, target)
                };
                match result {
                    Ok((hits, bytes)) => (hits, bytes, None),
                    Err(e) => (Vec::new(), 0, Some(e.to_string())),
                }
            })
            .collect()
    })
}

/// Leaks a secret in the kind of place named, for as long as the process lives. Returns the address, 0 for places
/// that have none.
#[pyfunction]
fn audit_plant(kind: &str, masked: Vec<u8>, mask: Mask) -> PyResult<u64> {
    plant::plant(
        kind,
        &plant::Masked {
            bytes: masked,
            mask,
        },
    )
    .map_err(|e| plain("bad-input", e))
}
