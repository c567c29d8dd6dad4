//! A second implementation: Cloudflare's `tlog_tiles` and `signed_note` read our exports, verify our proofs, and make
//! the same ones.

use std::path::PathBuf;

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Error, Hash as Theirs, Tile as TheirTile, TileHashReader, TileReader};

use super::*;

/// An exported folder as their reader sees it. Their paths have the tile's height in them, as Go's have; C2SP's do not.
struct Reader(PathBuf);

impl TileReader for Reader {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &TheirTile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            fs::read(self.0.join(path)).map_err(|_| Error::InvalidTile)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

fn theirs(hashes: &[Hash]) -> Vec<Theirs> {
    hashes.iter().map(|hash| Theirs(*hash)).collect()
}

#[test]
fn a_second_implementation_agrees_on_checkpoints_tiles_and_proofs() {
    let mut agent = Growing::new();
    let mut earlier: Vec<(u64, Hash)> = Vec::new();
    let (mut inclusions, mut consistencies) = (0, 0);
    for more in [1, 1, 5, 248, 1, 1, 255, 300, 1000, 65_000] {
        agent.grow(more);
        let out = tempfile::tempdir().unwrap();
        let made = agent.export(out.path()).unwrap();

        // The checkpoint, by their reader of notes, with the vkey as we print it.
        let text = fs::read(out.path().join(tiles::CHECKPOINT)).unwrap();
        let note = Note::from_bytes(&text).unwrap();
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&made.vkey).unwrap())]);
        let (good, unknown) = note.verify(&known).unwrap();
        assert_eq!((good.len(), unknown.len()), (1, 0));
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(checkpoint.origin(), note::origin(&AGENT));
        assert_eq!(
            (checkpoint.size(), checkpoint.hash().0),
            (made.size, made.root)
        );

        // The tree, by their reader of tiles, which believes none that does not lead to the root.
        let reader = Reader(out.path().to_owned());
        let (size, root) = (checkpoint.size(), *checkpoint.hash());
        let tree = TileHashReader::new(size, root, &reader);
        assert_eq!(tlog_tiles::tree_hash(size, &tree).unwrap(), root);

        let ours = Exported::open(Folder(out.path().to_owned())).unwrap();
        let step = (size / 40).max(1) as usize;
        for index in (0..size).step_by(step).chain([size - 1]) {
            let path = merkle::inclusion(index, size, |level, at| ours.node(level, at)).unwrap();
            let leaf = tlog_tiles::record_hash(&Growing::entry(index, "k"));
            tlog_tiles::check_record(&theirs(&path), size, root, index, leaf).unwrap();
            let proof = tlog_tiles::prove_record(size, index, &tree).unwrap();
            assert_eq!(proof, theirs(&path), "leaf {index} of {size}");
            inclusions += 1;
        }
        earlier.push((size, root.0));
        for (old, old_root) in &earlier {
            let proof = merkle::consistency(*old, size, |level, at| ours.node(level, at)).unwrap();
            assert!(merkle::verify_consistency(
                *old, old_root, size, &root.0, &proof
            ));
            let proof = theirs(&proof);
            tlog_tiles::check_tree(&proof, size, root, *old, Theirs(*old_root)).unwrap();
            let made = tlog_tiles::prove_tree(size, *old, &tree).unwrap();
            assert_eq!(made, proof, "{old} in {size}");
            consistencies += 1;
        }
    }
    println!("{inclusions} inclusion and {consistencies} consistency proofs agreed on");
}
