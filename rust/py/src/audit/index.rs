//! Every window of every form of every needle, to be looked up at each byte of what is scanned.
//!
//! The first eight bytes of a window, masked and mixed, are its key. A filter answers for nearly every byte looked
//! at. Only masked bytes are kept.

use std::collections::HashMap;

use super::forms::{self, Rendering};
use super::{Hit, Mask};

/// Bytes of a window that its key is made of; no window is shorter.
pub const KEY: usize = 8;
/// Words of the filter, as a power of two: 1 MiB, which a second-level cache holds.
const FILTER_BITS: u32 = 17;
/// Beginnings of the list of spots that are remembered, as a power of two.
const BUCKET_BITS: u32 = 18;
/// Bytes looked at together: if all are zero, nothing begins there.
const BLOCK: usize = 4096;

pub struct Index<'n> {
    labels: Vec<&'n str>,
    /// With the number of its needle.
    renderings: Vec<(usize, Rendering)>,
    mask: Mask,
    /// Ordered by key.
    spots: Vec<Spot>,
    /// The highest bits of a key → its first spot, or where that would be; one more at the end.
    buckets: Vec<u32>,
    /// Three bits for each key, in one word.
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
            buckets: Vec::new(),
            filter: vec![0; 1 << FILTER_BITS],
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
                let key = mix(u64::from_le_bytes(first));
                let (word, bits) = slot(key);
                index.filter[word] |= bits;
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
        let mut next = 0;
        for bucket in 0..=1u64 << BUCKET_BITS {
            while next < index.spots.len() && index.spots[next].key >> (64 - BUCKET_BITS) < bucket {
                next += 1;
            }
            index.buckets.push(next as u32);
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
                let key = mix(u64::from_le_bytes(window) ^ mask);
                let (word, bits) = slot(key);
                if self.filter[word] & bits == bits {
                    self.compare(key, &data[at + KEY..], base + at as u64, found);
                }
                at += 1;
            }
        }
    }

    #[cold]
    fn compare(&self, key: u64, rest: &[u8], address: u64, found: &mut Found) {
        let bucket = (key >> (64 - BUCKET_BITS)) as usize;
        let (from, to) = (self.buckets[bucket], self.buckets[bucket + 1]);
        let spots = &self.spots[from as usize..to as usize];
        for spot in spots.iter().filter(|spot| spot.key == key) {
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

/// Keys are compared mixed: multiplying by an odd number loses nothing.
#[inline]
fn mix(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A key's word of the filter, and its bits there.
#[inline]
fn slot(key: u64) -> (usize, u64) {
    let word = (key >> (64 - FILTER_BITS)) as usize;
    let bit = |at: u32| 1 << (key >> at & 63);
    (word, bit(40) | bit(34) | bit(28))
}
