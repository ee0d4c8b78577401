//! The way back: what was applied is rolled back, what was staged is dropped, and another session looks.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use uci::{PackageName, SectionName};

use crate::transaction::error::UndoError;
use crate::transaction::running::{Progress, Running, read, section_of};
use crate::{Session, Status, UbusError};

/// How often a call is made whose answer gets lost.
const ATTEMPTS: usize = 3;

/// How late the router may be with taking a change back, and how long it may be out of reach.
const GRACE: Duration = Duration::from_secs(5);

impl Running {
    /// Takes everything back.
    pub(super) async fn undo(self) -> Result<(), UndoError> {
        match self.progress {
            // The session may be that of a change that is pending: it is not ours to end.
            Progress::Nothing => return Ok(()),
            Progress::Begun => {
                self.end().await;
                return Ok(());
            }
            Progress::Staged | Progress::Applied(_) => {}
        }
        let rolled_back = match self.progress {
            Progress::Applied(_) => self.roll_back().await,
            _ => Ok(()),
        };
        let dropped = self.drop_staged().await;
        // What another session finds as it was has been taken back, whoever did it.
        self.look(rolled_back.is_ok()).await?;
        dropped
    }

    async fn roll_back(&self) -> Result<(), UndoError> {
        let done = self.insist("rollback", json!({})).await;
        match done.as_ref().err().map(UbusError::status) {
            // Nothing is pending, or another session's change is: ours was not applied or is taken back already.
            Some(Some(Status::NoData | Status::PermissionDenied)) => Ok(()),
            _ => done.map_err(|source| UndoError::Call { step: "rolling back", source }),
        }
    }

    /// Reverts and ends the session. Either is enough, and so is a session that has expired.
    async fn drop_staged(&self) -> Result<(), UndoError> {
        let mut reverted = Ok(());
        for package in self.changed_packages() {
            match self.insist("revert", json!({"config": package.as_str()})).await {
                Err(error) if !error.is_access_denied() => reverted = Err(error),
                _ => {}
            }
        }
        let destroyed = self.session.call("session", "destroy", json!({})).await;
        match (reverted, destroyed) {
            (Ok(()), _) | (Err(_), Ok(_)) => Ok(()),
            (Err(source), Err(_)) => Err(UndoError::Call { step: "reverting what was staged", source }),
        }
    }

    /// Looks from another session whether the sections are what they were. A change that could not be rolled back is
    /// waited for: the router takes it back by itself.
    async fn look(&self, is_rolled_back: bool) -> Result<(), UndoError> {
        let deadline = match self.progress {
            Progress::Applied(applied) if !is_rolled_back => applied + self.settings.rollback + GRACE,
            _ => Instant::now() + GRACE,
        };
        loop {
            let found = self.witness().await;
            if found.is_ok() || Instant::now() >= deadline {
                return found;
            }
            sleep(self.settings.pause).await;
        }
    }

    async fn witness(&self) -> Result<(), UndoError> {
        let failed = |source| UndoError::Call { step: "looking from another session", source };
        let witness = self.client.login(None).await.map_err(failed)?;
        if witness.is(&self.session) {
            return Err(UndoError::Pending);
        }
        let found = read(&witness, &self.changed_packages()).await.map_err(failed);
        end(witness).await;
        let found = found?;
        // A section that is neither as planned nor as before is somebody else's work, and not ours to judge.
        let is_left = |(package, section): &&(PackageName, SectionName)| {
            let left = section_of(&found, package, section);
            left == section_of(&self.target, package, section) && left != section_of(&self.before, package, section)
        };
        match self.touched.iter().find(is_left).cloned() {
            Some((package, section)) => Err(UndoError::NotRestored { package, section }),
            None => Ok(()),
        }
    }

    /// Makes a call again whose answer gets lost.
    async fn insist(&self, method: &str, args: serde_json::Value) -> Result<(), UbusError> {
        let mut attempt = 1;
        loop {
            match self.session.call("uci", method, args.clone()).await {
                Err(error) if error.is_lost() && attempt < ATTEMPTS => attempt += 1,
                done => return done.map(|_| ()),
            }
            sleep(self.settings.pause).await;
        }
    }
}

async fn end(session: Session) {
    if let Err(error) = session.destroy().await {
        tracing::debug!(cause = &error as &dyn std::error::Error, "a session is left to expire");
    }
}
