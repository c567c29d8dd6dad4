//! `evanesce._core`: the boundary between the Python package and the Rust rooms.
//!
//! Thin on purpose: check lengths, release the interpreter lock, call, translate the error. Nothing here
//! makes a Python object of a secret; secret results leave as [`secret::Secret`] handles.

mod agent;
mod approval;
#[cfg(feature = "audit")]
mod audit;
mod error;
mod evidence;
mod grant;
mod hsm;
mod memory;
mod offline;
mod operation;
mod planned;
mod policy;
mod receipt;
mod reconstructor;
mod secret;
mod token;

use pyo3::prelude::*;

/// On crucible threads, Rust's own allocations come from locked memory too, and are wiped when freed.
#[global_allocator]
static ALLOCATOR: evanesce_secret::CrucibleAlloc = evanesce_secret::CrucibleAlloc;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("CoreError", m.py().get_type::<error::CoreError>())?;
    m.add_class::<secret::Secret>()?;
    m.add_class::<token::Token>()?;
    m.add_class::<receipt::Receipt>()?;
    m.add_class::<operation::Operation>()?;
    m.add_class::<reconstructor::Outcome>()?;
    m.add_class::<reconstructor::Renewed>()?;
    m.add_class::<reconstructor::Reconstructor>()?;
    m.add_class::<agent::EmbeddedAgent>()?;
    offline::register(m)?;
    policy::register(m)?;
    approval::register(m)?;
    planned::register(m)?;
    agent::register(m)?;
    evidence::register(m)?;
    grant::register(m)?;
    hsm::register(m)?;
    #[cfg(feature = "audit")]
    audit::register(m)?;
    memory::register(m)
}
