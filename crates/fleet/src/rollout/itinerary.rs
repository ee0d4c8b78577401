//! What the author of a rollout signs beforehand, so that a master can see to it: the next stages, the halts, and the end.
//!
//! A master keeps it to itself, outside the log. Each stage replaces the one before, so that they come in their order.

use super::{Rollout, RolloutError, Stage, Staged, is_about_rollouts, name_of, stage_path};
use crate::authority::Authority;
use crate::cbor::{self, BytesError};
use crate::change::{Change, ChangeRefusal, Content, Wish};
use crate::log::Record;
use crate::submission::Submission;
use crate::{ChangeId, NodeSecret, Random, SectionPath, Signed};

/// The longest form.
const LONGEST: usize = 8 << 20;

/// What is signed beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Itinerary {
    /// Where the rollout stands.
    pub path: SectionPath,
    /// The change that it stands by.
    pub rollout: ChangeId,
    /// The stages that are left.
    pub legs: Vec<Leg>,
    /// What everybody has by then, for the log, and the end of the rollout's sections.
    pub end: Vec<Submission>,
}

/// One stage that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Which.
    pub stage: u32,
    /// The change of the stage that stands before.
    pub follows: Option<ChangeId>,
    /// Begins it.
    pub begin: Submission,
    /// The change by which it stands then.
    pub change: ChangeId,
    /// Halts it.
    pub halt: Submission,
}

cbor_arrays! {
    Itinerary 4 [path, rollout, legs, end];
    Leg 5 [stage, follows, begin, change, halt];
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum PlanRefusal {
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    #[error(transparent)]
    Change(#[from] ChangeRefusal),
    #[error("{0} is no place for a rollout: expected SCOPE/rollouts/NAME")]
    Path(SectionPath),
    #[error("{0} cannot go out by a rollout at {1}: expected a section of the same group, device or policy")]
    Scope(SectionPath, SectionPath),
}

/// What an author signs with.
pub struct Plan<'a> {
    /// The chain that they go by.
    pub authority: &'a Authority,
    /// Their keys.
    pub secret: &'a NodeSecret,
    /// The time, for people.
    pub time: u64,
    /// Why, for people.
    pub note: &'a str,
}

impl Itinerary {
    /// Reads the kept form.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        cbor::from_bytes(bytes, LONGEST)
    }

    /// The form that is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// The stage that begins once the one that stands by this change is over; nothing after the last one.
    #[must_use]
    pub fn next(&self, standing: Option<ChangeId>) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.follows == standing)
    }

    /// The stage that stands by this change.
    #[must_use]
    pub fn current(&self, standing: Option<ChangeId>) -> Option<&Leg> {
        self.legs.iter().find(|leg| Some(leg.change) == standing)
    }
}

impl Plan<'_> {
    /// Signs the section of a rollout.
    ///
    /// # Errors
    /// When a change is not of its scope.
    pub fn found(
        &self,
        path: &SectionPath,
        replaces: Option<ChangeId>,
        rollout: &Rollout,
        random: &mut impl Random,
    ) -> Result<Submission, PlanRefusal> {
        name_of(path).ok_or_else(|| PlanRefusal::Path(path.clone()))?;
        for Staged { change, .. } in &rollout.changes {
            let change = Change::read(change.clone(), self.authority.fleet())?;
            if change.path.scope() != path.scope() || is_about_rollouts(&change.path) {
                return Err(PlanRefusal::Scope(change.path, path.clone()));
            }
        }
        Ok(self.submission(path, replaces, Some(rollout.to_bytes()), random).0)
    }

    /// Signs the stages from `first` on, and the end. `standing` is the change of the stage before.
    ///
    /// # Errors
    /// When the path is none of a rollout.
    pub fn itinerary(
        &self,
        path: &SectionPath,
        (id, rollout): (ChangeId, &Rollout),
        (first, standing): (u32, Option<ChangeId>),
        random: &mut impl Random,
    ) -> Result<Itinerary, PlanRefusal> {
        let at = stage_path(path).ok_or_else(|| PlanRefusal::Path(path.clone()))?;
        let mut stands = standing;
        let mut legs = Vec::new();
        for (stage, _) in (0..).zip(&rollout.stages).skip(usize::try_from(first).unwrap_or(usize::MAX)) {
            let content = |is_halted| Some(Stage::new(id, stage, is_halted).to_bytes());
            let (begin, change) = self.submission(&at, stands, content(false), random);
            let (halt, _) = self.submission(&at, Some(change), content(true), random);
            legs.push(Leg { stage, follows: stands, begin, change, halt });
            stands = Some(change);
        }
        let staged = |Staged { change, content }: &Staged| Submission {
            record: Record::Change(change.clone()),
            content: content.clone(),
        };
        let mut end: Vec<_> = rollout.changes.iter().map(staged).collect();
        end.push(self.submission(path, Some(id), None, random).0);
        end.push(self.submission(&at, stands, None, random).0);
        Ok(Itinerary { path: path.clone(), rollout: id, legs, end })
    }

    fn submission(
        &self,
        path: &SectionPath,
        replaces: Option<ChangeId>,
        bytes: Option<Vec<u8>>,
        random: &mut impl Random,
    ) -> (Submission, ChangeId) {
        let content = bytes.map(|bytes| Content::new(bytes, random));
        let wish = Wish {
            path: path.clone(),
            content: content.as_ref().map(Content::hash),
            replaces,
            execute: false,
            time: self.time,
            note: self.note.to_owned(),
        };
        let signed = Change::sign(self.authority, wish, self.secret);
        let id = id(&signed);
        (Submission { record: Record::Change(signed), content }, id)
    }
}

fn id(signed: &Signed) -> ChangeId {
    ChangeId::of(*signed.hash(crate::Domain::Change).bytes())
}
