//! Every window of every form of every needle, to be looked up at each byte of what is scanned.
//!
//! The first eight bytes of a window, masked, are its key. A filter of one bit per hash answers for nearly every
//! byte looked at. Only masked bytes are kept.

use std::collections::HashMap;

use super::forms::{self, Rendering};
use super::{Hit, Mask};

/// Bytes of a window that its key is made of; no window is shorter.
pub const KEY: usize = 8;
/// Bits of the filter, as a power of two: 1 MiB, which a second-level cache holds.
const FILTER_BITS: u32 = 23;
/// Bytes looked at together: if all are zero, nothing begins there.
const BLOCK: usize = 4096;

pub struct Index<'n> {
    labels: Vec<&'n str>,
    /// With the number of its needle.
    renderings: Vec<(usize, Rendering)>,
    mask: Mask,
    /// Ordered by key.
    spots: Vec<Spot>,
    /// Key → its first spot.
    first: HashMap<u64, u32>,
    filter: Vec<u64>,
    /// Bytes of the longest window.
    pub longest: usize,
}

struct Spot {
    key: u64,
    rendering: u32,
    offset: u32,
    length: u32,
}

impl<'n> Index<'n> {
    pub fn new(needles: &'n [(String, Vec<u8>)], mask: Mask) -> Self {
        let mut index = Self {
            labels: needles.iter().map(|(label, _)| label.as_str()).collect(),
            renderings: Vec::new(),
            mask,
            spots: Vec::new(),
            first: HashMap::new(),
            filter: vec![0; 1 << (FILTER_BITS - 6)],
            longest: KEY,
        };
        for (needle, (_, masked)) in needles.iter().enumerate() {
            let forms = forms::all(masked, mask);
            index
                .renderings
                .extend(forms.into_iter().map(|form| (needle, form)));
        }
        for (number, (_, rendering)) in index.renderings.iter().enumerate() {
            for (offset, length) in &rendering.windows {
                let at = *offset as usize;
                let mut first = [0u8; KEY];
                for (i, byte) in first.iter_mut().enumerate() {
                    // From the mask of its place in the form to that of its place in the window, never bare.
                    *byte = rendering.masked[at + i] ^ (mask[(at + i) % 8] ^ mask[i]);
                }
                let key = u64::from_le_bytes(first);
                let (word, bit) = slot(key);
                index.filter[word] |= bit;
                index.longest = index.longest.max(*length as usize);
                index.spots.push(Spot {
                    key,
                    rendering: number as u32,
                    offset: *offset,
                    length: *length,
                });
            }
        }
        index.spots.sort_unstable_by_key(|spot| spot.key);
        for (number, spot) in index.spots.iter().enumerate() {
            index.first.entry(spot.key).or_insert(number as u32);
        }
        index
    }

    /// Looks at what begins in the first `upto` bytes of `data`, which lies at `base`; longer windows may reach
    /// beyond them.
    pub fn search(&self, data: &[u8], upto: usize, base: u64, found: &mut Found) {
        let mask = u64::from_le_bytes(self.mask);
        let end = upto.min((data.len() + 1).saturating_sub(KEY));
        let mut at = 0;
        while at < end {
            let block = (at + BLOCK).min(end);
            if is_zero(&data[at..block + KEY - 1]) {
                at = block;
                continue;
            }
            while at < block {
                let mut window = [0u8; KEY];
                window.copy_from_slice(&data[at..at + KEY]);
                let key = u64::from_le_bytes(window) ^ mask;
                let (word, bit) = slot(key);
                if self.filter[word] & bit != 0 {
                    self.compare(key, &data[at + KEY..], base + at as u64, found);
                }
                at += 1;
            }
        }
    }

    #[cold]
    fn compare(&self, key: u64, rest: &[u8], address: u64, found: &mut Found) {
        let Some(first) = self.first.get(&key) else {
            return;
        };
        for spot in self.spots[*first as usize..]
            .iter()
            .take_while(|spot| spot.key == key)
        {
            let (_, rendering) = &self.renderings[spot.rendering as usize];
            let from = spot.offset as usize + KEY;
            let to = (spot.offset + spot.length) as usize;
            let more = to - from;
            let same = rest.len() >= more
                && (from..to).all(|i| rendering.masked[i] == rest[i - from] ^ self.mask[i % 8]);
            if same {
                found.add(spot.rendering, spot.offset, spot.length, address);
            }
        }
    }

    /// What was found, in words; `place` names what an address lies in.
    pub fn report(&self, found: Found, place: impl Fn(u64) -> String) -> Vec<Hit> {
        let mut hits: Vec<Hit> = found
            .0
            .into_iter()
            .map(|((rendering, _), (from, to))| {
                let (needle, rendering) = &self.renderings[rendering as usize];
                let label = self.labels[*needle].to_owned();
                (label, rendering.form, place(from), from, to - from)
            })
            .collect();
        hits.sort_unstable_by_key(|hit| hit.3);
        hits
    }
}

/// Windows that were found. Those of one form lying in a row are one finding: they agree in where its beginning would be.
#[derive(Default)]
pub struct Found(HashMap<(u32, u64), (u64, u64)>);

impl Found {
    fn add(&mut self, rendering: u32, offset: u32, length: u32, address: u64) {
        let beginning = address.wrapping_sub(u64::from(offset));
        let end = address + u64::from(length);
        let run = self
            .0
            .entry((rendering, beginning))
            .or_insert((address, end));
        run.0 = run.0.min(address);
        run.1 = run.1.max(end);
    }
}

fn is_zero(data: &[u8]) -> bool {
    data.chunks(64)
        .all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

#[inline]
fn slot(key: u64) -> (usize, u64) {
    let bit = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    ((bit / 64) as usize, 1 << (bit % 64))
}
