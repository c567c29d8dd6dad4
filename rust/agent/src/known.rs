//! Who the agent knows: `known.toml`, the operator's directory of keys, names, roles and groups.
//!
//! Read at start and on SIGHUP, as a whole: a file with anything wrong in it changes nothing.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use evanesce_wire::Id;
use serde::Deserialize;

use crate::config::{ConfigError, parse_id};
use evanesce_policy::{Approver, Principal, RelyingParty};

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
    /// May approve what others ask for; needs no connection to do so.
    Approver,
}

impl Role {
    /// Its word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Minter => "minter",
            Self::Reconstructor => "reconstructor",
            Self::Approver => "approver",
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
    /// As whom it approves, if it does.
    pub approver: Option<Approver>,
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
    /// Somebody of whom nothing but the id is known, and who may do nothing.
    pub fn stranger(id: Id) -> Self {
        Self {
            id,
            name: String::new(),
            roles: Vec::new(),
            principal: Principal::new("", &[]),
            approver: None,
            under_way: UnderWay::default(),
        }
    }

    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Every identity that the agent knows.
#[derive(Clone, Default)]
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
    /// The relying party of an authenticator's key.
    webauthn: Option<String>,
    /// Pages of it that may ask for an approval.
    #[serde(default)]
    origins: Vec<String>,
}

impl Line {
    /// As whom it approves, if it does.
    fn approver(&self, id: Id) -> Result<Option<Approver>, String> {
        let approves = self.roles.contains(&Role::Approver);
        let webauthn = match &self.webauthn {
            None if self.origins.is_empty() => None,
            None => {
                return Err(format!(
                    "{:?} has origins, but webauthn is missing",
                    self.name
                ));
            }
            // Such a key opens no connection, and signs nothing but assertions.
            Some(_) if self.roles != [Role::Approver] => {
                return Err(format!(
                    "{:?} has a WebAuthn key: its role is approver alone",
                    self.name
                ));
            }
            Some(domain) => {
                let site = RelyingParty::new(domain, self.origins.clone());
                Some(site.map_err(|why| format!("{:?}: {why}", self.name))?)
            }
        };
        let name = self.name.clone();
        Ok(approves.then_some(Approver { name, id, webauthn }))
    }
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
            let approver = line.approver(id)?;
            let one = Known {
                id,
                name: line.name.clone(),
                roles: line.roles,
                principal,
                approver,
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
        assert_eq!(ops.approver, None);
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
            (
                "approver alone",
                format!("{text}webauthn = \"example.com\"\n"),
            ),
            (
                "webauthn is missing",
                format!("{text}origins = [\"https://example.com\"]\n"),
            ),
        ] {
            let why = Directory::parse(&broken).err().unwrap();
            assert!(why.contains(what), "{why}");
        }
    }
    #[test]
    fn a_directory_names_who_approves_and_how() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let text = format!(
            "[[identity]]\nname = \"cfo\"\nid = \"{a}\"\nroles = [\"approver\", \"caller\"]\n\
             [[identity]]\nname = \"ceo\"\nid = \"{b}\"\nroles = [\"approver\"]\nwebauthn = \"example.com\"\n\
             origins = [\"https://console.example.com\"]\n"
        );
        let directory = Directory::parse(&text).unwrap();
        let approver = |id: u8| directory.find(&[id; 32]).unwrap().approver.clone().unwrap();
        assert_eq!(approver(0xaa).name, "cfo");
        assert_eq!(approver(0xaa).webauthn, None);
        let site = approver(0xbb).webauthn.unwrap();
        assert!(site.admits("https://console.example.com") && !site.admits("https://example.com"));
        let broken = text.replace("https://console.", "http://console.");
        let why = Directory::parse(&broken).err().unwrap();
        assert!(why.contains("no page of example.com"), "{why}");
    }
}
