//! A decoded regen token, as an immutable Python object of public values.

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_token::{Gate, armor, mpc};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{plain, raise};

/// What can still be lost, and what suffices, for seats and for each grouping of them.
type Margins = (usize, Vec<(Option<usize>, Option<usize>)>);

#[pyclass(frozen, module = "evanesce._core", from_py_object)]
#[derive(Clone)]
pub struct Token(pub Kind);

/// A token of either kind.
#[derive(Clone)]
pub enum Kind {
    /// Its key is regenerated as a whole, for one operation.
    First(Arc<evanesce_token::Token>),
    /// Its key is never put together.
    Second(Arc<mpc::Token>),
}

impl From<evanesce_token::Token> for Token {
    fn from(token: evanesce_token::Token) -> Self {
        Self(Kind::First(Arc::new(token)))
    }
}

impl Token {
    /// It, for what only the first kind does.
    pub fn first(&self, doing: &str) -> PyResult<&Arc<evanesce_token::Token>> {
        match &self.0 {
            Kind::First(token) => Ok(token),
            Kind::Second(token) => {
                let kind = token.body.header.kind.as_str();
                let message =
                    format!("a token of kind {kind} cannot {doing}: its key is never put together");
                let hint = "It signs; see docs/threshold-api.md.";
                Err(raise("unfit-operation", message, hint, Vec::new()))
            }
        }
    }

    pub(crate) fn quorum_gate(&self) -> &Gate {
        match &self.0 {
            Kind::First(token) => &token.body.header.quorum,
            Kind::Second(token) => &token.body.header.quorum,
        }
    }

    fn all_rows(&self) -> &[evanesce_token::Row] {
        match &self.0 {
            Kind::First(token) => &token.rows,
            Kind::Second(token) => &token.rows,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.0 {
            Kind::First(token) => token.encode(),
            Kind::Second(token) => token.encode(),
        }
    }
}

/// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), up to the key.
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The same of a point of secp256k1, compressed (RFC 5480), up to the point.
const SECP256K1: [u8; 23] = [
    0x30, 0x36, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x0a, 0x03, 0x22, 0x00,
];

/// The public key of a token of the second kind. BIP-340's is the point's x coordinate: its last 32 bytes.
fn spki(token: &mpc::Token) -> Vec<u8> {
    let point = &token.body.vector[0];
    match point.len() {
        32 => [&ED25519[..], point].concat(),
        _ => [&SECP256K1[..], point].concat(),
    }
}

#[pymethods]
impl Token {
    #[staticmethod]
    fn decode(data: &[u8]) -> PyResult<Self> {
        let malformed = |e: evanesce_token::Malformed| plain("malformed", e);
        // Armour begins with, or follows, text; a binary token begins with a CBOR map head.
        let binary = match std::str::from_utf8(data) {
            Ok(text) if text.contains("-----BEGIN") => {
                Some(armor::decode(text).map_err(malformed)?)
            }
            _ => None,
        };
        let bytes = binary.as_deref().unwrap_or(data);
        if let Ok(token) = mpc::Token::decode(bytes) {
            return Ok(Self(Kind::Second(Arc::new(token))));
        }
        let token =
            evanesce_token::Token::decode(bytes, evanesce_suite::catalogue()).map_err(malformed)?;
        Ok(token.into())
    }

    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes())
    }

    fn armor(&self) -> String {
        armor::encode(&self.bytes())
    }

    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(
            py,
            match &self.0 {
                Kind::First(token) => token.id(),
                Kind::Second(token) => token.id(),
            },
        )
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(
            py,
            match &self.0 {
                Kind::First(token) => &token.body.header.key,
                Kind::Second(token) => &token.body.header.key,
            },
        )
    }

    #[getter]
    fn name(&self) -> &str {
        match &self.0 {
            Kind::First(token) => &token.body.header.name,
            Kind::Second(token) => &token.body.header.name,
        }
    }

    #[getter]
    fn suites(&self) -> Vec<String> {
        match &self.0 {
            Kind::First(token) => token.body.header.suites.clone(),
            Kind::Second(token) => vec![token.body.header.suite.clone()],
        }
    }

    #[getter]
    fn quorum(&self) -> String {
        self.quorum_gate().to_string()
    }

    /// Whether these seat numbers are a sufficient set.
    fn sufficient(&self, seats: Vec<usize>) -> bool {
        let gate = self.quorum_gate();
        let have: Vec<bool> = (0..gate.seat_count()).map(|n| seats.contains(&n)).collect();
        gate.satisfied(&have)
    }

    #[getter]
    fn policy(&self) -> &str {
        match &self.0 {
            Kind::First(token) => &token.body.header.policy,
            Kind::Second(token) => &token.body.header.policy,
        }
    }

    #[getter]
    fn created(&self) -> u64 {
        match &self.0 {
            Kind::First(token) => token.body.header.created,
            Kind::Second(token) => token.body.header.created,
        }
    }

    #[getter]
    fn expires(&self) -> Option<u64> {
        match &self.0 {
            Kind::First(token) => token.body.header.expires,
            Kind::Second(token) => token.body.header.expires,
        }
    }

    #[getter]
    fn replaces<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let replaces = match &self.0 {
            Kind::First(token) => token.body.header.replaces,
            Kind::Second(token) => token.body.header.replaces,
        };
        replaces.map(|id| PyBytes::new(py, &id))
    }

    /// `regen`, or of the second kind `regen-mpc` or `mpc`.
    #[getter]
    fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::First(_) => "regen",
            Kind::Second(token) => token.body.header.kind.as_str(),
        }
    }

    #[getter]
    fn imported(&self) -> bool {
        matches!(&self.0, Kind::First(token) if token.sealed.is_some())
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> BTreeMap<String, Bound<'py, PyBytes>> {
        match &self.0 {
            Kind::First(token) => {
                let public = token.public.iter();
                public
                    .map(|(suite, spki)| (suite.clone(), PyBytes::new(py, spki)))
                    .collect()
            }
            Kind::Second(token) => {
                let suite = token.body.header.suite.clone();
                BTreeMap::from([(suite, PyBytes::new(py, &spki(token)))])
            }
        }
    }

    /// (losses of seats until nothing opens; for each grouping: groups lost until nothing opens, groups that suffice).
    fn margins(&self, live: Vec<bool>, groupings: Vec<Vec<usize>>) -> PyResult<Margins> {
        let quorum = self.quorum_gate();
        let seats = self.all_rows().len();
        let fits = |groups: &Vec<usize>| groups.len() == seats && groups.iter().all(|g| *g < seats);
        if live.len() != seats || !groupings.iter().all(fits) {
            return Err(plain("bad-input", "margins are of one place per seat"));
        }
        let group = |groups: Vec<usize>| {
            let (block, open) = (
                quorum.groups_to_block(&live, &groups),
                quorum.groups_to_open(&live, &groups),
            );
            (block, open)
        };
        let grouped = groupings.into_iter().map(group).collect();
        Ok((quorum.losses_to_block(&live), grouped))
    }

    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> Vec<(String, Bound<'py, PyBytes>, u64)> {
        let seats = self.quorum_gate().seats();
        let row = |(seat, row): (&&str, &evanesce_token::Row)| {
            ((*seat).to_owned(), PyBytes::new(py, &row.holder), row.epoch)
        };
        seats.iter().zip(self.all_rows()).map(row).collect()
    }
}
