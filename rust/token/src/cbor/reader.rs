//! The reading half: strict, bounded before anything is allocated, and precise about what is wrong.

use std::cmp::Ordering;
use std::fmt::Write;
use std::ops::RangeInclusive;

use super::container::{Array, Map};
use super::{ARRAY, BYTES, MAP, NEGATIVE, NULL, SIMPLE, TAG, TEXT, UNSIGNED, canonical_order};
use crate::limits::{CONTAINER_DEPTH, KEY_BYTES, TOKEN_BYTES, UINT};
use crate::malformed::{Malformed, quoted};

/// What a reader accepts at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole input.
    pub bytes: usize,
    /// Levels of containers inside each other, the outermost being 1; 32 at most.
    pub depth: usize,
}

impl Limits {
    /// The limits of PROTOCOL §2: 128 KiB, 20 levels.
    pub const PROTOCOL: Limits = Limits {
        bytes: TOKEN_BYTES,
        depth: CONTAINER_DEPTH,
    };
}

const DEPTH: usize = 32;

/// Reads one item from the front of its input, and what is in it in turn.
///
/// After an error a reader is of no more use. Errors begin with the path of the item at fault.
pub struct Reader<'b> {
    input: &'b [u8],
    at: usize,
    limit: usize,
    root: &'static str,
    /// For each open container, the entry being read.
    pub(super) path: [Step<'b>; DEPTH],
    pub(super) depth: usize,
    /// A container was left before its last entry.
    pub(super) unread: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'b> {
    Container,
    Field(&'static str),
    Key(&'b str),
    Index(usize),
}

impl<'b> Reader<'b> {
    /// A reader of `input`, called `root` in errors. Refuses input longer than `limits.bytes`.
    pub fn new(root: &'static str, input: &'b [u8], limits: Limits) -> Result<Self, Malformed> {
        assert!(
            limits.depth <= DEPTH,
            "readers go no deeper than {DEPTH} levels"
        );
        let path = [Step::Container; DEPTH];
        let reader = Reader {
            input,
            at: 0,
            limit: limits.depth,
            root,
            path,
            depth: 0,
            unread: false,
        };
        if input.len() > limits.bytes {
            let (is, most) = (input.len(), limits.bytes);
            return Err(reader.malformed(format_args!("{is} bytes, at most {most}")));
        }
        Ok(reader)
    }

    /// Refuses whatever follows the item that was read, and entries that nobody read.
    pub fn finish(&self) -> Result<(), Malformed> {
        debug_assert_eq!(self.depth, 0, "finish is for the outermost item");
        match self.input.len() - self.at {
            _ if self.unread => Err(self.malformed("entries that do not belong here")),
            0 => Ok(()),
            left => Err(self.malformed(format_args!("{left} bytes after the end"))),
        }
    }

    /// An error at the item being read.
    pub fn malformed(&self, what: impl std::fmt::Display) -> Malformed {
        let mut message = self.root.to_owned();
        for step in &self.path[..self.depth] {
            // writing to a String cannot fail
            let _ = match step {
                Step::Container => Ok(()),
                Step::Field(name) => write!(message, ".{name}"),
                Step::Key(key) => write!(message, "[{}]", quoted(key)),
                Step::Index(index) => write!(message, "[{index}]"),
            };
        }
        let _ = write!(message, ": {what}");
        Malformed(message)
    }

    /// An unsigned integer, at most 2^53−1.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        match self.head(UNSIGNED)? {
            value if value > UINT => Err(self.malformed("an integer above 2^53-1")),
            value => Ok(value),
        }
    }

    /// A byte string of at most `most` bytes.
    pub fn bytes(&mut self, most: usize) -> Result<&'b [u8], Malformed> {
        let length = self.head(BYTES)?;
        self.string(length, most)
    }

    /// A byte string of exactly `N` bytes.
    pub fn bytes_n<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let length = self.head(BYTES)?;
        if length != N as u64 {
            return Err(self.malformed(format_args!("{length} bytes, must be {N}")));
        }
        let bytes = self.string(length, N)?;
        Ok(bytes.try_into().expect("its length was checked"))
    }

    /// Text of at most `most` bytes.
    pub fn text(&mut self, most: usize) -> Result<&'b str, Malformed> {
        let length = self.head(TEXT)?;
        let bytes = self.string(length, most)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text that is not UTF-8"))
    }

    /// Null, as `None`, or what `read` reads.
    pub fn or_null<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.input.get(self.at) == Some(&NULL) {
            self.at += 1;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// A map of exactly `keys`, which are given in canonical order and read in it.
    pub fn map(&mut self, keys: &'static [&'static str]) -> Result<Map<'_, 'b>, Malformed> {
        self.map_of_either(&[keys]).map(|(_, map)| map)
    }

    /// A map of exactly one of several lists of keys, no two of the same length; says which.
    pub fn map_of_either(
        &mut self,
        lists: &[&'static [&'static str]],
    ) -> Result<(usize, Map<'_, 'b>), Malformed> {
        let entries = self.head(MAP)?;
        let Some(which) = lists.iter().position(|keys| keys.len() as u64 == entries) else {
            let mut lengths = String::new();
            for keys in lists {
                let _ = write!(
                    lengths,
                    "{}{}",
                    if lengths.is_empty() { "" } else { " or " },
                    keys.len()
                );
            }
            return Err(self.malformed(format_args!(
                "a map of {entries} entries, must be {lengths}"
            )));
        };
        self.enter()?;
        Ok((which, Map::new(self, lists[which])))
    }

    /// A map with keys not known beforehand: `read` is given each key with the reader at its value.
    ///
    /// At most `most` entries, in canonical order and therefore no key twice.
    pub fn text_map(
        &mut self,
        most: usize,
        mut read: impl FnMut(&'b str, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let entries = self.head(MAP)?;
        self.check_entries(entries, 2, &(0..=most))?;
        self.enter()?;
        let mut last: Option<&str> = None;
        for _ in 0..entries {
            self.path[self.depth - 1] = Step::Container;
            let key = self.any_key()?;
            if last.is_some_and(|last| canonical_order(last, key) != Ordering::Less) {
                return Err(
                    self.malformed(format_args!("key {} twice or out of order", quoted(key)))
                );
            }
            last = Some(key);
            self.path[self.depth - 1] = Step::Key(key);
            read(key, self)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// An array whose number of items is within `items`, to be read one by one.
    pub fn array(&mut self, items: RangeInclusive<usize>) -> Result<Array<'_, 'b>, Malformed> {
        let length = self.head(ARRAY)?;
        self.check_entries(length, 1, &items)?;
        self.enter()?;
        Ok(Array::new(self, length as usize))
    }

    /// An array whose number of items is within `items`, each read by `read`.
    pub fn list<T>(
        &mut self,
        items: RangeInclusive<usize>,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let mut array = self.array(items)?;
        let mut list = Vec::with_capacity(array.len());
        while let Some(item) = array.next() {
            list.push(read(item)?);
        }
        Ok(list)
    }

    /// What `read` reads, together with the bytes that it was read from.
    pub fn spanned<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<(T, &'b [u8]), Malformed> {
        let from = self.at;
        let value = read(self)?;
        Ok((value, &self.input[from..self.at]))
    }

    fn enter(&mut self) -> Result<(), Malformed> {
        if self.depth == self.limit {
            let limit = self.limit;
            return Err(self.malformed(format_args!("containers more than {limit} deep")));
        }
        self.path[self.depth] = Step::Container;
        self.depth += 1;
        Ok(())
    }

    /// Every entry takes `each` bytes at least, so a length that cannot be true is known at once.
    fn check_entries(
        &self,
        entries: u64,
        each: u64,
        allowed: &RangeInclusive<usize>,
    ) -> Result<(), Malformed> {
        let (least, most) = (*allowed.start(), *allowed.end());
        if entries < least as u64 || entries > most as u64 {
            let must = if least == most {
                format!("{most}")
            } else {
                format!("{least} to {most}")
            };
            return Err(self.malformed(format_args!("{entries} entries, must be {must}")));
        }
        if entries.saturating_mul(each) > (self.input.len() - self.at) as u64 {
            return Err(self.malformed("cut short"));
        }
        Ok(())
    }

    pub(super) fn any_key(&mut self) -> Result<&'b str, Malformed> {
        if self
            .input
            .get(self.at)
            .is_some_and(|first| first >> 5 != TEXT)
        {
            return Err(self.malformed("a key that is not text"));
        }
        let length = self.head(TEXT)?;
        if length >= KEY_BYTES as u64 {
            return Err(self.malformed(format_args!(
                "a key of {length} bytes, must be fewer than {KEY_BYTES}"
            )));
        }
        let bytes = self.string(length, KEY_BYTES)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a key that is not UTF-8"))
    }

    fn string(&mut self, length: u64, most: usize) -> Result<&'b [u8], Malformed> {
        if length > most as u64 {
            return Err(self.malformed(format_args!("{length} bytes, at most {most}")));
        }
        self.take(length as usize)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let rest = &self.input[self.at..];
        let Some(taken) = rest.get(..length) else {
            return Err(self.malformed("cut short"));
        };
        self.at += length;
        Ok(taken)
    }

    /// The argument of a head that must be of the `wanted` major type, in its shortest form.
    fn head(&mut self, wanted: u8) -> Result<u64, Malformed> {
        let first = self.take(1)?[0];
        if first >> 5 != wanted {
            let (is, must) = (name(first), expectation(wanted));
            return Err(self.malformed(format_args!("{is}, must be {must}")));
        }
        let (argument, least) = match first & 0x1f {
            short @ 0..24 => return Ok(u64::from(short)),
            24 => (self.argument::<1>()?, 24),
            25 => (self.argument::<2>()?, 1 << 8),
            26 => (self.argument::<4>()?, 1 << 16),
            27 => (self.argument::<8>()?, 1 << 32),
            31 => return Err(self.malformed("of indefinite length")),
            _ => return Err(self.malformed("not CBOR")),
        };
        if argument < least {
            return Err(self.malformed("a length or integer not in its shortest form"));
        }
        Ok(argument)
    }

    fn argument<const N: usize>(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(N)?;
        Ok(bytes
            .iter()
            .fold(0, |argument, &byte| argument << 8 | u64::from(byte)))
    }
}

/// What an item with this first byte is.
fn name(first: u8) -> &'static str {
    match (first >> 5, first) {
        (UNSIGNED, _) => "an unsigned integer",
        (NEGATIVE, _) => "a negative integer",
        (BYTES, _) => "a byte string",
        (TEXT, _) => "text",
        (ARRAY, _) => "an array",
        (MAP, _) => "a map",
        (TAG, _) => "a tag",
        (_, NULL) => "null",
        (_, 0xf9..=0xfb) => "a float",
        _ => "a simple value other than null",
    }
}

fn expectation(major: u8) -> &'static str {
    debug_assert!(major < SIMPLE);
    name(major << 5)
}
