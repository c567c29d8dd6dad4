//! A log as static files, C2SP tlog-tiles: which tiles a tree of some size has, where they lie, what is in them.
//!
//! ```text
//! checkpoint                      the signed tree head
//! tile/<L>/<N>[.p/<W>]            hashes of level 8L, 256 to a tile
//! tile/entries/<N>[.p/<W>]        the entries themselves, 256 to a bundle
//! ```
//!
//! Geometry and bytes only: `exported` reads and checks such files, an agent's export writes them.

use crate::merkle::{Frontier, Hash};

/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 256;
/// Levels of the tree from one level of tiles to the next.
pub const HEIGHT: u32 = 8;
/// Where the checkpoint lies.
pub const CHECKPOINT: &str = "checkpoint";

/// One tile, as it stands in a tree of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// 0 for the leaves' hashes; each further one is of full tiles below.
    pub level: u32,
    /// From the left.
    pub index: u64,
    /// Hashes in it, 1 to 256; fewer than 256 in a partial tile.
    pub width: u64,
}

impl Tile {
    /// The tile of this place in a tree of `size` leaves, if it has one.
    pub fn of(level: u32, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(HEIGHT * level).unwrap_or(0);
        let width = hashes.saturating_sub(index.checked_mul(WIDTH)?).min(WIDTH);
        (width > 0).then_some(Self {
            level,
            index,
            width,
        })
    }

    /// Whether it will never change.
    pub fn full(&self) -> bool {
        self.width == WIDTH
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.place(self.full()))
    }

    /// The path of the full tile of the same place, of which this is a beginning.
    pub fn full_path(&self) -> String {
        format!("tile/{}/{}", self.level, self.place(true))
    }

    /// For level 0: the path of the entries under its hashes.
    pub fn bundle_path(&self) -> String {
        format!("tile/entries/{}", self.place(self.full()))
    }

    /// For level 0: the path of the full bundle of the same place.
    pub fn full_bundle_path(&self) -> String {
        format!("tile/entries/{}", self.place(true))
    }

    fn place(&self, full: bool) -> String {
        let mut rest = self.index / 1000;
        let mut place = format!("{:03}", self.index % 1000);
        while rest > 0 {
            place = format!("x{:03}/{place}", rest % 1000);
            rest /= 1000;
        }
        match full {
            true => place,
            false => format!("{place}.p/{}", self.width),
        }
    }
}

/// Every tile of a tree of `size` leaves, level by level.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..u64::BITS / HEIGHT)
        .flat_map(move |level| (0..).map_while(move |index| Tile::of(level, index, size)))
}

/// A tile's bytes.
pub fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// A tile's hashes; None where the bytes are no number of hashes.
pub fn decode(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// The hash that a full tile has at the level above; of a partial tile, the hash of its subtree.
pub fn tile_hash(hashes: &[Hash]) -> Hash {
    Frontier::default().append(hashes).root
}

/// Appends an entry to a bundle; false, and nothing appended, for one of over 65535 bytes.
pub fn put_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else {
        return false;
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// A bundle's entries; None where it ends within one.
pub fn entries(bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = bundle;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (entry, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        found.push(entry);
        rest = behind;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tile(level: u32, index: u64, width: u64) -> Tile {
        Tile {
            level,
            index,
            width,
        }
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
        assert_eq!(tile(0, 0, 256).path(), "tile/0/000");
        assert_eq!(tile(3, 1000, 1).path(), "tile/3/x001/000.p/1");
        assert_eq!(tile(3, 1000, 1).full_path(), "tile/3/x001/000");
        assert_eq!(tile(0, 273, 112).bundle_path(), "tile/entries/273.p/112");
    }

    /// The specification's two examples.
    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        let of_level = |size: u64, level: u32| -> Vec<u64> {
            let all = tiles(size).filter(|tile| tile.level == level);
            all.map(|tile| tile.width).collect()
        };
        assert_eq!(of_level(70_000, 0), [&[256; 273][..], &[112]].concat());
        assert_eq!(of_level(70_000, 1), [256, 17]);
        assert_eq!(of_level(70_000, 2), [1]);
        assert_eq!(tiles(70_000).count(), 277);
        assert_eq!(of_level(256, 0), [256]);
        assert_eq!(of_level(256, 1), [1]);
        assert_eq!(tiles(0).count(), 0);
    }

    #[test]
    fn a_bundle_gives_back_its_entries_or_nothing() {
        let mut bundle = Vec::new();
        for entry in [&b"one"[..], b"", b"three"] {
            assert!(put_entry(&mut bundle, entry));
        }
        assert_eq!(
            entries(&bundle).unwrap(),
            [&b"one"[..], &b""[..], &b"three"[..]]
        );
        assert!(entries(&bundle[..bundle.len() - 1]).is_none());
        assert!(!put_entry(&mut bundle, &[0; 1 << 16]));
        assert!(decode(&[0; 33]).is_none());
    }

    proptest! {
        /// Whatever bytes come: what is understood has no other encoding.
        #[test]
        fn bytes_are_refused_or_are_the_only_encoding(bytes in prop::collection::vec(0u8..4, 0..200)) {
            if let Some(found) = entries(&bytes) {
                let mut again = Vec::new();
                prop_assert!(found.into_iter().all(|entry| put_entry(&mut again, entry)));
                prop_assert_eq!(again, bytes.clone());
            }
            match decode(&bytes) {
                Some(hashes) => prop_assert_eq!(encode(&hashes), bytes),
                None => prop_assert!(bytes.len() % 32 != 0),
            }
        }
    }
}
