//! The log's newest entries, read back from its end.

use evanesce_wire::Id;
use evanesce_wire::disk::{find_frame, take_entry};
use evanesce_wire::message::Entry;

use super::{CHUNK, ENTRIES, Log, LogError};

impl Log {
    /// Gives every entry of `since` (Unix milliseconds) or later to `each`, and some of before; the latest chunk's first.
    /// It goes back until an entry is of before, so that one whose clock was set back does not hide what is behind it.
    pub fn recent(
        &self,
        agent: &Id,
        since: u64,
        mut each: impl FnMut(Entry),
    ) -> Result<(), LogError> {
        let mut end = self.length;
        let mut buffer = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(CHUNK as u64);
            buffer.resize((end - start) as usize, 0);
            self.journal
                .read_at(start, &mut buffer)
                .map_err(LogError::CannotWrite)?;
            let damaged = |at: u64| {
                let what = format!("{ENTRIES} holds a changed entry before byte {at}");
                LogError::Damaged(what)
            };
            // At the file's beginning there is a frame's; elsewhere one has to be found.
            let first = match start {
                0 => 0,
                _ => find_frame(&buffer, agent).ok_or_else(|| damaged(end))?,
            };
            let mut rest = &buffer[first..];
            let mut before = false;
            while !rest.is_empty() {
                let (entry, behind) = take_entry(rest, agent).ok_or_else(|| damaged(end))?;
                before |= entry.time < since;
                each(entry);
                rest = behind;
            }
            if before {
                return Ok(());
            }
            end = start + first as u64;
        }
        Ok(())
    }
}
