//! Shares that this agent keeps, of tokens of kind `mpc`: a small file for each, sealed under its element.
//!
//! A file that is removed is first overwritten and synced. That is all that a process can do: a disk may keep what was written before in a
//! journal, a snapshot or a worn-out cell. What it keeps is sealed, and is worth nothing once the element's root is destroyed.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_threshold::SealedShare;
use evanesce_token::cbor::{Limits, Reader, Writer};
use evanesce_token::{Malformed, limits};
use evanesce_wire::Id;

use crate::disk::{Disk, NEW};

/// The folder of the files.
const FOLDER: &str = "shares";
const KEYS: [&str; 6] = ["v", "seat", "epoch", "nonce", "token", "sealed"];

/// The folder on the agent's disk.
pub struct Shelf {
    disk: Arc<dyn Disk>,
    /// The tokens of which a share is kept.
    kept: Mutex<BTreeSet<Id>>,
    /// Held while a file is looked at and then replaced or removed.
    writing: Mutex<()>,
}

/// A share as it is kept.
pub struct Volume {
    /// Its seat.
    pub seat: u8,
    /// The epoch of the root that it is sealed under.
    pub epoch: u64,
    /// The share.
    pub share: SealedShare,
}

impl Shelf {
    /// Finds what is kept on that disk, and removes what a crash left half written.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let mut kept = BTreeSet::new();
        for name in disk.list(FOLDER)? {
            let mut id = [0; 32];
            if hex::decode_to_slice(&name, &mut id).is_ok() {
                kept.insert(id);
            } else if name.ends_with(NEW) {
                disk.remove(&format!("{FOLDER}/{name}"))?;
            }
        }
        let (kept, writing) = (Mutex::new(kept), Mutex::default());
        Ok(Self {
            disk,
            kept,
            writing,
        })
    }

    /// Of how many tokens a share is kept.
    pub fn count(&self) -> usize {
        self.kept().len()
    }

    /// The tokens of which a share is kept.
    pub fn all(&self) -> Vec<Id> {
        self.kept().iter().copied().collect()
    }

    fn kept(&self) -> MutexGuard<'_, BTreeSet<Id>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses where a share of `seat` would take the place of another's (`AlreadyExists`): what is kept is found by its token alone. What
    /// cannot be read just now may be another's.
    pub fn has_room(&self, token: &Id, seat: u8) -> io::Result<()> {
        match self.get(token) {
            Ok(Some(volume)) if volume.seat != seat => {
                let why = "this agent keeps another seat's share of that token";
                Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
            }
            Ok(_) => Ok(()),
            Err(e) => {
                let name = name(token);
                let why = format!(
                    "{name} is there and cannot be read ({e}); if it is lost, remove it from the agent's folder"
                );
                Err(io::Error::new(e.kind(), why))
            }
        }
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a share of a token, for good; never over another seat's.
    pub fn put(&self, token: &Id, volume: &Volume) -> io::Result<()> {
        let _writing = self.writing();
        self.has_room(token, volume.seat)?;
        let mut w = Writer::new();
        w.map(KEYS.len());
        w.key("v").uint(1);
        w.key("seat").uint(volume.seat.into());
        w.key("epoch").uint(volume.epoch);
        w.key("nonce").bytes(&volume.share.nonce);
        w.key("token").bytes(token);
        w.key("sealed").bytes(&volume.share.sealed);
        self.disk.replace(&name(token), &w.into_bytes())?;
        self.kept().insert(*token);
        Ok(())
    }

    /// The share of a token, if one is kept.
    pub fn get(&self, token: &Id) -> io::Result<Option<Volume>> {
        let Some(bytes) = self.disk.read(&name(token))? else {
            return Ok(None);
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        read(token, &bytes)
            .map(Some)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.0))
    }

    /// Removes what is kept of a token; whether there was anything.
    pub fn remove(&self, token: &Id) -> io::Result<bool> {
        let _writing = self.writing();
        let name = name(token);
        let there = self
            .disk
            .read(&name)?
            .is_some_and(|bytes| !bytes.is_empty());
        if there {
            self.disk.remove(&name)?;
        }
        self.kept().remove(token);
        Ok(there)
    }
}

fn name(token: &Id) -> String {
    format!("{FOLDER}/{}", hex::encode(token))
}

fn read(token: &Id, bytes: &[u8]) -> Result<Volume, Malformed> {
    let mut reader = Reader::new("kept share", bytes, Limits::PROTOCOL)?;
    let mut map = reader.map(&KEYS)?;
    let version = map.field("v")?;
    if version.uint()? != 1 {
        return Err(version.malformed("an unknown version"));
    }
    let seat = map.field("seat")?;
    let seat = match u8::try_from(seat.uint()?) {
        Ok(number) if usize::from(number) < limits::SEATS => number,
        _ => return Err(seat.malformed("no such seat")),
    };
    let epoch = map.field("epoch")?.uint()?;
    let nonce = map.field("nonce")?.bytes_n()?;
    let of = map.field("token")?;
    if of.bytes_n::<32>()? != *token {
        return Err(of.malformed("it is of another token than its name says"));
    }
    let sealed = map.field("sealed")?.bytes_n()?;
    map.end();
    reader.finish()?;
    Ok(Volume {
        seat,
        epoch,
        share: SealedShare { nonce, sealed },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;

    #[test]
    fn a_share_is_kept_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(Folder::open(dir.path()).unwrap());
        let shelf = Shelf::open(disk.clone()).unwrap();
        let (one, other) = ([1; 32], [2; 32]);
        assert!(shelf.get(&one).unwrap().is_none() && shelf.all().is_empty());
        let volume = Volume {
            seat: 3,
            epoch: 7,
            share: SealedShare {
                nonce: [4; 12],
                sealed: [5; 48],
            },
        };
        shelf.put(&one, &volume).unwrap();
        let kept = shelf.get(&one).unwrap().unwrap();
        assert_eq!((kept.seat, kept.epoch, &kept.share), (3, 7, &volume.share));
        assert_eq!(shelf.all(), [one]);
        // what a crash left half written goes at the next start, and nothing else does
        let half = dir.path().join(format!("{}{NEW}", name(&other)));
        std::fs::write(&half, b"half").unwrap();
        let again = Shelf::open(disk).unwrap();
        assert!(!half.exists());
        assert_eq!((again.all(), again.count()), (vec![one], 1));
        assert!(again.get(&one).unwrap().is_some());
        // under another token's name it is nothing, and may be another seat's for all that can be known
        let path = |id: &Id| dir.path().join(name(id));
        std::fs::copy(path(&one), path(&other)).unwrap();
        assert!(shelf.get(&other).is_err());
        let refused = shelf.put(&other, &volume).unwrap_err().to_string();
        assert!(refused.contains("cannot be read"), "{refused}");
        // the same seat's is written over, and another's is not
        let again = Volume { epoch: 8, ..volume };
        shelf.put(&one, &again).unwrap();
        let refused = shelf.put(&one, &Volume { seat: 4, ..again });
        let refused = refused.unwrap_err().kind();
        assert_eq!(refused, io::ErrorKind::AlreadyExists);
        let kept = shelf.get(&one).unwrap().unwrap();
        assert_eq!((kept.seat, kept.epoch), (3, 8));
        assert!(shelf.remove(&one).unwrap() && shelf.remove(&other).unwrap());
        assert!(!shelf.remove(&one).unwrap() && shelf.all().is_empty());
        assert!(!path(&one).exists());
    }
}
