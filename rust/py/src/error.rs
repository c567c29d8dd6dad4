//! Errors as Python sees them: a code, what happened, what to do next, and whose fault it is as data.

use evanesce_quorum::{Error, Fault};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

/// (seat or None, holder name, holder id hex, kind, detail).
pub type FaultRow = (Option<String>, String, String, String, String);

/// Raised by everything in this module.
#[pyclass(extends = PyException, frozen, module = "evanesce._core", skip_from_py_object)]
pub struct CoreError {
    #[pyo3(get)]
    code: String,
    #[pyo3(get)]
    message: String,
    #[pyo3(get)]
    hint: String,
    #[pyo3(get)]
    faults: Vec<FaultRow>,
}

#[pymethods]
impl CoreError {
    #[new]
    fn new(code: String, message: String, hint: String, faults: Vec<FaultRow>) -> Self {
        Self { code, message, hint, faults }
    }

    fn __str__(&self) -> String {
        if self.hint.is_empty() { self.message.clone() } else { format!("{}; {}", self.message, self.hint) }
    }
}

/// Faults as rows of public values.
pub fn rows(faults: &[Fault]) -> Vec<FaultRow> {
    let row = |f: &Fault| {
        (f.seat.clone(), f.holder.clone(), hex(&f.holder_id), f.kind.as_str().to_owned(), f.detail.clone())
    };
    faults.iter().map(row).collect()
}

/// The Python exception for an error of the quorum.
pub fn translate(e: Error) -> PyErr {
    raise(e.code.as_str(), e.message, e.hint, rows(&e.faults))
}

/// A Python exception of this module.
pub fn raise(code: &str, message: impl Into<String>, hint: impl Into<String>, faults: Vec<FaultRow>) -> PyErr {
    PyErr::new::<CoreError, _>((code.to_owned(), message.into(), hint.into(), faults))
}

/// One that needs no hint.
pub fn plain(code: &str, what: impl std::fmt::Display) -> PyErr {
    raise(code, what.to_string(), "", Vec::new())
}

/// A 32-byte id from hex.
pub fn id_from_hex(text: &str) -> PyResult<[u8; 32]> {
    let bad = || plain("bad-input", format!("{text:?} is not an id: 64 hexadecimal digits are expected"));
    if text.len() != 64 || !text.is_ascii() {
        return Err(bad());
    }
    let mut id = [0u8; 32];
    for (i, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
    }
    Ok(id)
}

/// Lower-case hex of a public value.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
