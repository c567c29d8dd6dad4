//! Whom it works for: `callers.toml`.

use std::collections::{HashMap, HashSet};

use evanesce_wire::Id;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
