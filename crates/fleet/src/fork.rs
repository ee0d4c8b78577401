//! Proof that two majorities disagree: whoever holds it can show it to anybody who knows the fleet.

use crate::Hash;
use crate::authority::Authority;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::history::verify_growth;

/// Two checkpoints, rightly signed both, of which the later one does not extend the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkProof {
    /// The one that was followed.
    pub ours: Checkpoint,
    /// The other, of as many records or more.
    pub theirs: Checkpoint,
    /// The root of the other log when it had as many records as ours.
    pub root: Hash,
    /// Shows that the other log grew from that root.
    pub growth: Vec<Hash>,
}

cbor_arrays! { ForkProof 4 [ours, theirs, root, growth]; }

/// What two checkpoints and a growth do not prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFork {
    /// One of them counts for nothing.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The root that is said to be the other log's is not shown to be.
    #[error("it does not show what the other log was like")]
    Growth,
    /// The later one extends the earlier one.
    #[error("the two agree")]
    Agreement,
}

impl ForkProof {
    /// Checks that there is a fork. Those who signed what was followed may have lost their vote since; nobody who has lost it
    /// can make up the other side.
    pub fn check(&self, authority: &Authority) -> Result<(), NoFork> {
        let (ours, theirs) = (self.ours.open_as_of_then(authority)?, self.theirs.open(authority)?);
        verify_growth(ours.index, &self.root, theirs.index, &theirs.history, &self.growth)
            .map_err(|_| NoFork::Growth)?;
        match self.root != ours.history || ours.index == theirs.index && ours != theirs {
            true => Ok(()),
            false => Err(NoFork::Agreement),
        }
    }

    /// Which of the two somebody chose who said to keep and to drop these; the log that a checkpoint is of, not it alone.
    pub fn choice(&self, kept: &Hash, dropped: &Hash) -> Option<Side> {
        let (ours, theirs) = (self.ours.hash(), self.theirs.hash());
        if *kept == theirs || *dropped == ours {
            return Some(Side::Theirs);
        }
        (*kept == ours || *dropped == theirs).then_some(Side::Ours)
    }
}

/// One of two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that was followed.
    Ours,
    /// The other.
    Theirs,
}
