//! What people are asked to approve of a key's healing: a new token's header settled before it is minted, and read again
//! by whoever is asked.

use std::collections::BTreeMap;

use evanesce_suite::catalogue;
use evanesce_token::{Gate, Header, formula};
use evanesce_wire::message::Evidence;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{hex, plain, raise};
use crate::operation::Settled;
use crate::reconstructor::checking;
use crate::token::Token;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(settle_header, m)?)?;
    m.add_function(wrap_pyfunction!(read_header, m)?)
}

/// Approvals, and the salt that they are about; `header` for a reshare.
pub fn settled(
    given: Option<Settled>,
    header: Option<&[u8]>,
) -> PyResult<evanesce_quorum::Settled> {
    let (approvals, salts) = given.unwrap_or_default();
    let header = header.map(|bytes| Header::decode(bytes, catalogue()));
    Ok(evanesce_quorum::Settled {
        salt: salts.first().copied(),
        evidence: Evidence {
            approvals,
            ..Evidence::default()
        },
        header: header.transpose().map_err(|e| plain("malformed", e))?,
    })
}

/// The header of a new token of the same key, its nonce drawn; `None` keeps what the token has.
#[allow(clippy::too_many_arguments)] // the keywords of one Python call
#[pyfunction]
#[pyo3(signature = (token, quorum, seats, policy, keep_expires, expires, created))]
fn settle_header<'py>(
    py: Python<'py>,
    token: &Token,
    quorum: Option<&str>,
    seats: BTreeMap<String, String>,
    policy: Option<String>,
    keep_expires: bool,
    expires: Option<u64>,
    created: u64,
) -> PyResult<(Bound<'py, PyBytes>, Vec<String>)> {
    let token = token.first("be reshared this way")?;
    let old = &token.body.header;
    let quorum = quorum.map(Gate::parse).transpose();
    let quorum = quorum.map_err(|e| plain("malformed", e))?;
    let mut header = Header {
        quorum: quorum.unwrap_or_else(|| old.quorum.clone()),
        policy: policy.unwrap_or_else(|| old.policy.clone()),
        expires: if keep_expires { old.expires } else { expires },
        created,
        replaces: Some(*token.id()),
        ..old.clone()
    };
    evanesce_secret::random(&mut header.nonce);
    header
        .validate(catalogue())
        .map_err(|e| plain("bad-input", e))?;
    let check = checking(&header.quorum, &seats);
    let warnings = py.detach(|| check(&header.policy)).map_err(|why| {
        let hint = "Compare it with the published schema: `evanesce policy schema`.";
        let message = format!("the policy cannot be enforced: {why}");
        raise("policy", message, hint, Vec::new())
    })?;
    Ok((PyBytes::new(py, &header.encode()), warnings))
}

/// What a header says, and the `deal` that is of it.
#[pyfunction]
fn read_header<'py>(py: Python<'py>, header: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let read = Header::decode(header, catalogue()).map_err(|e| plain("malformed", e))?;
    let dict = PyDict::new(py);
    dict.set_item("deal", PyBytes::new(py, &formula::deal(header)))?;
    dict.set_item("key", hex(&read.key))?;
    dict.set_item("name", &read.name)?;
    dict.set_item("suites", &read.suites)?;
    dict.set_item("quorum", read.quorum.to_string())?;
    dict.set_item("seats", read.quorum.seats())?;
    dict.set_item("policy", &read.policy)?;
    dict.set_item("created", read.created)?;
    dict.set_item("expires", read.expires)?;
    dict.set_item("replaces", read.replaces.map(|id| hex(&id)))?;
    Ok(dict)
}
