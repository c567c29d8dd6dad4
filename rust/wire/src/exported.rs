//! An exported log: read, and checked against its checkpoint.
//!
//! Whoever holds the files may have changed them, so nothing here is believed because it lies there: [`Exported::check`]
//! goes from the entries up to the checkpoint's root, and a proof made of tiles counts only once it has been verified
//! against that root. Whether the checkpoint is the log's own is a matter of the key: [`Exported::signed_by`].

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::merkle::{self, Frontier, Hash, leaf_hash, verify_consistency, verify_inclusion};
use crate::message::Receipt;
use crate::note::Checkpoint;
use crate::tiles::{self, HEIGHT, Tile, WIDTH};

/// Why a log is not what it should be.
#[derive(Debug)]
pub enum LogFault {
    /// A file cannot be read.
    Io(String, io::Error),
    /// Something is missing, changed, out of order, or of another log.
    Wrong(String),
}

impl fmt::Display for LogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, e) => write!(f, "{what}: {e}"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for LogFault {}

pub(crate) fn wrong(what: impl Into<String>) -> LogFault {
    LogFault::Wrong(what.into())
}

/// Where an exported log's files are.
pub trait Files {
    /// A file's bytes by its path in the log; None where there is none.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// Files of a folder.
pub struct Folder(pub PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// An exported log, up to its checkpoint.
pub struct Exported<F> {
    files: F,
    checkpoint: Checkpoint,
    /// The tile read last at each level: proofs ask for neighbours.
    recent: RefCell<Vec<Option<Read>>>,
}

/// A tile and its hashes.
type Read = (Tile, Vec<Hash>);

impl<F: Files> Exported<F> {
    /// Reads the checkpoint.
    pub fn open(files: F) -> Result<Self, LogFault> {
        let bytes =
            read(&files, tiles::CHECKPOINT)?.ok_or_else(|| wrong("there is no checkpoint"))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("the checkpoint is no text"))?;
        let checkpoint = Checkpoint::parse(&text).map_err(|e| wrong(e.to_string()))?;
        Ok(Self::at(files, checkpoint))
    }

    /// The same files under another checkpoint.
    pub fn at(files: F, checkpoint: Checkpoint) -> Self {
        Self {
            files,
            checkpoint,
            recent: RefCell::default(),
        }
    }

    /// What everything else is checked against.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Goes through all of it: every entry against its leaf's hash, every tile against those below, the whole against
    /// the checkpoint's root. `each` is given the entries in order, and may stop it. What it has been given is proven
    /// only once this returns.
    pub fn check(
        &self,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), LogFault>,
    ) -> Result<(), LogFault> {
        let size = self.checkpoint.size;
        let mut tree = Frontier::default();
        let mut full: Vec<Hash> = Vec::new();
        for tile in tiles::tiles(size).take_while(|tile| tile.level == 0) {
            let leaves = self.tile(tile)?;
            let bundle = self.bundle(tile)?;
            let entries = tiles::entries(&bundle)
                .filter(|entries| entries.len() as u64 == tile.width)
                .ok_or_else(|| {
                    wrong(format!("{} does not hold its entries", tile.bundle_path()))
                })?;
            for ((index, entry), leaf) in (tile.index * WIDTH..).zip(entries).zip(&leaves) {
                if leaf_hash(entry) != *leaf {
                    return Err(wrong(format!(
                        "entry {index} is not the one in {}",
                        tile.path()
                    )));
                }
                each(index, entry)?;
            }
            if tile.full() {
                full.push(tiles::tile_hash(&leaves));
            }
            tree = tree.append(&leaves).frontier();
        }
        for level in 1.. {
            let mut above = Vec::new();
            for (index, expected) in (0..).zip(full.chunks(WIDTH as usize)) {
                let tile = Tile::of(level, index, size)
                    .ok_or_else(|| wrong("more tiles than the size has"))?;
                if self.tile(tile)? != expected {
                    return Err(wrong(format!("{} is not of those below", tile.path())));
                }
                if tile.full() {
                    above.push(tiles::tile_hash(expected));
                }
            }
            if above.is_empty() {
                break;
            }
            full = above;
        }
        match tree.append(&[]).root == self.checkpoint.root {
            true => Ok(()),
            false => Err(wrong("the entries do not give the checkpoint's root")),
        }
    }

    /// A node of the tree, as the tiles have it.
    pub fn node(&self, level: u32, index: u64) -> Result<Hash, LogFault> {
        let (row, up) = (level / HEIGHT, level % HEIGHT);
        let first = index << up;
        let tile = Tile::of(row, first / WIDTH, self.checkpoint.size)
            .ok_or_else(|| wrong("a node beyond the tree"))?;
        let mut recent = self.recent.borrow_mut();
        let rows = recent.len().max(row as usize + 1);
        recent.resize(rows, None);
        let slot = &mut recent[row as usize];
        if slot.as_ref().is_none_or(|(held, _)| *held != tile) {
            *slot = Some((tile, self.tile(tile)?));
        }
        let hashes = slot.as_ref().map(|(_, hashes)| hashes.as_slice());
        let start = (first % WIDTH) as usize;
        hashes
            .and_then(|hashes| hashes.get(start..start + (1 << up)))
            .map(tiles::tile_hash)
            .ok_or_else(|| wrong("a node beyond the tree"))
    }

    /// A tile's hashes, from its own file or from that of the full tile which it has become.
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, LogFault> {
        let (bytes, own) = self.either(&tile.path(), &tile.full_path())?;
        let mut hashes =
            tiles::decode(&bytes).ok_or_else(|| wrong(format!("{} is no tile", tile.path())))?;
        if hashes.len() as u64 != if own { tile.width } else { WIDTH } {
            return Err(wrong(format!("{} has another width", tile.path())));
        }
        hashes.truncate(tile.width as usize);
        Ok(hashes)
    }

    /// A bundle's entries, likewise.
    fn bundle(&self, tile: Tile) -> Result<Vec<u8>, LogFault> {
        let (mut bytes, own) = self.either(&tile.bundle_path(), &tile.full_bundle_path())?;
        if !own {
            let mut rest = &bytes[..];
            for _ in 0..tile.width {
                rest = rest
                    .split_first_chunk::<2>()
                    .and_then(|(n, rest)| rest.get(usize::from(u16::from_be_bytes(*n))..))
                    .ok_or_else(|| wrong(format!("{} is cut short", tile.full_bundle_path())))?;
            }
            bytes.truncate(bytes.len() - rest.len());
        }
        Ok(bytes)
    }

    /// The file of a place as it was at this size, or else as it became; and whether it is the former.
    fn either(&self, path: &str, full: &str) -> Result<(Vec<u8>, bool), LogFault> {
        if let Some(bytes) = read(&self.files, path)? {
            return Ok((bytes, true));
        }
        let bytes = if full == path {
            None
        } else {
            read(&self.files, full)?
        };
        let bytes = bytes.ok_or_else(|| wrong(format!("{path} is missing")))?;
        Ok((bytes, false))
    }
}

fn read(files: &impl Files, path: &str) -> Result<Option<Vec<u8>>, LogFault> {
    files
        .read(path)
        .map_err(|e| LogFault::Io(path.to_owned(), e))
}

/// Whether a log that was seen before still is the beginning of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It is: nothing was rewritten since.
    Grown,
    /// This one ends before: it says nothing about what came after its own end.
    Older,
}

/// A log with its tree, whatever its files look like.
pub trait Tree {
    /// What it is checked against.
    fn checkpoint(&self) -> &Checkpoint;
    /// A node of its tree; not proven.
    fn node(&self, level: u32, index: u64) -> Result<Hash, LogFault>;

    /// Checks by a proof that this log begins with the one of an earlier checkpoint of the same origin.
    ///
    /// # Errors
    /// One that is of another origin, was rewritten or forked, or whose tiles prove nothing.
    fn since(&self, earlier: &Checkpoint) -> Result<Since, LogFault> {
        let now = self.checkpoint();
        if earlier.origin != now.origin {
            return Err(wrong(format!(
                "the checkpoints are of two logs, {} and {}",
                earlier.origin, now.origin
            )));
        }
        if earlier.size > now.size {
            return Ok(Since::Older);
        }
        let proof = merkle::consistency(earlier.size, now.size, |l, i| self.node(l, i))?;
        match verify_consistency(earlier.size, &earlier.root, now.size, &now.root, &proof) {
            true => Ok(Since::Grown),
            false => Err(wrong(format!(
                "the log of {} entries does not begin with the one of {} entries seen before: it was rewritten or forked",
                now.size, earlier.size
            ))),
        }
    }

    /// Checks by proofs that this log goes on from the one that a receipt is of, and holds the receipt's entry where the
    /// receipt says. The receipt itself, and this checkpoint's signature, are the caller's to verify.
    ///
    /// # Errors
    /// As `since`; an entry that is not there.
    fn holds(&self, receipt: &Receipt) -> Result<Since, LogFault> {
        let earlier = Checkpoint::parse(&receipt.checkpoint).map_err(|e| wrong(e.to_string()))?;
        let since = self.since(&earlier)?;
        if since == Since::Older {
            return Ok(since);
        }
        let now = self.checkpoint();
        let path = merkle::inclusion(receipt.index, now.size, |l, i| self.node(l, i))?;
        let leaf = leaf_hash(&receipt.entry);
        match verify_inclusion(&leaf, receipt.index, now.size, &path, &now.root) {
            true => Ok(since),
            false => Err(wrong(format!(
                "entry {} of the log is not the receipt's",
                receipt.index
            ))),
        }
    }

    /// Checks that the log's key signed the checkpoint.
    fn signed_by(&self, key: &[u8; 32]) -> Result<(), LogFault> {
        match self.checkpoint().signed_by(key) {
            true => Ok(()),
            false => Err(wrong("the checkpoint's signature is not of the log's key")),
        }
    }
}

impl<F: Files> Tree for Exported<F> {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogFault> {
        Exported::node(self, level, index)
    }
}

/// Whether a folder is an exported log, by its looks.
pub fn is_exported(folder: &std::path::Path) -> bool {
    folder.join(tiles::CHECKPOINT).is_file()
}
