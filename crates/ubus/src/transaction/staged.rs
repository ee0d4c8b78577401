//! A transaction whose steps its caller takes one by one, because something of its own happens between them.

use std::sync::Arc;

use uci::{Change, Config, PackageName};

use super::running::Running;
use super::{BoxError, Outcome, Transaction, TransactionError, UndoError};
use crate::Lock;

/// What is staged, and then applied, and not yet confirmed. Whoever has it has the lock; dropped, the router takes
/// everything back by itself.
pub struct Staged {
    running: Running,
    _lock: Lock,
    is_unchanged: bool,
}

impl Transaction {
    /// Takes the lock, reads the packages and stages what `plan` says of them, as [`Transaction::run`] does.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn stage<P, E>(&self, packages: &[PackageName], plan: P) -> Result<Staged, TransactionError>
    where
        P: FnOnce(&Config) -> Result<Vec<Change>, E>,
        E: Into<BoxError>,
    {
        let lock = Lock::take(&self.settings.lock, self.settings.lock_wait).await?;
        let mut running = Running::begin(Arc::clone(&self.client), self.settings.clone(), packages).await?;
        match running.plan(plan).await {
            Ok(outcome) => Ok(Staged { running, _lock: lock, is_unchanged: outcome == Outcome::Unchanged }),
            Err(cause) => match running.undo().await {
                Ok(()) => Err(cause),
                Err(source) => Err(TransactionError::NotUndone { cause: Box::new(cause), source }),
            },
        }
    }
}

impl Staged {
    /// The packages as they were found.
    #[must_use]
    pub fn before(&self) -> &Config {
        &self.running.before
    }

    /// The packages as they are to be.
    #[must_use]
    pub fn target(&self) -> &Config {
        match self.is_unchanged {
            true => &self.running.before,
            false => &self.running.target,
        }
    }

    /// Applies, with a rollback by the router pending. Where nothing changes, nothing is done.
    ///
    /// # Errors
    /// It may have been applied then: [`Staged::undo`] is called for.
    pub async fn apply(&mut self) -> Result<(), TransactionError> {
        match self.is_unchanged {
            true => Ok(()),
            false => self.running.apply().await,
        }
    }

    /// Confirms what was applied, unless somebody else has changed it since. The lock is kept.
    ///
    /// # Errors
    /// [`Staged::undo`] is called for then.
    pub async fn confirm(&mut self) -> Result<(), TransactionError> {
        match self.is_unchanged {
            true => Ok(()),
            false => self.running.confirm_as_planned().await,
        }
    }

    /// Ends the session of a transaction that was confirmed, and lets go of the lock.
    pub async fn end(self) {
        self.running.end().await;
    }

    /// Takes everything back, and lets go of the lock.
    ///
    /// # Errors
    /// When it is not certain that all is as before.
    pub async fn undo(self) -> Result<(), UndoError> {
        self.running.undo().await
    }
}
