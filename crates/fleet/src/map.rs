//! The section map: which change stands at each path, as a tree with one root and proofs of any part of it.
//!
//! A binary tree over the bits of the paths, in which a branch names the first bit that its two sides differ in: the same
//! sections give the same tree, in whatever order they came.

mod proof;

use crate::SectionPath;
use crate::cbor;
use crate::hash::{ChangeId, Hash, LogIndex, hash};

pub use proof::{Opened, Proof, ProofError};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where.
    pub path: SectionPath,
    /// The last change.
    pub change: ChangeId,
    /// Where in the log that change is.
    pub index: LogIndex,
    /// Whether it deleted the section. The leaf stays, so that nothing can be said twice.
    pub deleted: bool,
}

cbor_arrays! { Leaf 4 [path, change, index, deleted]; }

impl Leaf {
    fn hash(&self) -> Hash {
        hash("map leaf", &[&cbor::to_bytes(self)])
    }
}

/// All sections.
#[derive(Clone, Debug, Default)]
pub struct SectionMap {
    root: Option<Node>,
    count: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Hash, Leaf),
    Branch(Hash, u16, Box<[Node; 2]>),
}

/// A bit of a path, the first bit of the first byte first; zero past its end.
fn bit(path: &str, at: u16) -> usize {
    let byte = path.as_bytes().get(usize::from(at / 8)).copied().unwrap_or_default();
    usize::from(byte >> (7 - at % 8) & 1)
}

/// The first bit in which two paths differ.
fn difference(one: &str, other: &str) -> Option<u16> {
    (0..one.len().max(other.len())).find_map(|at| {
        let byte = |path: &str| path.as_bytes().get(at).copied().unwrap_or_default();
        let differ = byte(one) ^ byte(other);
        let at = u16::try_from(at).ok()?;
        (differ != 0).then(|| at * 8 + u16::try_from(differ.leading_zeros()).unwrap_or_default())
    })
}

fn branch_hash(bit: u16, left: &Hash, right: &Hash) -> Hash {
    hash("map branch", &[&bit.to_be_bytes(), left.bytes(), right.bytes()])
}

fn empty_hash() -> Hash {
    hash("map empty", &[])
}

impl Node {
    const fn hash(&self) -> &Hash {
        match self {
            Self::Leaf(hash, _) | Self::Branch(hash, ..) => hash,
        }
    }

    fn leaf(leaf: Leaf) -> Self {
        Self::Leaf(leaf.hash(), leaf)
    }

    fn branch(bit: u16, sides: Box<[Self; 2]>) -> Self {
        Self::Branch(branch_hash(bit, sides[0].hash(), sides[1].hash()), bit, sides)
    }

    fn put(self, new: Leaf, differing: Option<u16>) -> Self {
        match self {
            Self::Branch(_, at, mut sides) if differing.is_none_or(|differing| at < differing) => {
                let [left, right] = *sides;
                *sides = match bit(new.path.as_str(), at) {
                    0 => [left.put(new, differing), right],
                    _ => [left, right.put(new, differing)],
                };
                Self::branch(at, sides)
            }
            other => match differing {
                None => Self::leaf(new),
                Some(at) => {
                    let side = bit(new.path.as_str(), at);
                    let new = Self::leaf(new);
                    Self::branch(at, Box::new(if side == 0 { [new, other] } else { [other, new] }))
                }
            },
        }
    }
}

impl SectionMap {
    /// The root.
    pub fn root(&self) -> Hash {
        self.root.as_ref().map_or_else(empty_hash, |root| *root.hash())
    }

    /// How many leaves there are, those of deleted sections included.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What stands at a path.
    pub fn get(&self, path: &SectionPath) -> Option<&Leaf> {
        self.nearest(path.as_str()).filter(|leaf| leaf.path == *path)
    }

    /// Puts a leaf in its place.
    pub fn put(&mut self, leaf: Leaf) {
        let differing = self.nearest(leaf.path.as_str()).map(|near| difference(near.path.as_str(), leaf.path.as_str()));
        self.count += usize::from(differing.is_none_or(|differing| differing.is_some()));
        self.root = Some(match self.root.take() {
            Some(root) => root.put(leaf, differing.flatten()),
            None => Node::leaf(leaf),
        });
    }

    /// Leaves whose paths begin with `prefix`, in the order of their paths.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Leaf> {
        let mut stack: Vec<&Node> = self.root.iter().collect();
        let bits = prefix.len() * 8;
        std::iter::from_fn(move || {
            loop {
                match stack.pop()? {
                    Node::Leaf(_, leaf) => return Some(leaf),
                    Node::Branch(_, at, sides) if usize::from(*at) < bits => stack.push(&sides[bit(prefix, *at)]),
                    Node::Branch(_, _, sides) => stack.extend([&sides[1], &sides[0]]),
                }
            }
        })
        .filter(move |leaf| leaf.path.as_str().starts_with(prefix))
    }

    /// Proves what stands, and that nothing else does, under each of these prefixes.
    pub fn prove(&self, prefixes: &[&str]) -> Proof {
        Proof::of(self.root.as_ref(), prefixes)
    }

    /// The leaf at the end of the way that a path's bits go: its own, or one that shares the most with it.
    fn nearest(&self, path: &str) -> Option<&Leaf> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Leaf(_, leaf) => return Some(leaf),
                Node::Branch(_, at, sides) => node = &sides[bit(path, *at)],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> SectionPath {
        text.parse().unwrap()
    }

    fn leaf(text: &str, index: u64) -> Leaf {
        Leaf { path: path(text), change: ChangeId::of([u8::try_from(index % 256).unwrap(); 32]), index, deleted: false }
    }

    fn map(paths: &[String]) -> SectionMap {
        let mut map = SectionMap::default();
        paths.iter().zip(0..).for_each(|(path, index)| map.put(leaf(path, index)));
        map
    }

    fn paths() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("(groups|policies)/[ab]{1,3}/[ab]{1,2}(/[ab]{1,2})?", 0..40)
    }

    proptest! {
        #[test]
        fn it_is_a_map(paths in paths()) {
            let map = map(&paths);
            let model: BTreeMap<_, _> = paths.iter().zip(0_u64..).collect();
            prop_assert_eq!(map.len(), model.len());
            for (text, index) in &model {
                prop_assert_eq!(map.get(&path(text)).map(|leaf| leaf.index), Some(*index));
            }
            let under: Vec<_> = map.under("groups/a").map(|leaf| leaf.path.to_string()).collect();
            let expected: Vec<_> = model.keys().filter(|path| path.starts_with("groups/a")).map(|path| (*path).clone()).collect();
            prop_assert_eq!(under, expected);
        }

        #[test]
        fn the_order_of_coming_leaves_no_trace(paths in paths()) {
            let mut latest = BTreeMap::new();
            latest.extend(paths.iter().cloned().zip(0..));
            let mut sorted = SectionMap::default();
            latest.iter().for_each(|(path, index)| sorted.put(leaf(path, *index)));
            prop_assert_eq!(map(&paths).root(), sorted.root());
        }

        #[test]
        fn parts_are_proven_whole(paths in paths(), wanted in prop::collection::vec("(groups|policies)/[ab]{1,3}/", 1..4)) {
            let map = map(&paths);
            let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
            let bytes = cbor::to_bytes(&map.prove(&wanted));
            let proof: Proof = cbor::from_bytes(&bytes, usize::MAX).unwrap();
            let opened = proof.open(&map.root()).unwrap();
            for prefix in wanted {
                let found: Vec<_> = opened.under(prefix).unwrap().into_iter().cloned().collect();
                prop_assert_eq!(found, map.under(prefix).cloned().collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_proof_of_something_else_does_not_do(paths in paths(), wanted in "groups/[ab]{1,3}/", other in "policies/[ab]{1,2}/") {
            let map = map(&paths);
            let proof = map.prove(&[&wanted]);
            let opened = proof.open(&map.root()).unwrap();
            if map.under("groups/").count() > 0 && map.under("policies/").count() > 0 {
                prop_assert_eq!(opened.under(&other), Err(ProofError::Incomplete { prefix: other }));
            }
        }
    }
}
