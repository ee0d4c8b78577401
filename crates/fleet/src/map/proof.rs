//! Proofs of a part of the section map: the tree with what does not matter cut off.

use crate::cbor::{BytesError, Cbor, Reader, Writer};
use crate::hash::Hash;
use crate::map::{Leaf, Node, bit, branch_hash, empty_hash};

/// The part of the tree that was asked for, branches before their sides; what is cut off is there by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Branch(u16),
    Leaf(Leaf),
    Cut(Hash),
}

/// Why a proof does not prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The items are no tree.
    #[error("the proof is not the form of a tree")]
    Shape,
    /// It leads to another root.
    #[error("the proof leads to {is}, not to {wanted}")]
    Root {
        /// Where it leads.
        is: Hash,
        /// Where it should.
        wanted: Hash,
    },
    /// It leaves open what else there is.
    #[error("the proof leaves open what there is under {prefix:?}")]
    Incomplete {
        /// What was asked for.
        prefix: String,
    },
}

impl Proof {
    pub(super) fn of(root: Option<&Node>, prefixes: &[&str]) -> Self {
        let mut items = Vec::new();
        if let Some(root) = root {
            keep(root, prefixes, &mut items);
        }
        Self(items)
    }

    /// Checks that this is a part of the tree with that root.
    pub fn open(&self, root: &Hash) -> Result<Opened<'_>, ProofError> {
        let mut items = self.0.iter();
        let tree = match self.0.is_empty() {
            true => None,
            false => Some(Part::read(&mut items, 0, &mut Vec::new())?),
        };
        if items.next().is_some() {
            return Err(ProofError::Shape);
        }
        let is = tree.as_ref().map_or_else(empty_hash, Part::hash);
        match is == *root {
            true => Ok(Opened(tree)),
            false => Err(ProofError::Root { is, wanted: *root }),
        }
    }
}

/// Keeps what is needed of `node` for each prefix whose way leads here.
fn keep(node: &Node, prefixes: &[&str], items: &mut Vec<Item>) {
    match node {
        _ if prefixes.is_empty() => items.push(Item::Cut(*node.hash())),
        Node::Leaf(_, leaf) => items.push(Item::Leaf(leaf.clone())),
        Node::Branch(_, at, sides) => {
            items.push(Item::Branch(*at));
            for (side, node) in sides.iter().enumerate() {
                let leads = |prefix: &&&str| usize::from(*at) >= prefix.len() * 8 || bit(prefix, *at) == side;
                keep(node, &prefixes.iter().filter(leads).copied().collect::<Vec<_>>(), items);
            }
        }
    }
}

/// A proof that was checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a>(Option<Part<'a>>);

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Cut(Hash),
    Leaf(&'a Leaf),
    Branch(u16, Box<[Part<'a>; 2]>),
}

impl<'a> Part<'a> {
    /// Reads one node and what is under it. Bits rise on the way down (from `from` on), and leaves stand where the
    /// turns that lead to them say.
    fn read(
        items: &mut std::slice::Iter<'a, Item>,
        from: u16,
        turns: &mut Vec<(u16, usize)>,
    ) -> Result<Self, ProofError> {
        match items.next().ok_or(ProofError::Shape)? {
            Item::Cut(hash) => Ok(Self::Cut(*hash)),
            Item::Leaf(leaf) => {
                let stands = turns.iter().all(|(at, side)| bit(leaf.path.as_str(), *at) == *side);
                stands.then_some(Self::Leaf(leaf)).ok_or(ProofError::Shape)
            }
            Item::Branch(at) if *at < from || *at >= 8 * 128 => Err(ProofError::Shape),
            Item::Branch(at) => {
                let mut side = |side| {
                    turns.push((*at, side));
                    let part = Self::read(items, at + 1, turns);
                    turns.pop();
                    part
                };
                Ok(Self::Branch(*at, Box::new([side(0)?, side(1)?])))
            }
        }
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Cut(hash) => *hash,
            Self::Leaf(leaf) => leaf.hash(),
            Self::Branch(at, sides) => branch_hash(*at, &sides[0].hash(), &sides[1].hash()),
        }
    }

    /// Adds all leaves; whether nothing was cut off.
    fn leaves(&self, found: &mut Vec<&'a Leaf>) -> bool {
        match self {
            Self::Cut(_) => false,
            Self::Leaf(leaf) => {
                found.push(leaf);
                true
            }
            Self::Branch(_, sides) => sides[0].leaves(found) & sides[1].leaves(found),
        }
    }
}

impl<'a> Opened<'a> {
    /// All leaves whose paths begin with `prefix`: there are no others.
    pub fn under(&self, prefix: &str) -> Result<Vec<&'a Leaf>, ProofError> {
        let Some(mut part) = self.0.as_ref() else { return Ok(Vec::new()) };
        while let Part::Branch(at, sides) = part {
            if usize::from(*at) >= prefix.len() * 8 {
                break;
            }
            part = &sides[bit(prefix, *at)];
        }
        // All that is left shares the bits of the prefix, or none of it does.
        let mut found = Vec::new();
        let whole = part.leaves(&mut found);
        found.retain(|leaf| leaf.path.as_str().starts_with(prefix));
        whole.then_some(found).ok_or_else(|| ProofError::Incomplete { prefix: prefix.to_owned() })
    }
}

impl Cbor for Proof {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        Ok(Self(Cbor::read(input)?))
    }
}

impl Cbor for Item {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Branch(at) => at.write(out),
            Self::Leaf(leaf) => leaf.write(out),
            Self::Cut(hash) => hash.write(out),
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        use minicbor::data::Type;
        match input.kind()? {
            Type::U8 | Type::U16 => Ok(Self::Branch(Cbor::read(input)?)),
            Type::Array => Ok(Self::Leaf(Cbor::read(input)?)),
            _ => Ok(Self::Cut(Cbor::read(input)?)),
        }
    }
}
