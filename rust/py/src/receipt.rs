//! One agent's word on one opening, and its verification when somebody asks for it.

use evanesce_wire::merkle::leaf_hash;
use evanesce_wire::message::{self, Entry};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::error::{hex, plain};

#[pyclass(frozen, module = "evanesce._core")]
pub struct Receipt(pub message::Receipt);

#[pymethods]
impl Receipt {
    #[staticmethod]
    fn decode(data: &[u8]) -> PyResult<Self> {
        message::Receipt::decode(data)
            .map(Self)
            .map_err(|e| plain("receipt-invalid", e))
    }

    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.encode())
    }

    #[getter]
    fn agent<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.agent)
    }

    #[getter]
    fn index(&self) -> u64 {
        self.0.index
    }

    #[getter]
    fn log_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.log_key)
    }

    #[getter]
    fn checkpoint(&self) -> &str {
        &self.0.checkpoint
    }

    #[getter]
    fn leaf<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &leaf_hash(&self.0.entry))
    }

    fn verify<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entry = py
            .detach(|| self.0.verify())
            .map_err(|e| plain("receipt-invalid", e))?;
        as_dict(py, &entry)
    }

    fn entry<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entry = Entry::decode(&self.0.entry).map_err(|e| plain("receipt-invalid", e))?;
        as_dict(py, &entry)
    }
}

pub fn as_dict<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyDict>> {
    let operations = PyList::empty(py);
    for operation in &entry.operations {
        let dict = PyDict::new(py);
        dict.set_item("action", &operation.action)?;
        dict.set_item("suite", &operation.suite)?;
        dict.set_item("input", hex(&operation.input))?;
        dict.set_item("request", hex(&operation.request))?;
        operations.append(dict)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("agent", hex(&entry.agent))?;
    dict.set_item("time", entry.time)?;
    dict.set_item("verb", &entry.verb)?;
    dict.set_item("token", hex(&entry.token))?;
    dict.set_item("key_name", &entry.key_name)?;
    dict.set_item("seats", &entry.seats)?;
    dict.set_item("caller", hex(&entry.caller))?;
    dict.set_item("caller_name", &entry.caller_name)?;
    dict.set_item("operations", operations)?;
    dict.set_item("code", &entry.code)?;
    dict.set_item("reason", &entry.reason)?;
    dict.set_item("element", &entry.element)?;
    dict.set_item("weaknesses", &entry.weaknesses)?;
    let approvals = PyList::empty(py);
    for spent in &entry.basis.approvals {
        let dict = PyDict::new(py);
        dict.set_item("id", hex(&spent.id))?;
        dict.set_item("name", &spent.name)?;
        dict.set_item("approver", hex(&spent.approver))?;
        approvals.append(dict)?;
    }
    let grants: Vec<String> = entry.basis.grants.iter().map(|id| hex(id)).collect();
    dict.set_item("grants", grants)?;
    dict.set_item("approvals", approvals)?;
    let uses = entry.basis.uses.as_ref().map(|counted| {
        let dict = PyDict::new(py);
        dict.set_item("of", hex(&counted.of))?;
        dict.set_item("key", counted.key)?;
        dict.set_item("caller", counted.caller)?;
        Ok::<_, PyErr>(dict)
    });
    dict.set_item("uses", uses.transpose()?)?;
    let reconstructor = entry.basis.reconstructor.as_ref().map(|id| hex(id));
    dict.set_item("reconstructor", reconstructor)?;
    Ok(dict)
}
