//! Rolling to a new root: every token of the operator's inventory re-rooted and checked (PROTOCOL §9, re-root).
//!
//! Local: the agent's own folder, which no running agent may hold meanwhile, and a folder of token files. Promised: a
//! token's file is replaced as a whole, by one whose new row was proven to give the same share and is durable before
//! it takes the old one's name; whatever stops a roll, both roots are held and every token is as good as before, and the
//! same call goes on where it ended; a root is destroyed only when told, after a pass of its own has seen every row of
//! this agent proven under the new one, and no share that it keeps sealed under the old, and is then shown to be gone. Not promised: anything about tokens that
//! are not in the inventory. Copies made before a root is destroyed lose this agent's seat.

mod inventory;
mod kept;
mod pass;

use std::path::Path;
use std::sync::Arc;

use evanesce_element::pkcs11::{self, Pkcs11Element};
use evanesce_element::software::RootsFile;
use evanesce_element::{Element, ElementError};
use evanesce_secret::on_crucible;
use evanesce_wire::Id;

use crate::config::{Config, ElementSource};
use crate::disk::{Disk, Folder};
use crate::error::AgentError;
use crate::hardware::{module, open_identity, read_by};
use crate::threshold::Shelf;
use crate::tombstones::Tombstones;
use pass::Pass;
pub use pass::Problem;

/// The file that says which epoch an unfinished roll goes to.
const JOURNAL: &str = "roll";
const JOURNAL_TITLE: &str = "evanesce roll v1 to ";

/// How far a roll got. All counts are of this call.
#[derive(Clone, Debug, Default)]
pub struct Rolled {
    /// The agent's id.
    pub agent: Id,
    /// The epoch rolled to.
    pub epoch: u64,
    /// Epochs whose root is held now.
    pub epochs: Vec<u64>,
    /// Whether the element is one for development.
    pub development: bool,
    /// Token files in the inventory.
    pub tokens: u64,
    /// Rows that were re-rooted.
    pub rerooted: u64,
    /// Rows that were under the new root already, and proven.
    pub proven: u64,
    /// Tokens in which this agent does not sit.
    pub elsewhere: u64,
    /// Tokens that were retired here: they are left as they are.
    pub retired: u64,
    /// Files that are no tokens, and are not called so.
    pub others: u64,
    /// What stands in the way, by file; at most [`pass::PROBLEMS_KEPT`] of them …
    pub problems: Vec<Problem>,
    /// … of so many.
    pub problem_count: u64,
    /// Whether every row was seen; otherwise call again.
    pub finished: bool,
    /// The root that was destroyed and shown to be gone.
    pub destroyed: Option<u64>,
}

/// Rolls the agent of `config` to a new root, or goes on with a roll that was stopped. With `destroy_old` no new roll is
/// begun: what is left of one is finished, every row is proven, and the root of that epoch is destroyed.
///
/// `progress` is told how many of how many files are done, and answers whether to go on.
///
/// # Errors
/// [`AgentError::InUse`] while an agent runs in the folder, [`AgentError::Roll`] where a root cannot be destroyed as
/// things are; otherwise as a start.
pub fn roll(
    config: &Config,
    tokens: &Path,
    destroy_old: Option<u64>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Rolled, AgentError> {
    evanesce_secret::init();
    let folder = Folder::open(&config.folder).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => AgentError::InUse(config.folder.display().to_string()),
        _ => storage(config, &e.to_string()),
    })?;
    let folder = Arc::new(folder);
    let tombstones = Tombstones::open(&*folder, "tombstones");
    let retired = tombstones
        .map_err(|e| storage(config, &e.to_string()))?
        .retired();
    let shelf = Shelf::open(folder.clone()).map_err(|e| storage(config, &e.to_string()))?;
    let files = inventory::files(tokens)?;

    let roots = Roots::of(config)?;
    let mut element = roots.open()?;
    let identity = open_identity(config)?;
    let unfinished = journal(config, &folder)?;
    let to = match (unfinished, destroy_old) {
        (Some(to), _) => to,
        (None, Some(_)) => element.current(),
        (None, None) => {
            let to = element.current() + 1;
            // Before the root is there: after a crash it is known which one is the new one.
            note(config, &folder, to)?;
            to
        }
    };
    if let Some(old) = destroy_old
        && (old == to || !element.epochs().contains(&old))
    {
        let held = element.epochs();
        let why = match old == to {
            true => format!("epoch {old} is the current one; only an older root can be destroyed"),
            false => format!("there is no root of epoch {old} to destroy; held: {held:?}"),
        };
        return Err(AgentError::Roll(why));
    }
    if !element.epochs().contains(&to) {
        element = roots.add(to, element)?;
    }
    let me = identity.agent_id();
    let mut rolled = Rolled {
        agent: me,
        epoch: to,
        development: element.description().development,
        ..Rolled::default()
    };
    let pass = Pass {
        element: &*element,
        identity: &*identity,
        me,
        to,
        retired: &retired,
        shelf: &shelf,
        write: true,
    };
    pass.run(tokens, &files, &mut rolled, progress)?;
    rolled.epochs = element.epochs();
    let clean = rolled.finished && rolled.problem_count == 0;
    if clean {
        forget(config, &folder)?;
    }
    if let (Some(old), true) = (destroy_old, clean) {
        // Another look at what is there now, by which the root goes.
        let mut seen = Rolled::default();
        let files = inventory::files(tokens)?;
        let look = Pass {
            write: false,
            ..pass
        };
        look.run(tokens, &files, &mut seen, progress)?;
        if seen.proven == 0 && seen.finished {
            let why = format!(
                "{} holds no token in which this agent sits: is it the whole inventory? Nothing was destroyed",
                tokens.display()
            );
            return Err(AgentError::Roll(why));
        }
        if !seen.finished || seen.problem_count > 0 {
            rolled.finished = seen.finished;
            rolled.problems = seen.problems;
            rolled.problem_count = seen.problem_count;
            return Ok(rolled);
        }
        kept::none_needs(old, &shelf, &retired, &config.folder)?;
        let left = roots.destroy(old, element)?;
        gone(&*left, old, to)?;
        rolled.epochs = left.epochs();
        rolled.destroyed = Some(old);
    }
    Ok(rolled)
}

/// Shows that there is no evaluating under `old` any more, and that `to` still answers.
fn gone(element: &dyn Element, old: u64, to: u64) -> Result<(), AgentError> {
    let mut input = [0; 32];
    evanesce_secret::random(&mut input);
    let held = on_crucible(|| {
        let mut y = [0; 32];
        let held = !matches!(
            element.evaluate(old, &input, &mut y),
            Err(ElementError::EpochNotHeld(_))
        );
        u8::from(held) + 2 * u8::from(element.evaluate(to, &input, &mut y).is_err())
    });
    match held {
        0 => Ok(()),
        1 | 3 => Err(AgentError::Roll(format!(
            "the root of epoch {old} was to be destroyed, and the element still answers for it: it is not gone"
        ))),
        _ => Err(AgentError::Roll(format!(
            "the root of epoch {old} is gone; the element does not answer for epoch {to} at present"
        ))),
    }
}

/// Where roots are made and destroyed.
enum Roots {
    Software(RootsFile),
    Pkcs11(pkcs11::Config),
}

impl Roots {
    fn of(config: &Config) -> Result<Self, AgentError> {
        Ok(match &config.element {
            ElementSource::Software { roots, passphrase } => {
                let passphrase = read_by(config, passphrase.as_ref(), "passphrase")?;
                let file = RootsFile::new(&config.path(roots), passphrase.as_ref());
                Self::Software(file.map_err(AgentError::Element)?)
            }
            ElementSource::Pkcs11 { .. } => Self::Pkcs11(module(config)?),
        })
    }

    fn open(&self) -> Result<Arc<dyn Element>, AgentError> {
        Ok(match self {
            Self::Software(file) => Arc::new(file.open().map_err(AgentError::Element)?),
            Self::Pkcs11(config) => {
                Arc::new(Pkcs11Element::open(config).map_err(AgentError::Element)?)
            }
        })
    }

    /// The element with another root. `open` stays open until then, so that its token is logged in.
    fn add(&self, epoch: u64, open: Arc<dyn Element>) -> Result<Arc<dyn Element>, AgentError> {
        let added = match self {
            Self::Software(file) => file.add(epoch),
            Self::Pkcs11(config) => Pkcs11Element::create_root(config, epoch).map(drop),
        };
        added.map_err(AgentError::Element)?;
        let element = self.open()?;
        drop(open);
        Ok(element)
    }

    /// The element without a root.
    fn destroy(&self, epoch: u64, open: Arc<dyn Element>) -> Result<Arc<dyn Element>, AgentError> {
        let destroyed = match self {
            Self::Software(file) => file.destroy(epoch),
            Self::Pkcs11(config) => pkcs11::destroy_root(config, epoch),
        };
        destroyed.map_err(AgentError::Element)?;
        let element = self.open()?;
        drop(open);
        Ok(element)
    }
}

fn journal(config: &Config, folder: &Folder) -> Result<Option<u64>, AgentError> {
    let bytes = folder
        .read(JOURNAL)
        .map_err(|e| storage(config, &e.to_string()))?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let epoch = text
        .strip_prefix(JOURNAL_TITLE)
        .and_then(|rest| rest.trim_end().parse().ok());
    match epoch {
        Some(epoch) => Ok(Some(epoch)),
        None => Err(storage(
            config,
            "the file roll is damaged; it names the epoch of an unfinished roll",
        )),
    }
}

fn note(config: &Config, folder: &Folder, to: u64) -> Result<(), AgentError> {
    let text = format!("{JOURNAL_TITLE}{to}\n");
    folder
        .replace(JOURNAL, text.as_bytes())
        .map_err(|e| storage(config, &e.to_string()))
}

fn forget(config: &Config, folder: &Folder) -> Result<(), AgentError> {
    // Should a crash bring it back, the next call finds nothing left to do.
    match std::fs::remove_file(folder.path(JOURNAL)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(storage(config, &e.to_string())),
        _ => Ok(()),
    }
}

fn storage(config: &Config, what: &str) -> AgentError {
    AgentError::Storage(format!("{}: {what}", config.folder.display()))
}
