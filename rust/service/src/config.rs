//! What the operator decides: `reconstructor.toml`, `quorum.toml` and `callers.toml` of one folder.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evanesce_quorum::{Holder, Settings};
use evanesce_wire::Id;
use serde::Deserialize;

use crate::callers::Callers;

/// `reconstructor.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it calls itself, for people.
    pub name: String,
    /// Address and port it answers at.
    pub listen: String,
    /// Where callers reach it, for whoever tells them; the process itself has no use for it.
    #[allow(dead_code)]
    address: Option<String>,
    /// Its identity key: PKCS#8 PEM, mode 0600.
    #[serde(default = "identity")]
    pub identity: PathBuf,
    /// Whether a signature is verified before it is released, against faults of the hardware.
    #[serde(default)]
    pub verify_before_release: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// The folder that holds all of these.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// How much is taken on at once.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections, in all and of one caller.
    pub connections: usize,
    /// Of one caller.
    pub connections_per_caller: usize,
    /// Operations at once, in all.
    pub operations: usize,
    /// Of one caller.
    pub operations_per_caller: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_caller: 16,
            operations: 1024,
            operations_per_caller: 256,
        }
    }
}

fn identity() -> PathBuf {
    "identity.key".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quorum {
    agent: Vec<Agent>,
    /// The caller's own business.
    #[allow(dead_code)]
    reconstructor: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Agent {
    name: String,
    id: String,
    address: String,
    #[serde(default)]
    site: String,
    #[serde(default)]
    vendor: String,
    /// For people, who ask how much a quorum can lose.
    #[allow(dead_code)]
    #[serde(default)]
    administrator: String,
}

impl Config {
    /// Reads `reconstructor.toml` of a folder.
    pub fn load(folder: &Path) -> Result<Self, String> {
        let path = folder.join("reconstructor.toml");
        let mut config: Self = parse(&path)?;
        if config.name.is_empty() || config.name.len() > 128 {
            let why = format!("name is 1 to 128 bytes, not {}", config.name.len());
            return Err(format!("{}: {why}", path.display()));
        }
        config.folder = folder.to_owned();
        Ok(config)
    }

    /// A file of its folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// How agents are asked.
    pub fn settings(&self) -> Settings {
        Settings {
            verify_before_release: self.verify_before_release,
            ..Settings::default()
        }
    }

    /// The agents of `quorum.toml`, their addresses resolved: no name is looked up once the process is closed.
    pub fn holders(&self) -> Result<Vec<(Holder, SocketAddr)>, String> {
        let path = self.path("quorum.toml");
        let quorum: Quorum = parse(&path)?;
        let holder = |agent: Agent| {
            let wrong = |why: String| format!("{}: {}: {why}", path.display(), agent.name);
            let id = parse_id(&agent.id).ok_or_else(|| wrong("id is not 64 hex digits".into()))?;
            let mut found = agent
                .address
                .to_socket_addrs()
                .map_err(|e| wrong(format!("{}: {e}", agent.address)))?;
            let address = found
                .next()
                .ok_or_else(|| wrong(format!("{} has no address", agent.address)))?;
            let holder = Holder {
                id,
                address: address.to_string(),
                name: agent.name.clone(),
                site: agent.site.clone(),
                vendor: agent.vendor.clone(),
            };
            Ok((holder, address))
        };
        quorum.agent.into_iter().map(holder).collect()
    }

    /// Whom it works for.
    pub fn callers(&self) -> Result<Callers, String> {
        let path = self.path("callers.toml");
        let text = read(&path)?;
        Callers::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// How long the agents' sessions are waited for when callers ask for them.
    pub const PATIENCE: Duration = Duration::from_millis(250);
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    toml::from_str(&read(path)?)
        .map_err(|e| format!("{}: {}", path.display(), e.to_string().trim_end()))
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

    fn folder(config: &str, quorum: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("reconstructor.toml"), config).unwrap();
        std::fs::write(folder.path().join("quorum.toml"), quorum).unwrap();
        folder
    }

    #[test]
    fn a_short_folder_is_enough_and_what_is_wrong_is_said() {
        let agent = format!(
            "[[agent]]\nname = \"a\"\nid = \"{}\"\naddress = \"127.0.0.1:7401\"\n\
             site = \"s\"\nvendor = \"v\"\nadministrator = \"ops\"\n",
            "ab".repeat(32)
        );
        let plain = "name = \"r\"\nlisten = \"127.0.0.1:0\"\n";
        let at = folder(plain, &agent);
        let config = Config::load(at.path()).unwrap();
        assert_eq!(config.path("x"), at.path().join("x"));
        let (holder, address) = config.holders().unwrap().remove(0);
        assert_eq!((holder.id, address.port()), ([0xab; 32], 7401));
        for (what, config, quorum) in [
            (
                "unknown field `nmae`",
                plain.replace("name", "nmae"),
                agent.clone(),
            ),
            ("64 hex digits", plain.into(), agent.replace("abab", "zz")),
            (
                "missing field `address`",
                plain.into(),
                agent.replace("address", "#"),
            ),
            (
                "a: nowhere",
                plain.into(),
                agent.replace("127.0.0.1:7401", "nowhere"),
            ),
        ] {
            let at = folder(&config, &quorum);
            let tried = Config::load(at.path()).and_then(|config| config.holders());
            let why = tried.unwrap_err();
            assert!(why.contains(what), "{what}: {why}");
        }
    }
}
