//! Hints between the parts of the core: that something in the database is worth a look.
//!
//! A hint is never needed for things to happen, it only makes them happen at once: whoever waits for one polls too. Over
//! PostgreSQL, `relay` carries hints to the other replicas and back.

mod relay;

use std::fmt;
use std::str::FromStr;

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
    /// Something came of the jobs of a target, or of something else.
    Progress(Option<TargetId>),
    /// There is an operation to be claimed.
    Operation,
    /// There are events.
    Event,
}

impl fmt::Display for Hint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(target) => write!(out, "jobs {target}"),
            Self::Progress(Some(target)) => write!(out, "progress {target}"),
            Self::Progress(None) => out.write_str("progress"),
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
            Some(("progress", target)) => Ok(Self::Progress(Some(target.parse()?))),
            None if text == "progress" => Ok(Self::Progress(None)),
            None if text == "operation" => Ok(Self::Operation),
            None if text == "event" => Ok(Self::Event),
            _ => Err(ParseError::new(text, "a hint")),
        }
    }
}

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
    /// What this replica's parts say, for the others.
    own: broadcast::Sender<Hint>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            jobs: broadcast::Sender::new(BACKLOG),
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

    /// Says that something came of the jobs of `target`.
    pub fn progress(&self, target: TargetId) {
        self.say(Hint::Progress(Some(target)));
    }

    /// Says that something else than a target made progress.
    pub fn look_again(&self) {
        self.say(Hint::Progress(None));
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
            Hint::Jobs(target) => drop(self.jobs.send(target)),
            Hint::Progress(target) => drop(self.progress.send(target)),
            Hint::Operation => self.operations.notify_one(),
            Hint::Event => {
                self.events.send_replace(());
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_as_they_are_written() {
        let target = TargetId::from_bits(7);
        for hint in
            [Hint::Jobs(target), Hint::Progress(Some(target)), Hint::Progress(None), Hint::Operation, Hint::Event]
        {
            assert_eq!(hint.to_string().parse::<Hint>().unwrap(), hint);
        }
        assert!("jobs".parse::<Hint>().is_err());
    }
}
