//! Keys in PKCS#11 tokens: made, used and destroyed there (docs/custody.md).
//!
//! PINs are read where Rust can read them; decrypted data leaves as a [`Secret`] handle.

use evanesce_element::ElementError;
use evanesce_element::custodians::{self, Component, CustodianError, Split};
use evanesce_element::pkcs11::{Config, Key, KeyError, Keys, Kind, Leaves, Use, Used, Wrapped};
use evanesce_quorum::runtime::{self, Refusal, Runtime};
use evanesce_secret::{SecretVec, ct_eq, on_crucible};
use evanesce_suite::{Input, Material, Output, Suite, pem};
use evanesce_token::hash::th;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{plain, raise};
use crate::offline::bytes_of;
use crate::operation::JobRow;
use crate::reconstructor::source;
use crate::secret::Secret;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Hsm>()?;
    m.add_class::<HsmKey>()?;
    m.add_class::<HsmWork>()?;
    m.add_function(wrap_pyfunction!(hsm_kinds, m)?)?;
    m.add_function(wrap_pyfunction!(hand_over, m)?)?;
    m.add_function(wrap_pyfunction!(create_custodian, m)?)
}

/// (kind, the suites that it may serve).
#[pyfunction]
fn hsm_kinds() -> Vec<(&'static str, Vec<&'static str>)> {
    Kind::ALL
        .iter()
        .map(|kind| (kind.name(), kind.suites().to_vec()))
        .collect()
}

pub(crate) fn error(e: KeyError) -> PyErr {
    let code = match &e {
        KeyError::Unknown(_) => "not-found",
        KeyError::Exists(_) => "exists",
        KeyError::Unsupported(_) => "unsupported",
        KeyError::Input(_) => "bad-input",
        KeyError::Decryption => "decryption-failed",
        KeyError::Element(ElementError::Config(_)) => "config",
        KeyError::Element(_) => "element",
    };
    plain(code, e)
}

pub(crate) fn kind(name: &str) -> PyResult<Kind> {
    Kind::named(name).ok_or_else(|| {
        let all: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        raise(
            "bad-input",
            format!("there is no kind of key {name:?}"),
            format!("Choose among {}.", all.join(", ")),
            Vec::new(),
        )
    })
}

/// One token of one module, logged in to.
#[pyclass(frozen, module = "evanesce._core")]
pub struct Hsm(Arc<Keys>);

#[pymethods]
impl Hsm {
    #[new]
    #[pyo3(signature = (module, token=None, slot=None, pin=None, init_args=None, sessions=0))]
    fn new(
        py: Python<'_>,
        module: PathBuf,
        token: Option<String>,
        slot: Option<u64>,
        pin: Option<(String, String)>,
        init_args: Option<String>,
        sessions: usize,
    ) -> PyResult<Self> {
        let pin = pin.map(|(kind, place)| source(&kind, &place)).transpose()?;
        let config = Config {
            module,
            token_label: token,
            slot,
            pin,
            root_label: "evanesce-root".to_owned(),
            accept_weak_element: false,
            init_args,
            sessions,
        };
        let keys = py.detach(|| Keys::open(&config)).map_err(error)?;
        Ok(Self(Arc::new(keys)))
    }

    #[getter]
    fn token(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.0.token()).map_err(error)
    }

    #[pyo3(signature = (kind, label, for_backup=false))]
    fn generate(
        &self,
        py: Python<'_>,
        kind: &str,
        label: &str,
        for_backup: bool,
    ) -> PyResult<HsmKey> {
        let kind = self::kind(kind)?;
        let made = py.detach(|| match for_backup {
            true => self.0.generate_for_backup(kind, label),
            false => self.0.generate(kind, label),
        });
        made.map(HsmKey::new).map_err(error)
    }

    /// Makes a KEK, splits it among custodians and wraps the key under it; without a quorum one that is put together in a token
    /// alone, by all of them.
    fn back_up<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        quorum: Option<&str>,
        custodians: BTreeMap<String, Vec<u8>>,
        officer: Option<(String, String)>,
    ) -> PyResult<BackupRow<'py>> {
        let officer = officer
            .map(|(kind, place)| source(&kind, &place))
            .transpose()?;
        let (wrapped, split) = py.detach(|| -> PyResult<_> {
            let key = self.0.key(label).map_err(error)?;
            let context = context(label, key.kind(), key.public());
            let (kek, split) = match quorum {
                Some(quorum) => custodians::split(quorum, &custodians, &context),
                None => custodians::split_joint(&custodians, &context),
            }
            .map_err(custodian_error)?;
            let wrapped = self
                .0
                .back_up(label, &kek, officer.as_ref())
                .map_err(error)?;
            Ok((wrapped, split))
        })?;
        let components = split.components.iter().map(|component| {
            (
                component.name.clone(),
                PyBytes::new(py, &component.sealed),
                PyBytes::new(py, &component.check),
            )
        });
        Ok((
            wrapped.kind.name(),
            wrapped.public.map(|spki| PyBytes::new(py, &spki)),
            PyBytes::new(py, &wrapped.bytes),
            split.quorum,
            components.collect(),
            PyBytes::new(py, &split.check),
        ))
    }

    /// Assembles the KEK from custodians' key files and unwraps the key into this token. `from_`: its label in the backup.
    #[allow(clippy::too_many_arguments)] // a backup's parts
    fn restore(
        &self,
        py: Python<'_>,
        label: &str,
        from_: &str,
        kind: &str,
        public: Option<Vec<u8>>,
        wrapped: Vec<u8>,
        quorum: String,
        components: Vec<ComponentRow>,
        check: [u8; 3],
        key_files: BTreeMap<String, PathBuf>,
        for_backup: bool,
    ) -> PyResult<HsmKey> {
        let kind = self::kind(kind)?;
        let split = split_of(quorum, components, check);
        let wrapped = Wrapped {
            kind,
            public,
            bytes: wrapped,
        };
        py.detach(|| {
            let context = context(from_, kind, wrapped.public.as_deref());
            let kek =
                custodians::assemble(&split, &key_files, &context).map_err(custodian_error)?;
            self.take(label, &wrapped, &kek, for_backup)
        })
    }

    fn make_transport<'py>(&self, py: Python<'py>, label: &str) -> PyResult<Bound<'py, PyBytes>> {
        let spki = py.detach(|| self.0.make_transport(label)).map_err(error)?;
        Ok(PyBytes::new(py, &spki))
    }

    /// Found by trying, with components of the moment.
    fn joint_weaknesses(&self, py: Python<'_>, transport: &str) -> PyResult<Vec<String>> {
        py.detach(|| self.0.joint_weaknesses(transport))
            .map_err(error)
    }

    /// Unwraps the key in this token, under the KEK of components that were sealed to its transport key.
    #[allow(clippy::too_many_arguments)] // a backup's parts
    fn restore_joint(
        &self,
        py: Python<'_>,
        label: &str,
        from_: &str,
        kind: &str,
        public: Option<Vec<u8>>,
        wrapped: Vec<u8>,
        transport: &str,
        components: Vec<Vec<u8>>,
        for_backup: bool,
    ) -> PyResult<HsmKey> {
        let wrapped = Wrapped {
            kind: self::kind(kind)?,
            public,
            bytes: wrapped,
        };
        py.detach(|| {
            let context = context(from_, wrapped.kind, wrapped.public.as_deref());
            let restored = self.0.restore_joint(
                label,
                &wrapped,
                transport,
                &components,
                &context,
                for_backup,
            );
            self.right(label, &wrapped, restored.map_err(error)?)
        })
    }

    /// Takes in a secret that a quorum derived, as the key of a suite.
    fn load(&self, py: Python<'_>, label: &str, suite: &str, secret: &Secret) -> PyResult<HsmKey> {
        py.detach(|| {
            let kek = evanesce_secret::Secret::<32>::random().map_err(|e| plain("memory", e))?;
            let wrapped = secret.with(|value| {
                let kind = kind_of(suite, value.len(), None).filter(|kind| {
                    // A secret that was derived is no PKCS#8.
                    matches!(kind, Kind::Aes256 | Kind::Hmac(_))
                });
                let kind = kind.ok_or_else(|| {
                    plain(
                        "bad-input",
                        format!("{} bytes are no key of {suite:?}", value.len()),
                    )
                })?;
                on_crucible(|| Wrapped::dangerous(kind, None, value.expose(), &kek)).map_err(error)
            })?;
            self.take(label, &wrapped, &kek, false)
        })
    }

    /// Takes a key in that is read from a source.
    fn import_key(
        &self,
        py: Python<'_>,
        label: &str,
        suite: &str,
        source: (String, String),
        for_backup: bool,
    ) -> PyResult<HsmKey> {
        let source = self::source(&source.0, &source.1)?;
        let suite = evanesce_suite::find(suite)
            .ok_or_else(|| plain("bad-input", format!("there is no suite {suite:?}")))?;
        py.detach(|| {
            let given = source
                .read_verbatim()
                .map_err(|e| plain("bad-input", format!("the key to import: {e}")))?;
            let kek = evanesce_secret::Secret::<32>::random().map_err(|e| plain("memory", e))?;
            let wrapped = on_crucible(|| wrapped_for_import(given, suite, &kek))?;
            self.take(label, &wrapped, &kek, for_backup)
        })
    }

    fn key(&self, py: Python<'_>, label: &str) -> PyResult<HsmKey> {
        py.detach(|| self.0.key(label))
            .map(HsmKey::new)
            .map_err(error)
    }

    fn keys(&self, py: Python<'_>) -> PyResult<Vec<KeyRow>> {
        let all = py.detach(|| self.0.list()).map_err(error)?;
        Ok(all
            .into_iter()
            .map(|key| {
                let kind = key.kind.map(Kind::name);
                (key.label, kind, key.stays, key.always, words(key.leaves))
            })
            .collect())
    }

    /// Found by trying, where `keys` has the token's word.
    fn leaves(&self, py: Python<'_>, label: &str) -> PyResult<&'static str> {
        py.detach(|| self.0.leaves(label)).map(words).map_err(error)
    }

    fn destroy(&self, py: Python<'_>, label: &str) -> PyResult<()> {
        py.detach(|| self.0.destroy(label)).map_err(error)
    }

    fn capabilities(
        &self,
        py: Python<'_>,
        kinds: Vec<String>,
    ) -> PyResult<Vec<(&'static str, &'static str, Option<String>)>> {
        let kinds = kinds.iter().map(|name| kind(name));
        let kinds = kinds.collect::<PyResult<Vec<_>>>()?;
        let found = py.detach(|| self.0.capabilities(&kinds)).map_err(error)?;
        Ok(found
            .into_iter()
            .map(|able| (able.kind.name(), able.suite, able.refused))
            .collect())
    }
}

impl Hsm {
    /// A key that comes in is the one whose public half came with it, or goes again.
    fn take(
        &self,
        label: &str,
        wrapped: &Wrapped,
        kek: &evanesce_secret::Secret<32>,
        for_backup: bool,
    ) -> PyResult<HsmKey> {
        let key = self
            .0
            .restore(label, wrapped, kek, for_backup)
            .map_err(error)?;
        self.right(label, wrapped, key)
    }

    fn right(&self, label: &str, wrapped: &Wrapped, key: Key) -> PyResult<HsmKey> {
        let name = wrapped.kind.suites()[0];
        let right = match (&wrapped.public, evanesce_suite::find(name)) {
            (Some(spki), Some(suite)) => {
                let mut message = [0; 32];
                evanesce_secret::random(&mut message);
                key.sign(name, &message)
                    .map(|signature| suite.verify(spki, &message, &signature).is_ok())
            }
            _ => Ok(true),
        };
        match right {
            Ok(true) => Ok(HsmKey::new(key)),
            other => {
                self.0.destroy(label).map_err(error)?;
                Err(match other {
                    Err(e) => error(e),
                    Ok(_) => plain(
                        "backup-invalid",
                        "the key that came in is not that of the public key beside it; it was destroyed again",
                    ),
                })
            }
        }
    }
}

/// (label, kind, sensitive and non-extractable, always so and made there, whether it may leave).
type KeyRow = (String, Option<&'static str>, bool, bool, &'static str);

/// (kind, public, wrapped, quorum, components (name, sealed, check value), check value).
type BackupRow<'py> = (
    &'static str,
    Option<Bound<'py, PyBytes>>,
    Bound<'py, PyBytes>,
    String,
    Vec<(String, Bound<'py, PyBytes>, Bound<'py, PyBytes>)>,
    Bound<'py, PyBytes>,
);

fn words(leaves: Leaves) -> &'static str {
    match leaves {
        Leaves::Never => "never",
        Leaves::UnderTrusted => "under a trusted key",
        Leaves::UnderAny => "under any key",
    }
}

/// What a backup's components are for.
fn context(label: &str, kind: Kind, public: Option<&[u8]>) -> [u8; 32] {
    let (kind, public) = (kind.name().as_bytes(), public.unwrap_or_default());
    th("hsm-backup", &[label.as_bytes(), kind, public])
}

type ComponentRow = (String, Vec<u8>, [u8; 3]);

fn split_of(quorum: String, components: Vec<ComponentRow>, check: [u8; 3]) -> Split {
    let components = components
        .into_iter()
        .map(|(name, sealed, check)| Component {
            name,
            sealed,
            check,
        });
    Split {
        quorum,
        components: components.collect(),
        check,
    }
}

/// A custodian's component of a joint KEK, opened with its key file and sealed to a token's transport key (SubjectPublicKeyInfo).
#[pyfunction]
#[allow(clippy::too_many_arguments)] // a backup's parts
fn hand_over<'py>(
    py: Python<'py>,
    from_: &str,
    kind: &str,
    public: Option<Vec<u8>>,
    quorum: String,
    components: Vec<ComponentRow>,
    check: [u8; 3],
    custodian: &str,
    key_file: PathBuf,
    transport: Vec<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let context = context(from_, self::kind(kind)?, public.as_deref());
    let split = split_of(quorum, components, check);
    let sealed = py
        .detach(|| custodians::hand_over(&split, custodian, &key_file, &context, &transport))
        .map_err(custodian_error)?;
    Ok(PyBytes::new(py, &sealed))
}

/// On a crucible thread.
fn wrapped_for_import(
    given: SecretVec,
    suite: &'static dyn Suite,
    kek: &evanesce_secret::Secret<32>,
) -> PyResult<Wrapped> {
    let name = suite.facts().name;
    let bad = |e: &dyn std::fmt::Display| {
        plain(
            "bad-input",
            format!("the key cannot be imported as {name}: {e}"),
        )
    };
    let key = match suite.facts().public && pem::is_pem(given.expose()) {
        true => pem::unwrap_pem(&given).map_err(|e| bad(&e))?,
        false => given,
    };
    suite.admit(key.expose()).map_err(|e| bad(&e))?;
    let public = suite
        .facts()
        .public
        .then(|| suite.public_key(&Material::Imported(key.expose())))
        .transpose()
        .map_err(|e| bad(&e))?;
    let kind = kind_of(name, key.len(), public.as_deref())
        .ok_or_else(|| bad(&"no kind of key in a token has this suite and length"))?;
    Wrapped::dangerous(kind, public, key.expose(), kek).map_err(error)
}

/// The kind of a key with this suite and this many bytes.
fn kind_of(suite: &str, length: usize, public: Option<&[u8]>) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| {
        kind.suites().contains(&suite)
            && match (kind, public) {
                (Kind::Rsa(_), Some(spki)) => kind.is_rsa_of(spki),
                (Kind::Hmac(bytes), _) => length == usize::from(*bytes),
                (Kind::Aes256, _) => length == 32,
                _ => true,
            }
    })
}

impl Hsm {
    /// As where regenerated keys work.
    pub(crate) fn runtime(&self) -> Runtime {
        Runtime(Arc::new(Visited(self.0.clone())))
    }
}

/// A token that regenerated keys visit, each for one job.
struct Visited(Arc<Keys>);

impl runtime::Work for Visited {
    fn run(
        &self,
        suite: &'static dyn Suite,
        key: &SecretVec,
        public: Option<&[u8]>,
        input: &Input,
    ) -> Result<Output, Refusal> {
        let name = suite.facts().name;
        let unsupported = |why: String| Refusal::Unsupported(why);
        let kind = kind_of(name, key.len(), public)
            .ok_or_else(|| unsupported(format!("{name} is no suite of keys in tokens")))?;
        let what = match *input {
            Input::Sign { message } => Use::Sign(message),
            Input::Mac { message } | Input::VerifyMac { message, .. } => Use::Mac(message),
            Input::Encrypt { plaintext, aad } => Use::Encrypt { aad, plaintext },
            Input::Decrypt { ciphertext, aad } => Use::Decrypt { aad, ciphertext },
            ref other => {
                return Err(unsupported(format!(
                    "keys in tokens do not {} here",
                    other.action()
                )));
            }
        };
        let refused = |e| match e {
            KeyError::Unsupported(why) => Refusal::Unsupported(why),
            KeyError::Decryption => Refusal::Suite(evanesce_suite::Error::DecryptionFailed),
            other => Refusal::Unavailable(other.to_string()),
        };
        let kek = evanesce_secret::Secret::<32>::random()
            .map_err(|e| Refusal::Unavailable(e.to_string()))?;
        let public = public.map(<[u8]>::to_vec);
        let wrapped = Wrapped::dangerous(kind, public, key.expose(), &kek).map_err(refused)?;
        match self.0.once(&wrapped, &kek, name, what).map_err(refused)? {
            Used::Secret(secret) => Ok(Output::Secret(secret)),
            Used::Public(tag) => match input {
                Input::VerifyMac { mac, .. } if ct_eq(&tag, mac) => Ok(Output::Verified),
                Input::VerifyMac { .. } => {
                    Err(Refusal::Suite(evanesce_suite::Error::InvalidSignature))
                }
                _ => Ok(Output::Public(tag)),
            },
        }
    }
}

/// A custodian's key in a new file; SubjectPublicKeyInfo of it.
#[pyfunction]
fn create_custodian<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyBytes>> {
    let spki = py
        .detach(|| custodians::create(&path))
        .map_err(custodian_error)?;
    Ok(PyBytes::new(py, &spki))
}

fn custodian_error(e: CustodianError) -> PyErr {
    let code = match &e {
        CustodianError::Input(_) => "bad-input",
        CustodianError::TooFew(_) => "custodians-missing",
        CustodianError::Wrong(_) => "backup-invalid",
        CustodianError::Element(ElementError::Config(_)) => "config",
        CustodianError::Element(_) => "memory",
    };
    plain(code, e)
}

/// One key in a token, its handle found.
#[pyclass(frozen, module = "evanesce._core")]
pub struct HsmKey(Arc<Key>);

impl HsmKey {
    pub(crate) fn new(key: Key) -> Self {
        Self(Arc::new(key))
    }
}

#[pymethods]
impl HsmKey {
    #[getter]
    fn label(&self) -> &str {
        self.0.label()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind().name()
    }

    #[getter]
    fn suites(&self) -> Vec<&'static str> {
        self.0.kind().suites().to_vec()
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.public().map(|spki| PyBytes::new(py, spki))
    }

    /// Copies what is asked for, so that nothing of it can change before it is done.
    fn prepare(&self, py: Python<'_>, jobs: Vec<JobRow>) -> PyResult<HsmWork> {
        let jobs = jobs.into_iter().map(|(suite, action, first, second, _)| {
            Ok(Job {
                suite,
                action,
                first: bytes_of(py, &first)?,
                second: bytes_of(py, &second)?,
            })
        });
        Ok(HsmWork {
            key: self.0.clone(),
            jobs: jobs.collect::<PyResult<_>>()?,
        })
    }

    /// Any number of MACs in one session.
    fn macs<'py>(
        &self,
        py: Python<'py>,
        suite: &str,
        messages: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        // What can change meanwhile is copied. Nothing can change a `bytes`, and at line rate its copy shows.
        let held = messages
            .iter()
            .map(|message| match message.cast_exact::<PyBytes>() {
                Ok(bytes) => Ok(Cow::Borrowed(bytes.as_bytes())),
                Err(_) => bytes_of(py, &PyBuffer::get(message)?).map(Cow::Owned),
            });
        let held = held.collect::<PyResult<Vec<Cow<'_, [u8]>>>>()?;
        let given: Vec<&[u8]> = held.iter().map(Cow::as_ref).collect();
        let key = &self.0;
        let macs = py.detach(|| key.macs(suite, &given)).map_err(error)?;
        PyList::new(py, macs.iter().map(|mac| PyBytes::new(py, mac)))
    }
}

struct Job {
    suite: String,
    action: String,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may be a plaintext.
        zeroize::Zeroize::zeroize(&mut self.first);
    }
}

enum Done {
    Public(Vec<u8>),
    Secret(evanesce_secret::SecretVec),
    Right,
}

/// Jobs for one key.
#[pyclass(frozen, module = "evanesce._core")]
pub struct HsmWork {
    key: Arc<Key>,
    jobs: Vec<Job>,
}

#[pymethods]
impl HsmWork {
    /// Does it all: public bytes, a secret, or None where the answer is that it verified, one for each job. With another
    /// key, of the same kind, in the place of the one it was prepared for.
    #[pyo3(signature = (key=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        key: Option<PyRef<'py, HsmKey>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let key = key.map_or_else(|| self.key.clone(), |key| key.0.clone());
        let done = py.detach(|| self.work(&key))?;
        let value = |done| {
            Ok(match done {
                Done::Public(bytes) => PyBytes::new(py, &bytes).into_any(),
                Done::Secret(secret) => Bound::new(py, Secret::new(secret))?.into_any(),
                Done::Right => py.None().into_bound(py),
            })
        };
        done.into_iter().map(value).collect()
    }
}

impl HsmWork {
    /// Neighbours of the same sort are done in one session.
    fn work(&self, key: &Key) -> PyResult<Vec<Done>> {
        let mut all = Vec::with_capacity(self.jobs.len());
        for batch in self
            .jobs
            .chunk_by(|a, b| a.action == b.action && a.suite == b.suite)
        {
            let suite = &*batch[0].suite;
            let firsts = || batch.iter().map(|job| &*job.first).collect::<Vec<_>>();
            match &*batch[0].action {
                "sign" => all.extend(
                    key.signs(suite, &firsts())
                        .map_err(error)?
                        .into_iter()
                        .map(Done::Public),
                ),
                "mac" => all.extend(
                    key.macs(suite, &firsts())
                        .map_err(error)?
                        .into_iter()
                        .map(Done::Public),
                ),
                "verify-mac" => {
                    for (mac, job) in key.macs(suite, &firsts()).map_err(error)?.iter().zip(batch) {
                        if !ct_eq(mac, &job.second) {
                            return Err(plain(
                                "invalid-signature",
                                "the MAC is not of this key over this message",
                            ));
                        }
                        all.push(Done::Right);
                    }
                }
                "encrypt" => {
                    let pairs: Vec<_> = batch
                        .iter()
                        .map(|job| (&*job.second, &*job.first))
                        .collect();
                    let sealed = key.encrypts(suite, &pairs).map_err(error)?;
                    all.extend(sealed.into_iter().map(Done::Public));
                }
                "decrypt" => {
                    for job in batch {
                        let opened = key.decrypt(suite, &job.second, &job.first);
                        all.push(Done::Secret(opened.map_err(error)?));
                    }
                }
                other => {
                    return Err(plain(
                        "unsupported",
                        format!("a key in a PKCS#11 module is not asked to {other} here"),
                    ));
                }
            }
        }
        Ok(all)
    }
}
