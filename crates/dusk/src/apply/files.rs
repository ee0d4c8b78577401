//! From files as they should be to entries of the journal.

use std::collections::BTreeMap;

use anyhow::Context;
use fleet::SectionPath;
use fleet::apply::FileEntry;
use fleet::ground::FileBefore;
use fleet::placement::Placement;

use crate::flash::{Flash, Ownership, own_group, own_user};

/// A file that changes: its entry, and what of it the journal does not tell.
pub(super) struct Changing {
    /// The entry.
    pub(super) entry: FileEntry,
    /// Who owns it from then on.
    pub(super) ownership: Ownership,
    /// The section of the fleet that says so.
    pub(super) origin: Option<SectionPath>,
}

/// What changes of these files, and which sections cannot be had, with the reason.
pub(super) fn changing(
    flash: &Flash,
    placements: Vec<Placement>,
) -> anyhow::Result<(Vec<Changing>, BTreeMap<SectionPath, String>)> {
    let (mut changing, mut refused) = (Vec::new(), BTreeMap::new());
    for placement in placements {
        let found = flash.look(&placement.path)?;
        let ownership = match ownership(flash, &placement, found.as_ref()) {
            Ok(ownership) => ownership,
            Err(error) => {
                match placement.origin {
                    Some(origin) => drop(refused.insert(origin, format!("{error:#}"))),
                    None => return Err(error),
                }
                continue;
            }
        };
        let is_same = match (&found, &placement.content) {
            (None, None) => true,
            (Some(found), Some(content)) => {
                let FileBefore { owner, group, mode, .. } = *found;
                found.content == *content && ownership == Ownership { owner, group, mode }
            }
            _ => false,
        };
        if is_same {
            continue;
        }
        // What a restored file belongs to is what it belonged to.
        let before = found.as_ref().map_or(ownership, |found| {
            let FileBefore { owner, group, mode, .. } = *found;
            Ownership { owner, group, mode }
        });
        let entry = FileEntry {
            path: placement.path,
            owner: before.owner,
            group: before.group,
            mode: before.mode,
            old: found.map(|found| found.content),
            new: placement.content,
            sections: None,
        };
        changing.push(Changing { entry, ownership, origin: placement.origin });
    }
    Ok((changing, refused))
}

fn ownership(flash: &Flash, placement: &Placement, found: Option<&FileBefore>) -> anyhow::Result<Ownership> {
    let number = |name: &Option<String>, list: &str, found: Option<u32>, own: u32| match name {
        None => Ok(found.unwrap_or(own)),
        Some(name) => id(flash, list, name).with_context(|| placement.path.clone()),
    };
    Ok(Ownership {
        owner: number(&placement.owner, "/etc/passwd", found.map(|found| found.owner), own_user())?,
        group: number(&placement.group, "/etc/group", found.map(|found| found.group), own_group())?,
        mode: placement.mode.or(found.map(|found| found.mode)).unwrap_or(0o600),
    })
}

/// The number of a user or a group.
fn id(flash: &Flash, list: &str, name: &str) -> anyhow::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let bytes = flash.read(list)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    let number = line.and_then(|fields| fields.get(2)?.parse().ok());
    // A device without these lists has root all the same.
    let number = number.or_else(|| (name == "root").then_some(0));
    number.with_context(|| format!("{name:?} is not in {list}: expected one who is"))
}
