//! Which job goes to the target when. Pure: time and chance come in, jobs go out.
//!
//! Of each object the newest version counts; an object is never in two calls at once; what is to be tried again waits
//! longer each time.

use std::collections::BTreeMap;
use std::time::Instant;

use types::Version;

use crate::backoff::{Jitter, backoff};
use crate::{Batching, Held, Job, Object, Outcome, Want};

/// The jobs of one target.
pub struct Queue {
    batching: Batching,
    objects: BTreeMap<Object, Entry>,
    calls: usize,
}

/// What is known of one object.
struct Entry {
    newest: Version,
    waiting: Option<Waiting>,
    running: Option<Job>,
    failures: u32,
    /// Whether the target refused the newest job.
    is_refused: bool,
}

struct Waiting {
    job: Job,
    ready_at: Instant,
}

/// What became of a job that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It will be handed out.
    Taken,
    /// The same version waits or runs already.
    Known,
    /// A newer version is here.
    Older {
        /// That version.
        newest: Version,
    },
}

impl Queue {
    /// An empty queue that hands out jobs this way.
    pub fn new(batching: Batching) -> Self {
        Self { batching, objects: BTreeMap::new(), calls: 0 }
    }

    /// Takes note of what the target holds, so that older versions are refused.
    pub fn learn(&mut self, held: Held) {
        let entry = self.objects.entry(held.object).or_insert_with(|| Entry::of(held.version));
        entry.newest = entry.newest.max(held.version);
    }

    /// Takes a job, in the place of older ones of its object. A version that was done already is taken again.
    pub fn offer(&mut self, job: Job, now: Instant) -> Offer {
        let entry = self.objects.entry(job.object).or_insert_with(|| Entry::of(job.version));
        if job.version < entry.newest {
            return Offer::Older { newest: entry.newest };
        }
        let same = |known: &Job| known.version == job.version;
        if entry.running.as_ref().is_some_and(same) || entry.waiting.as_ref().is_some_and(|known| same(&known.job)) {
            return Offer::Known;
        }
        entry.newest = job.version;
        entry.failures = 0;
        entry.is_refused = false;
        entry.waiting = Some(Waiting { job, ready_at: now });
        Offer::Taken
    }

    /// Whether an object's newest job was brought about, as far as is known here: nothing is being done about it,
    /// nothing waits to be, and the target did not refuse it.
    pub fn is_settled(&self, object: Object) -> bool {
        let settled = |entry: &Entry| entry.running.is_none() && entry.waiting.is_none() && !entry.is_refused;
        self.objects.get(&object).is_none_or(settled)
    }

    /// The jobs of the next call, if one may begin. Ask until there is none; tell each call's end to [`Self::finish`].
    pub fn take(&mut self, now: Instant) -> Option<Vec<Job>> {
        let (calls, jobs) = match self.batching {
            Batching::Together => (1, usize::MAX),
            Batching::Each(calls) => (calls.max(1), 1),
        };
        if self.calls >= calls {
            return None;
        }
        let taken: Vec<Job> = self.objects.values_mut().filter_map(|entry| entry.start(now)).take(jobs).collect();
        if taken.is_empty() {
            return None;
        }
        self.calls += 1;
        Some(taken)
    }

    /// Takes note that a call is over. `outcomes` has the outcome of each object that was in it.
    pub fn finish(&mut self, outcomes: &BTreeMap<Object, Outcome>, now: Instant, mut jitter: impl FnMut() -> Jitter) {
        self.calls = self.calls.saturating_sub(1);
        for (object, outcome) in outcomes {
            let Some(entry) = self.objects.get_mut(object) else { continue };
            let Some(job) = entry.running.take() else { continue };
            if entry.waiting.is_some() {
                // A newer version came meanwhile; whatever became of this one does not count.
                continue;
            }
            match outcome {
                Outcome::Retrying => {
                    entry.failures = entry.failures.saturating_add(1);
                    let ready_at = now + backoff(entry.failures, jitter());
                    entry.waiting = Some(Waiting { job, ready_at });
                }
                // A later object of the same id counts its revisions from 1 again.
                Outcome::Applied if matches!(job.want, Want::Gone) => {
                    self.objects.remove(object);
                }
                Outcome::Applied => entry.failures = 0,
                Outcome::Refused => (entry.failures, entry.is_refused) = (0, true),
            }
        }
    }

    /// When [`Self::take`] may have something that it has not at present, if only time has to pass.
    pub fn wake(&self) -> Option<Instant> {
        let waits = |entry: &Entry| match (&entry.running, &entry.waiting) {
            (None, Some(waiting)) => Some(waiting.ready_at),
            _ => None,
        };
        self.objects.values().filter_map(waits).min()
    }
}

impl Entry {
    fn of(newest: Version) -> Self {
        Self { newest, waiting: None, running: None, failures: 0, is_refused: false }
    }

    fn start(&mut self, now: Instant) -> Option<Job> {
        if self.running.is_some() || self.waiting.as_ref()?.ready_at > now {
            return None;
        }
        let job = self.waiting.take()?.job;
        self.running = Some(again(&job));
        Some(job)
    }
}

/// The same job once more. Jobs hold secrets and are copied for this purpose alone.
fn again(job: &Job) -> Job {
    let want = match &job.want {
        Want::Desired(state) => Want::Desired(state.clone()),
        Want::Gone => Want::Gone,
    };
    Job { object: job.object, version: job.version, requires: job.requires.clone(), want }
}

#[cfg(test)]
mod tests;
