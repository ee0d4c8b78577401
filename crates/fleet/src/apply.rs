//! Applying: how a device gets from one configuration to another so that it has, whatever happens, the one or the other.
//!
//! [`Applying`] says what to do next and is told what came of it. A [`Journal`] on flash holds what was and what is to
//! be; [`restore`] is what a boot does that finds one. All writing is done by others.

mod journal;
mod machine;
mod restore;

use std::collections::BTreeMap;
use std::fmt;

use crate::SectionPath;

pub use journal::{FileEntry, Journal, JournalError, Sections};
pub use machine::{Answer, Applying, Effect, Job};
pub use restore::{Write, restore};

/// What became of a section of the fleet on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device has it.
    Applied,
    /// The device cannot take it, and has what it had.
    Rejected(String),
    /// The device took it back, and tries again later.
    Reverted(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => out.write_str("applied"),
            Self::Rejected(reason) => write!(out, "rejected: {reason}"),
            Self::Reverted(reason) => write!(out, "reverted: {reason}"),
        }
    }
}

/// What became of the sections of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What became of the attempt; nothing where there was nothing to do.
    pub attempt: Option<Outcome>,
    /// The outcome by section.
    pub outcomes: BTreeMap<SectionPath, Outcome>,
    /// What else should be known: hooks that failed after the change, what could not be taken back.
    pub remarks: Vec<String>,
}
