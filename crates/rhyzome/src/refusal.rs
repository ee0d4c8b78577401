//! Why a request is refused: one closed list, turned into a problem at the last step.

use api::{Fault, Problem, ProblemKind};
use store::{Constraint, StoreError};
use types::{ResourceId, ResourceName};

/// Why a request is refused.
#[derive(Debug)]
pub enum Refusal {
    /// The body cannot be read.
    Malformed(String),
    /// Well read, and wrong in these places.
    Invalid(Vec<Fault>),
    /// No token, or an unknown one.
    Unauthenticated(&'static str),
    /// The token lacks this scope.
    Forbidden(String),
    /// There is none, as far as the caller may know.
    NotFound(String),
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// Something is in the way.
    Conflict(String),
    /// Others refer to it.
    InUse(Vec<(ResourceId, ResourceName)>),
    /// The generation that the caller named is not the resource's.
    Outdated(String),
    /// The body is too large.
    TooLarge(String),
    /// Nothing is left of a pool.
    Exhausted(String),
    /// It cannot be done at this moment.
    Unavailable(String),
    /// The core failed; the cause is for the log.
    Internal(anyhow::Error),
}

impl Refusal {
    /// A refusal for one fault.
    pub fn fault(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(field, detail)])
    }

    /// What the caller is told.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Malformed(detail) => ProblemKind::Malformed.because(detail),
            Self::Invalid(faults) => {
                let detail = match faults.len() {
                    1 => "one thing must change before this can be done".to_owned(),
                    count => format!("{count} things must change before this can be done"),
                };
                ProblemKind::Invalid.because(detail).with_faults(faults)
            }
            Self::Unauthenticated(detail) => ProblemKind::Unauthenticated.because(detail),
            Self::Forbidden(scope) => {
                ProblemKind::Forbidden.because(format!("it takes a token with the scope {scope}"))
            }
            Self::NotFound(what) => ProblemKind::NotFound.because(format!("there is no {what}")),
            Self::MethodNotAllowed => ProblemKind::MethodNotAllowed.because("GET /docs lists what each path knows"),
            Self::Conflict(detail) => ProblemKind::Conflict.because(detail),
            Self::InUse(by) => {
                let names: Vec<String> = by.iter().map(|(id, name)| format!("{name} ({id})")).collect();
                ProblemKind::InUse.because(format!("delete these first: {}", names.join(", ")))
            }
            Self::Outdated(detail) => ProblemKind::Outdated.because(detail),
            Self::TooLarge(detail) => ProblemKind::TooLarge.because(detail),
            Self::Exhausted(detail) => ProblemKind::Exhausted.because(detail),
            Self::Unavailable(detail) => ProblemKind::Unavailable.because(detail),
            Self::Internal(cause) => {
                tracing::error!(cause = format!("{cause:#}"), "a request failed inside");
                ProblemKind::Internal.because("the cause is in the server's log")
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::NotFound(what),
            StoreError::Refused { constraint: Constraint::Name } => Self::Conflict("the name is taken".to_owned()),
            StoreError::Refused { constraint: Constraint::Operation } => {
                Self::Conflict("another operation on it is under way: wait for its end".to_owned())
            }
            StoreError::Refused { constraint: Constraint::Address } => {
                Self::Conflict("the address is taken".to_owned())
            }
            StoreError::Refused { constraint: Constraint::Reference } => {
                Self::Conflict("others refer to it".to_owned())
            }
            StoreError::Exhausted { what } => Self::Exhausted(format!("no free {what} is left")),
            other => Self::Internal(anyhow::Error::new(other)),
        }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(anyhow::Error::new(error).context("a value could not be written as JSON"))
    }
}
