//! An agent's log as static files in C2SP tlog-tiles form, for auditors and witnesses.
//!
//! Reads the agent's folder, whether the agent runs or not, and only what `log/head` covers; writes nothing there. What
//! was exported before is gone on from: files of full tiles never change, and each is whole under its name or not there.
//! The checkpoint comes last, so that whoever reads along finds all that it covers.
//!
//! It refuses to replace a checkpoint by one of another log, of a shorter log, or of a log that does not begin with the
//! one exported before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use evanesce_wire::exported::{Exported, Folder, LogFault, Tree};
use evanesce_wire::live::Live;
use evanesce_wire::merkle::{self, Hash};
use evanesce_wire::note::{self, Checkpoint};
use evanesce_wire::tiles::{self, Tile, WIDTH};
use evanesce_wire::{FileIdentity, Identity};

use crate::error::AgentError;
use crate::log;

/// Where the log's key is put beside the C2SP files, as a vkey: for convenience, not for trust.
pub const VKEY: &str = "vkey";
/// Bytes by which a frame of the journal is longer than the entry in its bundle.
const MORE: u64 = evanesce_wire::disk::FRAME as u64 - 2;

/// What an export has left in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Whose log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The tree's hash.
    pub root: Hash,
    /// The log's key, as C2SP signed-note writes it.
    pub vkey: String,
    /// Entries that this export went through: fewer than `size` where it went on from an earlier one.
    pub read: u64,
}

/// Exports the log of the agent in `folder` to `target`, which is made where it is missing.
///
/// # Errors
/// `Storage` for what cannot be read or written; `Evidence` for a log that was changed, or is not the one exported
/// before.
pub fn export(folder: &Path, target: &Path) -> Result<Export, AgentError> {
    let key = FileIdentity::open(&folder.join(log::KEY)).map_err(AgentError::Identity)?;
    let key = key
        .ed25519()
        .then(|| key.spki().last_chunk::<32>().copied());
    let key = key
        .flatten()
        .ok_or_else(|| AgentError::Evidence(format!("{} is not a log's key", log::KEY)))?;
    let log = Live::open(folder)?;
    log.signed_by(&key)?;
    let checkpoint = log.checkpoint().clone();
    let before = previous(target, &checkpoint, &key)?;

    let mut writer = Writer::resume(target, checkpoint.size)?;
    let first = writer.tiles * WIDTH;
    let written = go_on(&mut writer, &log, folder, before.as_ref());
    if let Err(AgentError::Evidence(_)) = written {
        writer.take_back();
    }
    written?;
    let vkey = note::log_vkey(&checkpoint.origin, &key);
    put(target, VKEY, format!("{vkey}\n").as_bytes())?;
    // One of the same tree may have witnesses' words on it by now.
    if before.is_none_or(|before| before.body != checkpoint.body) {
        put(target, tiles::CHECKPOINT, checkpoint.to_string().as_bytes())?;
    }
    writer.tidy()?;
    Ok(Export {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: checkpoint.root,
        vkey,
        read: checkpoint.size - first,
    })
}

/// Writes what is missing, and proves from the files alone that they are the log, and go on from the one before.
fn go_on(
    writer: &mut Writer<'_>,
    log: &Live,
    folder: &Path,
    before: Option<&Checkpoint>,
) -> Result<(), AgentError> {
    let (target, checkpoint) = (writer.target, log.checkpoint());
    let (first, at) = (writer.tiles * WIDTH, writer.at);
    let mut none = true;
    let read = log.entries(first, at, |_, leaf, entry| {
        none = false;
        writer.push(leaf, entry)
    });
    if first > 0 && none && read.is_err() {
        return Err(AgentError::Evidence(format!(
            "{} holds other entries than {}: one of them was changed. Export to another folder to tell which",
            target.display(),
            folder.display()
        )));
    }
    read?;
    writer.finish()?;
    let made = Exported::at(Folder(target.to_owned()), checkpoint.clone());
    let root = merkle::root(checkpoint.size, |level, index| made.node(level, index))?;
    if root != checkpoint.root {
        return Err(AgentError::Evidence(format!(
            "the entries of {}, with those in {} before, do not give the root of {}: one of them was changed. Nothing \
             was published; export to a new folder to tell which",
            folder.display(),
            target.display(),
            log::HEAD
        )));
    }
    if let Some(before) = before {
        made.since(before)?;
    }
    Ok(())
}

/// The checkpoint of the export before, if there was one, whose log must be able to have become this one.
fn previous(
    target: &Path,
    now: &Checkpoint,
    key: &[u8; 32],
) -> Result<Option<Checkpoint>, AgentError> {
    let text = match fs::read_to_string(target.join(tiles::CHECKPOINT)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot("read", &target.join(tiles::CHECKPOINT), &e)),
    };
    let refuse = |why: String| {
        let what = target.display();
        Err(AgentError::Evidence(format!(
            "{what} {why}. It is kept as it is: export to another folder, and find out which of the two is true"
        )))
    };
    let before = match Checkpoint::parse(&text) {
        Ok(before) if before.origin == now.origin && before.signed_by(key) => before,
        _ => return refuse("holds another log's checkpoint".into()),
    };
    if before.size > now.size {
        return refuse(format!(
            "holds {} entries of this log, which now has {}: it was cut or restored from a copy",
            before.size, now.size
        ));
    }
    if before.size == now.size && before.root != now.root {
        return refuse("holds another log of this name and size: one of them is a fork".into());
    }
    Ok(Some(before))
}

/// Tiles in the making, written when they are full.
struct Writer<'a> {
    target: &'a Path,
    /// Leaves of the tree to be made.
    size: u64,
    /// Full tiles of level 0 that are there.
    tiles: u64,
    /// Where the entries behind them begin in the journal.
    at: u64,
    /// The unfinished tile of each level.
    rows: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
    /// Files that were not there before.
    made: Vec<PathBuf>,
    /// Folders of partial tiles that have become full.
    stale: Vec<PathBuf>,
}

impl<'a> Writer<'a> {
    /// Goes on from the full tiles that `target` has. The last of them is made again: what it is hashed into may not have
    /// been written any more.
    fn resume(target: &'a Path, size: u64) -> Result<Self, LogFault> {
        let (mut lengths, mut at) = (Vec::new(), 0);
        while let Some(tile) = Tile::of(0, lengths.len() as u64, size).filter(Tile::full) {
            let bundle = fs::metadata(target.join(tile.bundle_path()));
            match bundle {
                Ok(bundle) if target.join(tile.path()).is_file() => lengths.push(bundle.len()),
                _ => break,
            }
        }
        lengths.pop();
        let tiles = lengths.len() as u64;
        for length in lengths {
            at += length + MORE * WIDTH;
        }
        let mut rows = vec![Vec::new()];
        for level in 0..u64::BITS / tiles::HEIGHT {
            let full = tiles >> (tiles::HEIGHT * level);
            let hash = |index| full_tile_hash(target, level, index);
            rows.push(
                (full / WIDTH * WIDTH..full)
                    .map(hash)
                    .collect::<Result<_, _>>()?,
            );
        }
        Ok(Self {
            target,
            size,
            tiles,
            at,
            rows,
            bundle: Vec::new(),
            made: Vec::new(),
            stale: Vec::new(),
        })
    }

    fn push(&mut self, leaf: Hash, entry: &[u8]) -> Result<(), LogFault> {
        if !tiles::put_entry(&mut self.bundle, entry) {
            return Err(LogFault::Wrong("an entry is too long for a bundle".into()));
        }
        self.rows[0].push(leaf);
        if self.rows[0].len() as u64 == WIDTH {
            self.full(0, self.tiles)?;
            self.tiles += 1;
        }
        Ok(())
    }

    /// Writes a full tile and hashes it into the one above.
    fn full(&mut self, level: usize, index: u64) -> Result<(), LogFault> {
        let row = std::mem::take(&mut self.rows[level]);
        self.write(level, index, &row)?;
        self.rows[level + 1].push(tiles::tile_hash(&row));
        if self.rows[level + 1].len() as u64 == WIDTH {
            self.full(level + 1, index / WIDTH)?;
        }
        Ok(())
    }

    /// Writes what is not full.
    fn finish(&mut self) -> Result<(), LogFault> {
        for level in 0..self.rows.len() {
            let row = std::mem::take(&mut self.rows[level]);
            if !row.is_empty() {
                let index = (self.size >> (tiles::HEIGHT * level as u32)) / WIDTH;
                self.write(level, index, &row)?;
            }
        }
        Ok(())
    }

    /// Writes a tile, its bundle first.
    fn write(&mut self, level: usize, index: u64, row: &[Hash]) -> Result<(), LogFault> {
        let tile = Tile {
            level: level as u32,
            index,
            width: row.len() as u64,
        };
        if level == 0 {
            let bundle = std::mem::take(&mut self.bundle);
            self.put(&tile.bundle_path(), &bundle)?;
        }
        self.put(&tile.path(), &tiles::encode(row))?;
        if tile.full() {
            self.stale.push(self.target.join(tile.full_path() + ".p"));
            if level == 0 {
                self.stale
                    .push(self.target.join(tile.full_bundle_path() + ".p"));
            }
        }
        Ok(())
    }

    /// Writes a file where there is none. What a file of an export holds never changes: another content is another log.
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), LogFault> {
        let at = self.target.join(path);
        match fs::read(&at) {
            Ok(there) if there == bytes => Ok(()),
            Ok(_) => Err(LogFault::Wrong(format!(
                "{} holds something else than the log has now: one of them was changed, or is a fork",
                at.display()
            ))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                put_file(self.target, path, bytes)?;
                self.made.push(at);
                Ok(())
            }
            Err(e) => Err(LogFault::Io(at.display().to_string(), e)),
        }
    }

    /// Removes what was written of a log that is not to be published; as far as it can be.
    fn take_back(&self) {
        for path in &self.made {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes partial tiles in whose place full ones are published now.
    fn tidy(&self) -> Result<(), LogFault> {
        for path in &self.stale {
            match fs::remove_dir_all(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(LogFault::Io(path.display().to_string(), e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn full_tile_hash(target: &Path, level: u32, index: u64) -> Result<Hash, LogFault> {
    let tile = Tile {
        level,
        index,
        width: WIDTH,
    };
    let path = target.join(tile.path());
    let bytes = fs::read(&path).map_err(|e| LogFault::Io(path.display().to_string(), e))?;
    tiles::decode(&bytes)
        .filter(|hashes| hashes.len() as u64 == WIDTH)
        .map(|hashes| tiles::tile_hash(&hashes))
        .ok_or_else(|| LogFault::Wrong(format!("{} is not a full tile", path.display())))
}

/// Writes a file so that it is there whole or not at all.
fn put_file(target: &Path, path: &str, bytes: &[u8]) -> Result<(), LogFault> {
    let write = || -> io::Result<()> {
        let path = target.join(path);
        let folder = path.parent().unwrap_or(target);
        fs::create_dir_all(folder)?;
        let new: PathBuf = folder.join(format!(".new-{}", std::process::id()));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(|e| LogFault::Io(format!("cannot write {}", target.join(path).display()), e))
}

fn put(target: &Path, path: &str, bytes: &[u8]) -> Result<(), AgentError> {
    put_file(target, path, bytes).map_err(AgentError::from)
}

fn cannot(what: &str, path: &Path, e: &io::Error) -> AgentError {
    AgentError::Storage(format!("cannot {what} {}: {e}", path.display()))
}

impl From<LogFault> for AgentError {
    fn from(fault: LogFault) -> Self {
        match fault {
            LogFault::Io(..) => Self::Storage(fault.to_string()),
            LogFault::Wrong(what) => Self::Evidence(what),
        }
    }
}

#[cfg(test)]
mod tests;
