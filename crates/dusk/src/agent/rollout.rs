//! Seeing to rollouts: on a master that holds what their authors signed beforehand.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::node::{Node, Serving};
use fleet::rollout::{Health, Itinerary, Rollout, Sight, Step, Steward, told};
use fleet::{ChangeId, DeviceId, Flags, LogIndex, Moment, Scope};

use super::status;
use crate::itinerary;
use crate::seat;
use crate::store::Store;

/// Rollouts are looked after this often.
const PAUSE: Duration = Duration::from_secs(2);
/// A clock that shows less was never set.
const CLOCK_IS_SET: u64 = 1_700_000_000;

/// What is remembered of rollouts.
#[derive(Default)]
pub struct Rollouts {
    steward: Steward,
    looked: Option<Moment>,
    told: BTreeMap<ChangeId, String>,
}

impl Rollouts {
    /// Looks after all of them, and gives what is to be handed to the voters.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn look(&mut self, store: &Store, node: &Node, now: Moment) -> anyhow::Result<Vec<Vec<u8>>> {
        let Some(serving) = node.serving() else { return Ok(Vec::new()) };
        if self.looked.is_some_and(|looked| now.since(looked) < PAUSE) {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        let mut submissions = Vec::new();
        for itinerary in itinerary::all(store)? {
            let health = |device: DeviceId, index: LogIndex| health(store, serving, &itinerary, (device, index), now);
            let sight = Sight { archive: &serving.archive, health: &health, now, minute: minute() };
            match self.steward.look(&itinerary, sight) {
                Step::Wait => {}
                Step::Submit(steps, why) => {
                    if self.told.insert(itinerary.rollout, why.clone()).as_ref() != Some(&why) {
                        eprintln!("rollout {}: {why}", itinerary.path);
                    }
                    submissions.extend(steps.iter().map(fleet::submission::Submission::to_bytes));
                }
                Step::Over => itinerary::forget(store, itinerary.rollout)?,
            }
        }
        Ok(submissions)
    }
}

/// The minute of the day in UTC, where the clock was set.
fn minute() -> Option<u32> {
    let now = Some(seat::now()).filter(|now| *now > CLOCK_IS_SET)?;
    u32::try_from(now / 60 % (24 * 60)).ok()
}

fn health(
    store: &Store,
    serving: &Serving,
    itinerary: &Itinerary,
    (device, index): (DeviceId, LogIndex),
    now: Moment,
) -> Health {
    let state = serving.archive.log().authority().state();
    let Some(record) = state.devices.get(&device) else { return Health::Offline };
    let key = record.key().noise;
    let rollout = serving.archive.content(&itinerary.path);
    let Some(rollout) = rollout.and_then(|content| Rollout::from_bytes(&content.bytes.0).ok()) else {
        return Health::Waiting;
    };
    let status = status::read(store, state, device).ok().flatten();
    let results = status.iter().flat_map(|status| &status.results);
    let told = told(&rollout, results.map(|result| (result.change.as_str(), result.outcome.as_str())));
    // Voters ask nobody: what they hold is what was decided.
    let votes = serving.voter.electorate().voters.contains(&key);
    match (serving.answerer.seen(key), told) {
        (_, Health::Failed) => Health::Failed,
        (_, _) if votes => Health::Applied,
        (None, _) => Health::Offline,
        (Some(_), _) if serving.answerer.offline(now).any(|offline| *offline == key) => Health::Offline,
        (Some(_), Health::Applied) => Health::Applied,
        // Whom a policy does not concern has nothing to tell of it.
        (Some(seen), _) if matches!(itinerary.path.scope(), Scope::Policy(_)) => {
            let is_done = seen.index > index && !seen.vitals.flags.contains(Flags::APPLYING);
            if is_done { Health::Applied } else { Health::Waiting }
        }
        (Some(_), told) => told,
    }
}
