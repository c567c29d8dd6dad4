//! RFC 6962 Merkle trees: the hashes of an agent's log, and proofs of inclusion and consistency.
//!
//! An agent appends in groups and keeps only the tree's right edge, [`Frontier`]: about one hash per
//! doubling of the log. That is enough to give the path of every entry of the newest group. Whoever has all nodes,
//! from tiles or from the entries, proves anything of any size with [`inclusion`] and [`consistency`].

use sha2::{Digest, Sha256};

/// A node of the tree.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new_with_prefix([0])
        .chain_update(entry)
        .finalize()
        .into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The complete subtrees that make up a tree of `size` leaves, smallest first: one for each set bit of `size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// A frontier from its parts; `None` when the number of nodes does not fit the size.
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtrees' hashes, smallest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The tree with `leaves` (leaf hashes) behind the present ones. `self` is unchanged: take
    /// [`Group::frontier`] once the group is written.
    pub fn append(&self, leaves: &[Hash]) -> Group {
        let size = self.size + leaves.len() as u64;
        let depth = (u64::BITS - size.leading_zeros()) as usize + 1;
        let mut old = self.nodes.iter();
        let mut levels: Vec<Level> = Vec::with_capacity(depth);
        let mut parents: Vec<Hash> = leaves.to_vec();
        for level in 0..depth {
            // What is new at this level starts where the old tree's complete nodes end; the last of those, where
            // it waits for a right sibling, is the frontier's.
            let mut start = self.size >> level;
            let mut nodes = parents;
            if (self.size >> level) & 1 == 1 {
                start -= 1;
                nodes.insert(0, *old.next().expect("one node per set bit"));
            }
            parents = nodes
                .chunks_exact(2)
                .map(|pair| node_hash(&pair[0], &pair[1]))
                .collect();
            levels.push(Level {
                start,
                nodes,
                edge: None,
            });
        }
        // edge: the hash of the leaves behind the last complete node of each level.
        let mut edge: Option<Hash> = None;
        for (level, row) in levels.iter_mut().enumerate() {
            row.edge = edge;
            if (size >> level) & 1 == 1 {
                let last = row.get((size >> level) - 1);
                edge = Some(edge.map_or(last, |right| node_hash(&last, &right)));
            }
        }
        Group {
            first: self.size,
            size,
            levels,
            root: edge.unwrap_or_else(|| Sha256::digest([]).into()),
        }
    }
}

struct Level {
    start: u64,
    nodes: Vec<Hash>,
    edge: Option<Hash>,
}

impl Level {
    fn get(&self, index: u64) -> Hash {
        self.nodes[(index - self.start) as usize]
    }
}

/// A tree's newest leaves, with what is needed for their paths.
pub struct Group {
    /// Index of the group's first leaf.
    pub first: u64,
    /// Leaves of the whole tree.
    pub size: u64,
    /// The whole tree's hash.
    pub root: Hash,
    levels: Vec<Level>,
}

impl Group {
    /// Inclusion path of the group's leaf number `index` (of the whole tree), leaf side first.
    pub fn path(&self, index: u64) -> Vec<Hash> {
        let mut path = Vec::new();
        for (level, row) in self.levels.iter().enumerate() {
            if (self.size - 1) >> level == 0 {
                break;
            }
            let node = index >> level;
            let complete = self.size >> level;
            if node & 1 == 1 {
                path.push(row.get(node - 1));
            } else if node + 1 < complete {
                path.push(row.get(node + 1));
            } else if node + 1 == complete {
                path.extend(row.edge);
            }
        }
        path
    }

    /// The right edge of the whole tree, to append the next group to.
    pub fn frontier(&self) -> Frontier {
        let nodes = (0..self.levels.len())
            .filter(|level| (self.size >> level) & 1 == 1)
            .map(|level| self.levels[level].get((self.size >> level) - 1))
            .collect();
        Frontier {
            size: self.size,
            nodes,
        }
    }
}

/// Whether `path` leads from `leaf` at `index` to `root` in a tree of `size` leaves (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The hash of a tree of `size` leaves (RFC 6962 §2.1), from its complete subtrees: `node(level, index)` is the hash
/// of the leaves from `index << level` to `(index + 1) << level`. Asks for about one node per doubling.
pub fn root<E>(size: u64, mut node: impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    match size {
        0 => Ok(Sha256::digest([]).into()),
        _ => range(0, size, &mut node),
    }
}

/// Inclusion path of leaf `index` in a tree of `size` leaves, leaf side first (RFC 6962 §2.1.1); `node` as in
/// [`root`]. Empty where there is no such leaf.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if index >= size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + left(end - start);
        if index < middle {
            path.push(range(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(range(start, middle, &mut node)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that a tree of `new` leaves begins with the tree of its first `old` (RFC 6962 §2.1.2); `node` as in [`root`].
/// Empty where `old` is 0, `new` or more: there is nothing to prove, or no proof.
pub fn consistency<E>(
    old: u64,
    new: u64,
    mut node: impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + left(end - start);
        if old <= middle {
            proof.push(range(middle, end, &mut node)?);
            end = middle;
        } else {
            proof.push(range(start, middle, &mut node)?);
            start = middle;
        }
    }
    // A subtree that begins the tree is the old root itself, which the verifier has.
    if start != 0 {
        proof.push(range(start, end, &mut node)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `leaves`, which are at least two.
fn left(leaves: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaves - 1).leading_zeros())
}

/// The hash of the leaves `start..end`, a subtree as RFC 6962 splits.
fn range<E>(
    start: u64,
    end: u64,
    node: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let leaves = end - start;
    if leaves.is_power_of_two() {
        let level = leaves.trailing_zeros();
        return node(level, start >> level);
    }
    let middle = start + left(leaves);
    let (first, second) = (range(start, middle, node)?, range(middle, end, node)?);
    Ok(node_hash(&first, &second))
}

/// Whether `proof` shows that the tree of `new` leaves and hash `new_root` begins with the tree of `old` leaves and hash
/// `old_root` (RFC 9162 §2.1.4.2). Every tree begins with the empty one.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old == 0 {
        return proof.is_empty() && old_root[..] == Sha256::digest([])[..];
    }
    if old >= new {
        return old == new && proof.is_empty() && old_root == new_root;
    }
    let (mut node, mut last) = (old - 1, new - 1);
    let skipped = node.trailing_ones();
    node >>= skipped;
    last >>= skipped;
    let (begin, rest) = match old.is_power_of_two() {
        true => (*old_root, proof),
        false => match proof.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return false,
        },
    };
    let (mut from_old, mut from_new) = (begin, begin);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 §2.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let k = many.len().next_power_of_two() / 2;
                node_hash(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    /// RFC 6962 §2.1.1, word for word.
    fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() < 2 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut below, other) = if m < k {
            (path(m, &leaves[..k]), mth(&leaves[k..]))
        } else {
            (path(m - k, &leaves[k..]), mth(&leaves[..k]))
        };
        below.push(other);
        below
    }

    #[test]
    fn groups_of_any_size_give_the_rfcs_root_and_paths() {
        for first in 0..40usize {
            for more in 0..20usize {
                let leaves: Vec<Hash> = (0..first + more).map(|i| leaf_hash(&[i as u8])).collect();
                let before = Frontier::default().append(&leaves[..first]).frontier();
                let group = before.append(&leaves[first..]);
                assert_eq!(group.root, mth(&leaves), "{first}+{more}");
                for m in first..first + more {
                    let expected = path(m, &leaves);
                    assert_eq!(group.path(m as u64), expected, "leaf {m} of {first}+{more}");
                    let (m, n) = (m as u64, leaves.len() as u64);
                    assert!(verify_inclusion(
                        &leaves[m as usize],
                        m,
                        n,
                        &expected,
                        &group.root
                    ));
                    assert!(!verify_inclusion(
                        &leaves[m as usize],
                        m + 1,
                        n,
                        &expected,
                        &group.root
                    ));
                    assert!(!verify_inclusion(&[0; 32], m, n, &expected, &group.root));
                    assert!(!verify_inclusion(
                        &leaves[m as usize],
                        m,
                        n,
                        &expected,
                        &[0; 32]
                    ));
                }
                assert_eq!(
                    group.frontier(),
                    Frontier::default().append(&leaves).frontier()
                );
            }
        }
    }

    /// RFC 6962 §2.1.2, word for word.
    fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { vec![] } else { vec![mth(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut proof, other) = if m <= k {
            (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
        } else {
            (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
        };
        proof.push(other);
        proof
    }

    #[test]
    fn proofs_from_nodes_are_the_rfcs_and_verify_for_their_trees_alone() {
        let leaves: Vec<Hash> = (0..70u8).map(|i| leaf_hash(&[i])).collect();
        let node = |level: u32, index: u64| -> Result<Hash, std::convert::Infallible> {
            Ok(mth(
                &leaves[(index as usize) << level..(index as usize + 1) << level]
            ))
        };
        for new in 0..=leaves.len() {
            let new_root = mth(&leaves[..new]);
            assert_eq!(root(new as u64, node).unwrap(), new_root);
            for m in 0..new {
                let found = inclusion(m as u64, new as u64, node).unwrap();
                assert_eq!(found, path(m, &leaves[..new]), "leaf {m} of {new}");
            }
            for old in 0..=new {
                let old_root = mth(&leaves[..old]);
                let proof = consistency(old as u64, new as u64, node).unwrap();
                if old > 0 {
                    assert_eq!(proof, subproof(old, &leaves[..new], true), "{old} in {new}");
                }
                let (o, n) = (old as u64, new as u64);
                assert!(verify_consistency(o, &old_root, n, &new_root, &proof));
                assert!(!verify_consistency(o, &[7; 32], n, &new_root, &proof));
                assert!(!verify_consistency(n + 1, &new_root, n, &new_root, &proof));
                if old > 0 {
                    assert!(!verify_consistency(o, &old_root, n, &[7; 32], &proof));
                    assert!(old == new || !verify_consistency(n, &new_root, o, &old_root, &proof));
                }
                for change in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[change][0] ^= 1;
                    assert!(!verify_consistency(o, &old_root, n, &new_root, &changed));
                    changed.remove(change);
                    assert!(!verify_consistency(o, &old_root, n, &new_root, &changed));
                }
                let longer = [&proof[..], &[[9; 32]]].concat();
                assert!(!verify_consistency(o, &old_root, n, &new_root, &longer));
            }
        }
    }
}
