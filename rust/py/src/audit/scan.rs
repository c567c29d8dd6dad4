//! Reading what is to be scanned: all that a process maps readable, or a file.
//!
//! Memory is read through /proc/PID/mem, from inside and outside alike, so that a page which goes away meanwhile is an
//! error and not a fault. Anonymous memory that was never touched is not read: it holds nothing, and would come to
//! be. The buffer that is read into is not looked at again from inside, and wiped.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::Hit;
use super::index::{Found, Index};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Bytes skipped where a mapping cannot be read, such as a file mapping beyond the file's end.
const PAGE: u64 = 4096;
/// The kernel's own, which it does not let be read in this way; nothing is written there.
const KERNEL: [&str; 3] = ["[vvar]", "[vvar_vclock]", "[vsyscall]"];

/// What was found and how many bytes were looked at, in the process with this id (or "self").
pub fn process(index: &Index, pid: &str) -> io::Result<(Vec<Hit>, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let pages = File::open(format!("/proc/{pid}/pagemap"))?;
    let mut buffer = vec![0u8; CHUNK + index.longest];
    let own = buffer.as_ptr_range();
    let own = own.start as u64..own.end as u64;
    let (mut hits, mut looked_at) = (Vec::new(), 0);
    for line in maps.lines() {
        let Some((start, end, anonymous, name)) = readable(line) else {
            continue;
        };
        let mut found = Found::default();
        let mut at = start;
        while at < end {
            let want = buffer.len().min((end - at) as usize);
            if anonymous && untouched(&pages, at, want) {
                at += CHUNK as u64;
                continue;
            }
            match memory.read_at(&mut buffer[..want], at) {
                Ok(got) if got > 0 => {
                    let upto = if got == buffer.len() { CHUNK } else { got };
                    index.search(&buffer[..got], upto, at, &mut found);
                    at += upto as u64;
                    looked_at += upto as u64;
                }
                _ => at = (at / PAGE + 1) * PAGE,
            }
        }
        let mut here = index.report(found, |_| name.clone());
        here.retain(|hit| pid != "self" || !own.contains(&hit.3));
        hits.extend(here);
    }
    wipe(&mut buffer);
    Ok((hits, looked_at))
}

/// Whether no page of this stretch of anonymous memory is present or swapped out (Linux, pagemap.rst).
fn untouched(pages: &File, at: u64, length: usize) -> bool {
    const PRESENT_OR_SWAPPED: u64 = 3 << 62;
    let (first, last) = (at / PAGE, (at + length as u64).div_ceil(PAGE));
    let mut entries = vec![0u8; (last - first) as usize * 8];
    if pages.read_exact_at(&mut entries, first * 8).is_err() {
        return false;
    }
    let (entries, _) = entries.as_chunks::<8>();
    entries
        .iter()
        .all(|entry| u64::from_ne_bytes(*entry) & PRESENT_OR_SWAPPED == 0)
}

/// Start, end, whether it is nobody's file, and name ("START-END RIGHTS NAME") of a mapping that can be read.
fn readable(line: &str) -> Option<(u64, u64, bool, String)> {
    let mut fields = line.split_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let anonymous = fields.nth(2)? == "0";
    let name = fields.collect::<Vec<_>>().join(" ");
    let (start, end) = range.split_once('-')?;
    let (start, end) = (
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    );
    let here = rights.starts_with('r') && !KERNEL.contains(&name.as_str());
    let name = if name.is_empty() { "anonymous" } else { &name };
    here.then(|| (start, end, anonymous, format!("{range} {rights} {name}")))
}

/// What was found and how many bytes were looked at, in the file at this path.
pub fn file(index: &Index, path: &str) -> io::Result<(Vec<Hit>, u64)> {
    let file = File::open(path)?;
    let mut buffer = vec![0u8; CHUNK + index.longest];
    let mut found = Found::default();
    let mut at = 0;
    loop {
        let got = fill(&file, &mut buffer, at)?;
        let upto = if got == buffer.len() { CHUNK } else { got };
        index.search(&buffer[..got], upto, at, &mut found);
        at += upto as u64;
        if upto < CHUNK || got < buffer.len() {
            break;
        }
    }
    wipe(&mut buffer);
    Ok((index.report(found, |_| path.to_owned()), at))
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64)? {
            0 => break,
            got => filled += got,
        }
    }
    Ok(filled)
}

fn wipe(buffer: &mut [u8]) {
    buffer.fill(0);
    std::hint::black_box(buffer);
}
