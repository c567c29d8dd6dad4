//! Agents run from Python: as this process, or embedded on a thread.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use evanesce_agent::{AgentError, Config, Handle};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{hex, raise};

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(element_create, m)?)?;
    m.add_function(wrap_pyfunction!(element_probe, m)?)?;
    m.add_function(wrap_pyfunction!(run_agent, m)?)
}

pub fn agent_error(e: AgentError) -> PyErr {
    raise(e.code(), e.to_string(), "", Vec::new())
}

fn load(folder: &Path) -> PyResult<Config> {
    Config::load(&folder.join("agent.toml")).map_err(agent_error)
}

fn about<'py>(
    py: Python<'py>,
    about: &evanesce_agent::ElementReport,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("kind", about.description.kind)?;
    dict.set_item("label", &about.description.label)?;
    dict.set_item("development", about.description.development)?;
    dict.set_item("weaknesses", &about.description.weaknesses)?;
    dict.set_item("notes", &about.description.notes)?;
    dict.set_item("epochs", &about.epochs)?;
    dict.set_item("agent_id", hex(&about.agent_id))?;
    Ok(dict)
}

#[pyfunction]
fn element_create(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let config = load(&folder)?;
    let report = py
        .detach(|| evanesce_agent::create(&config))
        .map_err(agent_error)?;
    about(py, &report)
}

#[pyfunction]
fn element_probe(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let config = load(&folder)?;
    let report = py
        .detach(|| evanesce_agent::probe(&config))
        .map_err(agent_error)?;
    about(py, &report)
}

#[pyfunction]
#[pyo3(signature = (folder, ready=None))]
fn run_agent(py: Python<'_>, folder: PathBuf, ready: Option<Py<PyAny>>) -> PyResult<()> {
    let config = load(&folder)?;
    let mut refused = None;
    let announce = |address: std::net::SocketAddr| {
        if let Some(ready) = &ready {
            refused = Python::attach(|py| ready.call1(py, (address.to_string(),))).err();
        }
    };
    py.detach(|| evanesce_agent::run(config, announce))
        .map_err(agent_error)?;
    refused.map_or(Ok(()), Err)
}

/// An agent inside this process, on a thread of its own.
#[pyclass(frozen, module = "evanesce._core")]
pub struct EmbeddedAgent {
    handle: Mutex<Option<Handle>>,
    address: String,
    agent_id: [u8; 32],
}

#[pymethods]
impl EmbeddedAgent {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        // Events would mix with the host program's own output.
        let config = Config {
            quiet: true,
            ..load(&folder)?
        };
        let handle = py
            .detach(|| evanesce_agent::spawn(config))
            .map_err(agent_error)?;
        let (address, agent_id) = (handle.address().to_string(), handle.id());
        Ok(Self {
            handle: Mutex::new(Some(handle)),
            address,
            agent_id,
        })
    }

    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    #[getter]
    fn agent_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.agent_id)
    }

    fn stop(&self, py: Python<'_>) {
        let handle = self
            .handle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            py.detach(|| handle.stop());
        }
    }
}
