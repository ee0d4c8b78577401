//! Checkpoints: what a majority of the voters says the log was.

use std::collections::BTreeMap;

use crate::DeviceId;
use crate::authority::Authority;
use crate::cbor::{self, BytesError};
use crate::hash::{FleetId, Hash, Head, LogIndex};
use crate::history::{HistoryError, verify_growth};
use crate::key::NodeSecret;
use crate::signed::{Domain, LONGEST_SIGNED, Signed, sign};

const FORMAT: u8 = 1;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The fleet.
    pub fleet: FleetId,
    /// How many records the log has.
    pub index: LogIndex,
    /// The authority chain's last entry.
    pub authority: Head,
    /// The root of the history tree.
    pub history: Hash,
    /// The root of the section map.
    pub map: Hash,
}

struct Body {
    format: u8,
    fleet: FleetId,
    index: LogIndex,
    authority: Head,
    history: Hash,
    map: Hash,
}

/// A summary with the signatures of voters, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    body: cbor::Blob,
    signatures: Vec<(DeviceId, [u8; 64])>,
}

cbor_arrays! {
    Body 6 [format, fleet, index, authority, history, map];
    Checkpoint 2 [body, signatures];
}

/// Why a checkpoint is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    #[error(transparent)]
    Bytes(#[from] BytesError),
    #[error("format {0} is not one that this version reads")]
    Format(u8),
    #[error("it is for fleet {0}")]
    OtherFleet(FleetId),
    #[error("it names entry {} at {}, which is not of this chain", .0.entry, .0.position)]
    UnknownHead(Head),
    #[error("others vote since the entry that it names, at {0}")]
    OldVoters(u64),
    #[error("the signature of {0} is not that of a voter over these bytes")]
    Signature(DeviceId),
    #[error("{signed} of {voters} voters signed: {} are needed", voters / 2 + 1)]
    NoMajority { signed: usize, voters: usize },
    #[error("it is at {theirs}, behind {ours}")]
    Behind { ours: LogIndex, theirs: LogIndex },
    #[error("it goes by authority entry {theirs}, behind {ours}")]
    AuthorityBehind { ours: u64, theirs: u64 },
    #[error("it says something else of the first {0} records than what was followed: somebody has to choose")]
    Forked(LogIndex),
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl Summary {
    /// The canonical form, which voters sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { fleet, index, authority, history, map } = *self;
        cbor::to_bytes(&Body { format: FORMAT, fleet, index, authority, history, map })
    }

    /// Reads that form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let Body { format, fleet, index, authority, history, map } = cbor::from_bytes(bytes, LONGEST_SIGNED)?;
        match format {
            FORMAT => Ok(Self { fleet, index, authority, history, map }),
            other => Err(CheckpointError::Format(other)),
        }
    }

    /// A voter's word for it.
    pub fn sign(&self, secret: &NodeSecret) -> [u8; 64] {
        sign(Domain::Checkpoint, &self.to_bytes(), secret)
    }

    /// Whether this is the signature of `voter`, who votes as of the entry that the summary names.
    pub fn is_signed_by(&self, authority: &Authority, voter: DeviceId, signature: &[u8; 64]) -> bool {
        // A key that was taken away since says nothing any more.
        let key = authority.state().device_key_at(voter, self.authority.position);
        key.is_some_and(|key| key.ended.is_none()) && self.was_signed_by(authority, voter, signature)
    }

    /// Whether it is the signature that `voter` could give then.
    fn was_signed_by(&self, authority: &Authority, voter: DeviceId, signature: &[u8; 64]) -> bool {
        let (state, position) = (authority.state(), self.authority.position);
        let votes = state.voters_at(position).iter().any(|(device, _)| *device == voter);
        let signed = Signed { body: self.to_bytes(), signature: *signature };
        let key = state.device_key_at(voter, position);
        votes && key.is_some_and(|key| key.verify(Domain::Checkpoint, &signed).is_ok())
    }
}

impl Checkpoint {
    /// Of a summary and signatures of it.
    pub fn new(summary: &Summary, signatures: BTreeMap<DeviceId, [u8; 64]>) -> Self {
        Self { body: cbor::Blob(summary.to_bytes()), signatures: signatures.into_iter().collect() }
    }

    /// What it says; nothing is checked.
    pub fn summary(&self) -> Result<Summary, CheckpointError> {
        Summary::from_bytes(&self.body.0)
    }

    /// The hash by which an authority entry names it.
    pub fn hash(&self) -> Hash {
        crate::hash::hash(Domain::Checkpoint.word(), &[&self.body.0])
    }

    /// Checks that a majority of those who voted as of the entry that it names, and vote still, signed it.
    pub fn open(&self, authority: &Authority) -> Result<Summary, CheckpointError> {
        let summary = self.summary()?;
        let position = summary.authority.position;
        if authority.has(&summary.authority) && authority.state().voters_at(position) != authority.state().voters() {
            return Err(CheckpointError::OldVoters(position));
        }
        self.opened(authority, |voter, signature| summary.is_signed_by(authority, voter, signature))
    }

    /// The same, as it was when it was signed: whoever voted then may have lost the vote since.
    pub fn open_as_of_then(&self, authority: &Authority) -> Result<Summary, CheckpointError> {
        let summary = self.summary()?;
        self.opened(authority, |voter, signature| summary.was_signed_by(authority, voter, signature))
    }

    fn opened(
        &self,
        authority: &Authority,
        is_signed: impl Fn(DeviceId, &[u8; 64]) -> bool,
    ) -> Result<Summary, CheckpointError> {
        let summary = self.summary()?;
        if summary.fleet != authority.fleet() {
            return Err(CheckpointError::OtherFleet(summary.fleet));
        }
        if !authority.has(&summary.authority) {
            return Err(CheckpointError::UnknownHead(summary.authority));
        }
        let voters = authority.state().voters_at(summary.authority.position);
        if !self.signatures.is_sorted_by(|(one, _), (other, _)| one < other) {
            return Err(BytesError::NotCanonical.into());
        }
        let wrong = self.signatures.iter().find(|(voter, signature)| !is_signed(*voter, signature));
        if let Some((voter, _)) = wrong {
            return Err(CheckpointError::Signature(*voter));
        }
        match self.signatures.len() > voters.len() / 2 {
            true => Ok(summary),
            false => Err(CheckpointError::NoMajority { signed: self.signatures.len(), voters: voters.len() }),
        }
    }

    /// Checks that it was rightly signed and extends what was followed before, if anything was.
    pub fn follow(
        &self,
        authority: &Authority,
        before: Option<&Summary>,
        growth: &[Hash],
    ) -> Result<Summary, CheckpointError> {
        let summary = self.open(authority)?;
        let Some(before) = before else { return Ok(summary) };
        if summary.index < before.index {
            return Err(CheckpointError::Behind { ours: before.index, theirs: summary.index });
        }
        if summary.index == before.index && summary != *before {
            return Err(CheckpointError::Forked(before.index));
        }
        // After a recovery the chain is another from its branch point on, and may be shorter.
        if summary.authority.position < before.authority.position && authority.has(&before.authority) {
            let (ours, theirs) = (before.authority.position, summary.authority.position);
            return Err(CheckpointError::AuthorityBehind { ours, theirs });
        }
        verify_growth(before.index, &before.history, summary.index, &summary.history, growth)?;
        Ok(summary)
    }
}
