//! The writing half: deterministic, infallible, and loud about a programmer's mistakes.

use std::cmp::Ordering;

use super::{ARRAY, BYTES, MAP, NULL, TEXT, UNSIGNED, canonical_order};
use crate::limits::KEY_BYTES;

/// Writes one item.
///
/// Containers are announced with the number of their entries. Panics where the code that writes is wrong:
/// map keys out of canonical order, of 24 bytes or more or missing, entries too many or too few. What is
/// written never makes it panic; an integer above 2^53−1 is written as it is and refused by every reader.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
    open: Vec<Container>,
    complete: bool,
}

struct Container {
    left: usize,
    /// For a map: where its last key stands in `out`.
    last_key: Option<(usize, usize)>,
    map: bool,
    key_given: bool,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(bytes),
            ..Writer::default()
        }
    }

    /// A map of `entries`, each to follow as [`key`](Self::key) and one item.
    pub fn map(&mut self, entries: usize) -> &mut Writer {
        self.container(MAP, entries)
    }

    /// An array of `items`, which follow.
    pub fn array(&mut self, items: usize) -> &mut Writer {
        self.container(ARRAY, items)
    }

    /// The key of the map's next entry, whose value follows.
    pub fn key(&mut self, key: &str) -> &mut Writer {
        let container = self.open.last_mut().expect("a key belongs in a map");
        assert!(
            container.map && !container.key_given,
            "a key where a value belongs"
        );
        assert!(key.len() < KEY_BYTES, "a key of 24 bytes or more");
        if let Some((from, to)) = container.last_key {
            let last = std::str::from_utf8(&self.out[from..to]).expect("keys are text");
            assert_eq!(
                canonical_order(last, key),
                Ordering::Less,
                "{last} before {key}"
            );
        }
        container.key_given = true;
        head(&mut self.out, TEXT, key.len() as u64);
        container.last_key = Some((self.out.len(), self.out.len() + key.len()));
        self.out.extend_from_slice(key.as_bytes());
        self
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Writer {
        self.begin_item();
        head(&mut self.out, UNSIGNED, value);
        self.end_items()
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.begin_item();
        head(&mut self.out, BYTES, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self.end_items()
    }

    /// Text.
    pub fn text(&mut self, text: &str) -> &mut Writer {
        self.begin_item();
        head(&mut self.out, TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
        self.end_items()
    }

    /// Null.
    pub fn null(&mut self) -> &mut Writer {
        self.begin_item();
        self.out.push(NULL);
        self.end_items()
    }

    /// An unsigned integer, or null.
    pub fn uint_or_null(&mut self, value: Option<u64>) -> &mut Writer {
        match value {
            Some(value) => self.uint(value),
            None => self.null(),
        }
    }

    /// A byte string, or null.
    pub fn bytes_or_null(&mut self, bytes: Option<&[u8]>) -> &mut Writer {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.null(),
        }
    }

    /// Text, or null.
    pub fn text_or_null(&mut self, text: Option<&str>) -> &mut Writer {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// One item that another writer wrote.
    pub fn item(&mut self, encoded: &[u8]) -> &mut Writer {
        self.begin_item();
        self.out.extend_from_slice(encoded);
        self.end_items()
    }

    /// What was written. Panics if it is not one complete item.
    pub fn into_bytes(self) -> Vec<u8> {
        assert!(self.complete, "a container still lacks entries");
        self.out
    }

    fn container(&mut self, major: u8, entries: usize) -> &mut Writer {
        self.begin_item();
        head(&mut self.out, major, entries as u64);
        let map = major == MAP;
        self.open.push(Container {
            left: entries,
            last_key: None,
            map,
            key_given: false,
        });
        self.end_items()
    }

    fn begin_item(&mut self) {
        assert!(!self.complete, "an item after the last");
        if let Some(container) = self.open.last_mut() {
            assert!(
                container.map == container.key_given,
                "a value where a key belongs"
            );
            container.key_given = false;
            container.left -= 1;
        }
    }

    /// Closes every container that just got its last entry.
    fn end_items(&mut self) -> &mut Writer {
        while self
            .open
            .last()
            .is_some_and(|container| container.left == 0)
        {
            self.open.pop();
        }
        self.complete = self.open.is_empty();
        self
    }
}

/// The shortest head of a major type with an argument.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..24 => out.push(major | argument as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer) -> &mut Writer) -> String {
        let mut writer = Writer::new();
        write(&mut writer);
        hex::encode(writer.into_bytes())
    }

    /// RFC 8949, appendix A.
    #[test]
    fn items_are_those_of_rfc_8949() {
        for (value, expected) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (255, "18ff"),
            (256, "190100"),
            (65535, "19ffff"),
            (65536, "1a00010000"),
            (4294967295, "1affffffff"),
            (1000000000000, "1b000000e8d4a51000"),
        ] {
            assert_eq!(written(|w| w.uint(value)), expected);
        }
        assert_eq!(written(|w| w.bytes(&[1, 2, 3, 4])), "4401020304");
        assert_eq!(written(|w| w.text("\u{fc}")), "62c3bc");
        assert_eq!(written(|w| w.null()), "f6");
        assert_eq!(written(|w| w.array(0)), "80");
        assert_eq!(
            written(|w| {
                w.map(2);
                w.key("a").uint(1);
                w.key("b").array(2).uint(2).uint(3)
            }),
            "a26161016162820203"
        );
        assert_eq!(written(|w| w.array(1).item(&[0x81, 0x00])), "818100");
    }

    #[test]
    #[should_panic(expected = "rows before id")]
    fn keys_out_of_order_are_a_mistake() {
        Writer::new().map(2).key("rows").uint(1).key("id");
    }

    #[test]
    #[should_panic(expected = "lacks entries")]
    fn missing_entries_are_a_mistake() {
        let mut writer = Writer::new();
        writer.array(2).uint(1);
        writer.into_bytes();
    }

    #[test]
    #[should_panic(expected = "after the last")]
    fn a_second_item_is_a_mistake() {
        Writer::new().array(0).uint(1);
    }
}
