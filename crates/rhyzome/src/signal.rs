//! Hints between the parts of the core: that something in the database is worth a look.
//!
//! A hint is never needed for things to happen, it only makes them happen at once: whoever waits for one polls too. Over
//! PostgreSQL, `relay` carries hints to the other replicas and back.

mod relay;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobs::Object;
use tokio::sync::{Notify, broadcast, watch};
use types::{ParseError, TargetId};

pub use relay::run as relay;

/// Hints that may wait for a slow listener before it has to look at everything.
const BACKLOG: usize = 1024;

/// One hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// A target has jobs to be sent.
    Jobs(TargetId),
    /// There is news of something that operations may wait for.
    Progress(Progress),
    /// There is an operation to be claimed.
    Operation,
    /// There are events.
    Event,
}

/// Something that operations may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// A target's report on an object.
    Report(TargetId, Object),
    /// A target's coming.
    Came(TargetId),
    /// A target's going.
    Left(TargetId),
    /// Something else.
    Other,
}

impl fmt::Display for Hint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(target) => write!(out, "jobs {target}"),
            Self::Progress(Progress::Report(target, object)) => write!(out, "report {target} {object}"),
            Self::Progress(Progress::Came(target)) => write!(out, "target {target}"),
            Self::Progress(Progress::Left(target)) => write!(out, "left {target}"),
            Self::Progress(Progress::Other) => out.write_str("progress"),
            Self::Operation => out.write_str("operation"),
            Self::Event => out.write_str("event"),
        }
    }
}

impl FromStr for Hint {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once(' ') {
            Some(("jobs", target)) => Ok(Self::Jobs(target.parse()?)),
            Some(("target", target)) => Ok(Self::Progress(Progress::Came(target.parse()?))),
            Some(("left", target)) => Ok(Self::Progress(Progress::Left(target.parse()?))),
            Some(("report", report)) => {
                let (target, object) = report.split_once(' ').ok_or_else(|| ParseError::new(text, "a hint"))?;
                Ok(Self::Progress(Progress::Report(target.parse()?, object.parse()?)))
            }
            None if text == "progress" => Ok(Self::Progress(Progress::Other)),
            None if text == "operation" => Ok(Self::Operation),
            None if text == "event" => Ok(Self::Event),
            _ => Err(ParseError::new(text, "a hint")),
        }
    }
}

/// All hints of the core.
pub struct Signals {
    /// A target has jobs to be sent: a channel for each that was ever listened for, so that a thousand idle ones sleep.
    jobs: Mutex<HashMap<TargetId, watch::Sender<()>>>,
    /// Something that operations may wait for.
    progress: broadcast::Sender<Progress>,
    /// There is an operation to be claimed.
    operations: Notify,
    /// There are events.
    events: watch::Sender<()>,
    /// What this replica's parts say, for the others.
    own: broadcast::Sender<Hint>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            jobs: Mutex::default(),
            progress: broadcast::Sender::new(BACKLOG),
            operations: Notify::new(),
            events: watch::Sender::new(()),
            own: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Signals {
    /// Says that `target` has jobs to be sent.
    pub fn jobs(&self, target: TargetId) {
        self.say(Hint::Jobs(target));
    }

    /// Says that a target reported on an object.
    pub fn reported(&self, target: TargetId, object: Object) {
        self.say(Hint::Progress(Progress::Report(target, object)));
    }

    /// Says that a target came.
    pub fn came(&self, target: TargetId) {
        self.say(Hint::Progress(Progress::Came(target)));
    }

    /// Says that a target left.
    pub fn left(&self, target: TargetId) {
        self.say(Hint::Progress(Progress::Left(target)));
    }

    /// Says that there is news of something else.
    pub fn look_again(&self) {
        self.say(Hint::Progress(Progress::Other));
    }

    /// Says that an operation was recorded.
    pub fn operation(&self) {
        self.say(Hint::Operation);
    }

    /// Says that events were recorded.
    pub fn event(&self) {
        self.say(Hint::Event);
    }

    fn say(&self, hint: Hint) {
        let _ = self.own.send(hint);
        self.pass_on(hint);
    }

    /// Tells a hint to the parts of this replica alone.
    fn pass_on(&self, hint: Hint) {
        match hint {
            Hint::Jobs(target) => {
                if let Some(listened) = self.listened().get(&target) {
                    listened.send_replace(());
                }
            }
            Hint::Progress(progress) => drop(self.progress.send(progress)),
            Hint::Operation => self.operations.notify_one(),
            Hint::Event => {
                self.events.send_replace(());
            }
        }
    }

    /// Hears that `target` has jobs to be sent.
    pub fn hear_jobs(&self, target: TargetId) -> watch::Receiver<()> {
        self.listened().entry(target).or_default().subscribe()
    }

    fn listened(&self) -> MutexGuard<'_, HashMap<TargetId, watch::Sender<()>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of what operations may wait for.
    pub fn hear_progress(&self) -> broadcast::Receiver<Progress> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_as_they_are_written() {
        let target = TargetId::from_bits(7);
        let object = Object::Network(types::NetworkId::from_bits(8));
        let news = [Progress::Report(target, object), Progress::Came(target), Progress::Left(target), Progress::Other];
        for hint in news.map(Hint::Progress).into_iter().chain([Hint::Jobs(target), Hint::Operation, Hint::Event]) {
            assert_eq!(hint.to_string().parse::<Hint>().unwrap(), hint);
        }
        assert!("jobs".parse::<Hint>().is_err());
    }
}
