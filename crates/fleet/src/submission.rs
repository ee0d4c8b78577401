//! What an author hands to the voters: a record, and for a change the content that it names.

use crate::cbor::{self, BytesError};
use crate::change::{Change, Content, LONGEST_CONTENT};
use crate::log::Record;
use crate::signed::LONGEST_SIGNED;
use crate::{FleetId, Hash};

/// The longest form.
const LONGEST: usize = LONGEST_SIGNED + LONGEST_CONTENT + 256;

/// A record with what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// What is to be decided.
    pub record: Record,
    /// What the section says from there on.
    pub content: Option<Content>,
}

cbor_arrays! { Submission 2 [record, content]; }

/// Why a submission is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// Its bytes.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// Its change.
    #[error(transparent)]
    Change(#[from] crate::change::ChangeRefusal),
    /// It brings another content than the one that it names, or none, or one that nothing names.
    #[error("its content is not the one that it names")]
    Content,
}

impl Submission {
    /// Reads one, and checks that it brings what it names.
    pub fn from_bytes(bytes: &[u8], fleet: FleetId) -> Result<Self, SubmissionError> {
        let submission: Self = cbor::from_bytes(bytes, LONGEST)?;
        let named = match &submission.record {
            Record::Authority(_) => None,
            Record::Change(signed) => Change::read(signed.clone(), fleet)?.content,
        };
        match submission.content.as_ref().map(Content::hash) == named {
            true => Ok(submission),
            false => Err(SubmissionError::Content),
        }
    }

    /// The form that is shipped.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// What it is known by.
    pub fn id(&self) -> Hash {
        crate::hash::hash("submission", &[&self.record.to_bytes()])
    }
}
