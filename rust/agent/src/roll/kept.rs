//! Shares that the agent keeps itself (tokens of kind `mpc`): none may be sealed under a root that is to be destroyed.

use std::path::Path;

use crate::error::AgentError;
use crate::threshold::Shelf;
use crate::tombstones::Retired;

/// Shares that are named in a refusal; beyond, they are counted.
const NAMED: usize = 5;

/// Refuses while a share of a token that lives is sealed under the root of epoch `old`, or cannot be read. Unlike rows, which are in the
/// operator's inventory alone, these the agent knows of itself.
pub fn none_needs(
    old: u64,
    shelf: &Shelf,
    retired: &Retired,
    folder: &Path,
) -> Result<(), AgentError> {
    let unreadable = |what: String| AgentError::Storage(format!("{}: {what}", folder.display()));
    let mut needing = Vec::new();
    for token in shelf.all().iter().filter(|token| !retired.contains(token)) {
        let volume = shelf.get(token).map_err(|e| {
            let id = hex::encode(token);
            unreadable(format!(
                "shares/{id} cannot be read ({e}). Nothing was destroyed"
            ))
        })?;
        if volume.is_some_and(|volume| volume.epoch == old) {
            needing.push(hex::encode(token));
        }
    }
    if needing.is_empty() {
        return Ok(());
    }
    let (count, more) = (needing.len(), needing.len().saturating_sub(NAMED));
    needing.truncate(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Err(AgentError::Roll(format!(
        "{count} shares of model mpc are kept in this agent's folder, sealed under the root of epoch {old}: of {}{more}. Nothing was \
         destroyed. Put these tokens into the inventory, or revoke them; if a key was never made, because its ceremony was stopped, remove its \
         file from {}",
        needing.join(", "),
        folder.join("shares").display()
    )))
}
