//! A disk in memory that can be full, fail to sync, and be looked at: for tests.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::{Disk, Journal};

/// The disk. Clones share it.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    /// Bytes of all files at most; a write that would exceed them is cut short, and fails.
    room: Option<usize>,
    /// Cutting a file fails too.
    stuck: bool,
    unsyncable: bool,
    syncs: usize,
}

impl Memory {
    pub fn set_room(&self, room: Option<usize>) {
        self.0.lock().unwrap().room = room;
    }
    pub fn set_stuck(&self, stuck: bool) {
        self.0.lock().unwrap().stuck = stuck;
    }
    pub fn set_unsyncable(&self, unsyncable: bool) {
        self.0.lock().unwrap().unsyncable = unsyncable;
    }
    pub fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }
    pub fn file(&self, name: &str) -> Vec<u8> {
        self.0
            .lock()
            .unwrap()
            .files
            .get(name)
            .cloned()
            .unwrap_or_default()
    }
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.0.lock().unwrap().files.insert(name.to_owned(), bytes);
    }
    pub fn remove(&self, name: &str) {
        self.0.lock().unwrap().files.remove(name);
    }
    /// A disk with the same files and no faults.
    pub fn copy(&self) -> Self {
        let files = self.0.lock().unwrap().files.clone();
        Self(Arc::new(Mutex::new(State {
            files,
            ..State::default()
        })))
    }
}

impl State {
    fn free(&self) -> usize {
        let used: usize = self.files.values().map(Vec::len).sum();
        self.room
            .map_or(usize::MAX, |room| room.saturating_sub(used))
    }
}

impl Disk for Memory {
    fn journal(&self, name: &str) -> io::Result<Arc<dyn Journal>> {
        self.0
            .lock()
            .unwrap()
            .files
            .entry(name.to_owned())
            .or_default();
        Ok(Arc::new(Open {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if bytes.len() > state.free() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

struct Open {
    disk: Memory,
    name: String,
}

impl Journal for Open {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.file(&self.name).len() as u64)
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let file = self.disk.file(&self.name);
        let part = file.get(at as usize..at as usize + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        let free = state.free();
        let file = state.files.get_mut(&self.name).unwrap();
        let at = at as usize;
        let fits = bytes.len().min((file.len() - at).saturating_add(free));
        file.resize(file.len().max(at + fits), 0);
        file[at..at + fits].copy_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        if state.stuck {
            return Err(io::Error::other("stuck"));
        }
        state
            .files
            .get_mut(&self.name)
            .unwrap()
            .resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        if state.unsyncable {
            return Err(io::Error::other("the disk is gone"));
        }
        state.syncs += 1;
        Ok(())
    }
}
