//! What a change of the fleet's sections comes to on its devices, as people are shown it before they sign.
//!
//! What a device has of its own is not known to others: what is shown is what the fleet asks of it, before and after.

use std::collections::BTreeMap;

use uci::{Config, Package, PackageName, SectionName};

use crate::DeviceName;
use crate::configuration::Configuration;
use crate::difference::difference;
use crate::document::Deed;
use crate::effective::{Effective, Input};
use crate::facts::{Band, Facts, Radio};
use crate::ground::Ground;
use crate::layer::Member;
use crate::plan::plan;
use crate::sealed::LeftSealed;

/// What changes alike on some devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impact {
    /// Their names.
    pub devices: Vec<DeviceName>,
    /// What changes, a line each.
    pub lines: Vec<String>,
}

/// What changes on these devices, those together on which the same does; nothing of those on which nothing does.
#[must_use]
pub fn impacts(members: &[Member], before: &Configuration, after: &Configuration) -> Vec<Impact> {
    let mut found: BTreeMap<Vec<String>, Vec<DeviceName>> = BTreeMap::new();
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by_key(|member| &member.name);
    for member in members {
        let lines = lines(member, before, after);
        if !lines.is_empty() {
            found.entry(lines).or_default().push(member.name.clone());
        }
    }
    found.into_iter().map(|(lines, devices)| Impact { devices, lines }).collect()
}

/// Radios of a device that nothing is known of: one of each band, named by it.
#[must_use]
pub fn assumed() -> Facts {
    let radio = |band: Band| {
        let section = SectionName::new(format!("radio_{band}"));
        Radio { section: section.expect("invariant: letters, digits and underscores"), band }
    };
    Facts { radios: [Band::Ghz2, Band::Ghz5, Band::Ghz6].map(radio).into(), ..Facts::default() }
}

fn lines(member: &Member, before: &Configuration, after: &Configuration) -> Vec<String> {
    let (current, ground) = (own(&member.facts), Ground::default());
    let effective = |configuration: &Configuration| {
        Effective::of(Input {
            member,
            sections: &configuration.sections,
            unreadable: &configuration.unreadable,
            current: &current,
            ground: &ground,
            opener: &LeftSealed,
        })
    };
    let (old, new) = (effective(before), effective(after));
    let mut lines: Vec<String> = Vec::new();
    match (plan(&old, &current, &ground), plan(&new, &current, &ground)) {
        (Ok(from), Ok(to)) => {
            lines.extend(difference(&from.target, &to.target, &[&old, &new]).iter().map(ToString::to_string));
        }
        (_, Err(error)) => lines.push(format!("! {error}")),
        // What could not be had before is no loss.
        (Err(_), Ok(to)) => {
            lines.extend(difference(&current, &to.target, &[&new]).iter().map(ToString::to_string));
        }
    }
    let (from, to) = (rest(&old), rest(&new));
    for (thing, was) in from.iter().filter(|(thing, _)| !to.contains_key(*thing)) {
        lines.push(format!("- {thing}{was}"));
    }
    for (thing, is) in &to {
        match from.get(thing) {
            Some(was) if was.seen == is.seen && was.hidden == is.hidden => {}
            Some(was) if was.seen == is.seen => lines.push(format!("~ {thing}{is} (another content)")),
            Some(was) => lines.push(format!("~ {thing}{is} (was{was})")),
            None => lines.push(format!("+ {thing}{is}")),
        }
    }
    for error in new.rejected.iter().filter(|error| !old.rejected.contains(error)) {
        lines.push(format!("! cannot be told without the device: {error}"));
    }
    lines
}

/// What a device has of its own for all that is known: its radios.
fn own(facts: &Facts) -> Config {
    let radios = facts
        .radios
        .iter()
        .map(|Radio { section, band }| format!("config wifi-device '{section}'\n\toption band '{band}'\n"));
    let name = PackageName::new("wireless").expect("invariant: a name");
    let package = Package::parse(name, &radios.collect::<String>());
    [package.expect("invariant: names and bands are plain words")].into_iter().collect()
}

/// What is told of a thing beside UCI.
struct Told {
    seen: String,
    /// What tells it apart and is not shown.
    hidden: Vec<u8>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.seen.is_empty() {
            true => Ok(()),
            false => write!(out, " {}", self.seen),
        }
    }
}

/// Everything beside UCI, by what it is called.
fn rest(effective: &Effective) -> BTreeMap<String, Told> {
    let seen = |seen: String| Told { seen, hidden: Vec::new() };
    let mut told = BTreeMap::new();
    for (path, file) in &effective.files {
        let file = &file.wanted;
        let what = match &file.content {
            Some(content) => format!("{} bytes, {:04o}, {}:{}", content.len(), file.mode, file.owner, file.group),
            None => "deleted".to_owned(),
        };
        let hidden = file.content.clone().unwrap_or_default();
        told.insert(format!("file {path}"), Told { seen: what, hidden });
    }
    for key in effective.keys.iter().flatten() {
        told.insert(format!("SSH key {}", key.wanted.line), seen(String::new()));
    }
    for (user, hash) in &effective.passwords {
        let hidden = hash.wanted.hash.clone().into_bytes();
        told.insert(format!("password of {user}"), Told { seen: String::new(), hidden });
    }
    for job in effective.cron.iter().flatten() {
        told.insert(format!("job {} {}", job.wanted.schedule, job.wanted.command), seen(String::new()));
    }
    for (name, package) in &effective.packages {
        let what = if package.wanted.is_wanted { "wanted" } else { "unwanted" };
        told.insert(format!("package {name}"), seen(what.to_owned()));
    }
    for action in &effective.actions {
        let what = match &action.wanted.deed {
            Deed::Reboot => "reboot".to_owned(),
            Deed::Log { message } => format!("log {message:?}"),
            Deed::Command { command } => format!("run {command:?}"),
        };
        told.insert(format!("action {}", action.origin.section), seen(what));
    }
    let policy = &effective.policy;
    told.insert("deadline".to_owned(), seen(format!("{} s", policy.deadline)));
    told.insert("drift".to_owned(), seen(format!("{:?}", policy.drift).to_lowercase()));
    if let Some(origin) = &policy.frozen_by {
        told.insert("applying waits".to_owned(), seen(format!("by {}", origin.section)));
    }
    for probe in &policy.probes {
        told.insert(format!("probe {}", probe.wanted.name), seen(format!("{:?}", probe.wanted.kind)));
    }
    for hook in &policy.hooks {
        told.insert(format!("hook {:?} {}", hook.wanted.when, hook.wanted.command), seen(String::new()));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effective::tests::{member, placed};

    fn configuration(sections: &[(&str, &str)]) -> Configuration {
        let sections = sections.iter().map(|(path, text)| placed(path, text)).collect();
        Configuration { sections, unreadable: Vec::new() }
    }

    fn shown(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<Impact> {
        let other = Member { name: "cellar".parse().unwrap(), groups: Vec::new(), ..member() };
        let third = Member { name: "garden".parse().unwrap(), ..member() };
        let members: Vec<_> = [member(), other, third].map(|member| Member { facts: assumed(), ..member }).into();
        impacts(&members, &configuration(before), &configuration(after))
    }

    #[test]
    fn devices_on_which_the_same_changes_are_shown_together() {
        let radio =
            |channel| format!("config wifi-device\n\toption dusk_select 'band=2g'\n\toption channel '{channel}'\n");
        let (one, six) = (radio(1), radio(6));
        let found = shown(&[("groups/ap/config/wireless", &one)], &[("groups/ap/config/wireless", &six)]);
        let names: Vec<_> = found[0].devices.iter().map(DeviceName::as_str).collect();
        assert_eq!((found.len(), names), (1, vec!["attic", "garden"]));
        assert_eq!(found[0].lines, ["~ wireless.radio_2g.channel=\"6\" (was \"1\")"]);
    }

    #[test]
    fn policies_and_what_is_no_uci_are_shown_for_whom_they_concern() {
        let found = shown(&[], &[("policies/night/policy", "config apply\n\toption deadline '120'\n")]);
        assert_eq!((found[0].devices.len(), &found[0].lines[..]), (3, &["~ deadline 120 s (was 90 s)".to_owned()][..]));
        let met = "config policy\n\tlist group 'ap'\nconfig drift\n\toption mode 'revert'\n";
        assert_eq!(shown(&[], &[("policies/night/policy", met)])[0].devices.len(), 2);
        let file = |content: &str| format!("config file\n\toption path '/etc/x'\n\toption content '{content}'\n");
        let (one, other) = (file("hunter1"), file("hunter2"));
        let found = shown(&[("groups/ap/files", &one)], &[("groups/ap/files", &other)]);
        assert_eq!(found[0].lines, ["~ file /etc/x 7 bytes, 0644, root:root (another content)"]);
    }

    #[test]
    fn what_is_a_secret_before_or_after_is_shown_as_neither() {
        let at = "groups/ap/config/system";
        let secret = [
            ("groups/ap/variables", "config secrets\n\toption name 'hunter1'\n"),
            (at, "config system 'main'\n\toption hostname '${name}'\n"),
        ];
        let open = [(at, "config system 'main'\n\toption hostname 'attic'\n")];
        for (before, after) in [(&secret[..], &open[..]), (&open[..], &secret[..])] {
            let found = shown(before, after);
            assert!(!format!("{found:?}").contains("hunter1"), "{found:?}");
        }
    }
}
