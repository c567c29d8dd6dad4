//! The quorum's caller: operations in, outcomes out, completions announced through one descriptor.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use evanesce_element::SecretSource;
use evanesce_quorum::{
    CheckRow, Done, Error, Healed, Holder, MintSpec, PolicyCheck, RenewalSpec, RepairSpec,
    ReshareSpec, Settings, ThresholdRepairSpec, ThresholdSpec,
};
use evanesce_suite::Output;
use evanesce_token::{Gate, mpc};
use evanesce_wire::message::Command;
use evanesce_wire::{FileIdentity, Identity};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::error::{FaultRow, hex, id_from_hex, plain, raise, rows, translate};
use crate::hsm::Hsm;
use crate::operation::{JobRow, Operation, Ready, Settled, operation};
use crate::planned::{settled as settle, threshold_kind};
use crate::receipt::Receipt;
use crate::secret::Secret;
use crate::token::{Kind, Token};

/// How long a blocking call hears no signal. Most calls are over by then.
const LISTEN: Duration = Duration::from_millis(50);

type Finished = Result<evanesce_quorum::Outcome, Error>;

/// (seat, holder name, holder id hex, "ok" or fault kind, detail, milliseconds).
type SeatTuple = (String, String, String, String, String, Option<f64>);
/// (seat, holder name, "retired" or fault kind, detail).
type RetiredTuple = (String, String, String, String);
/// (settled, rows (seat, holder name, `revoked`, `frozen`, `thawed` or fault kind, detail), other agents that have not
/// obeyed (name, fault kind, detail), receipts).
type OrderTuple = (
    bool,
    Vec<RetiredTuple>,
    Vec<(String, String, String)>,
    Vec<Receipt>,
);
/// (holder name, id hex, its status or None, why not).
type StatusTuple<'py> = (String, String, Option<Bound<'py, PyDict>>, String);

/// (token, receipts, warnings, faults, salt, why it was not opened yet).
type HealedTuple<'py> = (
    Token,
    Vec<Receipt>,
    Vec<String>,
    Vec<FaultRow>,
    Bound<'py, PyBytes>,
    Option<Bound<'py, PyAny>>,
);

/// (the renewal to be finished, token, receipts, warnings, salt).
type RenewedTuple<'py> = (
    Renewed,
    Token,
    Vec<Receipt>,
    Vec<String>,
    Bound<'py, PyBytes>,
);

/// (one row a seat, why it was not opened, receipts of the opening, the salt of its input digest).
type CheckTuple<'py> = (
    Vec<SeatTuple>,
    Option<Bound<'py, PyAny>>,
    Vec<Receipt>,
    Option<Bound<'py, PyBytes>>,
);

/// (dead, rows, receipts, salt).
type RetiredAnswer<'py> = (
    bool,
    Vec<RetiredTuple>,
    Vec<Receipt>,
    Option<Bound<'py, PyBytes>>,
);

fn healed_tuple(py: Python<'_>, healed: Healed) -> HealedTuple<'_> {
    (
        healed.token.into(),
        healed.receipts.into_iter().map(Receipt).collect(),
        healed.warnings,
        rows(&healed.faults),
        PyBytes::new(py, &healed.salt),
        healed.unproven.map(|e| error_value(py, e)),
    )
}

/// Judges a policy for the quorum that it is to be minted for.
pub fn checking(quorum: &Gate, seats: &BTreeMap<String, String>) -> PolicyCheck {
    let holder = |seat: &str| seats.get(seat).map_or(seat, String::as_str).to_owned();
    let holders: Vec<String> = quorum.seats().into_iter().map(holder).collect();
    let quorum = quorum.clone();
    Box::new(move |policy| evanesce_policy::check_for(policy, &quorum, &holders))
}

/// Finished operations, and the eventfd that says there are some.
struct Completions {
    finished: Mutex<Vec<(u64, Finished)>>,
    signal: OwnedFd,
}

impl Completions {
    fn new() -> PyResult<Self> {
        // SAFETY: eventfd takes no pointers; a descriptor it returns is ours alone.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(plain("internal", std::io::Error::last_os_error()));
        }
        // SAFETY: as above.
        Ok(Self {
            finished: Mutex::default(),
            signal: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Finished)>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, ticket: u64, result: Finished) {
        let mut finished = self.lock();
        finished.push((ticket, result));
        if finished.len() == 1 {
            drop(finished);
            // SAFETY: eight bytes from a live u64. The descriptor is non-blocking; a full counter still wakes.
            unsafe { libc::write(self.signal.as_raw_fd(), (&raw const ONE).cast(), 8) };
        }
    }

    fn take(&self) -> Vec<(u64, Finished)> {
        let mut count = 0u64;
        // SAFETY: eight bytes into a live u64.
        unsafe { libc::read(self.signal.as_raw_fd(), (&raw mut count).cast(), 8) };
        std::mem::take(&mut *self.lock())
    }
}

static ONE: u64 = 1;

/// What an operation brought.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Outcome {
    outputs: Vec<OutputValue>,
    receipts: Vec<evanesce_wire::message::Receipt>,
    faults: Vec<evanesce_quorum::Fault>,
    salts: Vec<[u8; 32]>,
}

enum OutputValue {
    Public(Vec<u8>),
    Secret(Secret),
    Verified,
}

impl From<evanesce_quorum::Outcome> for Outcome {
    fn from(outcome: evanesce_quorum::Outcome) -> Self {
        let value = |output| match output {
            Output::Public(bytes) => OutputValue::Public(bytes),
            Output::Secret(secret) => OutputValue::Secret(Secret::new(secret)),
            Output::Verified => OutputValue::Verified,
        };
        Self {
            outputs: outcome.outputs.into_iter().map(value).collect(),
            receipts: outcome.receipts,
            faults: outcome.faults,
            salts: outcome.salts,
        }
    }
}

#[pymethods]
impl Outcome {
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for output in &self.outputs {
            match output {
                OutputValue::Public(bytes) => list.append(PyBytes::new(py, bytes))?,
                OutputValue::Secret(secret) => list.append(secret.clone().into_pyobject(py)?)?,
                OutputValue::Verified => list.append(py.None())?,
            }
        }
        Ok(list)
    }

    #[getter]
    fn receipts(&self) -> Vec<Receipt> {
        self.receipts.iter().cloned().map(Receipt).collect()
    }

    #[getter]
    fn faults(&self) -> Vec<FaultRow> {
        rows(&self.faults)
    }

    #[getter]
    fn salts<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.salts
            .iter()
            .map(|salt| PyBytes::new(py, salt))
            .collect()
    }
}

/// A renewal between its two steps.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Renewed(Arc<evanesce_quorum::Renewed>);

/// Asks a quorum of agents, opens shares inside the crucible, operates, forgets.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Reconstructor {
    inner: evanesce_quorum::Reconstructor,
    caller: [u8; 32],
    names: BTreeMap<[u8; 32], String>,
    completions: Arc<Completions>,
}

#[pymethods]
impl Reconstructor {
    #[new]
    #[allow(clippy::too_many_arguments)] // the keywords of one Python call
    #[pyo3(signature = (identity, holders, deadline_ms=None, verify_before_release=false, service=None, grants=Vec::new(), runtime=None))]
    fn new(
        py: Python<'_>,
        identity: PathBuf,
        holders: Vec<(String, String, String, String, String)>,
        deadline_ms: Option<u64>,
        verify_before_release: bool,
        service: Option<(String, String, String, String, String)>,
        grants: Vec<Vec<u8>>,
        runtime: Option<PyRef<'_, Hsm>>,
    ) -> PyResult<Self> {
        let holder =
            |(name, id, address, site, vendor): (String, String, String, String, String)| {
                Ok(Holder {
                    name,
                    id: id_from_hex(&id)?,
                    address,
                    site,
                    vendor,
                })
            };
        let holders = holders
            .into_iter()
            .map(holder)
            .collect::<PyResult<Vec<_>>>()?;
        let service = service.map(holder).transpose()?;
        let names = holders.iter().map(|h| (h.id, h.name.clone())).collect();
        if deadline_ms == Some(0) {
            return Err(plain(
                "bad-input",
                "a deadline of 0 ms leaves no time to ask; give at least 1",
            ));
        }
        let mut settings = Settings {
            verify_before_release,
            grants,
            runtime: runtime.map(|hsm| hsm.runtime()),
            ..Settings::default()
        };
        // One that the caller gives bounds whatever it calls.
        if let Some(given) = deadline_ms.map(Duration::from_millis) {
            (settings.deadline, settings.mint_deadline) = (given, given);
        }
        py.detach(|| {
            let first = FileIdentity::open(&identity).map_err(|e| plain("identity", e))?;
            let caller = first.caller_id();
            // A forked child cannot see its parent's locked memory, so it reads the key again.
            let open =
                move || FileIdentity::open(&identity).map(|i| Arc::new(i) as Arc<dyn Identity>);
            let open = Box::new(open);
            let inner = match service {
                Some(service) => {
                    evanesce_quorum::Reconstructor::through(service, open, holders, settings)
                }
                None => evanesce_quorum::Reconstructor::new(open, holders, settings),
            };
            let inner = inner.map_err(translate)?;
            Ok(Self {
                inner,
                caller,
                names,
                completions: Arc::new(Completions::new()?),
            })
        })
    }

    #[getter]
    fn caller_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.caller)
    }

    /// What the reconstructor that works for this side says of itself.
    fn serving<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let serving = self.wait(py, |done| self.inner.serving(done))?;
        let dict = PyDict::new(py);
        dict.set_item("name", serving.name)?;
        dict.set_item("version", serving.version)?;
        dict.set_item("clock", serving.clock)?;
        dict.set_item("caller", serving.caller)?;
        dict.set_item("agents", serving.agents)?;
        dict.set_item("memory", serving.memory)?;
        dict.set_item("applied", serving.applied)?;
        dict.set_item("missing", serving.missing)?;
        Ok(dict)
    }

    #[pyo3(signature = (token, jobs, deadline_ms=None, settled=None))]
    fn run(
        &self,
        py: Python<'_>,
        token: &Token,
        jobs: Vec<JobRow>,
        deadline_ms: Option<u64>,
        settled: Option<Settled>,
    ) -> PyResult<Outcome> {
        let operation = operation(py, token, jobs, deadline_ms, settled)?;
        let outcome = self.wait(py, |done| self.begin(vec![(operation, done)]))?;
        Ok(outcome.into())
    }

    fn run_each<'py>(
        &self,
        py: Python<'py>,
        operations: Vec<Bound<'py, Operation>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let operations = operations
            .iter()
            .map(|operation| operation.get().take())
            .collect::<PyResult<Vec<_>>>()?;
        let count = operations.len();
        let (sender, receiver) = mpsc::channel();
        let batch = operations.into_iter().enumerate();
        let batch = batch.map(|(place, operation)| {
            let sender = sender.clone();
            let done: Done<evanesce_quorum::Outcome> = Box::new(move |result| {
                // Whoever was interrupted does not listen any more.
                let _ = sender.send((place, result));
            });
            (operation, done)
        });
        let batch = batch.collect();
        drop(sender);
        let mut finished = hear(py, receiver, || self.begin(batch), count)?;
        finished.sort_unstable_by_key(|(place, _)| *place);
        let results = finished.into_iter().map(|(_, result)| value(py, result));
        results.collect()
    }

    fn submit(&self, py: Python<'_>, operations: Vec<(u64, Bound<'_, Operation>)>) -> PyResult<()> {
        let mut batch = Vec::with_capacity(operations.len());
        for (ticket, operation) in operations {
            let completions = self.completions.clone();
            let done: Done<evanesce_quorum::Outcome> =
                Box::new(move |result| completions.push(ticket, result));
            batch.push((operation.get().take()?, done));
        }
        py.detach(|| self.begin(batch));
        Ok(())
    }

    fn fileno(&self) -> i32 {
        self.completions.signal.as_raw_fd()
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, Bound<'py, PyAny>)>> {
        let item = |(ticket, result)| Ok((ticket, value(py, result)?));
        self.completions.take().into_iter().map(item).collect()
    }

    #[allow(clippy::too_many_arguments)] // the keywords of one Python call
    #[pyo3(signature = (name, suites, quorum, seats, policy="", expires=None, replaces=None, import_from=None))]
    fn mint(
        &self,
        py: Python<'_>,
        name: &str,
        suites: Vec<String>,
        quorum: &str,
        seats: BTreeMap<String, String>,
        policy: &str,
        expires: Option<u64>,
        replaces: Option<Vec<u8>>,
        import_from: Option<(String, String)>,
    ) -> PyResult<(Token, Vec<Receipt>, Vec<String>)> {
        let quorum = Gate::parse(quorum).map_err(|e| plain("malformed", e))?;
        let replaces = replaces
            .map(|id| {
                <[u8; 32]>::try_from(id)
                    .map_err(|_| plain("bad-input", "replaces must be a 32-byte token id"))
            })
            .transpose()?;
        let imported = import_from
            .map(|(kind, place)| source(&kind, &place))
            .transpose()?;
        let imported = py
            .detach(|| imported.map(|source| source.read_verbatim()).transpose())
            .map_err(|e| {
                raise(
                    "bad-input",
                    format!("the key to import: {e}"),
                    "",
                    Vec::new(),
                )
            })?;
        let policy_check = checking(&quorum, &seats);
        let spec = MintSpec {
            name: name.to_owned(),
            suites,
            quorum,
            seats,
            policy: policy.to_owned(),
            expires,
            replaces,
            key: None,
            imported,
            policy_check,
        };
        let minted = self.wait(py, |done| self.inner.mint(spec, done))?;
        let receipts = minted.receipts.into_iter().map(Receipt).collect();
        Ok((minted.token.into(), receipts, minted.warnings))
    }

    #[allow(clippy::too_many_arguments)] // the keywords of one Python call
    #[pyo3(signature = (kind, name, suite, quorum, seats, policy="", expires=None, replaces=None))]
    fn create_threshold(
        &self,
        py: Python<'_>,
        kind: &str,
        name: &str,
        suite: &str,
        quorum: &str,
        seats: BTreeMap<String, String>,
        policy: &str,
        expires: Option<u64>,
        replaces: Option<[u8; 32]>,
    ) -> PyResult<(Token, Vec<Receipt>, Vec<String>)> {
        let quorum = Gate::parse(quorum).map_err(|e| plain("malformed", e))?;
        let kind = threshold_kind(kind)?;
        let spec = ThresholdSpec {
            kind,
            name: name.to_owned(),
            suite: suite.to_owned(),
            policy_check: checking(&quorum, &seats),
            quorum,
            seats,
            policy: policy.to_owned(),
            expires,
            replaces,
        };
        let made = self.wait(py, |done| self.inner.create_threshold(spec, done))?;
        let receipts = made.receipts.into_iter().map(Receipt).collect();
        let token = Token(Kind::Second(Arc::new(made.token)));
        Ok((token, receipts, made.warnings))
    }

    /// The first step: a token with new shares, which is to be made durable before the second.
    #[allow(clippy::too_many_arguments)] // the keywords of one Python call
    #[pyo3(signature = (token, kind=None, quorum=None, seats=BTreeMap::new(), policy=None, keep_expires=true, expires=None, header=None, settled=None))]
    fn renew<'py>(
        &self,
        py: Python<'py>,
        token: &Token,
        kind: Option<&str>,
        quorum: Option<&str>,
        seats: BTreeMap<String, String>,
        policy: Option<String>,
        keep_expires: bool,
        expires: Option<u64>,
        header: Option<&[u8]>,
        settled: Option<Settled>,
    ) -> PyResult<RenewedTuple<'py>> {
        let Kind::Second(old) = &token.0 else {
            let message =
                "a key that is put together is refreshed or reshared, not renewed this way";
            return Err(raise("unfit-operation", message, "", Vec::new()));
        };
        let header = header.map(mpc::Header::decode).transpose();
        let header = header.map_err(|e| plain("malformed", e))?;
        let quorum = quorum.map(Gate::parse).transpose();
        let quorum = quorum.map_err(|e| plain("malformed", e))?;
        let settled = settle(settled, None)?;
        let policy_check = checking(
            match (&header, &quorum) {
                (Some(header), _) => &header.quorum,
                (None, Some(quorum)) => quorum,
                (None, None) => token.quorum_gate(),
            },
            &seats,
        );
        let spec = RenewalSpec {
            token: old.clone(),
            kind: kind.map(threshold_kind).transpose()?,
            quorum,
            seats,
            policy,
            expires: (!keep_expires).then_some(expires),
            header,
            policy_check,
        };
        let renewed = self.wait(py, |done| self.inner.renew_settled(spec, settled, done))?;
        let new = Token(Kind::Second(renewed.token.clone()));
        let receipts = renewed.receipts.iter().cloned().map(Receipt).collect();
        let warnings = renewed.warnings.clone();
        let salt = PyBytes::new(py, &renewed.salt);
        Ok((Renewed(Arc::new(renewed)), new, receipts, warnings, salt))
    }

    /// The second: what was dealt is forgotten, and old shares that were kept are removed. How many, and whom it could not tell.
    fn finish_renewal(
        &self,
        py: Python<'_>,
        renewed: PyRef<'_, Renewed>,
    ) -> PyResult<(u64, Vec<FaultRow>)> {
        let renewed = renewed.0.clone();
        let end = self.wait(py, |done| self.inner.finish_renewal(renewed, done))?;
        Ok((end.removed, rows(&end.faults)))
    }

    #[allow(clippy::too_many_arguments)] // the keywords of one Python call
    #[pyo3(signature = (token, quorum=None, seats=BTreeMap::new(), policy=None, keep_expires=true, expires=None, header=None, settled=None))]
    fn reshare<'py>(
        &self,
        py: Python<'py>,
        token: &Token,
        quorum: Option<&str>,
        seats: BTreeMap<String, String>,
        policy: Option<String>,
        keep_expires: bool,
        expires: Option<u64>,
        header: Option<&[u8]>,
        settled: Option<Settled>,
    ) -> PyResult<HealedTuple<'py>> {
        let settled = settle(settled, header)?;
        let quorum = quorum.map(Gate::parse).transpose();
        let quorum = quorum.map_err(|e| plain("malformed", e))?;
        let policy_check = checking(
            match (&settled.header, &quorum) {
                (Some(header), _) => &header.quorum,
                (None, Some(quorum)) => quorum,
                (None, None) => token.quorum_gate(),
            },
            &seats,
        );
        let spec = ReshareSpec {
            token: token.first("be reshared this way")?.clone(),
            quorum,
            seats,
            policy,
            expires: (!keep_expires).then_some(expires),
            policy_check,
        };
        let healed = self.wait(py, |done| self.inner.reshare_settled(spec, settled, done))?;
        Ok(healed_tuple(py, healed))
    }

    #[pyo3(signature = (token, seat, holder, even_if_it_sits=false, settled=None))]
    fn repair<'py>(
        &self,
        py: Python<'py>,
        token: &Token,
        seat: String,
        holder: String,
        even_if_it_sits: bool,
        settled: Option<Settled>,
    ) -> PyResult<HealedTuple<'py>> {
        let settled = settle(settled, None)?;
        match &token.0 {
            Kind::First(token) => {
                let token = token.clone();
                let spec = RepairSpec {
                    token,
                    seat,
                    holder,
                    even_if_it_sits,
                };
                let healed =
                    self.wait(py, |done| self.inner.repair_settled(spec, settled, done))?;
                Ok(healed_tuple(py, healed))
            }
            Kind::Second(token) => {
                let token = token.clone();
                let spec = ThresholdRepairSpec {
                    token,
                    seat,
                    holder,
                };
                let repaired =
                    self.wait(py, |done| self.inner.repair_threshold(spec, settled, done))?;
                Ok((
                    Token(Kind::Second(Arc::new(repaired.token))),
                    repaired.receipts.into_iter().map(Receipt).collect(),
                    repaired.warnings,
                    rows(&repaired.faults),
                    PyBytes::new(py, &repaired.salt),
                    None,
                ))
            }
        }
    }

    #[pyo3(signature = (token, open=false, settled=None))]
    fn check<'py>(
        &self,
        py: Python<'py>,
        token: &Token,
        open: bool,
        settled: Option<Settled>,
    ) -> PyResult<CheckTuple<'py>> {
        let table = match &token.0 {
            Kind::First(token) => {
                let open = open.then(|| settle(settled, None)).transpose()?;
                let token = token.clone();
                self.wait(py, |done| self.inner.check_settled(token, open, done))?
            }
            Kind::Second(token) => {
                if open {
                    let message = "there is nothing to open: this key is never put together";
                    let hint = "Check without it: each seat proves that it has its share.";
                    return Err(raise("unfit-operation", message, hint, Vec::new()));
                }
                let token = token.clone();
                self.wait(py, |done| self.inner.check_threshold(token, done))?
            }
        };
        let failure = match table.opened {
            Some(Err(e)) => Some(error_value(py, e)),
            _ => None,
        };
        let row = |row: CheckRow| {
            let (word, detail) = match row.fault {
                None => ("ok".to_owned(), String::new()),
                Some(fault) => (fault.kind.as_str().to_owned(), fault.detail),
            };
            let took = row.latency.map(|microseconds| microseconds as f64 / 1e3);
            (
                row.seat,
                row.holder,
                hex(&row.holder_id),
                word,
                detail,
                took,
            )
        };
        Ok((
            table.rows.into_iter().map(row).collect(),
            failure,
            table.receipts.into_iter().map(Receipt).collect(),
            table.salt.map(|salt| PyBytes::new(py, &salt)),
        ))
    }

    #[pyo3(signature = (token, settled=None))]
    fn retire<'py>(
        &self,
        py: Python<'py>,
        token: &Token,
        settled: Option<Settled>,
    ) -> PyResult<RetiredAnswer<'py>> {
        let given = settled.is_some();
        let settled = settle(settled, None)?;
        let token = match &token.0 {
            Kind::First(token) => token.clone(),
            Kind::Second(_) if given => {
                let message = "a key that is never put together is ended by an order, which carries no approvals";
                let hint = "Retire it without: `evanesce key revoke`.";
                return Err(raise("unsupported", message, hint, Vec::new()));
            }
            // A share need not be had to end a key that is never put together: an order does.
            Kind::Second(token) => {
                let versions = vec![token.clone()];
                let order = |done| self.inner.order_threshold(versions, Command::Revoke, done);
                let ordered = self.wait(py, order)?;
                let seats = ordered
                    .seats
                    .into_iter()
                    .map(|(seat, holder, fault)| match fault {
                        None => (seat, holder, "retired".to_owned(), String::new()),
                        Some(fault) => (seat, holder, fault.kind.as_str().to_owned(), fault.detail),
                    });
                let receipts = ordered.receipts.into_iter().map(Receipt).collect();
                return Ok((ordered.settled, seats.collect(), receipts, None));
            }
        };
        let seats = token.body.header.quorum.seats();
        let named = |id: &[u8; 32]| self.names.get(id).cloned().unwrap_or_else(|| hex(&id[..8]));
        let holders: BTreeMap<String, String> = seats
            .iter()
            .zip(&token.rows)
            .map(|(seat, row)| ((*seat).to_owned(), named(&row.holder)))
            .collect();
        let retirement = self.wait(py, |done| self.inner.retire_settled(token, settled, done))?;
        let done = retirement.tombstoned.into_iter().map(|seat| {
            let holder = holders.get(&seat).cloned().unwrap_or_default();
            (seat, holder, "retired".to_owned(), String::new())
        });
        let missing = retirement.missing.into_iter().map(|fault| {
            (
                fault.seat.unwrap_or_default(),
                fault.holder,
                fault.kind.as_str().to_owned(),
                fault.detail,
            )
        });
        let rows = done.chain(missing).collect();
        Ok((
            retirement.dead,
            rows,
            retirement.receipts.into_iter().map(Receipt).collect(),
            Some(PyBytes::new(py, &retirement.salt)),
        ))
    }

    fn order(
        &self,
        py: Python<'_>,
        tokens: Vec<PyRef<'_, Token>>,
        command: &str,
    ) -> PyResult<OrderTuple> {
        let command = Command::parse(command)
            .ok_or_else(|| raise("bad-input", "no such command", "", Vec::new()))?;
        let done = match command {
            Command::Revoke => "revoked",
            Command::Freeze => "frozen",
            Command::Thaw => "thawed",
        };
        let ordered = self.ordered(py, &tokens, command)?;
        let seats = ordered.seats.into_iter().map(|(seat, holder, fault)| {
            let (verdict, detail) = match fault {
                None => (done.to_owned(), String::new()),
                Some(fault) => (fault.kind.as_str().to_owned(), fault.detail),
            };
            (seat, holder, verdict, detail)
        });
        let others = ordered.others.into_iter().map(|fault| {
            let kind = fault.kind.as_str().to_owned();
            (fault.holder, kind, fault.detail)
        });
        Ok((
            ordered.settled,
            seats.collect(),
            others.collect(),
            ordered.receipts.into_iter().map(Receipt).collect(),
        ))
    }

    fn revoke_grant(
        &self,
        py: Python<'_>,
        revocation: Vec<u8>,
    ) -> PyResult<Vec<(String, String, String)>> {
        let agents = self.wait(py, |done| self.inner.revoke_grant(revocation, done))?;
        let row = |agent: evanesce_quorum::RevokedAt| {
            let why = agent
                .fault
                .map(|fault| format!("{}: {}", fault.kind.as_str(), fault.detail));
            (
                agent.holder.name,
                hex(&agent.holder.id),
                why.unwrap_or_default(),
            )
        };
        Ok(agents.into_iter().map(row).collect())
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Vec<StatusTuple<'py>>> {
        let agents = self.wait(py, |done| self.inner.status(done))?;
        let row = |agent: evanesce_quorum::AgentStatus| {
            let (status, why) = match agent.answer {
                Ok(status) => {
                    let dict = status_dict(py, &status)?;
                    dict.set_item(
                        "milliseconds",
                        agent.latency.map(|microseconds| microseconds as f64 / 1e3),
                    )?;
                    dict.set_item("clock_offset_ms", agent.clock_offset)?;
                    (Some(dict), String::new())
                }
                Err(fault) => (None, format!("{}: {}", fault.kind.as_str(), fault.detail)),
            };
            Ok((agent.holder.name, hex(&agent.holder.id), status, why))
        };
        agents.into_iter().map(row).collect()
    }
}

impl Reconstructor {
    /// Begins operations, of either kind.
    fn begin(&self, batch: Vec<(Ready, Done<evanesce_quorum::Outcome>)>) {
        let mut regenerated = Vec::with_capacity(batch.len());
        for (ready, done) in batch {
            match ready {
                Ready::First(operation) => regenerated.push((operation, done)),
                Ready::Second(operation) => self.inner.sign_together(operation, done),
            }
        }
        if !regenerated.is_empty() {
            self.inner.submit_all(regenerated);
        }
    }

    fn ordered(
        &self,
        py: Python<'_>,
        tokens: &[PyRef<'_, Token>],
        command: Command,
    ) -> PyResult<evanesce_quorum::Ordered> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for token in tokens {
            match &token.0 {
                Kind::First(token) => first.push(token.clone()),
                Kind::Second(token) => second.push(token.clone()),
            }
        }
        match (first.is_empty(), second.is_empty()) {
            (_, true) => self.wait(py, |done| self.inner.order(first, command, done)),
            (true, false) => {
                self.wait(py, |done| self.inner.order_threshold(second, command, done))
            }
            (false, false) => Err(plain(
                "bad-input",
                "these are versions of more than one token",
            )),
        }
    }

    /// Starts something that answers once, and waits with the interpreter lock released.
    ///
    /// A signal that came meanwhile has its handler run; if that raises, as Ctrl-C does, the answer is given up.
    fn wait<T: Send + 'static>(
        &self,
        py: Python<'_>,
        start: impl FnOnce(Done<T>) + Send,
    ) -> PyResult<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let done = Box::new(move |result| {
            // Whoever was interrupted does not listen any more.
            let _ = sender.send(result);
        });
        let heard = hear(py, receiver, || start(done), 1)?;
        let answer = heard.into_iter().next();
        answer
            .ok_or_else(|| plain("internal", "the core stopped before it answered"))?
            .map_err(translate)
    }
}

/// Starts something, and waits with the interpreter lock released for `count` answers; for fewer where nobody is
/// left who could send one.
///
/// A signal that came meanwhile has its handler run; if that raises, as Ctrl-C does, the answers are given up.
fn hear<T: Send>(
    py: Python<'_>,
    mut receiver: mpsc::Receiver<T>,
    start: impl FnOnce() + Send,
    count: usize,
) -> PyResult<Vec<T>> {
    let mut heard = Vec::with_capacity(count);
    let listen = |receiver: mpsc::Receiver<T>, mut heard: Vec<T>| {
        let until = Instant::now() + LISTEN;
        while heard.len() < count {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) => heard.push(answer),
                Err(mpsc::RecvTimeoutError::Timeout) => return (true, receiver, heard),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        (false, receiver, heard)
    };
    let mut waits;
    (waits, receiver, heard) = py.detach(move || {
        start();
        listen(receiver, heard)
    });
    while waits {
        py.check_signals()?;
        (waits, receiver, heard) = py.detach(move || listen(receiver, heard));
    }
    Ok(heard)
}

/// An outcome, or the error in its place, as data: it may be one of many.
fn value(py: Python<'_>, result: Finished) -> PyResult<Bound<'_, PyAny>> {
    Ok(match result {
        Ok(outcome) => Bound::new(py, Outcome::from(outcome))?.into_any(),
        Err(e) => error_value(py, e),
    })
}

/// An error as data.
fn error_value(py: Python<'_>, e: Error) -> Bound<'_, PyAny> {
    translate(e).into_value(py).into_bound(py).into_any()
}

/// Where Rust reads a secret from.
pub fn source(kind: &str, place: &str) -> PyResult<SecretSource> {
    match kind {
        "file" => Ok(SecretSource::File(Path::new(place).to_owned())),
        "descriptor" => place
            .parse()
            .map(SecretSource::Descriptor)
            .map_err(|_| plain("bad-input", format!("{place:?} is no file descriptor"))),
        "terminal" => Ok(SecretSource::Terminal {
            prompt: place.to_owned(),
        }),
        other => Err(plain(
            "bad-input",
            format!("a secret is read from a file, descriptor or terminal, not {other:?}"),
        )),
    }
}

fn status_dict<'py>(
    py: Python<'py>,
    status: &evanesce_wire::message::Status,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &status.name)?;
    dict.set_item("agent", hex(&status.agent))?;
    dict.set_item("version", &status.version)?;
    dict.set_item("clock", status.clock)?;
    dict.set_item("element", &status.element)?;
    dict.set_item("development", status.development)?;
    dict.set_item("weaknesses", &status.weaknesses)?;
    dict.set_item("epochs", &status.epochs)?;
    dict.set_item("current", status.current)?;
    dict.set_item("entries", status.entries)?;
    dict.set_item("tombstones", status.tombstones)?;
    dict.set_item("frozen", status.frozen)?;
    dict.set_item("shares", status.shares)?;
    dict.set_item("peers", status.peers)?;
    dict.set_item("heard", status.heard)?;
    dict.set_item("standing", &status.standing)?;
    dict.set_item("commit", &status.commit)?;
    dict.set_item("memory", &status.memory)?;
    dict.set_item("caller", &status.caller)?;
    dict.set_item("roles", &status.roles)?;
    Ok(dict)
}
