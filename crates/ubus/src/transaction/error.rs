//! Why a transaction did not come about.

use std::fmt;
use std::time::Duration;

use uci::{PackageName, SectionName};

use crate::{LockError, UbusError};

/// Any error of a plan or a verification.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// rpcd counts in seconds, and takes 0 for at once.
    #[error("rollback is {} ms: expected whole seconds, at least one", rollback.as_millis())]
    Rollback {
        /// The setting.
        rollback: Duration,
    },
    /// The router would take a change back before it can be confirmed.
    #[error("verify is {} ms: expected less than rollback, {} ms", verify.as_millis(), rollback.as_millis())]
    Verify {
        /// The setting.
        verify: Duration,
        /// What it must be less than.
        rollback: Duration,
    },
}

/// What a transaction was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Logging in.
    Login,
    /// Looking whether somebody else's change is pending.
    Probe,
    /// Reading the packages.
    Read,
    /// Staging changes.
    Stage,
    /// Reading back what was staged.
    ReadBack,
    /// Applying.
    Apply,
    /// Confirming.
    Confirm,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "logging in",
            Self::Probe => "looking for pending changes",
            Self::Read => "reading the configuration",
            Self::Stage => "staging changes",
            Self::ReadBack => "reading back what was staged",
            Self::Apply => "applying",
            Self::Confirm => "confirming",
        })
    }
}

/// Why a transaction did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Another of our programs holds the lock, or it cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Somebody else's change waits for its confirmation. Later it will have been confirmed or taken back.
    #[error("another change on the router waits for its confirmation: expected none, try again later")]
    Busy,
    /// The login's access list does not cover what a transaction does.
    #[error("the login may not {what}: expected an access list of rpcd that grants it")]
    Denied {
        /// What it may not do.
        what: String,
    },
    /// A call failed.
    #[error("{step}")]
    Call {
        /// What the transaction was doing.
        step: Step,
        /// The call.
        source: UbusError,
    },
    /// There is no plan.
    #[error("planning the change")]
    Plan {
        /// Why.
        source: BoxError,
    },
    /// The plan changes a package that was not read.
    #[error("the plan changes package {package}, which was not read")]
    Unread {
        /// The package.
        package: PackageName,
    },
    /// Somebody else changed a section of ours meanwhile.
    #[error("section {section} of package {package} is not as planned: somebody else changed it")]
    Conflict {
        /// The package.
        package: PackageName,
        /// The section.
        section: SectionName,
    },
    /// rpcd wrote something else down than was asked.
    #[error("record {at} of {found} that rpcd keeps of package {package} is not as asked: expected {expected} records")]
    NotAsAsked {
        /// The package.
        package: PackageName,
        /// The first record that differs, from 1.
        at: usize,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The effect was not seen in time.
    #[error("the effect was not seen within {} ms", waited.as_millis())]
    Unverified {
        /// How long we waited.
        waited: Duration,
        /// What the last look found; nothing when it did not come to an end.
        source: Option<BoxError>,
    },
    /// The router took the change back by itself before it was confirmed.
    #[error("the router took the change back before it was confirmed")]
    TakenBack,
    /// The transaction failed, and it is not certain that all is as before.
    #[error("{cause}, and it could not be undone")]
    NotUndone {
        /// Why the transaction failed.
        cause: Box<TransactionError>,
        /// Why it could not be undone.
        source: UndoError,
    },
}

impl TransactionError {
    /// Whether the same transaction may succeed later, with nothing changed by us.
    #[must_use]
    pub fn may_succeed_later(&self) -> bool {
        match self {
            Self::Lock(error) => matches!(error, LockError::Held { .. }),
            Self::Busy | Self::Conflict { .. } | Self::Unverified { .. } | Self::TakenBack | Self::NotUndone { .. } => {
                true
            }
            // In a session that logged in moments ago, denied access is an expired session: rights were checked.
            Self::Call { source, step } => source.is_lost() || (*step != Step::Login && source.is_access_denied()),
            Self::Denied { .. } | Self::Plan { .. } | Self::Unread { .. } | Self::NotAsAsked { .. } => false,
        }
    }
}

/// Why it is not certain that all is as before.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// A call failed.
    #[error("{step}")]
    Call {
        /// What could not be done.
        step: &'static str,
        /// The call.
        source: UbusError,
    },
    /// The change waits for its confirmation still; the router will take it back by itself.
    #[error("the change is still pending: the router takes it back by itself")]
    Pending,
    /// A section is not what it was.
    #[error("section {section} of package {package} is not what it was before")]
    NotRestored {
        /// The package.
        package: PackageName,
        /// The section.
        section: SectionName,
    },
}
