//! Policies and payloads, judged as an agent judges them, without one.

use std::time::{SystemTime, UNIX_EPOCH};

use evanesce_policy::{Compiled, Payload, Principal, Question, Uses};
use evanesce_token::Gate;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{hex, plain, raise};
use crate::offline::bytes_of;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Policy>()?;
    m.add_function(wrap_pyfunction!(canonical_payload, m)?)?;
    m.add_function(wrap_pyfunction!(policy_schema, m)?)
}

#[pyfunction]
fn canonical_payload<'py>(py: Python<'py>, payload: PyBuffer<u8>) -> PyResult<Bound<'py, PyBytes>> {
    let payload = bytes_of(py, &payload)?;
    let made = py.detach(|| evanesce_policy::canonicalise(&payload));
    made.map(|bytes| PyBytes::new(py, &bytes))
        .map_err(|e| plain("payload", e))
}

#[pyfunction]
fn policy_schema() -> &'static str {
    evanesce_policy::schema()
}

/// (as stated, what each agent permits, what that comes to), the last two where a quorum is given.
type LimitRow = (String, Option<u64>, Option<String>);
/// (name, id hex, (relying party, origins) of an authenticator's key or None).
type ApproverRow = (String, String, Option<(String, Vec<String>)>);

/// (label, "permit", "forbid" or "error", text).
type DecidingRow = (String, &'static str, String);

/// A policy that may go into a token, and what it would decide.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Policy {
    /// `None` where its length is zero.
    compiled: Option<Compiled>,
    warnings: Vec<String>,
}

#[pymethods]
impl Policy {
    #[new]
    fn new(py: Python<'_>, text: &str) -> PyResult<Self> {
        let hint = "Compare it with the published schema: `evanesce policy schema`.";
        let warnings = py
            .detach(|| evanesce_policy::check(text))
            .map_err(|e| raise("policy", e, hint, Vec::new()))?;
        let compiled = (!text.is_empty()).then(|| Compiled::new(text));
        Ok(Self { compiled, warnings })
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Whether some permit's scope admits this caller for an action by which the token is opened.
    fn could_open(&self, caller: &str, groups: Vec<String>) -> bool {
        evanesce_policy::could_open(self.compiled.as_ref(), &Principal::new(caller, &groups))
    }

    #[getter]
    fn payload(&self) -> Option<String> {
        self.compiled.as_ref()?.declared()
    }

    #[getter]
    fn delegable(&self) -> usize {
        self.compiled.as_ref().map_or(0, Compiled::delegable)
    }

    fn limits(&self, py: Python<'_>, quorum: Option<&str>) -> PyResult<Vec<LimitRow>> {
        let Some(policy) = &self.compiled else {
            return Ok(Vec::new());
        };
        let Some(quorum) = quorum else {
            let stated = policy.limits().iter();
            return Ok(stated
                .map(|limit| (limit.to_string(), None, None))
                .collect());
        };
        let quorum = Gate::parse(quorum).map_err(|e| plain("malformed", e))?;
        let bounds = py.detach(|| policy.bounds(&quorum));
        let hint = "Promise less, or a larger quorum: docs/limits.md.";
        let bounds = bounds.map_err(|e| raise("policy", e, hint, Vec::new()))?;
        let row = |bound: &evanesce_policy::Bound| {
            let said = evanesce_policy::explain_bound(bound, &quorum);
            (bound.limit.to_string(), Some(bound.most), Some(said))
        };
        Ok(bounds.iter().map(row).collect())
    }

    #[getter]
    fn approvers(&self) -> Option<Vec<ApproverRow>> {
        let named = self.compiled.as_ref()?.approvers()?.iter();
        let row = |one: &evanesce_policy::Approver| {
            let site = one.webauthn.as_ref();
            let site = site.map(|site| (site.id().to_owned(), site.origins().to_vec()));
            (one.name.clone(), hex(&one.id), site)
        };
        Some(named.map(row).collect())
    }

    #[getter]
    fn looks_at_approvals(&self) -> bool {
        self.compiled
            .as_ref()
            .is_some_and(Compiled::looks_at_approvals)
    }

    #[allow(clippy::too_many_arguments)] // the keywords of one Python call
    #[pyo3(signature = (action, caller, groups, key, suite="", input=None, now=None, minter=false, payload=None,
                        uses=None, approvals=Vec::new()))]
    fn decide(
        &self,
        py: Python<'_>,
        action: &str,
        caller: &str,
        groups: Vec<String>,
        key: &str,
        suite: &str,
        input: Option<[u8; 32]>,
        now: Option<u64>,
        minter: bool,
        payload: Option<PyBuffer<u8>>,
        uses: Option<(u64, u64)>,
        approvals: Vec<String>,
    ) -> PyResult<(bool, String, Vec<DecidingRow>)> {
        let (key_uses, caller_uses) = uses.unwrap_or_default();
        let uses = Uses {
            key: key_uses,
            caller: caller_uses,
        };
        if !evanesce_policy::is_action(action) {
            return Err(plain("bad-input", format!("{action:?} is no action")));
        }
        let payload = payload.map(|payload| bytes_of(py, &payload)).transpose()?;
        let payload = payload
            .map(|bytes| Payload::read(&bytes))
            .transpose()
            .map_err(|e| plain("payload", e))?;
        let clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        };
        let mut approvals: Vec<&str> = approvals.iter().map(String::as_str).collect();
        approvals.sort_unstable();
        approvals.dedup();
        let question = Question {
            action,
            suite,
            input: &input.unwrap_or_default(),
            key,
            now: now.unwrap_or_else(clock),
            minter,
            payload: payload.as_ref(),
            uses,
            approvals: &approvals,
        };
        let principal = Principal::new(caller, &groups);
        let (verdict, deciding) =
            py.detach(|| evanesce_policy::explain(self.compiled.as_ref(), &principal, question));
        let rows = deciding.into_iter();
        let rows = rows.map(|one| (one.label, one.effect, one.text)).collect();
        Ok((verdict.is_ok(), verdict.err().unwrap_or_default(), rows))
    }
}
