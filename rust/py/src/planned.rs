//! What people are asked to approve of a key's healing: a new token's header settled before it is minted, and read again
//! by whoever is asked.

use std::collections::BTreeMap;

use evanesce_suite::catalogue;
use evanesce_token::{Gate, Header, formula, mpc};
use evanesce_wire::message::Evidence;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{hex, plain, raise};
use crate::operation::Settled;
use crate::reconstructor::checking;
use crate::token::{Kind, Token};

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

/// What kind of threshold key that is.
pub fn threshold_kind(word: &str) -> PyResult<mpc::Kind> {
    mpc::Kind::of(word)
        .ok_or_else(|| plain("bad-input", format!("{word:?} is no kind of threshold key")))
}

/// The header of a new token of the same key, its nonce drawn; `None` keeps what the token has. `kind` is of a key that is never
/// put together.
#[allow(clippy::too_many_arguments)] // the keywords of one Python call
#[pyfunction]
#[pyo3(signature = (token, quorum, seats, policy, keep_expires, expires, created, kind=None))]
fn settle_header<'py>(
    py: Python<'py>,
    token: &Token,
    quorum: Option<&str>,
    seats: BTreeMap<String, String>,
    policy: Option<String>,
    keep_expires: bool,
    expires: Option<u64>,
    created: u64,
    kind: Option<&str>,
) -> PyResult<(Bound<'py, PyBytes>, Vec<String>)> {
    let quorum = quorum.map(Gate::parse).transpose();
    let quorum = quorum.map_err(|e| plain("malformed", e))?;
    if let Kind::Second(token) = &token.0 {
        let old = &token.body.header;
        let mut header = mpc::Header {
            kind: kind.map_or(Ok(old.kind), threshold_kind)?,
            quorum: quorum.unwrap_or_else(|| old.quorum.clone()),
            policy: policy.unwrap_or_else(|| old.policy.clone()),
            expires: if keep_expires { old.expires } else { expires },
            created,
            replaces: Some(*token.id()),
            ..old.clone()
        };
        evanesce_secret::random(&mut header.nonce);
        header.validate().map_err(|e| plain("bad-input", e))?;
        let warnings = checked(py, &header.quorum, &seats, &header.policy)?;
        return Ok((PyBytes::new(py, &header.encode()), warnings));
    }
    let token = token.first("be reshared this way")?;
    let old = &token.body.header;
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
    let warnings = checked(py, &header.quorum, &seats, &header.policy)?;
    Ok((PyBytes::new(py, &header.encode()), warnings))
}

fn checked(
    py: Python<'_>,
    quorum: &Gate,
    seats: &BTreeMap<String, String>,
    policy: &str,
) -> PyResult<Vec<String>> {
    let check = checking(quorum, seats);
    py.detach(|| check(policy)).map_err(|why| {
        let hint = "Compare it with the published schema: `evanesce policy schema`.";
        let message = format!("the policy cannot be enforced: {why}");
        raise("policy", message, hint, Vec::new())
    })
}

/// What a header says, and the `deal` that is of it.
#[pyfunction]
fn read_header<'py>(py: Python<'py>, header: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let (model, deal, read) = match mpc::Header::decode(header) {
        Ok(read) => {
            let deal = mpc::formula::deal(read.kind, header);
            let fields = Header {
                key: read.key,
                nonce: read.nonce,
                name: read.name,
                suites: vec![read.suite],
                quorum: read.quorum,
                policy: read.policy,
                created: read.created,
                expires: read.expires,
                replaces: read.replaces,
            };
            (read.kind.as_str(), deal, fields)
        }
        Err(_) => {
            let read = Header::decode(header, catalogue()).map_err(|e| plain("malformed", e))?;
            ("regen", formula::deal(header), read)
        }
    };
    let dict = PyDict::new(py);
    dict.set_item("deal", PyBytes::new(py, &deal))?;
    dict.set_item("model", model)?;
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
