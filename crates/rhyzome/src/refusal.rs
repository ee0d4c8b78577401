//! Why a request is refused: one closed list, turned into a problem at the last step.

use std::time::Duration;

use api::{Fault, Problem, ProblemKind};
use store::{Constraint, StoreError};
use types::{ResourceId, ResourceName};

/// When to come back to a server that is busy or about to end.
const SOON: Duration = Duration::from_secs(2);

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
    /// What this field asks for is another's already.
    Taken(Fault),
    /// Others refer to it.
    InUse(Vec<(ResourceId, ResourceName)>),
    /// The generation that the caller named is not the resource's.
    Outdated(String),
    /// The body is too large.
    TooLarge(String),
    /// The body's media type, which is not taken here, and what is.
    UnsupportedMedia {
        /// What was sent.
        sent: String,
        /// What is taken.
        taken: &'static str,
    },
    /// The body did not arrive in time.
    TooSlow(Duration),
    /// This host is none of the server's names.
    Misdirected(String),
    /// A page of this origin asks.
    ForeignOrigin(String),
    /// The idempotency key was used for another request.
    KeyReused(String),
    /// Too many requests; the next is taken after this time.
    TooMany {
        /// Whose they are too many for, and of what.
        of: &'static str,
        /// When to come back.
        wait: Duration,
    },
    /// Nothing is left of a pool.
    Exhausted(String),
    /// It cannot be done until somebody does something about it.
    Unavailable(String),
    /// It cannot be done at this moment; the same request may succeed soon.
    Busy(String),
    /// The core failed; the cause is for the log.
    Internal(anyhow::Error),
}

impl Refusal {
    /// A refusal for one fault.
    pub fn fault(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(field, detail)])
    }

    /// When the same request may succeed, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait, .. } => Some(*wait),
            Self::Busy(_) => Some(SOON),
            _ => None,
        }
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
            Self::Taken(fault) => {
                ProblemKind::Conflict.because("something else has it already").with_faults(vec![fault])
            }
            Self::InUse(by) => {
                let names: Vec<String> = by.iter().map(|(id, name)| format!("{name} ({id})")).collect();
                ProblemKind::InUse.because(format!("delete these first: {}", names.join(", ")))
            }
            Self::Outdated(detail) => ProblemKind::Outdated.because(detail),
            Self::TooLarge(detail) => ProblemKind::TooLarge.because(detail),
            Self::UnsupportedMedia { sent, taken } => {
                let detail = format!("the header Content-Type says {sent:?}, expected {taken}");
                ProblemKind::UnsupportedMedia.because(detail)
            }
            Self::TooSlow(limit) => {
                ProblemKind::TooSlow.because(format!("the whole body must arrive within {} s", limit.as_secs()))
            }
            Self::Misdirected(host) => ProblemKind::Misdirected
                .because(format!("{host:?} is none of the server's names: http.names in its configuration lists them")),
            Self::ForeignOrigin(origin) => {
                ProblemKind::ForeignOrigin.because(format!("the header Origin says {origin:?}, which is another site"))
            }
            Self::KeyReused(detail) => ProblemKind::KeyReused.because(detail),
            Self::TooMany { of, wait } => {
                ProblemKind::TooMany.because(format!("{of}: come back after {} s", whole_seconds(wait)))
            }
            Self::Exhausted(detail) => ProblemKind::Exhausted.because(detail),
            Self::Unavailable(detail) | Self::Busy(detail) => ProblemKind::Unavailable.because(detail),
            Self::Internal(cause) => {
                tracing::error!(cause = format!("{cause:#}"), "a request failed inside");
                ProblemKind::Internal.because("the cause is in the server's log")
            }
        }
    }
}

/// Seconds as Retry-After counts them (RFC 9110, section 10.2.3): whole ones, and never too few.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::NotFound(what),
            StoreError::Refused { constraint: Constraint::Name } => {
                Self::Taken(Fault::new("/name", "the name is taken"))
            }
            StoreError::Refused { constraint: Constraint::Operation } => {
                Self::Conflict("another operation on it is under way: wait for its end".to_owned())
            }
            StoreError::Refused { constraint: Constraint::Address } => {
                Self::Conflict("the address is taken".to_owned())
            }
            StoreError::Refused { constraint: Constraint::Reference } => {
                Self::Conflict("others refer to it".to_owned())
            }
            StoreError::Contended { .. } => {
                Self::Unavailable("too many change the same at the same time: try again".to_owned())
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
