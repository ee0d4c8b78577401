//! Catching up, after a minute or a year: authority, then a checkpoint, then all of one's own sections, with proof.
//!
//! It runs over one TCP connection that is closed afterwards. [`Pupil`] is the side that asks, [`Teacher`] the one that
//! answers; what either holds is behind [`Book`] and [`Library`], and the book verifies all that it takes, so that a hostile
//! teacher can withhold and do nothing else.

mod frame;
mod pupil;
mod teacher;

pub use frame::{Frame, FrameError, Want};
pub use pupil::{LONGEST_COPY, Lesson, Pupil};
pub use teacher::Teacher;

use crate::cycle::StatusDigest;
use crate::{Head, Heads, NoiseKey};

/// Why something was refused, for the operator to read.
pub type Reason = String;

/// What a node holds of the fleet for itself. Whatever it takes it has verified.
pub trait Book {
    /// Where this node stands.
    fn heads(&self) -> Heads;
    /// Takes entries of the authority chain, in their order, all or none.
    fn take_entries(&mut self, entries: &[Vec<u8>]) -> Result<(), Reason>;
    /// Takes a checkpoint that extends the one before, and with it all of this node's sections, which `proof` shows to be
    /// all there are. It takes both or neither.
    fn take_copy(&mut self, checkpoint: &[u8], sections: &[Vec<u8>], proof: &[u8]) -> Result<(), Reason>;
    /// What this node has to report, oldest first.
    fn reports(&self) -> Vec<Report>;
    /// What became of a report.
    fn reported(&mut self, report: &Report, verdict: Verdict);
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, or was decided: nothing more is to be done about it.
    Done,
    /// It waits for the voters: say it again next time.
    Pending,
    /// It is refused for good.
    Refused(Reason),
}

/// What a node tells others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Its status, signed by itself.
    Status(Vec<u8>),
    /// A change or an entry, signed by its author, for the voters to order.
    Record(Vec<u8>),
    /// A request to join.
    Request(Vec<u8>),
    /// Two checkpoints of one majority that disagree.
    Evidence(Vec<u8>),
}

/// What a node holds for others.
pub trait Library {
    /// Where this node stands.
    fn heads(&self) -> Heads;
    /// The first position of the authority chain that whoever stands at `known` lacks.
    fn first_missing(&self, known: Head) -> u64;
    /// The entry at a position, as it was signed.
    fn entry(&self, position: u64) -> Option<Vec<u8>>;
    /// The newest checkpoint, with proof that it extends the one that `known` names.
    fn checkpoint(&self, known: &Heads) -> Option<Vec<u8>>;
    /// All sections for a node, and the proof that there are no others. Who is no member gets none.
    fn sections(&self, of: NoiseKey) -> (Vec<Vec<u8>>, Vec<u8>);
    /// Takes the status of a node, and says what its digest is.
    fn keep_status(&mut self, of: NoiseKey, status: &[u8]) -> Result<StatusDigest, Reason>;
    /// Takes anything else that a node reports.
    fn keep_report(&mut self, from: NoiseKey, report: Report) -> Verdict;
}
