//! `agent.toml`: what the operator decides. Paths are relative to the file's own folder.

use std::fmt;
use std::path::{Path, PathBuf};

use evanesce_element::SecretSource;
use evanesce_wire::Id;
use serde::Deserialize;

pub use crate::limits::Limits;
pub use crate::threshold::Threshold;

/// An agent's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the agent calls itself, for people.
    pub name: String,
    /// Address and port it answers at.
    pub listen: String,
    /// Address and port of `/healthz` and `/metrics`, plain HTTP; none if absent.
    pub observe: Option<String>,
    /// Its identity key.
    pub identity: IdentitySource,
    /// When log entries are synced.
    #[serde(default)]
    pub commit: Commit,
    /// Begin from the system's clock even though the log has entries of a later time: for one start, after that
    /// clock had jumped ahead and was put right.
    #[serde(default)]
    pub accept_earlier_clock: bool,
    /// Its secure element.
    pub element: ElementSource,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Keys that are never put together.
    #[serde(default)]
    pub threshold: Threshold,
    /// Write no events to standard error.
    #[serde(default)]
    pub quiet: bool,
    /// The folder that holds `agent.toml`, `known.toml`, `peers.toml`, `log/`, `tombstones`, `orders` and `seen`.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Where the identity key is.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum IdentitySource {
    /// A PKCS#8 PEM file, mode 0600.
    File(PathBuf),
    /// A P-256 key pair in the PKCS#11 token.
    Element {
        /// Its CKA_LABEL.
        element: String,
    },
}

/// When log entries outlive what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Commit {
    /// Written before the answer, so that the process may die; synced within 10 ms.
    #[default]
    Process,
    /// Synced before the answer, so that the power may fail.
    Power,
}

/// Which secure element.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ElementSource {
    /// Roots in a file.
    Software {
        /// The file.
        #[serde(default = "roots")]
        roots: PathBuf,
        /// What it is sealed with, if it is.
        passphrase: Option<Source>,
    },
    /// Roots in a PKCS#11 token.
    Pkcs11 {
        /// The module's shared library.
        module: PathBuf,
        /// The token's label.
        token: Option<String>,
        /// Or its slot.
        slot: Option<u64>,
        /// The user PIN.
        pin: Option<Source>,
        /// Roots are labelled `<root_label>-<epoch>`.
        #[serde(default = "root_label")]
        root_label: String,
        /// Use the element even though roots can be got out of it.
        #[serde(default)]
        accept_weak_element: bool,
        /// For C_Initialize's pReserved.
        init_args: Option<String>,
        /// Sessions at once; 0 means one per core.
        #[serde(default)]
        sessions: usize,
    },
}

fn roots() -> PathBuf {
    "roots".into()
}

fn root_label() -> String {
    "evanesce-root".into()
}

/// Where a PIN or passphrase is read from.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// `{ file = "pin" }`, mode 0600.
    File(SourceFile),
    /// `{ descriptor = 3 }`.
    Descriptor(SourceDescriptor),
    /// `{ terminal = true }`.
    Terminal(SourceTerminal),
}

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Only its owner may read it.
    pub file: PathBuf,
}

/// An open descriptor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDescriptor {
    /// Its number.
    pub descriptor: i32,
}

/// The terminal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceTerminal {
    /// True.
    pub terminal: bool,
}

/// A configuration file that cannot be used: the operator's to put right.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    why: String,
}

impl ConfigError {
    pub(crate) fn new(path: &Path, why: String) -> Self {
        Self {
            path: path.to_owned(),
            why,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why.trim_end())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads `agent.toml`.
    pub fn load(path: &Path) -> Result<Self, crate::error::AgentError> {
        let fault = |why: String| crate::error::AgentError::Config(ConfigError::new(path, why));
        let text = std::fs::read_to_string(path).map_err(|e| {
            fault(format!(
                "cannot be read: {e}; `evanesce agent init` makes an agent's folder"
            ))
        })?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Self::parse(&text, folder.unwrap_or(Path::new("."))).map_err(fault)
    }

    /// From the file's text; `folder` is where it lies.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if config.name.is_empty() || config.name.len() > 128 {
            return Err(format!("name is 1 to 128 bytes, not {}", config.name.len()));
        }
        if let IdentitySource::Element { .. } = config.identity
            && let ElementSource::Software { .. } = config.element
        {
            return Err(
                "an identity inside the element needs an element of kind \"pkcs11\"".into(),
            );
        }
        config.threshold.refused()?;
        config.folder = folder.to_owned();
        Ok(config)
    }

    /// A path of this configuration, from its folder.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    /// Where a secret is read from; `what` is shown at a terminal.
    pub fn source(&self, source: &Source, what: &str) -> Result<SecretSource, String> {
        Ok(match source {
            Source::File(SourceFile { file }) => SecretSource::File(self.path(file)),
            Source::Descriptor(SourceDescriptor { descriptor }) => {
                SecretSource::Descriptor(*descriptor)
            }
            Source::Terminal(SourceTerminal { terminal: true }) => SecretSource::Terminal {
                prompt: format!("{what} of {}: ", self.name),
            },
            Source::Terminal(_) => return Err(format!("{what}: `terminal` can only be true")),
        })
    }
}

/// An id as people write it: 64 hex digits.
pub fn parse_id(text: &str) -> Option<Id> {
    let mut id = [0; 32];
    hex::decode_to_slice(text.trim(), &mut id).ok()?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold::DECLARATION;

    const PLAIN: &str = "name = \"agent-1\"\nlisten = \"127.0.0.1:0\"\nidentity = \"identity.key\"\n\
                         [element]\nkind = \"software\"\n";

    #[test]
    fn a_short_file_is_enough_and_everything_can_be_said() {
        let config = Config::parse(PLAIN, Path::new("/a")).unwrap();
        assert_eq!(config.path("log"), Path::new("/a/log"));
        assert_eq!(config.commit, Commit::Process);
        let full = "name = \"a\"\nlisten = \"[::1]:7401\"\nobserve = \"127.0.0.1:7501\"\ncommit = \"power\"\n\
                    identity = { element = \"agent\" }\nquiet = true\n[element]\nkind = \"pkcs11\"\n\
                    module = \"/m.so\"\ntoken = \"t\"\npin = { file = \"pin\" }\naccept_weak_element = true\n\
                    [limits]\nconnections = 3\n";
        let full = format!("{full}[threshold]\nprepared = \"{DECLARATION}\"\n");
        let full = Config::parse(&full, Path::new("/a")).unwrap();
        assert!(full.threshold.prepares() && !config.threshold.prepares());
        assert_eq!((full.limits.connections, full.limits.sessions), (3, 512));
        let ElementSource::Pkcs11 { pin: Some(pin), .. } = &full.element else {
            panic!()
        };
        assert!(
            matches!(full.source(pin, "PIN"), Ok(SecretSource::File(p)) if p == Path::new("/a/pin"))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (what, broken) in [
            ("unknown field `nmae`", PLAIN.replace("name", "nmae")),
            ("missing field `listen`", PLAIN.replace("listen", "#")),
            ("unknown variant `tpm`", PLAIN.replace("software", "tpm")),
            (
                "unknown field `pin`",
                format!("{PLAIN}pin = {{ file = \"x\" }}\n"),
            ),
            (
                "unknown variant `never`",
                format!("commit = \"never\"\n{PLAIN}"),
            ),
            (
                "unknown field `conections`",
                format!("{PLAIN}[limits]\nconections = 1\n"),
            ),
            (
                "invalid type: boolean",
                format!("{PLAIN}[threshold]\nprepared = true\n"),
            ),
            (
                "If that is never done here, write it down: prepared = \"no earlier state",
                format!("{PLAIN}[threshold]\nprepared = \"yes\"\n"),
            ),
            (
                "kind \"pkcs11\"",
                PLAIN.replace("\"identity.key\"", "{ element = \"x\" }"),
            ),
        ] {
            let why = Config::parse(&broken, Path::new("/a")).unwrap_err();
            assert!(why.contains(what), "{what}: {why}");
        }
    }
}
