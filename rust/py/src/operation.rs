//! What a caller asks for: checked and copied when it is made, so that nothing of it can change, or turn out to
//! be of the wrong type, once it has joined others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evanesce_quorum::{Job, OwnedInput, ThresholdOperation};
use evanesce_wire::message::Evidence;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use crate::error::plain;
use crate::offline::bytes_of;
use crate::token::{Kind, Token};

/// (suite, action, main input, second input, length).
pub type JobRow = (String, String, PyBuffer<u8>, PyBuffer<u8>, usize);

/// What was settled before an operation that people had to approve: their approvals, and a salt for each job.
pub type Settled = (Vec<Vec<u8>>, Vec<[u8; 32]>);

/// Jobs under one opening, to be submitted once.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Operation(Mutex<Option<Ready>>);

/// What is to be submitted.
pub enum Ready {
    /// For a key that is regenerated as a whole.
    First(evanesce_quorum::Operation),
    /// For one that is never put together.
    Second(ThresholdOperation),
}

#[pymethods]
impl Operation {
    #[new]
    #[pyo3(signature = (token, jobs, deadline_ms=None, settled=None))]
    fn new(
        py: Python<'_>,
        token: &Token,
        jobs: Vec<JobRow>,
        deadline_ms: Option<u64>,
        settled: Option<Settled>,
    ) -> PyResult<Self> {
        let operation = operation(py, token, jobs, deadline_ms, settled)?;
        Ok(Self(Mutex::new(Some(operation))))
    }
}

impl Operation {
    /// What is to be submitted. It can be had once: it holds the only copy of what the caller passed.
    pub fn take(&self) -> PyResult<Ready> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.take()
            .ok_or_else(|| plain("internal", "this operation was submitted before"))
    }
}

/// The jobs of one opening, copied from the caller's buffers.
pub fn operation(
    py: Python<'_>,
    token: &Token,
    jobs: Vec<JobRow>,
    deadline_ms: Option<u64>,
    settled: Option<Settled>,
) -> PyResult<Ready> {
    let jobs = jobs.into_iter().map(|row| job(py, row));
    let mut jobs = jobs.collect::<PyResult<Vec<_>>>()?;
    let (approvals, salts) = settled.unwrap_or_default();
    for (job, salt) in jobs.iter_mut().zip(salts) {
        job.salt = Some(salt);
    }
    let deadline = deadline_ms.map(Duration::from_millis);
    let evidence = Evidence {
        approvals,
        ..Evidence::default()
    };
    Ok(match &token.0 {
        Kind::First(token) => Ready::First(evanesce_quorum::Operation {
            deadline,
            evidence,
            ..evanesce_quorum::Operation::new(token.clone(), jobs)
        }),
        Kind::Second(token) => Ready::Second(ThresholdOperation {
            token: token.clone(),
            jobs,
            deadline,
            evidence,
        }),
    })
}

fn job(py: Python<'_>, (suite, action, first, second, length): JobRow) -> PyResult<Job> {
    let (first, second) = (bytes_of(py, &first)?, bytes_of(py, &second)?);
    let input = match action.as_str() {
        "sign" => OwnedInput::Sign { message: first },
        "mac" => OwnedInput::Mac { message: first },
        // Not actions: how the agents are asked for one.
        "sign-payload" => OwnedInput::SignPayload { payload: first },
        "mac-payload" => OwnedInput::MacPayload { payload: first },
        "verify-mac" => OwnedInput::VerifyMac {
            message: first,
            mac: second,
        },
        "encrypt" => OwnedInput::Encrypt {
            plaintext: first,
            aad: second,
        },
        "decrypt" => OwnedInput::Decrypt {
            ciphertext: first,
            aad: second,
        },
        "derive" => OwnedInput::Derive {
            context: second,
            length,
        },
        "agree" => OwnedInput::Agree { peer: first },
        "decapsulate" => OwnedInput::Decapsulate { ciphertext: first },
        other => {
            return Err(plain(
                "unfit-operation",
                format!("{other:?} is no operation of a key"),
            ));
        }
    };
    Ok(Job::new(suite, input))
}
