//! Why an object could not be brought to its desired state.

use jobs::{Job, Report};

/// Either trying again may help or it cannot.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It cannot be, however often it is tried; a sentence for a person.
    #[error("{0}")]
    Refused(String),
    /// It did not work this time.
    #[error(transparent)]
    Retrying(#[from] anyhow::Error),
}

impl Failure {
    /// The report that says so.
    pub fn report(&self, job: &Job) -> Report {
        match self {
            Self::Refused(reason) => Report::refused(job, reason.clone()),
            Self::Retrying(error) => Report::retrying(job, format!("{error:#}")),
        }
    }
}
