//! Rollouts: changes that go out in stages.
//!
//! A rollout is a section, `SCOPE/rollouts/NAME`, that holds changes of other sections of its scope, signed as ever but not
//! in the log. Another section, `SCOPE/stages/NAME`, says how far it has come. A device that takes part goes by those
//! changes as if they stood; every other one, and everybody once the rollout is taken back, goes by what stands. Whose
//! turn it is follows from a hash, so that no device has to believe a master: it can delay a stage, or go to the next
//! one that the author signed beforehand too early, and nothing else.

mod gate;
mod in_force;
mod itinerary;
mod steward;

use crate::cbor::{self, BytesError};
use crate::change::{Content, LONGEST_CONTENT};
use crate::hash::hash;
use crate::signed::Signed;
use crate::{ChangeId, DeviceId, SectionPath};

pub use gate::{Health, Participants, Verdict};
pub(crate) use in_force::in_force;
pub use itinerary::{Itinerary, Leg, Plan, PlanRefusal};
pub use steward::{Sight, Step, Steward, concerned, conflict, participants, told};

const FORMAT: u8 = 1;
/// The bound of a stage that everybody takes part in.
pub const EVERYBODY: u64 = 1 << 32;
/// The most stages.
const MOST_STAGES: usize = 16;
/// The most changes.
const MOST_CHANGES: usize = 64;
/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// What the section of a rollout says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    format: u8,
    /// A device takes part in a stage if its place is below the stage's bound. They rise; the last one is [`EVERYBODY`].
    pub stages: Vec<u64>,
    /// How many percent of those who take part must be well before the next stage.
    pub healthy: u8,
    /// Seconds after which those who take part must be well.
    pub patience: u32,
    /// From which to which minute of the day (UTC) a stage may begin.
    pub window: Option<Window>,
    /// What goes out.
    pub changes: Vec<Staged>,
}

/// A time of every day; over midnight, where it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first minute.
    pub from: u32,
    /// The minute after the last one.
    pub to: u32,
}

/// A change that goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// As it will be in the log.
    pub change: Signed,
    /// What it names.
    pub content: Option<Content>,
}

/// What the section of a rollout's stage says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    format: u8,
    /// The change that the rollout stands by.
    pub rollout: ChangeId,
    /// Which stage, counted from 0.
    pub stage: u32,
    /// Whether it goes no further for now.
    pub is_halted: bool,
}

cbor_arrays! {
    Rollout 6 [format, stages, healthy, patience, window, changes];
    Window 2 [from, to];
    Staged 2 [change, content];
    Stage 4 [format, rollout, stage, is_halted];
}

/// Why a content is no rollout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// Its bytes.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// What they say.
    #[error("{0}")]
    Meaning(&'static str),
}

impl Window {
    /// Whether it is open at this minute of the day.
    #[must_use]
    pub const fn is_open(self, minute: u32) -> bool {
        match self.from <= self.to {
            true => self.from <= minute && minute < self.to,
            false => self.from <= minute || minute < self.to,
        }
    }
}

impl Rollout {
    /// A rollout.
    ///
    /// # Errors
    /// When it could not be read again.
    pub fn new(
        stages: Vec<u64>,
        (healthy, patience): (u8, u32),
        window: Option<Window>,
        changes: Vec<Staged>,
    ) -> Result<Self, RolloutError> {
        Self { format: FORMAT, stages, healthy, patience, window, changes }.checked()
    }

    /// Reads the content of a section.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RolloutError> {
        cbor::from_bytes::<Self>(bytes, LONGEST_CONTENT)?.checked()
    }

    /// The content of its section.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    fn checked(self) -> Result<Self, RolloutError> {
        let rises = self.stages.windows(2).all(|pair| pair[0] < pair[1]);
        let is_window = |window: Window| window.from < DAY && window.to < DAY && window.from != window.to;
        let wrong = [
            (self.format != FORMAT, "format 1 is expected"),
            (
                self.stages.len() > MOST_STAGES || !rises || self.stages.last() != Some(&EVERYBODY),
                "1 to 16 stages are expected, each larger than the one before, the last one for all",
            ),
            (self.healthy > 100, "0 to 100 percent are expected"),
            (!self.window.is_none_or(is_window), "a window from one minute of the day to another is expected"),
            (self.changes.is_empty() || self.changes.len() > MOST_CHANGES, "1 to 64 changes are expected"),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, expected)) => Err(RolloutError::Meaning(expected)),
            None => Ok(self),
        }
    }

    /// Where a device stands among all, by chance that the first change gives.
    #[must_use]
    pub fn place(&self, device: DeviceId) -> u64 {
        self.changes.first().map_or(EVERYBODY, |first| place(&first.change, device))
    }

    /// Whether a device takes part in a stage.
    #[must_use]
    pub fn takes_part(&self, device: DeviceId, stage: u32) -> bool {
        let bound = usize::try_from(stage).ok().and_then(|stage| self.stages.get(stage));
        bound.is_some_and(|bound| self.place(device) < *bound)
    }

    /// Whether a stage is the last one.
    #[must_use]
    pub fn is_last(&self, stage: u32) -> bool {
        usize::try_from(stage).is_ok_and(|stage| stage + 1 >= self.stages.len())
    }
}

/// Where a device stands by a change, from 0 to 2³² - 1.
#[must_use]
pub fn place(first: &Signed, device: DeviceId) -> u64 {
    let change = first.hash(crate::Domain::Change);
    let hash = hash("rollout", &[change.bytes(), device.bytes()]);
    hash.bytes()[..4].iter().fold(0, |place, byte| place << 8 | u64::from(*byte))
}

/// The bound of a stage for so many of these devices.
#[must_use]
pub fn bound(first: &Signed, devices: &[DeviceId], count: usize) -> u64 {
    if count >= devices.len() {
        return EVERYBODY;
    }
    let mut places: Vec<u64> = devices.iter().map(|device| place(first, *device)).collect();
    places.sort_unstable();
    count.checked_sub(1).and_then(|last| places.get(last)).map_or(0, |place| place + 1)
}

impl Stage {
    /// A stage.
    #[must_use]
    pub const fn new(rollout: ChangeId, stage: u32, is_halted: bool) -> Self {
        Self { format: FORMAT, rollout, stage, is_halted }
    }

    /// Reads the content of a section.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RolloutError> {
        let stage: Self = cbor::from_bytes(bytes, LONGEST_CONTENT)?;
        match stage.format {
            FORMAT => Ok(stage),
            _ => Err(RolloutError::Meaning("format 1 is expected")),
        }
    }

    /// The content of its section.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }
}

/// The name of the rollout whose section this is.
#[must_use]
pub fn name_of(path: &SectionPath) -> Option<&str> {
    path.rest().strip_prefix("rollouts/").filter(|name| !name.contains('/'))
}

/// Where the stage of a rollout stands, by where the rollout does.
#[must_use]
pub fn stage_path(rollout: &SectionPath) -> Option<SectionPath> {
    rollout.scope().section(&format!("stages/{}", name_of(rollout)?)).ok()
}

/// Whether a section is about rollouts, and so cannot be what one changes.
#[must_use]
pub fn is_about_rollouts(path: &SectionPath) -> bool {
    ["rollouts", "stages"].contains(&path.rest().split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests;
