//! Logs as evidence: exported, read and examined, and witnesses' words on their checkpoints.

use std::path::PathBuf;

use evanesce_wire::exported::{Exported, Folder, LogFault, Since, Tree, is_exported};
use evanesce_wire::live::Live;
use evanesce_wire::merkle::leaf_hash;
use evanesce_wire::message::Entry;
use evanesce_wire::note::{self, Checkpoint, WitnessKey};
use evanesce_wire::{FileIdentity, Id, WireError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::agent::agent_error;
use crate::error::{hex, id_from_hex, plain};
use crate::receipt::{Receipt, as_dict};

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Log>()?;
    m.add_function(wrap_pyfunction!(log_export, m)?)?;
    m.add_function(wrap_pyfunction!(input_digest, m)?)?;
    m.add_function(wrap_pyfunction!(log_key, m)?)?;
    m.add_function(wrap_pyfunction!(checkpoint, m)?)?;
    m.add_function(wrap_pyfunction!(cosignature, m)?)?;
    m.add_function(wrap_pyfunction!(cosign, m)?)?;
    m.add_function(wrap_pyfunction!(witness_key, m)?)
}

fn fault(e: LogFault) -> PyErr {
    match e {
        LogFault::Io(..) => plain("io", e),
        LogFault::Wrong(_) => plain("log-invalid", e),
    }
}

fn note_error(e: WireError) -> PyErr {
    match e {
        WireError::Identity(_) => plain("identity", e),
        other => plain("log-invalid", other),
    }
}

/// Exports the log of an agent's folder.
#[pyfunction]
fn log_export(py: Python<'_>, folder: PathBuf, target: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let made = py
        .detach(|| evanesce_agent::export(&folder, &target))
        .map_err(agent_error)?;
    let dict = PyDict::new(py);
    dict.set_item("origin", &made.origin)?;
    dict.set_item("size", made.size)?;
    dict.set_item("root", hex(&made.root))?;
    dict.set_item("vkey", &made.vkey)?;
    dict.set_item("read", made.read)?;
    Ok(dict)
}

/// `TH("input", salt, action, suite, each input)`.
#[pyfunction]
fn input_digest<'py>(
    py: Python<'py>,
    salt: [u8; 32],
    action: &str,
    suite: &str,
    inputs: Vec<Vec<u8>>,
) -> Bound<'py, PyBytes> {
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let digest = evanesce_token::formula::input_digest(&salt, action, suite, &inputs);
    PyBytes::new(py, &digest)
}

/// A log's vkey as (origin, Ed25519 public key).
#[pyfunction]
fn log_key<'py>(py: Python<'py>, vkey: &str) -> PyResult<(String, Bound<'py, PyBytes>)> {
    let (origin, key) = note::parse_log_vkey(vkey).map_err(|e| plain("bad-input", e))?;
    Ok((origin, PyBytes::new(py, &key)))
}

/// A checkpoint as (origin, size, root).
#[pyfunction]
fn checkpoint<'py>(py: Python<'py>, text: &str) -> PyResult<(String, u64, Bound<'py, PyBytes>)> {
    let parsed = Checkpoint::parse(text).map_err(note_error)?;
    Ok((parsed.origin, parsed.size, PyBytes::new(py, &parsed.root)))
}

fn witness(vkey: &str) -> PyResult<WitnessKey> {
    WitnessKey::parse(vkey).map_err(|e| plain("bad-input", e))
}

/// The name of the witness of a vkey and when it cosigned, in Unix seconds; None where it did not.
#[pyfunction]
fn cosignature(text: &str, vkey: &str) -> PyResult<(String, Option<u64>)> {
    let parsed = Checkpoint::parse(text).map_err(note_error)?;
    let witness = witness(vkey)?;
    let time = parsed.cosigned_by(&witness);
    Ok((witness.name, time))
}

/// The checkpoint with a cosignature of the key in a file.
#[pyfunction]
fn cosign(py: Python<'_>, text: &str, name: &str, key: PathBuf, time: u64) -> PyResult<String> {
    let parsed = Checkpoint::parse(text).map_err(note_error)?;
    py.detach(|| parsed.cosign(name, &FileIdentity::open(&key)?, time))
        .map_err(note_error)
}

/// The vkey of the witness whose key is in a file; with `create`, made there first.
#[pyfunction]
fn witness_key(py: Python<'_>, name: &str, key: PathBuf, create: bool) -> PyResult<String> {
    py.detach(|| {
        let key = match create {
            true => FileIdentity::create(&key),
            false => FileIdentity::open(&key),
        };
        WitnessKey::of(name, &key?)
    })
    .map(|witness| witness.to_string())
    .map_err(|e| plain("identity", e))
}

enum Source {
    Exported(Box<Exported<Folder>>),
    Live(Box<Live>),
}

/// An agent's log, exported or in the agent's own folder; read only.
#[pyclass(frozen, module = "evanesce._core", unsendable)]
pub struct Log {
    source: Source,
    agent: Id,
    text: String,
}

/// Index, leaf hash and fields of an entry.
type Found<'py> = (u64, Bound<'py, PyBytes>, Bound<'py, PyDict>);

/// What `search` asks of an entry; what is None is not asked.
#[derive(Default)]
struct Wanted {
    token: Option<Id>,
    caller: Option<Id>,
    since: Option<u64>,
    until: Option<u64>,
    code: Option<String>,
    action: Option<String>,
    approver: Option<Id>,
}

impl Wanted {
    fn is(&self, entry: &Entry) -> bool {
        let action = |wanted: &String| {
            entry.verb == *wanted || entry.operations.iter().any(|op| op.action == *wanted)
        };
        self.token.is_none_or(|token| entry.token == token)
            && self.caller.is_none_or(|caller| entry.caller == caller)
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && self.code.as_ref().is_none_or(|code| entry.code == *code)
            && self.action.as_ref().is_none_or(action)
            && self.approver.is_none_or(|approver| {
                entry
                    .basis
                    .approvals
                    .iter()
                    .any(|one| one.approver == approver)
            })
    }
}

impl Log {
    fn tree(&self) -> &dyn Tree {
        match &self.source {
            Source::Exported(log) => &**log,
            Source::Live(log) => &**log,
        }
    }

    fn check(
        &self,
        mut each: impl FnMut(u64, &[u8], Entry) -> Result<(), LogFault>,
    ) -> Result<(), LogFault> {
        let each = |index: u64, bytes: &[u8]| {
            let entry = Entry::decode(bytes)
                .ok()
                .filter(|entry| entry.agent == self.agent)
                .ok_or_else(|| {
                    LogFault::Wrong(format!("entry {index} is not one of this agent"))
                })?;
            each(index, bytes, entry)
        };
        match &self.source {
            Source::Exported(log) => log.check(each),
            Source::Live(log) => log.check(each),
        }
    }
}

#[pymethods]
impl Log {
    #[staticmethod]
    fn open(folder: PathBuf) -> PyResult<Self> {
        let (source, text) = if is_exported(&folder) {
            let log = Exported::open(Folder(folder)).map_err(fault)?;
            let text = log.checkpoint().to_string();
            (Source::Exported(Box::new(log)), text)
        } else {
            let log = Live::open(&folder).map_err(fault)?;
            let text = log.checkpoint().to_string();
            (Source::Live(Box::new(log)), text)
        };
        let tree: &dyn Tree = match &source {
            Source::Exported(log) => &**log,
            Source::Live(log) => &**log,
        };
        let agent = tree.checkpoint().agent();
        let agent = agent.ok_or_else(|| plain("log-invalid", "it is no agent's log"))?;
        Ok(Self {
            source,
            agent,
            text,
        })
    }

    #[getter]
    fn agent<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.agent)
    }

    #[getter]
    fn size(&self) -> u64 {
        self.tree().checkpoint().size
    }

    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.tree().checkpoint().root)
    }

    #[getter]
    fn origin(&self) -> &str {
        &self.tree().checkpoint().origin
    }

    #[getter]
    fn checkpoint(&self) -> &str {
        &self.text
    }

    #[getter]
    fn exported(&self) -> bool {
        matches!(self.source, Source::Exported(_))
    }

    fn signed_by(&self, key: [u8; 32]) -> PyResult<()> {
        self.tree().signed_by(&key).map_err(fault)
    }

    fn since(&self, size: u64, root: [u8; 32]) -> PyResult<bool> {
        let earlier = Checkpoint::unsigned(self.origin(), size, &root);
        let since = self.tree().since(&earlier).map_err(fault)?;
        Ok(since == Since::Grown)
    }

    fn holds(&self, receipt: &Receipt) -> PyResult<bool> {
        let since = self.tree().holds(&receipt.0).map_err(fault)?;
        Ok(since == Since::Grown)
    }

    #[pyo3(signature = (token=None, caller=None, since=None, until=None, code=None, action=None, limit=None,
                        approver=None))]
    #[allow(clippy::too_many_arguments)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        token: Option<&str>,
        caller: Option<&str>,
        since: Option<u64>,
        until: Option<u64>,
        code: Option<String>,
        action: Option<String>,
        limit: Option<usize>,
        approver: Option<&str>,
    ) -> PyResult<(Vec<Found<'py>>, u64)> {
        let wanted = Wanted {
            token: token.map(id_from_hex).transpose()?,
            caller: caller.map(id_from_hex).transpose()?,
            since,
            until,
            code,
            action,
            approver: approver.map(id_from_hex).transpose()?,
        };
        let (mut found, mut count) = (Vec::new(), 0);
        self.check(|index, bytes, entry| {
            if wanted.is(&entry) {
                count += 1;
                if limit.is_none_or(|limit| found.len() < limit) {
                    found.push((index, leaf_hash(bytes), entry));
                }
            }
            Ok(())
        })
        .map_err(fault)?;
        let rows = found
            .iter()
            .map(|(index, leaf, entry)| Ok((*index, PyBytes::new(py, leaf), as_dict(py, entry)?)))
            .collect::<PyResult<_>>()?;
        Ok((rows, count))
    }
}
