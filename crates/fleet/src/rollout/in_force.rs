//! What a device goes by: what stands, and the changes of rollouts that it takes part in.

use std::collections::BTreeMap;

use super::{Rollout, Stage, is_about_rollouts, name_of, stage_path};
use crate::authority::Authority;
use crate::change::{Change, Content};
use crate::replica::Section;
use crate::{ChangeId, DeviceId, SectionPath};

/// The sections that a device goes by. `standing` names the change that stands at each path, deleted sections included.
pub(crate) fn in_force(
    authority: &Authority,
    device: DeviceId,
    mut standing: BTreeMap<SectionPath, ChangeId>,
    sections: &BTreeMap<SectionPath, Section>,
) -> BTreeMap<SectionPath, Section> {
    let mut held = sections.clone();
    // In the order of their paths: where two are about one section, the first one has changed it for the second.
    for (path, section) in sections.iter().filter(|(path, _)| name_of(path).is_some()) {
        let Some(staged) = taking_part(authority, device, path, section, sections) else { continue };
        let follows = |(change, _): &(Change, Option<Content>)| {
            let is = standing.get(&change.path).copied();
            is == change.replaces || is == Some(change.id)
        };
        // All of it or nothing: whoever changed one of the sections since is somebody to talk to first.
        if !staged.iter().all(follows) {
            continue;
        }
        for (change, content) in staged {
            let at = change.path.clone();
            standing.insert(at.clone(), change.id);
            match content {
                Some(content) => drop(held.insert(at, Section { change, content })),
                None => drop(held.remove(&at)),
            }
        }
    }
    held
}

/// The changes of a rollout that a device takes part in, if they are in order.
fn taking_part(
    authority: &Authority,
    device: DeviceId,
    path: &SectionPath,
    section: &Section,
    sections: &BTreeMap<SectionPath, Section>,
) -> Option<Vec<(Change, Option<Content>)>> {
    let rollout = Rollout::from_bytes(&section.content.bytes.0).ok()?;
    let stage = Stage::from_bytes(&sections.get(&stage_path(path)?)?.content.bytes.0).ok()?;
    if stage.rollout != section.change.id || !rollout.takes_part(device, stage.stage) {
        return None;
    }
    let mut staged: Vec<(Change, Option<Content>)> = Vec::new();
    for one in rollout.changes {
        let change = Change::read(one.change, authority.fleet()).ok()?;
        let is_new = staged.iter().all(|(other, _)| other.path != change.path);
        let is_in_scope = change.path.scope() == path.scope() && !is_about_rollouts(&change.path);
        let is_authors = change.author == section.change.author;
        let is_named = one.content.as_ref().map(Content::hash) == change.content;
        // Voters will ask the same when it comes to the log.
        if !(is_new && is_in_scope && is_authors && is_named && change.check_appending(authority).is_ok()) {
            return None;
        }
        staged.push((change, one.content));
    }
    Some(staged)
}
