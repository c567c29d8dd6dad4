//! Approvals: what is asked, as people read it; signing it; and believing who did.

use std::path::PathBuf;

use evanesce_approval::{Approval, Assertion, Statement};
use evanesce_policy::{Payload, RelyingParty};
use evanesce_wire::FileIdentity;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{hex, plain};
use crate::offline::bytes_of;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("APPROVAL_LIFE", evanesce_approval::LIFE)?;
    m.add_class::<Asked>()?;
    m.add_function(wrap_pyfunction!(approve, m)?)?;
    m.add_function(wrap_pyfunction!(approval_challenge, m)?)?;
    m.add_function(wrap_pyfunction!(approval_from_assertion, m)?)?;
    m.add_function(wrap_pyfunction!(read_approval, m)?)?;
    m.add_function(wrap_pyfunction!(verify_approval, m)?)
}

fn invalid(e: impl std::fmt::Display) -> PyErr {
    plain("approval-invalid", e)
}

/// An operation that people are asked to approve.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Asked {
    token: [u8; 32],
    key: String,
    action: String,
    suite: String,
    input: [u8; 32],
    caller: [u8; 32],
    payload: Option<Payload>,
}

impl Asked {
    fn asked(&self) -> evanesce_approval::Asked<'_> {
        evanesce_approval::Asked {
            token: &self.token,
            key: &self.key,
            action: &self.action,
            suite: &self.suite,
            input: &self.input,
            caller: &self.caller,
            payload: self.payload.as_ref(),
        }
    }
}

#[pymethods]
impl Asked {
    #[allow(clippy::too_many_arguments)] // the fields of a request
    #[new]
    #[pyo3(signature = (token, key, action, suite, input, caller, payload=None))]
    fn new(
        py: Python<'_>,
        token: [u8; 32],
        key: String,
        action: String,
        suite: String,
        input: [u8; 32],
        caller: [u8; 32],
        payload: Option<PyBuffer<u8>>,
    ) -> PyResult<Self> {
        let payload = payload.map(|payload| bytes_of(py, &payload)).transpose()?;
        let payload = payload.map(|bytes| Payload::read(&bytes)).transpose();
        Ok(Self {
            token,
            key,
            action,
            suite,
            input,
            caller,
            payload: payload.map_err(|e| plain("payload", e))?,
        })
    }

    #[pyo3(signature = (word=""))]
    fn text(&self, word: &str) -> PyResult<String> {
        self.asked().text(word).map_err(|e| plain("bad-input", e))
    }

    #[pyo3(signature = (expires, word=""))]
    fn statement<'py>(
        &self,
        py: Python<'py>,
        expires: u64,
        word: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut nonce = [0; 16];
        evanesce_secret::random(&mut nonce);
        let statement = Statement {
            text: self.text(word)?,
            input: self.input,
            nonce,
            suite: self.suite.clone(),
            token: self.token,
            action: self.action.clone(),
            caller: self.caller,
            expires,
        };
        Ok(PyBytes::new(py, &statement.encode()))
    }

    /// Raises unless `approval` is a good one of this; `site`: as in `read_approval`.
    #[pyo3(signature = (approval, now, site=None))]
    fn approved_by(
        &self,
        approval: &[u8],
        now: u64,
        site: Option<(String, Vec<String>)>,
    ) -> PyResult<()> {
        let site = site
            .map(|(id, origins)| RelyingParty::new(&id, origins))
            .transpose();
        let site = site.map_err(|e| plain("bad-input", e))?;
        let approval = Approval::decode(approval).map_err(invalid)?;
        let statement = approval.verify(site.as_ref()).map_err(invalid)?;
        self.asked()
            .is_approved_by(&statement, now)
            .map_err(invalid)
    }
}

/// The statement approved by the key of an identity file.
#[pyfunction]
fn approve<'py>(
    py: Python<'py>,
    statement: &[u8],
    identity: PathBuf,
) -> PyResult<Bound<'py, PyBytes>> {
    let statement = Statement::decode(statement).map_err(invalid)?;
    let approval = py.detach(|| statement.sign(&FileIdentity::open(&identity)?));
    let approval = approval.map_err(|e| plain("identity", e))?;
    Ok(PyBytes::new(py, &approval.encode()))
}

/// The 32 bytes that an authenticator is given as its challenge.
#[pyfunction]
fn approval_challenge<'py>(py: Python<'py>, statement: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let statement = Statement::decode(statement).map_err(invalid)?;
    Ok(PyBytes::new(py, &statement.challenge()))
}

/// The approval that an authenticator's assertion makes of a statement, verified for that site.
#[pyfunction]
fn approval_from_assertion<'py>(
    py: Python<'py>,
    statement: Vec<u8>,
    approver: Vec<u8>,
    signature: Vec<u8>,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    site: (String, Vec<String>),
) -> PyResult<Bound<'py, PyBytes>> {
    let site = RelyingParty::new(&site.0, site.1).map_err(|e| plain("bad-input", e))?;
    let webauthn = Some(Assertion {
        client_data,
        authenticator_data,
    });
    let approval = Approval {
        approver,
        webauthn,
        signature,
        statement,
    };
    approval.verify(Some(&site)).map_err(invalid)?;
    Ok(PyBytes::new(py, &approval.encode()))
}

/// Raises unless the approver's key signed it: an authenticator's for that site, any other by itself.
#[pyfunction]
#[pyo3(signature = (approval, site=None))]
fn verify_approval(approval: &[u8], site: Option<(String, Vec<String>)>) -> PyResult<()> {
    let site = site.map(|(id, origins)| RelyingParty::new(&id, origins));
    let site = site.transpose().map_err(|e| plain("bad-input", e))?;
    let approval = Approval::decode(approval).map_err(invalid)?;
    approval.verify(site.as_ref()).map(drop).map_err(invalid)
}

/// What an approval says, not verified.
#[pyfunction]
fn read_approval<'py>(py: Python<'py>, approval: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let approval = Approval::decode(approval).map_err(invalid)?;
    let statement = Statement::decode(&approval.statement).map_err(invalid)?;
    let dict = PyDict::new(py);
    dict.set_item("id", hex(&approval.id()))?;
    dict.set_item("approver", hex(&approval.approver_id()))?;
    dict.set_item("webauthn", approval.webauthn.is_some())?;
    dict.set_item("token", hex(&statement.token))?;
    dict.set_item("action", statement.action)?;
    dict.set_item("suite", statement.suite)?;
    dict.set_item("input", hex(&statement.input))?;
    dict.set_item("caller", hex(&statement.caller))?;
    dict.set_item("expires", statement.expires)?;
    dict.set_item("text", statement.text)?;
    Ok(dict)
}
