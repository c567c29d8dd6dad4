//! Maps and arrays being read: each lends out its reader, entry by entry.
//!
//! Either may be dropped before its last entry; the reader then refuses to finish, so that nothing unread
//! is ever taken for accepted.

use super::reader::{Reader, Step};
use crate::malformed::{Malformed, quoted};

/// The entries of a map, in canonical order.
pub struct Map<'r, 'b> {
    reader: &'r mut Reader<'b>,
    /// The keys still to come.
    keys: &'static [&'static str],
}

impl<'r, 'b> Map<'r, 'b> {
    pub(super) fn new(reader: &'r mut Reader<'b>, keys: &'static [&'static str]) -> Self {
        Map { reader, keys }
    }

    /// The value of the next entry, whose key must be `key`. Panics if `key` is not the list's next.
    pub fn field(&mut self, key: &'static str) -> Result<&mut Reader<'b>, Malformed> {
        let (next, rest) = self.keys.split_first().expect("no key is left in the list");
        assert_eq!(
            *next, key,
            "fields are read in the order of the list of keys"
        );
        let place = self.reader.depth - 1;
        self.reader.path[place] = Step::Container;
        let found = self.reader.any_key()?;
        if found != key {
            return Err(self.reader.malformed(format_args!(
                "key {} where {} must be",
                quoted(found),
                quoted(key)
            )));
        }
        self.keys = rest;
        self.reader.path[place] = Step::Field(key);
        Ok(self.reader)
    }

    /// Gives the reader back. Panics if a key of the list was not read.
    pub fn end(self) {
        assert!(self.keys.is_empty(), "{:?} were not read", self.keys);
    }
}

impl Drop for Map<'_, '_> {
    fn drop(&mut self) {
        self.reader.unread |= !self.keys.is_empty();
        self.reader.depth -= 1;
    }
}

/// The items of an array.
pub struct Array<'r, 'b> {
    reader: &'r mut Reader<'b>,
    left: usize,
    len: usize,
}

impl<'r, 'b> Array<'r, 'b> {
    pub(super) fn new(reader: &'r mut Reader<'b>, len: usize) -> Self {
        Array {
            reader,
            left: len,
            len,
        }
    }

    /// How many items there are in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The reader at the next item, called by its index in errors; `None` after the last.
    #[allow(clippy::should_implement_trait)] // what it gives borrows from itself
    pub fn next(&mut self) -> Option<&mut Reader<'b>> {
        let index = self.len - self.left;
        self.step(Step::Index(index))
    }

    /// The reader at the next item, called `name` in errors. Panics after the last.
    pub fn item(&mut self, name: &'static str) -> &mut Reader<'b> {
        self.step(Step::Field(name)).expect("no item is left")
    }

    /// Gives the reader back. Refuses items that were not read.
    pub fn end(self) -> Result<(), Malformed> {
        self.reader.path[self.reader.depth - 1] = Step::Container;
        match self.left {
            0 => Ok(()),
            left => Err(self
                .reader
                .malformed(format_args!("{left} entries too many"))),
        }
    }

    fn step(&mut self, step: Step<'b>) -> Option<&mut Reader<'b>> {
        self.left = self.left.checked_sub(1)?;
        let place = self.reader.depth - 1;
        self.reader.path[place] = step;
        Some(self.reader)
    }
}

impl Drop for Array<'_, '_> {
    fn drop(&mut self) {
        self.reader.unread |= self.left > 0;
        self.reader.depth -= 1;
    }
}
