//! What the agent asks of a disk: two traits, and a folder that has them.
//!
//! The log and the tombstones are written through these, so that a simulator can fail, tear and reorder
//! what they write. An agent has its folder to itself, by a lock that ends with the process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(test)]
mod memory;
#[cfg(test)]
pub use memory::Memory;

/// How the name of a small file ends while it is being replaced. A crash may leave one.
pub const NEW: &str = ".new";

/// A file that grows at its end.
pub trait Journal: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether nothing was ever written.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `out` from the bytes at `at`.
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `at`. After an error any part of them may be there.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, or fills it with zeros, to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when everything written outlives a loss of power.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of journals and small files.
pub trait Disk: Send + Sync {
    /// Opens a journal, made empty where there is none.
    fn journal(&self, name: &str) -> io::Result<Arc<dyn Journal>>;
    /// A small file's bytes, if it is there.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a small file as a whole: afterwards it holds the old bytes or the new ones, even after a
    /// loss of power.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a small file, overwritten first where that is possible. One that is empty is as one that is not there.
    fn remove(&self, name: &str) -> io::Result<()> {
        self.replace(name, &[])
    }
    /// The names of the small files in a folder of it; none where there is no such folder, or where folders are not known.
    fn list(&self, _folder: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A folder on a real disk, locked.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens `path` and the folder `log` in it, made with mode 0700 where they are missing. `WouldBlock` when
    /// another process has them.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path.join("log"))?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(path.join("log/lock"))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(e) => e,
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => sync_folder_of(&path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for Folder {
    fn journal(&self, name: &str) -> io::Result<Arc<dyn Journal>> {
        let file = private()
            .create(true)
            .truncate(false)
            .open(self.path(name))?;
        sync_folder_of(&self.path(name))?;
        Ok(Arc::new(file))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.path(&format!("{name}{NEW}"));
        if let Some((folder, _)) = name.split_once('/') {
            self.make_folder(folder)?;
        }
        let file = private().create(true).truncate(true).open(&new)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        fs::rename(&new, self.path(name))?;
        sync_folder_of(&new)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let file = private().open(&path)?;
        let length = file.metadata()?.len();
        file.write_all_at(&vec![0; length as usize], 0)?;
        file.sync_all()?;
        fs::remove_file(&path)?;
        sync_folder_of(&path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}

/// A new name outlives a loss of power only once its folder is synced.
fn sync_folder_of(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(file))?.sync_all()
}

impl Journal for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_agent() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let second = Folder::open(dir.path());
        assert_eq!(second.err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Folder::open(dir.path()).unwrap();
    }
}
