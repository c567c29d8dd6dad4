//! The one CBOR of this protocol: RFC 8949 core deterministic encoding, as PROTOCOL §2 narrows it.
//!
//! Unsigned integers up to 2^53−1, byte strings, UTF-8 text, arrays, maps with text keys, and null.
//! Definite lengths and shortest integers alone; no floats, tags, or other simple values. So every
//! meaning has one encoding, and [`Reader`] accepts that one alone: what it takes without complaint is
//! byte for byte what [`Writer`] writes. No general decoder is used, since one would have to be checked
//! for all of this anyway; tests compare this one with `minicbor`.
//!
//! A message with fixed keys is written and read with the same list of keys, in canonical order (shorter
//! first, then bytewise):
//!
//! ```
//! use evanesce_token::Malformed;
//! use evanesce_token::cbor::{Limits, Reader, Writer};
//!
//! const KEYS: [&str; 3] = ["id", "note", "rows"];
//!
//! let mut w = Writer::new();
//! w.map(3);
//! w.key("id").bytes(&[7; 32]);
//! w.key("note").null();
//! w.key("rows").array(1).uint(5);
//! let bytes = w.into_bytes();
//!
//! let mut r = Reader::new("message", &bytes, Limits { bytes: 4096, depth: 4 })?;
//! let mut m = r.map(&KEYS)?;
//! let id: [u8; 32] = m.field("id")?.bytes_n()?;
//! let note = m.field("note")?.or_null(|r| r.text(100))?;
//! let rows = m.field("rows")?.list(0..=255, |r| r.uint())?;
//! m.end();
//! r.finish()?;
//! assert_eq!((id, note, rows), ([7; 32], None, vec![5]));
//!
//! let error = Reader::new("message", &[0x81, 0xf5], Limits { bytes: 4096, depth: 4 })?
//!     .list(0..=255, |r| r.uint())
//!     .unwrap_err();
//! assert_eq!(error.0, "message[0]: a simple value other than null, must be an unsigned integer");
//! # Ok::<(), Malformed>(())
//! ```
//!
//! Neither side is for secrets: buffers are ordinary memory. Shares travel inside, sealed.

mod container;
mod reader;
mod writer;

use std::cmp::Ordering;

pub use container::{Array, Map};
pub use reader::{Limits, Reader};
pub use writer::Writer;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const NULL: u8 = 0xf6;

/// The order of map keys: shorter first, then bytewise.
pub fn canonical_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
