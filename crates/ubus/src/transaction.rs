//! The UCI transaction: configuration becomes what was asked, is seen to work and is confirmed, or stays what it was.
//!
//! Under a lock that all our programs share, in a session of its own: read, plan, stage, read back what was staged,
//! apply with a rollback, wait until the effect is seen, confirm. On any error everything is taken back, and a session
//! that had no part in it looks whether that is so. The router does the same by itself when we are gone.

mod error;
mod running;
mod staged;
mod undo;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uci::{Change, Config, PackageName};

use crate::{Client, Lock};

pub use error::{BoxError, SettingsError, Step, TransactionError, UndoError};
use running::Running;
pub use staged::Staged;

/// How transactions are made on one router.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file of the lock that all our programs on this machine take.
    pub lock: PathBuf,
    /// How long to wait for it.
    pub lock_wait: Duration,
    /// After this the router takes a change back by itself that was not confirmed. Whole seconds.
    pub rollback: Duration,
    /// How long the effect may take to be seen. Less than `rollback`, by what confirming takes.
    pub verify: Duration,
    /// The pause between two looks.
    pub pause: Duration,
}

impl Settings {
    /// With a lock file and the defaults: 30 s for the lock, a rollback after 90 s as LuCI has it, 60 s for the effect
    /// to be seen, a look every 250 ms.
    #[must_use]
    pub fn new(lock: impl Into<PathBuf>) -> Self {
        Self {
            lock: lock.into(),
            lock_wait: Duration::from_secs(30),
            rollback: Duration::from_secs(90),
            verify: Duration::from_secs(60),
            pause: Duration::from_millis(250),
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The plan had nothing to change; nothing was staged.
    Unchanged,
    /// The changes are made, seen and confirmed.
    Confirmed,
}

/// Makes changes to the configuration of one router.
pub struct Transaction {
    client: Arc<Client>,
    settings: Settings,
}

impl Transaction {
    /// Transactions on the router of a client.
    ///
    /// # Errors
    /// When the rollback is under a second, or leaves no time after the verification.
    pub fn new(client: Arc<Client>, settings: Settings) -> Result<Self, SettingsError> {
        if settings.rollback < Duration::from_secs(1) || settings.rollback.subsec_nanos() != 0 {
            return Err(SettingsError::Rollback { rollback: settings.rollback });
        }
        if settings.verify >= settings.rollback {
            return Err(SettingsError::Verify { verify: settings.verify, rollback: settings.rollback });
        }
        Ok(Self { client, settings })
    }

    /// Reads the packages, has `plan` say what to change in them, changes it, and calls `verify` until it succeeds.
    ///
    /// The plan sees the router as it is, without anybody's staged changes, and may name only sections that are its
    /// caller's. Somebody else's commits to other sections do no harm.
    ///
    /// # Errors
    /// Nothing has changed then, unless the error is [`TransactionError::NotUndone`].
    pub async fn run<P, E, V, F>(
        &self,
        packages: &[PackageName],
        plan: P,
        verify: V,
    ) -> Result<Outcome, TransactionError>
    where
        P: FnOnce(&Config) -> Result<Vec<Change>, E>,
        E: Into<BoxError>,
        V: FnMut() -> F,
        F: Future<Output = Result<(), BoxError>>,
    {
        let _lock = Lock::take(&self.settings.lock, self.settings.lock_wait).await?;
        let mut running = Running::begin(Arc::clone(&self.client), self.settings.clone(), packages).await?;
        let cause = match running.drive(plan, verify).await {
            Ok(outcome) => {
                running.end().await;
                return Ok(outcome);
            }
            Err(cause) => cause,
        };
        tracing::warn!(cause = &cause as &dyn std::error::Error, "configuration is taken back");
        match running.undo().await {
            Ok(()) => Err(cause),
            Err(source) => Err(TransactionError::NotUndone { cause: Box::new(cause), source }),
        }
    }
}
