//! Why an agent does not start.

use std::fmt;
use std::io;

use evanesce_element::ElementError;
use evanesce_wire::WireError;

use crate::config::ConfigError;

/// Why an agent does not start: what is wrong, and where the operator puts it right.
#[derive(Debug)]
pub enum AgentError {
    /// A file of the configuration.
    Config(ConfigError),
    /// The element: roots missing, locked, weak or away.
    Element(ElementError),
    /// The identity key.
    Identity(WireError),
    /// The folder's log or tombstones.
    Storage(String),
    /// The log is not what was signed, or not what was seen of it before.
    Evidence(String),
    /// Another agent has this folder.
    InUse(String),
    /// An address that cannot be listened at.
    Listen(String, io::Error),
    /// The operating system.
    System(&'static str, io::Error),
    /// A new root cannot be rolled to, or an old one not be destroyed, as things are.
    Roll(String),
    /// Setting up failed, and the root made for it could not be taken back.
    LeftBehind {
        /// Why it failed.
        cause: Box<AgentError>,
        /// What stays where, and why.
        left: String,
    },
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(e) => e.fmt(f),
            Self::Element(e) => e.fmt(f),
            Self::Identity(e) => e.fmt(f),
            Self::Storage(why) | Self::Evidence(why) => f.write_str(why),
            Self::InUse(folder) => write!(
                f,
                "another agent runs in {folder}: stop it, or give this one a folder of its own"
            ),
            Self::Listen(address, e) => {
                write!(
                    f,
                    "cannot listen at {address}: {e}; see listen and observe in agent.toml"
                )
            }
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
            Self::Roll(why) => f.write_str(why),
            Self::LeftBehind { cause, left } => write!(f, "{cause}; and {left}"),
        }
    }
}

impl std::error::Error for AgentError {}

impl AgentError {
    /// What is at fault, in one word: `config`, `element`, `identity`, `log`, `log-invalid`, `roll` or `io`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Element(_) => "element",
            Self::Identity(_) => "identity",
            Self::Storage(_) | Self::InUse(_) => "log",
            Self::Evidence(_) => "log-invalid",
            Self::Listen(..) | Self::System(..) => "io",
            Self::Roll(_) => "roll",
            Self::LeftBehind { cause, .. } => cause.code(),
        }
    }
}
