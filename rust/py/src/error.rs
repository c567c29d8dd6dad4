//! Errors as Python sees them: a code, what happened, what to do next, and whose fault it is as data.

use evanesce_quorum::{Error, Fault};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

/// (seat or None, holder name, holder id hex, kind, detail).
pub type FaultRow = (Option<String>, String, String, String, String);

create_exception!(
    evanesce._core,
    CoreError,
    PyException,
    "Raised by everything in this module."
);

/// Faults as rows of public values.
pub fn rows(faults: &[Fault]) -> Vec<FaultRow> {
    let row = |f: &Fault| {
        (
            f.seat.clone(),
            f.holder.clone(),
            hex(&f.holder_id),
            f.kind.as_str().to_owned(),
            f.detail.clone(),
        )
    };
    faults.iter().map(row).collect()
}

/// The Python exception for an error of the quorum.
pub fn translate(e: Error) -> PyErr {
    raise(e.code.as_str(), e.message, e.hint, rows(&e.faults))
}

/// A Python exception of this module.
pub fn raise(
    code: &str,
    message: impl Into<String>,
    hint: impl Into<String>,
    faults: Vec<FaultRow>,
) -> PyErr {
    let (message, hint) = (message.into(), hint.into());
    let text = if hint.is_empty() {
        message.clone()
    } else {
        format!("{message}; {hint}")
    };
    Python::attach(|py| {
        let error = CoreError::new_err(text);
        let value = error.value(py);
        // Below Python 3.12 a stable-ABI module cannot give an exception fields of its own, so they are attributes.
        let set = || -> PyResult<()> {
            value.setattr("code", code)?;
            value.setattr("message", &message)?;
            value.setattr("hint", &hint)?;
            value.setattr("faults", faults)
        };
        match set() {
            Ok(()) => error,
            Err(failure) => failure,
        }
    })
}

/// One that needs no hint.
pub fn plain(code: &str, what: impl std::fmt::Display) -> PyErr {
    raise(code, what.to_string(), "", Vec::new())
}

/// A 32-byte id from hex.
pub fn id_from_hex(text: &str) -> PyResult<[u8; 32]> {
    let bad = || {
        plain(
            "bad-input",
            format!("{text:?} is not an id: 64 hexadecimal digits are expected"),
        )
    };
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
