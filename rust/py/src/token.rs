//! A decoded regen token, as an immutable Python object of public values.

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_token::armor;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::plain;

/// What can still be lost, and what suffices, for seats and for each grouping of them.
type Margins = (usize, Vec<(Option<usize>, Option<usize>)>);

#[pyclass(frozen, module = "evanesce._core", from_py_object)]
#[derive(Clone)]
pub struct Token(pub Arc<evanesce_token::Token>);

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
        let token =
            evanesce_token::Token::decode(bytes, evanesce_suite::catalogue()).map_err(malformed)?;
        Ok(Self(Arc::new(token)))
    }

    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.encode())
    }

    fn armor(&self) -> String {
        armor::encode(&self.0.encode())
    }

    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.id())
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body.header.key)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.body.header.name
    }

    #[getter]
    fn suites(&self) -> Vec<String> {
        self.0.body.header.suites.clone()
    }

    #[getter]
    fn quorum(&self) -> String {
        self.0.body.header.quorum.to_string()
    }

    /// Whether these seat numbers are a sufficient set.
    fn sufficient(&self, seats: Vec<usize>) -> bool {
        let gate = &self.0.body.header.quorum;
        let have: Vec<bool> = (0..gate.seat_count()).map(|n| seats.contains(&n)).collect();
        gate.satisfied(&have)
    }

    #[getter]
    fn policy(&self) -> &str {
        &self.0.body.header.policy
    }

    #[getter]
    fn created(&self) -> u64 {
        self.0.body.header.created
    }

    #[getter]
    fn expires(&self) -> Option<u64> {
        self.0.body.header.expires
    }

    #[getter]
    fn replaces<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.body.header.replaces.map(|id| PyBytes::new(py, &id))
    }

    #[getter]
    fn imported(&self) -> bool {
        self.0.sealed.is_some()
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> BTreeMap<String, Bound<'py, PyBytes>> {
        self.0
            .public
            .iter()
            .map(|(suite, spki)| (suite.clone(), PyBytes::new(py, spki)))
            .collect()
    }

    /// (losses of seats until nothing opens; for each grouping: groups lost until nothing opens, groups that suffice).
    fn margins(&self, live: Vec<bool>, groupings: Vec<Vec<usize>>) -> PyResult<Margins> {
        let quorum = &self.0.body.header.quorum;
        let seats = self.0.rows.len();
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
        let seats = self.0.body.header.quorum.seats();
        let row = |(seat, row): (&&str, &evanesce_token::Row)| {
            ((*seat).to_owned(), PyBytes::new(py, &row.holder), row.epoch)
        };
        seats.iter().zip(&self.0.rows).map(row).collect()
    }
}
