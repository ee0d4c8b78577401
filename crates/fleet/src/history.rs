//! The history tree: the Merkle tree of RFC 9162 (section 2.1) over the records of the log, under our hash.

use crate::hash::{Hash, LogIndex, hash};

/// What the log holds, in order. It grows at its end alone.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Hashes of complete subtrees: of 1 record, of 2, of 4, …
    levels: Vec<Vec<Hash>>,
}

/// A proof that does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead from {from} records to {to}")]
pub struct HistoryError {
    /// What it should begin with.
    pub from: LogIndex,
    /// What it should end with.
    pub to: LogIndex,
}

/// The hash of a record in the tree.
pub fn leaf(record: &[u8]) -> Hash {
    hash("history leaf", &[record])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash("history node", &[left.bytes(), right.bytes()])
}

/// The largest power of two below `count`, which is 2 at least.
const fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

impl History {
    /// Of records whose hashes these are.
    pub fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut history = Self::default();
        leaves.into_iter().for_each(|leaf| history.push(leaf));
        history
    }

    /// How many records there are.
    pub fn len(&self) -> LogIndex {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a record by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for height in 0.. {
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            let level = &mut self.levels[height];
            level.push(hash);
            let [.., left, right] = level.as_slice() else { return };
            if !level.len().is_multiple_of(2) {
                return;
            }
            hash = node(left, right);
        }
    }

    /// The root over the first `count` records; of none, the hash of nothing. No more than there are.
    pub fn root(&self, count: LogIndex) -> Option<Hash> {
        (count <= self.len()).then(|| self.over(0, count))
    }

    fn over(&self, from: u64, count: u64) -> Hash {
        if count == 0 {
            return hash("history empty", &[]);
        }
        if count.is_power_of_two() && from.is_multiple_of(count) {
            let (height, at) = (count.trailing_zeros() as usize, usize::try_from(from / count).unwrap_or(usize::MAX));
            return self.levels[height][at];
        }
        let left = split(count);
        node(&self.over(from, left), &self.over(from + left, count - left))
    }

    /// That the record at `index` is among the first `count` (RFC 9162, 2.1.3.1).
    pub fn prove_record(&self, index: LogIndex, count: LogIndex) -> Option<Vec<Hash>> {
        (index < count && count <= self.len()).then(|| {
            let mut proof = Vec::new();
            self.path(index, 0, count, &mut proof);
            proof
        })
    }

    fn path(&self, index: u64, from: u64, count: u64, proof: &mut Vec<Hash>) {
        if count == 1 {
            return;
        }
        let left = split(count);
        if index < left {
            self.path(index, from, left, proof);
            proof.push(self.over(from + left, count - left));
        } else {
            self.path(index - left, from + left, count - left, proof);
            proof.push(self.over(from, left));
        }
    }

    /// That the first `to` records begin with the first `from` (RFC 9162, 2.1.4.1). Nothing where one of them is 0 or both are the same.
    pub fn prove_growth(&self, from: LogIndex, to: LogIndex) -> Option<Vec<Hash>> {
        (from <= to && to <= self.len()).then(|| {
            let mut proof = Vec::new();
            if from > 0 && from < to {
                self.subproof(from, 0, to, true, &mut proof);
            }
            proof
        })
    }

    fn subproof(&self, old: u64, from: u64, count: u64, whole: bool, proof: &mut Vec<Hash>) {
        if old == count {
            if !whole {
                proof.push(self.over(from, count));
            }
            return;
        }
        let left = split(count);
        if old <= left {
            self.subproof(old, from, left, whole, proof);
            proof.push(self.over(from + left, count - left));
        } else {
            self.subproof(old - left, from + left, count - left, false, proof);
            proof.push(self.over(from, left));
        }
    }
}

/// Checks that a record is at `index` among `count` (RFC 9162, 2.1.3.2).
pub fn verify_record(
    leaf: Hash,
    index: LogIndex,
    count: LogIndex,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), HistoryError> {
    let error = HistoryError { from: index, to: count };
    if index >= count {
        return Err(error);
    }
    let (mut at, mut last, mut hash) = (index, count - 1, leaf);
    for other in proof {
        if last == 0 {
            return Err(error);
        }
        if at % 2 == 1 || at == last {
            hash = node(other, &hash);
            while at % 2 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0 && hash == *root).then_some(()).ok_or(error)
}

/// Checks that a tree of `to` records begins with one of `from` (RFC 9162, 2.1.4.2).
pub fn verify_growth(from: LogIndex, old: &Hash, to: LogIndex, new: &Hash, proof: &[Hash]) -> Result<(), HistoryError> {
    let error = HistoryError { from, to };
    let good = match from {
        0 => proof.is_empty() && *old == hash("history empty", &[]),
        _ if from == to => proof.is_empty() && old == new,
        _ if from > to => false,
        _ => grew(from, old, to, new, proof),
    };
    good.then_some(()).ok_or(error)
}

fn grew(from: u64, old: &Hash, to: u64, new: &Hash, proof: &[Hash]) -> bool {
    let (mut at, mut last) = (from - 1, to - 1);
    while at % 2 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (first, rest) = match proof {
        _ if from.is_power_of_two() => (old, proof),
        [first, rest @ ..] => (first, rest),
        [] => return false,
    };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            (old_hash, new_hash) = (node(other, &old_hash), node(other, &new_hash));
            while at % 2 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_hash = node(&new_hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old_hash == *old && new_hash == *new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(count: u64) -> History {
        History::of((0..count).map(|index| leaf(&index.to_be_bytes())))
    }

    /// The definition of RFC 9162, 2.1.1, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => hash("history empty", &[]),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).unwrap());
                node(&defined(left), &defined(right))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_defined() {
        let leaves: Vec<_> = (0..40_u64).map(|index| leaf(&index.to_be_bytes())).collect();
        for count in 0..=40 {
            assert_eq!(history(40).root(count as u64), Some(defined(&leaves[..count])));
        }
        assert_eq!(history(3).root(4), None);
    }

    proptest! {
        #[test]
        fn records_and_growth_are_proven_and_nothing_else(to in 1_u64..70, from in 0_u64..70, index in 0_u64..70, spoilt in 0_usize..8) {
            let history = history(70);
            let root = |count| history.root(count).unwrap();
            let (from, index) = (from.min(to), index % to);
            let leaf_at = |index: u64| leaf(&index.to_be_bytes());
            let proof = history.prove_record(index, to).unwrap();
            prop_assert!(verify_record(leaf_at(index), index, to, &root(to), &proof).is_ok());
            prop_assert!(verify_record(leaf_at(index + 1), index, to, &root(to), &proof).is_err());
            prop_assert!(verify_record(leaf_at(index), index, to, &root(to), &[&proof[..], &[leaf_at(0)]].concat()).is_err());
            let mut growth = history.prove_growth(from, to).unwrap();
            prop_assert!(verify_growth(from, &root(from), to, &root(to), &growth).is_ok());
            if from != to {
                prop_assert!(verify_growth(from, &leaf_at(99), to, &root(to), &growth).is_err());
            }
            if !growth.is_empty() {
                let at = spoilt % growth.len();
                growth[at] = leaf_at(99);
                prop_assert!(verify_growth(from, &root(from), to, &root(to), &growth).is_err());
            }
        }
    }
}
