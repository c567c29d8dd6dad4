//! Who the agent knows: `known.toml`, the operator's directory of keys, names, roles and groups.
//!
//! Read at start and on SIGHUP, as a whole: a file with anything wrong in it changes nothing.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use evanesce_wire::Id;
use serde::Deserialize;

use crate::config::{ConfigError, parse_id};
use evanesce_policy::Principal;

/// What an identity may do (PROTOCOL §6, Request).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May ask for operations.
    Caller,
    /// May have shares seated.
    Minter,
    /// May be sent shares.
    Reconstructor,
}

impl Role {
    /// Its word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Minter => "minter",
            Self::Reconstructor => "reconstructor",
        }
    }
}

/// An identity that the agent knows.
pub struct Known {
    /// `TH("caller", SubjectPublicKeyInfo)`.
    pub id: Id,
    /// Its name, which policies speak of.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// The caller as policies see it.
    pub principal: Principal,
    /// What it takes up of what all callers share.
    pub under_way: UnderWay,
}

/// What one caller has under way. A directory that is read again counts anew.
#[derive(Default)]
pub struct UnderWay {
    /// Requests.
    pub requests: AtomicU64,
    /// Bytes of their bodies.
    pub bytes: AtomicUsize,
}

impl Known {
    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Every identity that the agent knows.
#[derive(Default)]
pub struct Directory(HashMap<Id, std::sync::Arc<Known>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    identity: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    id: String,
    roles: Vec<Role>,
    #[serde(default)]
    groups: Vec<String>,
}

impl Directory {
    /// Reads `path`. A missing file is an empty directory: an agent that nobody may ask anything yet.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(ConfigError::new(path, format!("cannot be read: {e}"))),
        };
        Self::parse(&text).map_err(|why| ConfigError::new(path, why))
    }

    /// From the file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut known = HashMap::new();
        let mut names = HashSet::new();
        for line in file.identity {
            let name = &line.name;
            if name.is_empty() || name.len() > 128 {
                return Err(format!(
                    "an identity's name is 1 to 128 bytes, not {}",
                    name.len()
                ));
            }
            if line.groups.len() > 64 || line.groups.iter().any(|group| group.len() > 128) {
                return Err(format!(
                    "{name:?} has more than 64 groups, or one over 128 bytes"
                ));
            }
            let id = parse_id(&line.id).ok_or_else(|| {
                format!(
                    "the id of {name:?} is not 64 hex digits; `evanesce identity show` prints it"
                )
            })?;
            // Policies go by name: two keys under one name would be one caller to them.
            if !names.insert(name.clone()) {
                return Err(format!(
                    "two identities are called {name:?}; give each its own name"
                ));
            }
            let principal = Principal::new(name, &line.groups);
            let one = Known {
                id,
                name: line.name.clone(),
                roles: line.roles,
                principal,
                under_way: UnderWay::default(),
            };
            if known.insert(id, one.into()).is_some() {
                return Err(format!("{:?} has the id of another identity", line.name));
            }
        }
        Ok(Self(known))
    }

    /// The identity of that id.
    pub fn find(&self, id: &Id) -> Option<&std::sync::Arc<Known>> {
        self.0.get(id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: nobody may ask anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_roles_and_groups() {
        let text = format!(
            "[[identity]]\nname = \"ops\"\nid = \"{}\"\nroles = [\"caller\", \"reconstructor\"]\ngroups = [\"eu\"]\n",
            "ab".repeat(32)
        );
        let directory = Directory::parse(&text).unwrap();
        let ops = directory.find(&[0xab; 32]).unwrap();
        assert!(ops.has(Role::Caller) && ops.has(Role::Reconstructor) && !ops.has(Role::Minter));
        assert_eq!(Directory::parse("").unwrap().len(), 0);
        for (what, broken) in [
            ("64 hex digits", text.replace("abab", "xyxy")),
            (
                "two identities",
                format!("{text}{}", text.replace("abab", "cdcd")),
            ),
            (
                "of another identity",
                format!("{text}{}", text.replace("ops", "ops2")),
            ),
            ("unknown variant", text.replace("caller", "king")),
            ("unknown field", text.replace("groups", "group")),
        ] {
            let why = Directory::parse(&broken).err().unwrap();
            assert!(why.contains(what), "{why}");
        }
    }
}
