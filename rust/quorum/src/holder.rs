//! Whom the caller knows: its directory of agents, and how it wants them asked.

use crate::runtime::Runtime;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use evanesce_token::quoted;
use evanesce_wire::Id;

use crate::error::{Code, Error};
use crate::fault::short_id;

/// One agent of the caller's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The caller's name for it.
    pub name: String,
    /// Its agent id, to which the connection is pinned.
    pub id: Id,
    /// `host:port`.
    pub address: String,
    /// Where it stands; for reports.
    pub site: String,
    /// Who made its element; for reports.
    pub vendor: String,
}

/// How holders are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an operation may take until its shares are there, unless it says otherwise; and a check, a
    /// retirement or a status as a whole.
    pub deadline: Duration,
    /// How long a mint, a reshare or a repair may take as a whole. A mint asks everyone three times over,
    /// and each to work with its element.
    pub mint_deadline: Duration,
    /// Whether one more holder is asked when an answer is later than usual for its holder.
    pub hedge: bool,
    /// Whether a signature is verified before it is released, against faults of the hardware.
    pub verify_before_release: bool,
    /// A chain of signed grants, the first grantor's first: operations under the token that it is for are asked for under
    /// it. Others are asked for in one's own name.
    pub grants: Vec<Vec<u8>>,
    /// Where regenerated keys work; in the crucible itself where there is none.
    pub runtime: Option<Runtime>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            mint_deadline: Duration::from_secs(10),
            hedge: true,
            verify_before_release: false,
            grants: Vec::new(),
            runtime: None,
        }
    }
}

/// The directory: holders by place, found by id or by name.
pub(crate) struct Directory {
    holders: Vec<Holder>,
    places: HashMap<Id, usize>,
}

impl Directory {
    /// Refuses two holders of one name or id: a fault could not be told from the other's.
    pub(crate) fn new(holders: Vec<Holder>) -> Result<Self, Error> {
        let refused = |what: &str, name: &str| {
            let message = format!(
                "two agents of the quorum file have the same {what}, one of them {}",
                quoted(name)
            );
            Error::new(Code::BadInput, message, "List each agent once.")
        };
        let mut places = HashMap::with_capacity(holders.len());
        let mut names = HashSet::with_capacity(holders.len());
        for (place, holder) in holders.iter().enumerate() {
            if places.insert(holder.id, place).is_some() {
                return Err(refused("id", &holder.name));
            }
            if !names.insert(holder.name.as_str()) {
                return Err(refused("name", &holder.name));
            }
        }
        Ok(Self { holders, places })
    }

    pub(crate) fn all(&self) -> &[Holder] {
        &self.holders
    }

    pub(crate) fn by_id(&self, id: &Id) -> Option<usize> {
        self.places.get(id).copied()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<usize> {
        self.holders.iter().position(|holder| holder.name == name)
    }

    /// The caller's name for that agent, or the start of its id.
    pub(crate) fn name_of(&self, id: &Id) -> String {
        self.by_id(id)
            .map_or_else(|| short_id(id), |place| self.holders[place].name.clone())
    }
}
