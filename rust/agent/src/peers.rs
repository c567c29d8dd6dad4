//! The other agents that this one compares with: `peers.toml`, and what follows from it.
//!
//! An agent alone cannot know that its disk is an old copy of itself, that its clock is wrong, or what was decided
//! while it was away. Its peers can tell it, and it answers nothing before it has heard from enough of them since it
//! started. None of them is believed: what a peer shows is signed by whom it concerns ([`seen`], [`own`]), and of clocks
//! the median counts ([`standing`]). An agent without peers is alone, and nothing here concerns it.
//!
//! * [`standing`]: what was heard in this life, and why the agent does not answer yet, or any more. Pure.
//! * [`seen`]: the heads of others' logs, kept for them.
//! * [`own`]: whether a head that others have seen is one of this agent's own log.
//! * `verified`: what need not be verified again.
//! * [`meeting`]: the exchange itself, both sides of it.

pub mod meeting;
pub mod own;
pub mod seen;
pub mod standing;
mod verified;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use evanesce_wire::Id;
use serde::Deserialize;

use crate::config::{ConfigError, parse_id};

pub use meeting::Exchanging;

/// How often an agent exchanges with each of its peers, where its operator does not say.
const EVERY: Duration = Duration::from_secs(5);
/// Most peers.
const MOST: usize = 64;

/// A peer, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// For people.
    pub name: String,
    /// Its agent id.
    pub id: Id,
    /// `host:port`.
    pub address: String,
}

/// Every peer, and how many count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// From so many the agent must have heard since it started.
    pub needed: usize,
    /// Exchanges with each of them come this long after one another.
    pub every: Duration,
    /// Keys of logs of this agent that its operator has given up: peers that have seen these may say so.
    pub former_logs: Vec<[u8; 32]>,
    /// Who they are.
    pub all: Vec<Peer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    needed: Option<usize>,
    every_ms: Option<u64>,
    #[serde(default)]
    former_logs: Vec<String>,
    #[serde(default)]
    agent: Vec<Line>,
}

/// As in a quorum file, which can be used as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    id: String,
    address: String,
    #[serde(default, rename = "site")]
    _site: String,
    #[serde(default, rename = "vendor")]
    _vendor: String,
    #[serde(default, rename = "administrator")]
    _administrator: String,
}

impl Peers {
    /// Reads `path` for the agent `me`; `None` where there is no such file, or it names nobody else.
    pub fn read(path: &Path, me: &Id) -> Result<Option<Self>, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ConfigError::new(path, format!("cannot be read: {e}"))),
        };
        Self::parse(&text, me).map_err(|why| ConfigError::new(path, why))
    }

    /// From the file's text. The agent's own stanza is passed over, so that one file serves all of a quorum.
    pub fn parse(text: &str, me: &Id) -> Result<Option<Self>, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let former_logs = file.former_logs.iter().map(|key| {
            parse_id(key).ok_or_else(|| format!("the former log {key:?} is not 64 hex digits"))
        });
        let former_logs = former_logs.collect::<Result<_, _>>()?;
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        let mut all = Vec::new();
        for line in file.agent {
            let name = line.name;
            if name.is_empty() || name.len() > 128 {
                return Err(format!(
                    "a peer's name is 1 to 128 bytes, not {}",
                    name.len()
                ));
            }
            let id = parse_id(&line.id)
                .ok_or_else(|| format!("the id of {name:?} is not 64 hex digits"))?;
            if !names.insert(name.clone()) || !ids.insert(id) {
                return Err(format!("{name:?} is there twice, by its name or its id"));
            }
            if id != *me {
                let address = line.address;
                all.push(Peer { name, id, address });
            }
        }
        if all.len() > MOST {
            return Err(format!("{} peers, at most {MOST}", all.len()));
        }
        if all.is_empty() {
            return Ok(None);
        }
        // Two majorities meet: of those that knew something, at least one is among those that are heard.
        let needed = file.needed.unwrap_or(all.len() / 2 + 1);
        if needed == 0 || needed > all.len() {
            return Err(format!(
                "needed is 1 to {}, the number of other agents, not {needed}",
                all.len()
            ));
        }
        let every = file.every_ms.map_or(EVERY, Duration::from_millis);
        if every < Duration::from_millis(50) || every > Duration::from_secs(60) {
            return Err("every_ms is 50 to 60000".into());
        }
        Ok(Some(Self {
            needed,
            every,
            former_logs,
            all,
        }))
    }
}

#[cfg(test)]
mod clocks;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(agents: &[(&str, u8)]) -> String {
        let stanza = |(name, id): &(&str, u8)| {
            let id = hex::encode([*id; 32]);
            format!(
                "[[agent]]\nname = \"{name}\"\nid = \"{id}\"\naddress = \"h:1\"\nsite = \"x\"\nadministrator = \"ops\"\n"
            )
        };
        agents.iter().map(stanza).collect()
    }

    #[test]
    fn a_quorum_file_is_a_file_of_peers_and_a_majority_of_the_others_is_needed() {
        let text = file(&[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]);
        let peers = Peers::parse(&text, &[1; 32]).unwrap().unwrap();
        assert_eq!((peers.all.len(), peers.needed, peers.every), (4, 3, EVERY));
        assert_eq!(peers.all[0].name, "b");
        assert!(Peers::parse("", &[1; 32]).unwrap().is_none());
        assert!(
            Peers::parse(&file(&[("a", 1)]), &[1; 32])
                .unwrap()
                .is_none()
        );
        let key = hex::encode([7; 32]);
        let more = format!("needed = 1\nevery_ms = 100\nformer_logs = [\"{key}\"]\n{text}");
        let peers = Peers::parse(&more, &[1; 32]).unwrap().unwrap();
        assert_eq!((peers.needed, &peers.former_logs[..]), (1, &[[7; 32]][..]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = file(&[("a", 1), ("b", 2)]);
        for (what, broken) in [
            ("1 to 1", format!("needed = 2\n{text}")),
            ("1 to 1", format!("needed = 0\n{text}")),
            ("twice", file(&[("a", 1), ("a", 2)])),
            ("twice", file(&[("a", 2), ("b", 2)])),
            ("64 hex", text.replace("0202", "x2")),
            ("unknown field", text.replace("address", "adress")),
            ("every_ms", format!("every_ms = 1\n{text}")),
        ] {
            let why = Peers::parse(&broken, &[1; 32]).unwrap_err();
            assert!(why.contains(what), "{what}: {why}");
        }
    }
}
