//! Where a node stands: the two chains' newest points that it has verified.

use crate::hash::hash;
use crate::{Hash, Head, LogIndex};

/// The newest authority entry and the newest checkpoint that a node follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The end of the authority chain.
    pub authority: Head,
    /// How many records of the log the checkpoint covers.
    pub index: LogIndex,
    /// The checkpoint itself, by the hash of its body; zeros where there is none yet.
    pub checkpoint: Hash,
}

/// Eight bytes that tell two standings apart. It decides nothing but whether to catch up: what is caught up is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadsDigest(pub [u8; 8]);

impl Heads {
    /// The digest that travels.
    pub fn digest(&self) -> HeadsDigest {
        let position = self.authority.position.to_be_bytes();
        let parts: [&[u8]; 4] =
            [&position, self.authority.entry.bytes(), &self.index.to_be_bytes(), self.checkpoint.bytes()];
        let whole = hash("heads", &parts);
        HeadsDigest(*whole.bytes().first_chunk().expect("invariant: 8 of 32 bytes"))
    }
}
