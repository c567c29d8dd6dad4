//! Process hardening and what protects secrets here.

use evanesce_secret::Backing;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::plain;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(harden, m)?)?;
    m.add_function(wrap_pyfunction!(memory_report, m)?)
}

#[pyfunction]
#[pyo3(signature = (enabled=true))]
fn harden(enabled: bool) -> PyResult<()> {
    if enabled {
        evanesce_secret::harden().map_err(|e| plain("memory", e))
    } else {
        Ok(())
    }
}

#[pyfunction]
fn memory_report(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let report = evanesce_secret::report();
    let (backing, why) = match report.backing {
        Backing::MemfdSecret => ("memfd_secret", String::new()),
        Backing::LockedMemory { why } => ("locked memory", why),
        Backing::Audit => (
            "audit",
            "ordinary locked memory in a dumpable process, to be scanned".to_owned(),
        ),
    };
    let dict = PyDict::new(py);
    dict.set_item("backing", backing)?;
    dict.set_item("why", why)?;
    dict.set_item("arena_bytes", report.arena_bytes)?;
    dict.set_item("arena_free", report.arena_free)?;
    dict.set_item("unlocked_bytes", report.unlocked_bytes)?;
    dict.set_item("locked_limit", report.locked_limit)?;
    dict.set_item("undumpable", report.undumpable)?;
    dict.set_item("core_limit_zero", report.core_limit_zero)?;
    dict.set_item("crucible_threads", report.crucible_threads)?;
    dict.set_item("stack_bytes", report.stack_bytes)?;
    dict.set_item("spilled", report.spilled)?;
    dict.set_item("awslc_in_arena", report.awslc_in_arena)?;
    dict.set_item("audit", cfg!(feature = "audit"))?;
    Ok(dict)
}
