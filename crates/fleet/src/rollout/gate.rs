//! Whether a rollout goes on: how those are who take part, and how long they have had.

use super::Rollout;

/// How a device is that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has what goes out.
    Applied,
    /// It has not said yet what became of it.
    Waiting,
    /// It rejected or reverted it.
    Failed,
    /// It is not heard of.
    Offline,
}

/// How those are who take part, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Participants {
    /// Who has what goes out.
    pub applied: usize,
    /// Who has not said yet.
    pub waiting: usize,
    /// Who rejected or reverted it.
    pub failed: usize,
    /// Who is not heard of.
    pub offline: usize,
}

impl FromIterator<Health> for Participants {
    fn from_iter<T: IntoIterator<Item = Health>>(healths: T) -> Self {
        let mut all = Self::default();
        for health in healths {
            match health {
                Health::Applied => all.applied += 1,
                Health::Waiting => all.waiting += 1,
                Health::Failed => all.failed += 1,
                Health::Offline => all.offline += 1,
            }
        }
        all
    }
}

impl std::fmt::Display for Participants {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { applied, waiting, failed, offline } = self;
        write!(out, "{applied} applied, {waiting} waiting, {failed} failed, {offline} offline")
    }
}

/// What becomes of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Wait,
    /// The next one begins; after the last one, everything is done.
    Advance,
    /// It goes no further, for this reason.
    Halt(String),
}

impl Rollout {
    /// What becomes of a stage that has lasted so many seconds, at this minute of the day (UTC), if it is known.
    #[must_use]
    pub fn judge(&self, stage: u32, participants: &Participants, lasted: u64, minute: Option<u32>) -> Verdict {
        let Participants { applied, waiting, failed, offline } = *participants;
        let all = applied + waiting + failed + offline;
        let needed = (all * usize::from(self.healthy)).div_ceil(100);
        let is_over = lasted >= u64::from(self.patience);
        if all - failed < needed {
            return Verdict::Halt(format!("{needed} of {all} must be well: {participants}"));
        }
        if applied < all && !is_over {
            return Verdict::Wait;
        }
        if applied < needed {
            return Verdict::Halt(format!("{needed} of {all} must be well after {} s: {participants}", self.patience));
        }
        let is_open = self.window.is_none_or(|window| minute.is_some_and(|minute| window.is_open(minute)));
        match is_open || self.is_last(stage) {
            true => Verdict::Advance,
            false => Verdict::Wait,
        }
    }

    /// Whether the first stage may begin at this minute of the day (UTC), if it is known.
    #[must_use]
    pub fn may_begin(&self, minute: Option<u32>) -> bool {
        self.window.is_none_or(|window| minute.is_some_and(|minute| window.is_open(minute)))
    }
}
