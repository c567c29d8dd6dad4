//! Private files that are made once: whole, or not at all.

use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a file of mode 0600 with this content and makes it durable. Where there is one already it is left alone
/// (`AlreadyExists`); where it cannot be written whole none is left.
pub fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        // Half a secret is of no use to anyone but a thief, and would stop the next attempt.
        let _ = std::fs::remove_file(path);
    })
}
