//! Whom it works for (`callers.toml`), and the sealing sessions it has with them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evanesce_wire::Id;
use evanesce_wire::session::SealingSession;
use serde::Deserialize;

use crate::config::parse_id;

/// Every caller it works for, by id. What a caller may do is the agents' to say.
#[derive(Default)]
pub struct Callers(HashMap<Id, String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    caller: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    id: String,
}

impl Callers {
    /// From the file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let (mut callers, mut names) = (HashMap::new(), HashSet::new());
        for line in file.caller {
            let id = parse_id(&line.id)
                .ok_or_else(|| format!("the id of {:?} is not 64 hex digits", line.name))?;
            if line.name.is_empty() || line.name.len() > 128 {
                return Err(format!("a name is 1 to 128 bytes, not {}", line.name.len()));
            }
            if !names.insert(line.name.clone()) {
                return Err(format!("two callers are called {:?}", line.name));
            }
            if let Some(other) = callers.insert(id, line.name.clone()) {
                return Err(format!("{:?} and {other:?} have the same id", line.name));
            }
        }
        Ok(Self(callers))
    }

    /// The name of a caller it works for.
    pub fn name(&self, id: &Id) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Sessions in all.
const SESSIONS: usize = 1024;
/// Sessions of one caller.
const PER_CALLER: usize = 64;

/// The sessions with callers, a bounded number: the least recently used gives way.
#[derive(Default)]
pub struct Sessions {
    open: HashMap<Id, Held>,
    uses: u64,
}

struct Held {
    session: Arc<SealingSession>,
    caller: Id,
    used: u64,
}

impl Sessions {
    /// The session `id` of `caller`, if it has not ended at `now` (Unix seconds).
    pub fn find(&mut self, id: &Id, caller: &Id, now: u64) -> Option<Arc<SealingSession>> {
        self.uses += 1;
        let held = self.open.get_mut(id)?;
        if held.caller != *caller || now >= held.session.not_after {
            return None;
        }
        held.used = self.uses;
        Some(held.session.clone())
    }

    /// Whether an offer with this statement was answered and its session is still here.
    pub fn answered(&self, id: &Id) -> bool {
        self.open.contains_key(id)
    }

    /// Keeps a session of `caller`.
    pub fn keep(&mut self, session: SealingSession, caller: Id, now: u64) {
        self.open.retain(|_, held| now < held.session.not_after);
        let own = |held: &Held| held.caller == caller;
        if self.open.values().filter(|held| own(held)).count() >= PER_CALLER {
            self.drop_oldest(own);
        } else if self.open.len() >= SESSIONS {
            self.drop_oldest(|_| true);
        }
        self.uses += 1;
        let held = Held {
            session: Arc::new(session),
            caller,
            used: self.uses,
        };
        self.open.insert(held.session.id, held);
    }

    fn drop_oldest(&mut self, among: impl Fn(&Held) -> bool) {
        let candidates = self.open.iter().filter(|(_, held)| among(held));
        let oldest = candidates
            .min_by_key(|(_, held)| held.used)
            .map(|(id, _)| *id);
        oldest.and_then(|id| self.open.remove(&id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_wire::session::{PendingSession, answer};
    use evanesce_wire::{FileIdentity, Identity};

    #[test]
    fn callers_have_names_and_ids_of_their_own() {
        let line = |name: &str, id: &str| {
            format!(
                "[[caller]]\nname = \"{name}\"\nid = \"{}\"\n",
                id.repeat(32)
            )
        };
        let callers = Callers::parse(&(line("a", "aa") + &line("b", "bb"))).unwrap();
        assert_eq!((callers.name(&[0xbb; 32]), callers.len()), (Some("b"), 2));
        assert_eq!(callers.name(&[0xcc; 32]), None);
        for (what, text) in [
            ("two callers are called", line("a", "aa") + &line("a", "bb")),
            ("have the same id", line("a", "aa") + &line("b", "aa")),
            ("64 hex digits", line("a", "zz")),
            ("unknown field", line("a", "aa").replace("name", "nmae")),
        ] {
            let why = Callers::parse(&text).err().unwrap();
            assert!(why.contains(what), "{what}: {why}");
        }
    }

    #[test]
    fn a_caller_has_so_many_sessions_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name| FileIdentity::create(&folder.path().join(name)).unwrap();
        let (service, caller) = (identity("service"), identity("caller"));
        let session = || {
            let (_, offer) = PendingSession::offer(&caller, service.agent_id(), 1000).unwrap();
            answer(&offer, caller.spki(), &service, 1000).unwrap().1
        };
        let (mut sessions, me) = (Sessions::default(), caller.caller_id());
        let first = session();
        let (id, ends) = (first.id, first.not_after);
        sessions.keep(first, me, 1000);
        assert!(sessions.answered(&id) && sessions.find(&id, &me, ends - 1).is_some());
        assert!(sessions.find(&id, &[1; 32], 1000).is_none(), "another's");
        assert!(sessions.find(&id, &me, ends).is_none(), "over");
        (0..PER_CALLER).for_each(|_| sessions.keep(session(), me, 1000));
        assert!(!sessions.answered(&id), "the oldest gave way");
        assert_eq!(sessions.open.len(), PER_CALLER);
    }
}
