//! Policies: whom they concern, how devices apply, what they look at before they confirm, what they do on drift.

use std::collections::BTreeSet;

use super::source::Item;
use super::{DocumentError, Source};
use crate::GroupName;

/// What a content `policy` says. Where several policies concern a device, the later one wins what both say; probes and
/// hooks add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Policies of a higher number come later.
    pub priority: i32,
    /// Whom it concerns.
    pub concerns: Match,
    /// How to apply.
    pub apply: ApplyPolicy,
    /// What to do about what differs from what is asked.
    pub drift: Option<DriftMode>,
    /// What must work before a change is confirmed.
    pub probes: Vec<Probe>,
    /// What runs before and after a change.
    pub hooks: Vec<Hook>,
}

/// Whom a policy concerns: who is in one of the groups and has one of the boards. An empty set is everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Groups.
    pub groups: BTreeSet<GroupName>,
    /// Boards, as `board_name` has them.
    pub boards: BTreeSet<String>,
}

/// How to apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyPolicy {
    /// How long a change may take to be confirmed, in seconds.
    pub deadline: Option<u32>,
    /// Whether applying waits for another word.
    pub is_frozen: bool,
    /// Of a device's own policy: for how many hours that the device runs it waits; without end where it does not say.
    pub hours: Option<u32>,
}

/// What to do about what differs from what is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftMode {
    /// Tell.
    #[default]
    Report,
    /// Bring it back.
    Revert,
    /// Offer it as a change of the device's own sections.
    Adopt,
}

/// Something that must work before a change is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it is called in results.
    pub name: String,
    /// What must work.
    pub kind: ProbeKind,
    /// How long one try may take, in seconds.
    pub seconds: u32,
}

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// An interface is up.
    Interface(String),
    /// A host answers to ping.
    Ping(String),
    /// A port takes connections.
    Tcp(String, u16),
    /// A name resolves.
    Resolve(String),
    /// A command in a shell ends with 0. Needs the right `execute`.
    Command(String),
}

/// A command around a change. Needs the right `execute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub when: When,
    /// What runs.
    pub command: String,
    /// How long it may take, in seconds.
    pub seconds: u32,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything changes. If it fails, nothing does.
    Before,
    /// When a change is confirmed. If it fails, that is told.
    After,
}

/// The least and the most that a change may take to be confirmed, in seconds.
const DEADLINES: std::ops::RangeInclusive<u32> = 10..=1800;
/// The most that a device may be paused for, in hours.
const MOST_HOURS: u32 = 8760;
/// The most that a probe or a hook may take, in seconds.
const MOST_SECONDS: u32 = 300;

pub(super) fn read(source: &Source<'_>) -> Result<Policy, DocumentError> {
    let mut policy = Policy::default();
    for item in source.items() {
        match item.section.kind().as_str() {
            "policy" => {
                item.only(&["priority", "group", "board"])?;
                policy.priority = item.parsed("priority", "a whole number")?.unwrap_or(0);
                for group in item.texts("group") {
                    let group = group.parse().map_err(|error| item.error(Some("group"), format!("{error}")))?;
                    policy.concerns.groups.insert(group);
                }
                policy.concerns.boards.extend(item.texts("board").iter().cloned());
            }
            "apply" => {
                item.only(&["deadline", "frozen", "hours"])?;
                let expected = format!("{} to {} seconds", DEADLINES.start(), DEADLINES.end());
                policy.apply.deadline = item.parsed("deadline", &expected)?;
                if let Some(deadline) = policy.apply.deadline.filter(|deadline| !DEADLINES.contains(deadline)) {
                    return Err(item.error(Some("deadline"), format!("{deadline} does not do: expected {expected}")));
                }
                policy.apply.is_frozen = item.flag("frozen")?;
                let expected = format!("1 to {MOST_HOURS} hours");
                policy.apply.hours = item.parsed("hours", &expected)?;
                if let Some(hours) = policy.apply.hours.filter(|hours| !(1..=MOST_HOURS).contains(hours)) {
                    return Err(item.error(Some("hours"), format!("{hours} does not do: expected {expected}")));
                }
            }
            "drift" => {
                item.only(&["mode"])?;
                policy.drift = Some(match item.needed("mode", "report, revert or adopt")? {
                    "report" => DriftMode::Report,
                    "revert" => DriftMode::Revert,
                    "adopt" => DriftMode::Adopt,
                    other => {
                        let problem = format!("{other:?} is not known: expected report, revert or adopt");
                        return Err(item.error(Some("mode"), problem));
                    }
                });
            }
            "probe" => policy.probes.push(probe(&item)?),
            "hook" => policy.hooks.push(hook(&item)?),
            _ => return Err(item.unknown_kind("policy, apply, drift, probe or hook")),
        }
    }
    Ok(policy)
}

fn probe(item: &Item<'_>) -> Result<Probe, DocumentError> {
    item.only(&["kind", "target", "port", "command", "seconds"])?;
    let kinds = "interface, ping, tcp, resolve or command";
    let target = || -> Result<String, DocumentError> {
        let target = item.needed("target", "what to look at")?;
        let is_plain = target.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-%".contains(&b));
        match is_plain && !target.is_empty() && !target.starts_with('-') {
            true => Ok(target.to_owned()),
            false => Err(item.error(Some("target"), format!("{target:?} does not do: expected a name or an address"))),
        }
    };
    let kind = match item.needed("kind", kinds)? {
        "interface" => ProbeKind::Interface(target()?),
        "ping" => ProbeKind::Ping(target()?),
        "tcp" => {
            let port: Option<u16> = item.parsed("port", "a port")?;
            let port = port.filter(|port| *port > 0).ok_or_else(|| item.error(None, "has no port: expected one"))?;
            ProbeKind::Tcp(target()?, port)
        }
        "resolve" => ProbeKind::Resolve(target()?),
        "command" => ProbeKind::Command(item.needed("command", "what to run")?.to_owned()),
        other => return Err(item.error(Some("kind"), format!("{other:?} is not known: expected {kinds}"))),
    };
    let name = match item.section.is_anonymous() {
        true => format!("{} {}", item.text("kind")?.unwrap_or_default(), item.text("target")?.unwrap_or_default()),
        false => item.section.name().to_string(),
    };
    Ok(Probe { name: name.trim().to_owned(), kind, seconds: seconds(item, 5)? })
}

fn hook(item: &Item<'_>) -> Result<Hook, DocumentError> {
    item.only(&["when", "command", "seconds"])?;
    let when = match item.needed("when", "before or after")? {
        "before" => When::Before,
        "after" => When::After,
        other => return Err(item.error(Some("when"), format!("{other:?} is not known: expected before or after"))),
    };
    Ok(Hook { when, command: item.needed("command", "what to run")?.to_owned(), seconds: seconds(item, 30)? })
}

fn seconds(item: &Item<'_>, otherwise: u32) -> Result<u32, DocumentError> {
    let expected = format!("1 to {MOST_SECONDS} seconds");
    let seconds = item.parsed("seconds", &expected)?.unwrap_or(otherwise);
    match (1..=MOST_SECONDS).contains(&seconds) {
        true => Ok(seconds),
        false => Err(item.error(Some("seconds"), format!("{seconds} does not do: expected {expected}"))),
    }
}
