//! Drift: what a device has where the fleet asks for something else, and what becomes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uci::{Config, OptionName, PackageName, SectionName, Value};

use crate::address::{Assignment, OptionAddress, SectionAddress};
use crate::document::{DriftMode, Selector};
use crate::edit;
use crate::effective::{Effective, EffectiveSection};
use crate::layer::Origin;
use crate::{DeviceId, Scope, SectionPath, mask};

/// Something that is not as asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Drift {
    /// The package.
    pub package: PackageName,
    /// The section.
    pub section: SectionName,
    /// The option; nothing where it is the section itself.
    pub option: Option<OptionName>,
    /// What is asked for; nothing where it should not be there.
    pub wanted: Option<Value>,
    /// What is there.
    pub found: Option<Value>,
    /// Whether both are shown masked.
    pub is_secret: bool,
    /// Whose word it is that it should be otherwise.
    pub origin: Origin,
}

impl fmt::Display for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, section, option, wanted, found, is_secret, origin } = self;
        let shown = |value: &Option<Value>| match value {
            Some(value) => mask::shown(value, *is_secret),
            None => "nothing".to_owned(),
        };
        write!(out, "{package}.{section}")?;
        if let Some(option) = option {
            write!(out, ".{option} is {}, asked for is {}", shown(found), shown(wanted))?;
        } else if wanted.is_some() {
            write!(out, " is not there, but asked for")?;
        } else {
            write!(out, " is there, but asked not to be")?;
        }
        write!(out, " ({origin})")
    }
}

impl fmt::Debug for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What is not as asked on a device to which the effective configuration has been applied.
#[must_use]
pub fn drift(effective: &Effective, current: &Config) -> Vec<Drift> {
    let mut found = Vec::new();
    for ((package, name), section) in &effective.sections {
        if effective.is_frozen(&crate::document::Kind::Config(package.clone())) {
            continue;
        }
        let id = section.found_as.as_ref().unwrap_or(name);
        let there = current.get(package.as_str()).and_then(|package| package.section(id.as_str()));
        let drift = |option, wanted, found, is_secret, origin: &Origin| Drift {
            package: package.clone(),
            section: name.clone(),
            option,
            wanted,
            found,
            is_secret,
            origin: origin.clone(),
        };
        let kind = || Some(Value::from(section.kind.as_str()));
        match (&section.deleted_by, there) {
            (Some(origin), Some(_)) => found.push(drift(None, None, kind(), false, origin)),
            (Some(_), None) => {}
            (None, None) => {
                let origin = section.settings.values().find_map(|history| history.last());
                found.extend(origin.map(|setting| drift(None, kind(), None, false, &setting.origin)));
            }
            (None, Some(there)) => {
                for (option, history) in &section.settings {
                    let Some(setting) = history.last() else { continue };
                    let value = there.get(option.as_str());
                    if value != setting.value.as_ref() {
                        let (wanted, value) = (setting.value.clone(), value.cloned());
                        found.push(drift(Some(option.clone()), wanted, value, setting.is_secret, &setting.origin));
                    }
                }
                let others = there.options().filter(|(option, _)| !section.settings.contains_key(*option));
                let Some(setting) = section.settings.values().find_map(|history| history.last()) else { continue };
                for (option, value) in others.filter(|_| section.is_whole) {
                    let is_secret = mask::is_secret(package, &section.kind, option);
                    found.push(drift(Some(option.clone()), None, Some(value.clone()), is_secret, &setting.origin));
                }
            }
        }
    }
    found
}

/// What a device does about drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Tells it.
    Report,
    /// Applies what is asked for.
    Revert,
    /// Offers these contents of its own sections, for somebody to sign. Secrets are not among them.
    Adopt(BTreeMap<SectionPath, String>),
}

/// What a device does about drift, by its policy. `own` gives the contents of its own sections.
#[must_use]
pub fn answer(
    mode: DriftMode,
    device: &DeviceId,
    drifts: &[Drift],
    effective: &Effective,
    own: impl Fn(&SectionPath) -> Option<String>,
) -> Answer {
    match mode {
        DriftMode::Report => Answer::Report,
        DriftMode::Revert => Answer::Revert,
        DriftMode::Adopt => Answer::Adopt(adopt(device, drifts, effective, own)),
    }
}

fn adopt(
    device: &DeviceId,
    drifts: &[Drift],
    effective: &Effective,
    own: impl Fn(&SectionPath) -> Option<String>,
) -> BTreeMap<SectionPath, String> {
    let packages: BTreeSet<&PackageName> = drifts.iter().map(|drift| &drift.package).collect();
    let mut offered = BTreeMap::new();
    for package in packages {
        let Ok(path) = Scope::Device(*device).section(&format!("config/{package}")) else { continue };
        let of_package = drifts.iter().filter(|drift| drift.package == *package && !drift.is_secret);
        let kind_of = |name: &SectionName| {
            effective
                .sections
                .get(&(package.clone(), name.clone()))
                .map(|section: &EffectiveSection| section.kind.clone())
        };
        let assignments: Vec<Assignment> = of_package.map(assignment).collect();
        let content = own(&path).unwrap_or_default();
        if let Ok(content) = edit::set(package, &content, &assignments, kind_of)
            && !assignments.is_empty()
        {
            offered.insert(path, content);
        }
    }
    offered
}

fn assignment(drift: &Drift) -> Assignment {
    let selector = Selector::Name(drift.section.clone());
    let section = SectionAddress { package: drift.package.clone(), kind: None, selector };
    match (&drift.option, &drift.found) {
        (Some(option), Some(found)) => {
            Assignment::Set(OptionAddress { section, option: option.clone() }, found.clone())
        }
        (Some(option), None) => Assignment::Unset(OptionAddress { section, option: option.clone() }),
        (None, Some(kind)) => {
            let kind = kind.as_str().and_then(|kind| uci::SectionType::new(kind).ok());
            match kind {
                Some(kind) => Assignment::Section(section, kind),
                None => Assignment::Delete(section),
            }
        }
        (None, None) => Assignment::Delete(section),
    }
}
