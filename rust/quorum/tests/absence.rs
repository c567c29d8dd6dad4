//! Shares that are never put together are not left anywhere either: agents make keys, sign and turn kept shares into regenerated ones, in one process with
//! the crucible's allocator, as agents have it; then all of its memory but the locked one, and every file of every agent, are searched for the shares.
//!
//! Found is whatever holds 8 bytes in a row of one of them, as they are or reversed (as curve libraries keep numbers), and in files also as hex. The search
//! must find what is planted.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use common::real::{Five, agents};
use common::together::{create, message, renew, reshare, sign};
use common::wait;
use evanesce_quorum::*;
use evanesce_secret::{CrucibleAlloc, on_crucible};
use evanesce_threshold::{Ed25519, Error as FrostError, Kept, Regen, SealedShare, Suite, Taproot};
use evanesce_token::cbor::{Limits, Reader};
use evanesce_token::hash::hmac_sha256;
use evanesce_token::mpc::{Kind, Token};

#[global_allocator]
static ALLOCATOR: CrucibleAlloc = CrucibleAlloc;

const MASK: u8 = 0xa5;
const WINDOW: usize = 8;

/// Shares to look for, none of which is itself in this memory: every byte is another.
#[derive(Default)]
struct Sought(Vec<[u8; 32]>);

impl Sought {
    fn add(&mut self, secret: &[u8; 32]) {
        self.0.push([0; 32]);
        let masked = self.0.last_mut().unwrap();
        on_crucible(|| {
            for (masked, byte) in masked.iter_mut().zip(secret) {
                *masked = byte ^ MASK;
            }
        });
    }

    /// Windows of all of them, masked, in both directions.
    fn windows(&self) -> Vec<[u8; WINDOW]> {
        let mut windows = Vec::new();
        for masked in &self.0 {
            let mut reversed = *masked;
            reversed.reverse();
            for at in [0, 8, 16, 24] {
                for whole in [masked, &reversed] {
                    windows.push(whole[at..at + WINDOW].try_into().unwrap());
                }
            }
        }
        windows.sort_unstable();
        windows
    }

    fn in_bytes(windows: &[[u8; WINDOW]], first: &[bool], bytes: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        for (at, window) in bytes.windows(WINDOW).enumerate() {
            if !first[usize::from(window[0]) << 8 | usize::from(window[1])] {
                continue;
            }
            let masked: [u8; WINDOW] = std::array::from_fn(|n| window[n] ^ MASK);
            if windows.binary_search(&masked).is_ok() {
                found.push(at);
            }
        }
        found
    }

    fn first(windows: &[[u8; WINDOW]]) -> Vec<bool> {
        let mut first = vec![false; 1 << 16];
        for window in windows {
            first[usize::from(window[0] ^ MASK) << 8 | usize::from(window[1] ^ MASK)] = true;
        }
        first
    }

    /// Where they are in memory that is not locked.
    fn in_memory(&self) -> Vec<String> {
        let windows = self.windows();
        let first = Self::first(&windows);
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 16];
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + (1 << 16);
        let mut found = Vec::new();
        for (low, high, name) in readable_and_not_locked() {
            let mut at = low;
            while at + (WINDOW as u64) <= high {
                let length = buffer.len().min((high - at) as usize);
                let Ok(read) = memory.read_at(&mut buffer[..length], at) else {
                    break;
                };
                for place in Self::in_bytes(&windows, &first, &buffer[..read]) {
                    let address = at + place as u64;
                    if !own.contains(&address) {
                        found.push(format!("{address:#x} in {name}"));
                    }
                }
                at += (read.saturating_sub(WINDOW - 1)).max(1) as u64;
                if read < WINDOW {
                    break;
                }
            }
        }
        buffer.fill(0);
        found
    }

    /// Where they are in files, as bytes or as hex.
    fn on_disk(&self, folder: &Path) -> Vec<String> {
        let windows = self.windows();
        let first = Self::first(&windows);
        let mut found = Vec::new();
        for path in files(folder) {
            let bytes = std::fs::read(&path).unwrap();
            let mut forms = vec![bytes.clone()];
            for skip in [0, 1] {
                let hex: Vec<u8> = bytes.iter().copied().skip(skip).collect();
                forms.push(
                    hex.chunks_exact(2)
                        .map(|pair| {
                            let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
                            digit(pair[0]) << 4 | digit(pair[1])
                        })
                        .collect(),
                );
            }
            if forms
                .iter()
                .any(|form| !Self::in_bytes(&windows, &first, form).is_empty())
            {
                found.push(path.display().to_string());
            }
        }
        found
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all
}

/// Mappings, and what they are called.
fn readable_and_not_locked() -> Vec<(u64, u64, String)> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut mappings: Vec<(u64, u64, String)> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or("");
        let range = first.split_once('-').and_then(|(low, high)| {
            let (low, high) = (u64::from_str_radix(low, 16), u64::from_str_radix(high, 16));
            Some((low.ok()?, high.ok()?))
        });
        if let Some((low, high)) = range {
            if words.next().is_some_and(|rights| rights.starts_with("rw")) {
                let name = words.last().unwrap_or("").to_owned();
                mappings.push((low, high, name));
            } else {
                mappings.push((low, low, String::new()));
            }
        } else if first == "VmFlags:" && words.any(|flag| flag == "lo") {
            mappings.pop();
        }
    }
    mappings
}

/// An agent's root, from where it keeps it.
fn root(five: &Five, agent: usize, epoch: u64) -> [u8; 32] {
    let path = five.place(agent).join("roots");
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{epoch} ")));
    let hex = line.unwrap().split_whitespace().nth(1).unwrap();
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// What an agent's element would answer.
fn element(root: [u8; 32]) -> impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), FrostError> {
    move |message, y| {
        on_crucible(|| hmac_sha256(&root, message, y));
        Ok(())
    }
}

/// Every share of a token, got at with the roots.
fn shares<S: Suite>(five: &Five, token: &Token, sought: &mut Sought) {
    for (seat, row) in (0..).zip(&token.rows) {
        let root = root(five, usize::from(seat), row.epoch);
        let share = match token.body.header.kind {
            Kind::Regenerated => Regen::<S>::new(&token.body)
                .unwrap()
                .regenerate(seat, &row.correction, element(root))
                .unwrap(),
            Kind::Kept => {
                let name = format!("s{seat}/shares/{}", hex::encode(token.id()));
                let kept = std::fs::read(five.folder.path().join(name)).unwrap();
                let sealed = sealed(&kept);
                Kept::<S>::new(&token.body)
                    .unwrap()
                    .open(seat, row.epoch, &sealed, element(root))
                    .unwrap()
            }
        };
        sought.add(share.expose());
    }
}

/// A file of docs/threshold-api.md.
fn sealed(bytes: &[u8]) -> SealedShare {
    let mut reader = Reader::new("share", bytes, Limits::PROTOCOL).unwrap();
    let mut map = reader
        .map(&["v", "seat", "epoch", "nonce", "token", "sealed"])
        .unwrap();
    for field in ["v", "seat", "epoch"] {
        map.field(field).unwrap().uint().unwrap();
    }
    let nonce = map.field("nonce").unwrap().bytes_n().unwrap();
    map.field("token").unwrap().bytes_n::<32>().unwrap();
    let sealed = map.field("sealed").unwrap().bytes_n().unwrap();
    SealedShare { nonce, sealed }
}

fn everything_is_done<S: Suite>(five: &Five, sought: &mut Sought) {
    for kind in Kind::ALL {
        let policy = "permit(principal, action, resource);";
        let token = create(five, kind, S::NAME, "2 of (s0, s1, s2)", policy);
        signs(five, &token);
        shares::<S>(five, &token, sought);
        let renewed = renew(five, &token, Some(Kind::Regenerated));
        let renewed = Arc::new(renewed.unwrap_or_else(|e| panic!("{e}")));
        let new = renewed.token.clone();
        let end = wait(|done| five.reconstructor.finish_renewal(renewed, done));
        let end: Result<Renewal, Error> = end;
        let removed = if kind == Kind::Kept { 3 } else { 0 };
        assert_eq!(end.unwrap_or_else(|e| panic!("{e}")).removed, removed);
        signs(five, &new);
        shares::<S>(five, &new, sought);
        let given = reshare(five, &new, "2 of (s0, s1)", &[]);
        let given = Arc::new(given.unwrap_or_else(|e| panic!("{e}")));
        let new = given.token.clone();
        let end = wait(|done| five.reconstructor.finish_renewal(given, done));
        assert!(end.is_ok_and(|end: Renewal| end.faults.is_empty()));
        signs(five, &new);
        shares::<S>(five, &new, sought);
    }
}

fn signs(five: &Five, token: &Arc<Token>) {
    let signed = sign(five, token, vec![message(b"m")]);
    assert_eq!(signed.unwrap_or_else(|e| panic!("{e}")).outputs.len(), 1);
}

#[test]
fn no_share_is_left_in_memory_that_is_not_locked_or_on_a_disk() {
    let five = agents(3, &[]);
    let mut sought = Sought::default();
    everything_is_done::<Ed25519>(&five, &mut sought);
    everything_is_done::<Taproot>(&five, &mut sought);
    assert_eq!(sought.0.len(), 32);
    assert_eq!(sought.in_memory(), Vec::<String>::new());
    assert_eq!(sought.on_disk(five.folder.path()), Vec::<String>::new());

    // what is put there is found, as bytes and as hex
    let planted: Vec<u8> = sought.0[5][8..16].iter().map(|byte| byte ^ MASK).collect();
    assert_eq!(sought.in_memory().len(), 1);
    for (form, name) in [
        (planted.clone(), "plain"),
        (hex::encode(&planted).into_bytes(), "hex"),
    ] {
        let path = five.place(1).join(name);
        std::fs::write(&path, [b"x", &form[..]].concat()).unwrap();
        assert_eq!(sought.on_disk(five.folder.path()).len(), 1, "{name}");
        std::fs::remove_file(path).unwrap();
    }
}
