//! Leaks made on purpose, one function per kind of place.
//!
//! Each writes the secret where its kind says and nowhere else, byte by byte from its masked form, and leaves it
//! there for as long as the process lives.

use std::sync::{Mutex, PoisonError, mpsc};

use evanesce_secret::Secret;

use super::Mask;

/// Bytes of the block that is freed: too small for a mapping of its own, so that freeing leaves it with the
/// allocator.
const FREED_BLOCK: usize = 40_000;
/// Where in it the secret lies: far from the words that the allocator reuses.
const FREED_OFFSET: usize = 20_000;
/// The shortest run that must be found.
const FRAGMENT: usize = 8;
/// No planted secret is longer, in bytes.
const LONGEST: usize = 64;
const PAGE: usize = 4096;

/// A secret to leak.
pub struct Masked {
    pub bytes: Vec<u8>,
    pub mask: Mask,
}

impl Masked {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn byte(&self, i: usize) -> u8 {
        self.bytes[i] ^ self.mask[i % 8]
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = u8> + '_ {
        (0..self.len()).map(|i| self.byte(i))
    }
}

/// Leaks it; returns the address, 0 for a place that has none.
pub fn plant(kind: &str, secret: &Masked) -> Result<u64, String> {
    if secret.len() < FRAGMENT || secret.len() > LONGEST {
        return Err(format!(
            "a secret to plant is {FRAGMENT} to {LONGEST} bytes"
        ));
    }
    match kind {
        "rust-heap" => Ok(leak(secret.iter())),
        "heap-reversed" => Ok(leak(secret.iter().rev())),
        "heap-fragment" => Ok(leak(secret.iter().take(FRAGMENT))),
        "heap-freed" => Ok(freed(secret)),
        "debug-string" => Ok(debug(secret)),
        "hex-string" => Ok(leak(
            secret.iter().flat_map(|b| format!("{b:02X}").into_bytes()),
        )),
        "hmac-pad" => Ok(leak(secret.iter().map(|b| b ^ 0x36))),
        "hash-block" => Ok(leak((0..secret.len() / 4 * 4).map(|i| secret.byte(i ^ 3)))),
        "thread-stack" => thread_stack(secret),
        "static-memory" => Ok(static_memory(secret)),
        "arena-forgotten" => arena_forgotten(secret),
        "shared-mapping" => shared_mapping(secret),
        "log-line" => {
            let text: String = secret.iter().map(|b| format!("{b:02x}")).collect();
            eprintln!("{{\"event\":\"planted\",\"value\":\"{text}\"}}");
            Ok(0)
        }
        other => Err(format!("no leak of kind {other:?} can be planted here")),
    }
}

fn leak(bytes: impl Iterator<Item = u8>) -> u64 {
    // At its final size from the start: growing would leave copies of the first bytes behind.
    let mut block = Vec::with_capacity(4 * LONGEST);
    block.extend(bytes);
    block.leak().as_ptr() as u64
}

fn freed(secret: &Masked) -> u64 {
    let mut block = vec![0u8; FREED_BLOCK];
    // Something in use above it keeps the allocator from giving its pages back.
    vec![1u8; FREED_BLOCK].leak();
    for (place, byte) in block[FREED_OFFSET..].iter_mut().zip(secret.iter()) {
        *place = byte;
    }
    let address = std::hint::black_box(&block)[FREED_OFFSET..].as_ptr() as u64;
    drop(block);
    address
}

/// As a derived Debug would print it.
fn debug(secret: &Masked) -> u64 {
    struct Key<'s>(&'s Masked);
    impl std::fmt::Debug for Key<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_list().entries(self.0.iter()).finish()
        }
    }
    let mut text = String::with_capacity(8 * LONGEST);
    let _ = std::fmt::write(&mut text, format_args!("{:?}", Key(secret)));
    text.leak().as_ptr() as u64
}

/// In a local variable of a thread that waits for ever.
fn thread_stack(secret: &Masked) -> Result<u64, String> {
    let copy = Masked {
        bytes: secret.bytes.clone(),
        mask: secret.mask,
    };
    let (ready, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let mut local = [0u8; LONGEST];
        for (place, byte) in local.iter_mut().zip(copy.iter()) {
            *place = byte;
        }
        let _ = ready.send(std::hint::black_box(&local).as_ptr() as u64);
        loop {
            std::thread::park();
            std::hint::black_box(&mut local);
        }
    });
    wait.recv()
        .map_err(|_| "the planting thread died".to_owned())
}

fn static_memory(secret: &Masked) -> u64 {
    static PLACE: Mutex<[u8; LONGEST]> = Mutex::new([0; LONGEST]);
    let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, byte) in place.iter_mut().zip(secret.iter()) {
        *place = byte;
    }
    place.as_ptr() as u64
}

/// In the arena itself, as a secret that nobody drops.
fn arena_forgotten(secret: &Masked) -> Result<u64, String> {
    let kept = Secret::<LONGEST>::filled(|out| {
        for (place, byte) in out.iter_mut().zip(secret.iter()) {
            *place = byte;
        }
    });
    let kept = kept.map_err(|e| e.to_string())?;
    let address = kept.expose().as_ptr() as u64;
    std::mem::forget(kept);
    Ok(address)
}

fn shared_mapping(secret: &Masked) -> Result<u64, String> {
    // SAFETY: a fresh anonymous mapping of one page, written within its bounds and never unmapped.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().to_string());
        }
        for (i, byte) in secret.iter().enumerate() {
            page.cast::<u8>().add(i).write_volatile(byte);
        }
        Ok(page as u64)
    }
}
