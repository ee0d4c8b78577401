//! Hints between the parts of the core: that something in the database is worth a look.
//!
//! A hint is never needed for things to happen, it only makes them happen at once: whoever waits for one polls too.

use tokio::sync::{Notify, broadcast, watch};
use types::TargetId;

/// Hints that may wait for a slow listener before it has to look at everything.
const BACKLOG: usize = 1024;

/// All hints of the core.
pub struct Signals {
    /// A target has jobs to be sent.
    jobs: broadcast::Sender<TargetId>,
    /// A job was reported on, or a target came or went.
    progress: broadcast::Sender<Option<TargetId>>,
    /// There is an operation to be claimed.
    operations: Notify,
    /// There are events.
    events: watch::Sender<()>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            jobs: broadcast::Sender::new(BACKLOG),
            progress: broadcast::Sender::new(BACKLOG),
            operations: Notify::new(),
            events: watch::Sender::new(()),
        }
    }
}

impl Signals {
    /// Says that `target` has jobs to be sent.
    pub fn jobs(&self, target: TargetId) {
        let _ = self.jobs.send(target);
    }

    /// Says that something came of the jobs of `target`.
    pub fn progress(&self, target: TargetId) {
        let _ = self.progress.send(Some(target));
    }

    /// Says that something else than a target made progress.
    pub fn look_again(&self) {
        let _ = self.progress.send(None);
    }

    /// Says that an operation was recorded.
    pub fn operation(&self) {
        self.operations.notify_one();
    }

    /// Says that events were recorded.
    pub fn event(&self) {
        self.events.send_replace(());
    }

    /// Hears which targets have jobs to be sent.
    pub fn hear_jobs(&self) -> broadcast::Receiver<TargetId> {
        self.jobs.subscribe()
    }

    /// Hears which targets made progress; `None` for anything else.
    pub fn hear_progress(&self) -> broadcast::Receiver<Option<TargetId>> {
        self.progress.subscribe()
    }

    /// Hears of events.
    pub fn hear_events(&self) -> watch::Receiver<()> {
        self.events.subscribe()
    }

    /// Waits for an operation to be recorded.
    pub async fn operation_recorded(&self) {
        self.operations.notified().await;
    }
}
