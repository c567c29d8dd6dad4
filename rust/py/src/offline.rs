//! What needs no quorum: verification, encryption to a public key, encapsulation, and looking things up.

use evanesce_suite::{Error, Suite};
use evanesce_threshold::{Ed25519, Group, Suite as _, Taproot};
use evanesce_token::{Gate, formula, mpc};
use evanesce_wire::{FileIdentity, Identity};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use crate::error::{plain, raise};
use crate::secret::Secret;
use crate::token::{Kind, Token};

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(verify, m)?)?;
    m.add_function(wrap_pyfunction!(verify_under, m)?)?;
    m.add_function(wrap_pyfunction!(encrypt_to, m)?)?;
    m.add_function(wrap_pyfunction!(encrypt_under, m)?)?;
    m.add_function(wrap_pyfunction!(encapsulate, m)?)?;
    m.add_function(wrap_pyfunction!(suites, m)?)?;
    m.add_function(wrap_pyfunction!(parse_quorum, m)?)?;
    m.add_function(wrap_pyfunction!(quorum_splits, m)?)?;
    m.add_function(wrap_pyfunction!(key_ids, m)?)?;
    m.add_function(wrap_pyfunction!(create_identity, m)?)?;
    m.add_function(wrap_pyfunction!(show_identity, m)?)
}

/// A copy of the caller's bytes: they must not change while the lock is released.
pub fn bytes_of(py: Python<'_>, buffer: &PyBuffer<u8>) -> PyResult<Vec<u8>> {
    buffer.to_vec(py)
}

fn suite_error(e: Error) -> PyErr {
    match e {
        Error::InvalidSignature => plain(
            "invalid-signature",
            "the signature is not of this key over this message",
        ),
        Error::UnfitOperation { suite, action } => {
            plain("unfit-operation", format!("{suite} does not {action}"))
        }
        Error::Secret(e) => plain("memory", e),
        other => plain("bad-input", other),
    }
}

fn public_half<'t>(token: &'t Token, suite: &str) -> PyResult<(&'static dyn Suite, &'t [u8])> {
    let token = token.first("do this")?;
    let found = evanesce_suite::find(suite).zip(token.public.get(suite));
    found
        .map(|(suite, spki)| (suite, spki.as_slice()))
        .ok_or_else(|| {
            let has: Vec<&str> = token.public.keys().map(String::as_str).collect();
            let hint = format!(
                "its public keys are: {}",
                if has.is_empty() {
                    "none".into()
                } else {
                    has.join(", ")
                }
            );
            raise(
                "suite-not-in-token",
                format!("the token has no public key for {suite:?}"),
                hint,
                Vec::new(),
            )
        })
}

#[pyfunction]
fn verify(
    py: Python<'_>,
    token: &Token,
    suite: &str,
    message: PyBuffer<u8>,
    signature: PyBuffer<u8>,
) -> PyResult<()> {
    let (message, signature) = (bytes_of(py, &message)?, bytes_of(py, &signature)?);
    if let Kind::Second(token) = &token.0 {
        return verify_together(token, suite, &message, &signature);
    }
    let (suite, spki) = public_half(token, suite)?;
    py.detach(|| suite.verify(spki, &message, &signature))
        .map_err(suite_error)
}

/// Ed25519 (RFC 8032) and BIP-340 signatures of keys that are never put together.
fn verify_together(
    token: &mpc::Token,
    suite: &str,
    message: &[u8],
    signature: &[u8],
) -> PyResult<()> {
    if suite != token.body.header.suite {
        let message = format!("the token has no public key for {suite:?}");
        let hint = format!("its public keys are: {}", token.body.header.suite);
        return Err(raise("suite-not-in-token", message, hint, Vec::new()));
    }
    let (seats, vector) = (token.body.seats(), &token.body.vector);
    let good = <[u8; 64]>::try_from(signature).is_ok_and(|signature| match suite {
        Ed25519::NAME => Group::<Ed25519>::new(seats, vector)
            .is_ok_and(|group| group.verify(message, &signature)),
        _ => Group::<Taproot>::new(seats, vector)
            .is_ok_and(|group| group.verify(message, &signature)),
    });
    match good {
        true => Ok(()),
        false => Err(suite_error(Error::InvalidSignature)),
    }
}

#[pyfunction]
fn encrypt_to<'py>(
    py: Python<'py>,
    token: &Token,
    suite: &str,
    plaintext: PyBuffer<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (suite, spki) = public_half(token, suite)?;
    let plaintext = Zeroizing::new(bytes_of(py, &plaintext)?);
    let ciphertext = py
        .detach(|| suite.encrypt_to(spki, &plaintext))
        .map_err(suite_error)?;
    Ok(PyBytes::new(py, &ciphertext))
}

/// As `verify`, under a public key (SubjectPublicKeyInfo DER) that is no token's.
#[pyfunction]
fn verify_under(
    py: Python<'_>,
    spki: &[u8],
    suite: &str,
    message: PyBuffer<u8>,
    signature: PyBuffer<u8>,
) -> PyResult<()> {
    let suite = known(suite)?;
    let (message, signature) = (bytes_of(py, &message)?, bytes_of(py, &signature)?);
    py.detach(|| suite.verify(spki, &message, &signature))
        .map_err(suite_error)
}

/// As `encrypt_to`, to a public key that is no token's.
#[pyfunction]
fn encrypt_under<'py>(
    py: Python<'py>,
    spki: &[u8],
    suite: &str,
    plaintext: PyBuffer<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let suite = known(suite)?;
    let plaintext = Zeroizing::new(bytes_of(py, &plaintext)?);
    let ciphertext = py
        .detach(|| suite.encrypt_to(spki, &plaintext))
        .map_err(suite_error)?;
    Ok(PyBytes::new(py, &ciphertext))
}

fn known(suite: &str) -> PyResult<&'static dyn Suite> {
    evanesce_suite::find(suite)
        .ok_or_else(|| plain("bad-input", format!("there is no suite {suite:?}")))
}

#[pyfunction]
fn encapsulate<'py>(
    py: Python<'py>,
    token: &Token,
    suite: &str,
) -> PyResult<(Bound<'py, PyBytes>, Secret)> {
    let (suite, spki) = public_half(token, suite)?;
    let made = py.detach(|| evanesce_secret::on_crucible(|| suite.encapsulate(spki)));
    let (ciphertext, secret) = made.map_err(suite_error)?;
    Ok((PyBytes::new(py, &ciphertext), Secret::new(secret)))
}

#[pyfunction]
fn suites() -> Vec<(String, bool, bool, Vec<String>)> {
    let row = |suite: &&dyn Suite| {
        let facts = suite.facts();
        let operations = facts.operations.iter().map(|o| (*o).to_owned()).collect();
        (
            facts.name.to_owned(),
            facts.public,
            facts.imported_only,
            operations,
        )
    };
    evanesce_suite::all().iter().map(row).collect()
}

#[pyfunction]
fn parse_quorum(text: &str) -> PyResult<(String, Vec<String>)> {
    let gate = Gate::parse(text).map_err(|e| plain("malformed", e))?;
    Ok((
        gate.to_string(),
        gate.seats().into_iter().map(str::to_owned).collect(),
    ))
}

/// The ids of a public key (SubjectPublicKeyInfo DER): as an agent's, and as a caller's or approver's.
#[pyfunction]
fn key_ids<'py>(py: Python<'py>, spki: &[u8]) -> (Bound<'py, PyBytes>, Bound<'py, PyBytes>) {
    let ids = [formula::agent_id(spki), formula::caller_id(spki)];
    let [agent, caller] = ids.map(|id| PyBytes::new(py, &id));
    (agent, caller)
}

/// Whether two sufficient sets have no seat in common.
#[pyfunction]
fn quorum_splits(text: &str) -> PyResult<bool> {
    let gate = Gate::parse(text).map_err(|e| plain("malformed", e))?;
    Ok(gate.splits())
}

type IdentityRow<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

fn identity_row<'py>(py: Python<'py>, identity: &dyn Identity) -> IdentityRow<'py> {
    let (spki, agent, caller) = (identity.spki(), identity.agent_id(), identity.caller_id());
    (
        PyBytes::new(py, spki),
        PyBytes::new(py, &agent),
        PyBytes::new(py, &caller),
    )
}

#[pyfunction]
fn create_identity<'py>(py: Python<'py>, path: &str) -> PyResult<IdentityRow<'py>> {
    let identity = FileIdentity::create(path.as_ref()).map_err(|e| plain("identity", e))?;
    Ok(identity_row(py, &identity))
}

#[pyfunction]
fn show_identity<'py>(py: Python<'py>, path: &str) -> PyResult<IdentityRow<'py>> {
    let identity = FileIdentity::open(path.as_ref()).map_err(|e| plain("identity", e))?;
    Ok(identity_row(py, &identity))
}
