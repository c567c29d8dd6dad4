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
    m.add_function(wrap_pyfunction!(roll_agent, m)?)?;
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
#[pyo3(signature = (folder, tokens, destroy_old=None, progress=None))]
fn roll_agent(
    py: Python<'_>,
    folder: PathBuf,
    tokens: PathBuf,
    destroy_old: Option<u64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, PyDict>> {
    let config = load(&folder)?;
    let mut raised = None;
    // A signal's handler runs here; if it raises, as Ctrl-C does, the roll stops where the next call goes on.
    let mut told = |done: u64, all: u64| {
        let went_on = Python::attach(|py| {
            py.check_signals()?;
            match &progress {
                Some(progress) => progress.call1(py, (done, all)).map(drop),
                None => Ok(()),
            }
        });
        raised = went_on.err();
        raised.is_none()
    };
    let rolled = py.detach(|| evanesce_agent::roll(&config, &tokens, destroy_old, &mut told));
    if let Some(raised) = raised {
        return Err(raised);
    }
    let rolled = rolled.map_err(agent_error)?;
    let dict = PyDict::new(py);
    let problem = |p: &evanesce_agent::Problem| (p.file.display().to_string(), p.why.clone());
    let problems: Vec<(String, String)> = rolled.problems.iter().map(problem).collect();
    dict.set_item("agent", hex(&rolled.agent))?;
    dict.set_item("epoch", rolled.epoch)?;
    dict.set_item("epochs", rolled.epochs)?;
    dict.set_item("development", rolled.development)?;
    dict.set_item("tokens", rolled.tokens)?;
    dict.set_item("rerooted", rolled.rerooted)?;
    dict.set_item("proven", rolled.proven)?;
    dict.set_item("elsewhere", rolled.elsewhere)?;
    dict.set_item("retired", rolled.retired)?;
    dict.set_item("others", rolled.others)?;
    dict.set_item("problems", problems)?;
    dict.set_item("problem_count", rolled.problem_count)?;
    dict.set_item("finished", rolled.finished)?;
    dict.set_item("destroyed", rolled.destroyed)?;
    Ok(dict)
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
