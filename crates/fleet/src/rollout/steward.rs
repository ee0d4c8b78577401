//! What a master does for rollouts: hands in the next stage, the halt or the end, all of it signed by their authors.

use std::collections::BTreeMap;

use super::{Health, Itinerary, Participants, Rollout, Verdict, stage_path};
use crate::archive::Archive;
use crate::authority::State;
use crate::change::Change;
use crate::submission::Submission;
use crate::{ChangeId, DeviceId, LogIndex, Moment, Scope, SectionPath};

/// Since when the stages stand that are waited for.
#[derive(Debug, Default)]
pub struct Steward {
    begun: BTreeMap<ChangeId, (ChangeId, Moment)>,
}

/// What a master sees when it looks after a rollout.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// What was decided.
    pub archive: &'a Archive,
    /// How a device is that takes part in the stage that stands as the record of this index.
    pub health: &'a dyn Fn(DeviceId, LogIndex) -> Health,
    /// The time.
    pub now: Moment,
    /// The minute of the day (UTC), if it is known.
    pub minute: Option<u32>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Hand these in, in this order, and tell why.
    Submit(Vec<Submission>, String),
    /// The rollout has ended: forget the itinerary.
    Over,
}

impl Steward {
    /// Looks after a rollout.
    pub fn look(&mut self, itinerary: &Itinerary, sight: Sight<'_>) -> Step {
        let archive = sight.archive;
        let is_decided = |submission: &&Submission| archive.outcome(submission).is_some();
        if itinerary.end.iter().any(|submission| is_decided(&submission)) {
            let left: Vec<_> = itinerary.end.iter().filter(|one| !is_decided(one)).cloned().collect();
            return if left.is_empty() { Step::Over } else { Step::Submit(left, "it ends".to_owned()) };
        }
        let Some((rollout, at)) = standing(archive, itinerary) else { return Step::Over };
        let stands = archive.log().map().get(&at);
        let change = stands.map(|leaf| leaf.change);
        let Some(leg) = itinerary.current(change) else {
            let first = itinerary.legs.first().filter(|leg| leg.follows == change && rollout.may_begin(sight.minute));
            return first.map_or(Step::Wait, |leg| {
                Step::Submit(vec![leg.begin.clone()], format!("stage {} begins", leg.stage + 1))
            });
        };
        let halt = |reason: String| Step::Submit(vec![leg.halt.clone()], format!("it halts: {reason}"));
        if let Some(path) = conflict(archive, &rollout) {
            return halt(format!("{path} was changed since by somebody else"));
        }
        let begun = self.begun.entry(itinerary.rollout).or_insert((leg.change, sight.now));
        if begun.0 != leg.change {
            *begun = (leg.change, sight.now);
        }
        let lasted = sight.now.since(begun.1).as_secs();
        let index = stands.map_or(0, |leaf| leaf.index);
        let state = archive.log().authority().state();
        let participants = participants(state, &itinerary.path, &rollout, leg.stage);
        let participants: Participants = participants.map(|device| (sight.health)(device, index)).collect();
        match rollout.judge(leg.stage, &participants, lasted, sight.minute) {
            Verdict::Wait => Step::Wait,
            Verdict::Halt(reason) => halt(reason),
            Verdict::Advance => match itinerary.next(change) {
                Some(next) => {
                    let why = format!("stage {} begins: {participants}", next.stage + 1);
                    Step::Submit(vec![next.begin.clone()], why)
                }
                None => Step::Submit(itinerary.end.clone(), format!("all have it: {participants}")),
            },
        }
    }
}

/// The rollout of an itinerary, and where its stage stands, while it is there.
fn standing(archive: &Archive, itinerary: &Itinerary) -> Option<(Rollout, SectionPath)> {
    let leaf = archive.log().map().get(&itinerary.path)?;
    if leaf.deleted || leaf.change != itinerary.rollout {
        return None;
    }
    let rollout = Rollout::from_bytes(&archive.content(&itinerary.path)?.bytes.0).ok()?;
    Some((rollout, stage_path(&itinerary.path)?))
}

/// A section that somebody has changed since the rollout was signed.
#[must_use]
pub fn conflict(archive: &Archive, rollout: &Rollout) -> Option<SectionPath> {
    let log = archive.log();
    let changes =
        rollout.changes.iter().filter_map(|staged| Change::read(staged.change.clone(), log.authority().fleet()).ok());
    let is_behind = |change: &Change| {
        let is = log.map().get(&change.path).map(|leaf| leaf.change);
        is != change.replaces && is != Some(change.id)
    };
    changes.into_iter().find(is_behind).map(|change| change.path)
}

/// The members that a rollout may concern.
pub fn concerned<'a>(state: &'a State, path: &SectionPath) -> impl Iterator<Item = DeviceId> + use<'a> {
    let scope = path.scope();
    let is_meant = move |id: DeviceId, groups: &[crate::GroupName]| match &scope {
        Scope::Group(group) => groups.contains(group),
        Scope::Device(device) => *device == id,
        Scope::Policy(_) => true,
        Scope::User(_) => false,
    };
    state.members().filter(move |(id, device)| is_meant(*id, device.groups())).map(|(id, _)| id)
}

/// The members that take part in a stage.
pub fn participants<'a>(
    state: &'a State,
    path: &SectionPath,
    rollout: &'a Rollout,
    stage: u32,
) -> impl Iterator<Item = DeviceId> + use<'a> {
    concerned(state, path).filter(move |device| rollout.takes_part(*device, stage))
}

/// How a device is, by what it told of sections that a rollout changes: the section, the change and the outcome each.
#[must_use]
pub fn told<'a>(rollout: &Rollout, results: impl Iterator<Item = (&'a str, &'a str)>) -> Health {
    let wanted: Vec<String> =
        rollout.changes.iter().map(|staged| staged.change.hash(crate::Domain::Change).to_string()).collect();
    let mut applied = 0;
    for (change, outcome) in results.filter(|(change, _)| !change.is_empty()) {
        if !wanted.iter().any(|wanted| wanted.starts_with(change)) {
            continue;
        }
        match outcome {
            "applied" => applied += 1,
            _ => return Health::Failed,
        }
    }
    // A section that is deleted has no result.
    let puts = rollout.changes.iter().filter(|staged| staged.content.is_some()).count();
    if applied >= puts { Health::Applied } else { Health::Waiting }
}
