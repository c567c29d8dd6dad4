//! The operator's inventory: a folder of token files, in either form, with folders in it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use evanesce_suite::catalogue;
use evanesce_token::{Malformed, Row, Token, armor, formula, mpc};
use evanesce_wire::Id;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::AgentError;

/// How the names of token files end.
const SUFFIX: &str = ".regen";
/// How files end that a roll writes beside the one it is about to replace.
const BESIDE: &str = ".rolling";
/// Bytes read of a file: armour and some text around it; the token itself is at most 128 KiB.
const LARGEST: u64 = 1 << 20;

/// Threads that remove files: freeing one can wait for the disk, which may be told of every block that is freed.
const REMOVERS: usize = 16;

/// Every file below `root` in the order of names, links not followed. What an earlier roll left beside them is removed.
pub fn files(root: &Path) -> Result<Vec<PathBuf>, AgentError> {
    let fail = |path: &Path, e: io::Error| {
        AgentError::Roll(format!(
            "the inventory cannot be read: {}: {e}",
            path.display()
        ))
    };
    let device = fs::metadata(root).map_err(|e| fail(root, e))?.dev();
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    let mut left = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| fail(&folder, e))? {
            let entry = entry.map_err(|e| fail(&folder, e))?;
            let (path, kind) = (
                entry.path(),
                entry.file_type().map_err(|e| fail(&folder, e))?,
            );
            if kind.is_dir() {
                if fs::metadata(&path).map_err(|e| fail(&path, e))?.dev() != device {
                    let why = format!(
                        "{} is on another file system: roll it by itself",
                        path.display()
                    );
                    return Err(AgentError::Roll(why));
                }
                folders.push(path);
            } else if is_beside(&path) {
                // Not in force: the file that it was to replace, or has replaced, is there.
                left.push(path);
            } else if kind.is_file() || kind.is_symlink() && named_token(&path) {
                found.push(path);
            }
        }
    }
    remove(&left).map_err(|(path, e)| fail(&path, e))?;
    found.sort_unstable();
    Ok(found)
}

/// Removes files, many at once.
pub fn remove(paths: &[PathBuf]) -> Result<(), (PathBuf, io::Error)> {
    let share = paths.len().div_ceil(REMOVERS).max(1);
    let each = |paths: &[PathBuf]| {
        paths
            .iter()
            .try_for_each(|path| fs::remove_file(path).map_err(|e| (path.clone(), e)))
    };
    std::thread::scope(|scope| {
        let removers: Vec<_> = paths
            .chunks(share)
            .map(|paths| scope.spawn(move || each(paths)))
            .collect();
        removers
            .into_iter()
            .try_for_each(|remover| remover.join().expect("removing does not panic"))
    })
}

fn is_beside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(BESIDE)
}

fn named_token(path: &Path) -> bool {
    path.to_string_lossy().ends_with(SUFFIX)
}

/// A token file as it was read.
pub struct TokenFile {
    path: PathBuf,
    content: Vec<u8>,
    mode: u32,
    pub token: Held,
}

/// A token of either kind.
pub enum Held {
    First(Token),
    Second(mpc::Token),
}

impl Held {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        match mpc::Token::decode(bytes) {
            Ok(token) => Ok(Self::Second(token)),
            Err(_) => Token::decode(bytes, catalogue()).map(Self::First),
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::First(token) => token.encode(),
            Self::Second(token) => token.encode(),
        }
    }

    pub fn id(&self) -> &Id {
        match self {
            Self::First(token) => token.id(),
            Self::Second(token) => token.id(),
        }
    }

    pub fn rows(&self) -> &[Row] {
        match self {
            Self::First(token) => &token.rows,
            Self::Second(token) => &token.rows,
        }
    }

    /// What the holder of a seat signs of its row.
    pub fn row_statement(&self, seat: u32, epoch: u64, correction: &[u8; 32]) -> [u8; 32] {
        match self {
            Self::First(token) => formula::row_statement(token.id(), seat, epoch, correction),
            Self::Second(token) => {
                let kind = token.body.header.kind;
                mpc::formula::row_statement(kind, token.id(), seat, epoch, correction)
            }
        }
    }

    pub fn set_row(&mut self, seat: u32, row: Row) {
        let rows = match self {
            Self::First(token) => &mut token.rows,
            Self::Second(token) => &mut token.rows,
        };
        rows[seat as usize] = row;
    }
}

/// A replacement that lies beside its file, not in force yet.
pub struct Beside {
    new: PathBuf,
    file: PathBuf,
    /// What is to be replaced.
    before: Vec<u8>,
}

impl TokenFile {
    /// Reads a token file. `None` for a file that is none and is not called so; a reason where it should be one.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let metadata = fs::symlink_metadata(path).map_err(|e| e.to_string())?;
        if metadata.is_symlink() {
            return Err("a symbolic link: put the file itself into the inventory".into());
        }
        let content = content(path).map_err(|e| e.to_string())?;
        let decoded = match text(&content) {
            Some(text) => armor::decode(text),
            None => Ok(content.clone()),
        };
        match decoded.and_then(|bytes| Held::decode(&bytes)) {
            Ok(token) => Ok(Some(Self {
                path: path.to_owned(),
                content,
                mode: metadata.mode() & 0o777,
                token,
            })),
            Err(_) if !named_token(path) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Writes the token as it is now beside its file.
    pub fn write(self) -> io::Result<Beside> {
        let encoded = self.token.encode();
        let bytes = match text(&self.content) {
            Some(text) => armor::replace(text, &encoded)
                .map_err(io::Error::other)?
                .into_bytes(),
            None => encoded,
        };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let new = self.path.with_file_name(format!(".{name}{BESIDE}"));
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(self.mode)
            .open(&new)?;
        io::Write::write_all(&mut file, &bytes)?;
        Ok(Beside {
            new,
            file: self.path,
            before: self.content,
        })
    }
}

impl Beside {
    /// The file that it is to replace.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Puts it in force, unless somebody has changed the file meanwhile. It must be durable by now.
    ///
    /// The two change names, where the file system can do that: what was replaced lies beside then, at the path
    /// returned, to be removed once all is done. A file system that frees files while it makes others can become slow
    /// beyond measure (ext4 without a journal looks at each one freed of late before it makes the next; with discards
    /// a folder is locked for as long as each takes).
    pub fn put(self) -> Result<Option<PathBuf>, String> {
        match content(&self.file) {
            Ok(now) if now == self.before => {}
            _ => {
                let _ = fs::remove_file(&self.new);
                return Err("changed while it was re-rooted; it was left as it is".into());
            }
        }
        match renameat_with(CWD, &self.new, CWD, &self.file, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(Some(self.new)),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let renamed = fs::rename(&self.new, &self.file);
                renamed.map(|()| None).map_err(|e| e.to_string())
            }
            Err(e) => Err(e.to_string()),
        }
    }
}

/// The text that armour is in; a binary token begins with a CBOR map head and is none.
fn text(content: &[u8]) -> Option<&str> {
    std::str::from_utf8(content)
        .ok()
        .filter(|text| text.contains("-----BEGIN"))
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut content)?;
    match content.len() as u64 > LARGEST {
        true => Err(io::Error::other("larger than a token can be")),
        false => Ok(content),
    }
}
