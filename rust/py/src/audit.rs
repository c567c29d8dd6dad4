//! The audit build's scanner and its planted leaks (feature `audit` only; never in a product build).
//!
//! The scanner looks for every 8-byte window of every needle, at every byte of every readable mapping: as raw bytes,
//! reversed (big integers lie least significant limb first), as hexadecimal and as base64. Needles come masked and
//! stay masked: the index holds masked windows, so that the scanner never is what it finds.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;

use pyo3::prelude::*;

use crate::error::plain;

/// Shortest run of a needle's bytes that counts as found.
const WINDOW: usize = 8;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Longest form of a window: 16 hexadecimal digits.
const LONGEST: usize = 16;
/// Bits of the filter in front of the index.
const FILTER_BITS: u32 = 22;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(audit_scan, m)?)?;
    m.add_function(wrap_pyfunction!(audit_plant, m)?)
}

/// (needle's label, form, mapping or file, address or offset).
type Hit = (String, &'static str, String, u64);

/// Scans a process's mappings (`target` = "self" or a pid) or a file (any other path).
#[pyfunction]
fn audit_scan(py: Python<'_>, target: &str, needles: Vec<(String, Vec<u8>)>, mask: [u8; 8]) -> PyResult<Vec<Hit>> {
    py.detach(|| {
        let index = Index::new(&needles, mask);
        let scanned = match target {
            "self" => index.process("self"),
            pid if pid.bytes().all(|b| b.is_ascii_digit()) => index.process(pid),
            path => index.file(path),
        };
        scanned.map_err(|e| plain("io", format!("cannot scan {target}: {e}")))
    })
}

#[derive(Clone, Copy)]
struct Spot {
    needle: usize,
    form: Form,
    offset: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Reversed,
    HexLower,
    HexUpper,
    Base64,
    Base64Url,
}

const FORMS: [(Form, &str); 6] = [
    (Form::Raw, "raw"),
    (Form::Reversed, "reversed"),
    (Form::HexLower, "hex"),
    (Form::HexUpper, "HEX"),
    (Form::Base64, "base64"),
    (Form::Base64Url, "base64url"),
];

struct Index<'n> {
    needles: &'n [(String, Vec<u8>)],
    mask: [u8; 8],
    spots: HashMap<u64, Vec<Spot>>,
    filter: Vec<u64>,
}

impl<'n> Index<'n> {
    fn new(needles: &'n [(String, Vec<u8>)], mask: [u8; 8]) -> Self {
        let mut index = Self { needles, mask, spots: HashMap::new(), filter: vec![0; 1 << (FILTER_BITS - 6)] };
        for (needle, (_, bytes)) in needles.iter().enumerate() {
            for (form, _) in FORMS {
                let span = if matches!(form, Form::Base64 | Form::Base64Url) { 9 } else { WINDOW };
                for offset in 0..(bytes.len() + 1).saturating_sub(span) {
                    let spot = Spot { needle, form, offset };
                    let mut first = [0u8; WINDOW];
                    for (i, byte) in first.iter_mut().enumerate() {
                        *byte = index.byte(spot, i) ^ mask[i];
                    }
                    let key = u64::from_le_bytes(first);
                    let (word, bit) = slot(key);
                    index.filter[word] |= bit;
                    index.spots.entry(key).or_default().push(spot);
                }
            }
        }
        index
    }

    /// Byte `i` of a needle, unmasked for this moment.
    fn needle(&self, needle: usize, i: usize) -> u8 {
        self.needles[needle].1[i] ^ self.mask[i % 8]
    }

    fn form_length(form: Form) -> usize {
        match form {
            Form::Raw | Form::Reversed => WINDOW,
            Form::HexLower | Form::HexUpper => 2 * WINDOW,
            Form::Base64 | Form::Base64Url => 12,
        }
    }

    /// Byte `i` of a spot as it would lie in memory.
    fn byte(&self, spot: Spot, i: usize) -> u8 {
        match spot.form {
            Form::Raw => self.needle(spot.needle, spot.offset + i),
            Form::Reversed => self.needle(spot.needle, spot.offset + WINDOW - 1 - i),
            Form::HexLower | Form::HexUpper => {
                let byte = self.needle(spot.needle, spot.offset + i / 2);
                let digit = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
                let letters = if spot.form == Form::HexLower { b'a' } else { b'A' };
                if digit < 10 { b'0' + digit } else { letters + digit - 10 }
            }
            Form::Base64 | Form::Base64Url => {
                let bit = i * 6;
                let high = self.needle(spot.needle, spot.offset + bit / 8);
                let low = if bit / 8 + 1 < 9 { self.needle(spot.needle, spot.offset + bit / 8 + 1) } else { 0 };
                let six = (u16::from(high) << 8 | u16::from(low)) >> (10 - bit % 8) & 63;
                match six as u8 {
                    n @ 0..=25 => b'A' + n,
                    n @ 26..=51 => b'a' + n - 26,
                    n @ 52..=61 => b'0' + n - 52,
                    62 if spot.form == Form::Base64 => b'+',
                    62 => b'-',
                    _ if spot.form == Form::Base64 => b'/',
                    _ => b'_',
                }
            }
        }
    }

    /// Looks at every byte of `data` where a whole form fits or the data ends.
    fn search(&self, data: &[u8], upto: usize, mut hit: impl FnMut(Spot, usize)) {
        let mask = u64::from_le_bytes(self.mask);
        for at in 0..upto.min(data.len().saturating_sub(WINDOW - 1)) {
            let mut window = [0u8; WINDOW];
            window.copy_from_slice(&data[at..at + WINDOW]);
            let key = u64::from_le_bytes(window) ^ mask;
            let (word, bit) = slot(key);
            if self.filter[word] & bit == 0 {
                continue;
            }
            for spot in self.spots.get(&key).into_iter().flatten() {
                let length = Self::form_length(spot.form);
                let rest = data.get(at + WINDOW..at + length).unwrap_or(&[]);
                let complete = rest.len() == length - WINDOW;
                if complete && rest.iter().enumerate().all(|(i, b)| *b == self.byte(*spot, WINDOW + i)) {
                    hit(*spot, at);
                }
            }
        }
    }

    fn name(&self, spot: Spot) -> (String, &'static str) {
        let form = FORMS.iter().find(|(form, _)| *form == spot.form).map_or("", |(_, name)| name);
        (self.needles[spot.needle].0.clone(), form)
    }

    fn process(&self, pid: &str) -> std::io::Result<Vec<Hit>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let mut buffer = vec![0u8; CHUNK + LONGEST];
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
        let mut hits = Vec::new();
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
            let name = fields.nth(3).unwrap_or("anonymous");
            let Some((start, end)) = range.split_once('-') else { continue };
            let parse = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            let (start, end) = (parse(start), parse(end));
            if !rights.starts_with('r') || name == "[vvar]" || name == "[vsyscall]" || name == "[vvar_vclock]" {
                continue;
            }
            let mut at = start;
            while at < end {
                let want = (CHUNK + LONGEST).min((end - at) as usize);
                // A page that cannot be read (a hole in a file mapping) holds nothing.
                let Ok(got) = memory.read_at(&mut buffer[..want], at) else {
                    at += 4096;
                    continue;
                };
                self.search(&buffer[..got], CHUNK, |spot, offset| {
                    let address = at + offset as u64;
                    if pid != "self" || !own.contains(&address) {
                        let (label, form) = self.name(spot);
                        hits.push((label, form, format!("{range} {rights} {name}"), address));
                    }
                });
                at += CHUNK as u64;
            }
        }
        buffer.fill(0);
        Ok(hits)
    }

    fn file(&self, path: &str) -> std::io::Result<Vec<Hit>> {
        let mut file = File::open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let mut hits = Vec::new();
        self.search(&content, content.len(), |spot, offset| {
            let (label, form) = self.name(spot);
            hits.push((label, form, path.to_owned(), offset as u64));
        });
        Ok(hits)
    }
}

fn slot(key: u64) -> (usize, u64) {
    let bit = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    ((bit / 64) as usize, 1 << (bit % 64))
}

/// Leaks a secret on purpose, in the kind of place named; the scan must find it. The secret comes masked.
#[pyfunction]
fn audit_plant(kind: &str, masked: Vec<u8>, mask: [u8; 8]) -> PyResult<()> {
    let secret = |i: usize| masked[i] ^ mask[i % 8];
    let length = masked.len();
    match kind {
        "rust-heap" => {
            Box::leak((0..length).map(secret).collect::<Vec<u8>>().into_boxed_slice());
        }
        "rust-heap-freed" => {
            // Large enough that freeing leaves it with the allocator, and far from the words that it reuses.
            let mut block = vec![0u8; 40_000];
            for i in 0..length {
                block[20_000 + i] = secret(i);
            }
            drop(std::hint::black_box(block));
        }
        "heap-fragment" => {
            Box::leak((0..WINDOW).map(secret).collect::<Vec<u8>>().into_boxed_slice());
        }
        "heap-reversed" => {
            Box::leak((0..length).rev().map(secret).collect::<Vec<u8>>().into_boxed_slice());
        }
        "debug-string" => {
            let text: String = (0..length).map(|i| format!("{:02X}", secret(i))).collect();
            Box::leak(text.into_boxed_str());
        }
        "thread-stack" => {
            let copy: Vec<u8> = masked.clone();
            let (ready, wait) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let mut stack = [0u8; 64];
                for (i, byte) in stack.iter_mut().take(copy.len()).enumerate() {
                    *byte = copy[i] ^ mask[i % 8];
                }
                std::hint::black_box(&mut stack);
                let _ = ready.send(());
                loop {
                    std::thread::park();
                    std::hint::black_box(&mut stack);
                }
            });
            wait.recv().map_err(|_| plain("internal", "the planting thread died"))?;
        }
        "static-memory" => {
            static PLACE: std::sync::Mutex<[u8; 64]> = std::sync::Mutex::new([0; 64]);
            let mut place = PLACE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (i, byte) in place.iter_mut().take(length).enumerate() {
                *byte = secret(i);
            }
        }
        "arena-forgotten" => {
            let kept = evanesce_secret::Secret::<32>::filled(|out| {
                for (i, byte) in out.iter_mut().take(length).enumerate() {
                    *byte = secret(i);
                }
            });
            std::mem::forget(kept.map_err(|e| plain("memory", e))?);
        }
        "shared-mapping" => {
            // SAFETY: a fresh anonymous mapping of one page, written within its bounds and never unmapped.
            unsafe {
                let page = libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                if page == libc::MAP_FAILED {
                    return Err(plain("memory", std::io::Error::last_os_error()));
                }
                for i in 0..length.min(4096) {
                    page.cast::<u8>().add(i).write(secret(i));
                }
            }
        }
        "log-line" => {
            let text: String = (0..length).map(|i| format!("{:02x}", secret(i))).collect();
            eprintln!("{{\"event\":\"planted\",\"value\":\"{text}\"}}");
        }
        other => return Err(plain("bad-input", format!("no leak of kind {other:?} can be planted here"))),
    }
    Ok(())
}
