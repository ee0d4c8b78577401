//! Which sections of a device a wanted section means.

use std::collections::{BTreeMap, BTreeSet};

use uci::{OptionName, Package, PackageName, Section, SectionName, SectionType};

use super::{Binding, EffectiveSection, Input};
use crate::document::{Extent, Selector, WantedSection};
use crate::facts::Band;
use crate::stable_name;

/// The type of radios.
const RADIO: &str = "wifi-device";

/// What came of looking.
pub(super) enum Resolved {
    /// These are meant.
    Sections(Vec<Target>),
    /// There is none on this device, as it should be.
    LeftOut(String),
}

/// A section of the device that is meant.
pub(super) struct Target {
    /// The name that it has, or gets.
    pub(super) name: SectionName,
    /// The id that it has on the device, where it has no name there.
    pub(super) found_as: Option<SectionName>,
    /// What a section must hold that is made to be found by it.
    pub(super) criteria: BTreeMap<OptionName, String>,
}

pub(super) struct Resolver<'a> {
    pub(super) input: Input<'a>,
    pub(super) package: &'a PackageName,
    /// What earlier layers ask for.
    pub(super) made: &'a BTreeMap<(PackageName, SectionName), EffectiveSection>,
}

/// What is remembered of a section that is found by what is in it: what is in it may change. Radios are found anew each
/// time, so that a configuration can move to other hardware.
pub(super) fn binding(package: &PackageName, wanted: &WantedSection) -> Option<Binding> {
    let Selector::Holding { criteria, .. } = &wanted.selector else { return None };
    let is_radio = wanted.kind.as_str() == RADIO;
    (!is_radio && !criteria.is_empty()).then(|| (package.clone(), wanted.kind.clone(), wanted.selector.to_string()))
}

impl Resolver<'_> {
    pub(super) fn resolve(&self, wanted: &WantedSection) -> Result<Resolved, String> {
        let (criteria, index) = match &wanted.selector {
            Selector::Name(name) => return self.by_name(wanted, name),
            Selector::Holding { criteria, index } => (criteria, *index),
        };
        let mut found = self.on_device(&wanted.kind, criteria)?;
        found.extend(self.bound(wanted, criteria, &found));
        found.extend(self.asked_for(&wanted.kind, criteria, &found));
        if let Some(index) = index {
            let at = match usize::try_from(index) {
                Ok(at) => Some(at),
                Err(_) => found.len().checked_sub(index.unsigned_abs() as usize),
            };
            found = at.and_then(|at| found.into_iter().nth(at)).into_iter().collect();
        }
        if !found.is_empty() {
            return Ok(Resolved::Sections(found));
        }
        let shown = format!("{}.@{}[{}]", self.package, wanted.kind, wanted.selector);
        if wanted.extent == Extent::Deleted {
            return Ok(Resolved::LeftOut(format!("{shown} is not there and shall not be")));
        }
        if wanted.kind.as_str() == RADIO {
            return Ok(Resolved::LeftOut(format!("{shown} is left out: this device has no such radio")));
        }
        let is_first_of_one =
            index == Some(0) && criteria.is_empty() && stable_name::is_single(self.package, &wanted.kind);
        if index.is_some() && !is_first_of_one {
            return Err(format!("there is no {shown}: expected one on the device"));
        }
        let name = stable_name::of_criteria(&wanted.kind, criteria);
        let mut targets = self.by_name(wanted, &name)?;
        if let Resolved::Sections(targets) = &mut targets {
            targets.iter_mut().for_each(|target| target.criteria.clone_from(criteria));
        }
        Ok(targets)
    }

    fn by_name(&self, wanted: &WantedSection, name: &SectionName) -> Result<Resolved, String> {
        let there = self.there().and_then(|package| package.section(name.as_str()));
        if let Some(section) = there {
            if section.is_anonymous() {
                return Err(format!("{name} is an id that changes: expected a name, or what the section holds"));
            }
            if section.kind() != &wanted.kind {
                let kind = section.kind();
                return Err(format!("is a {} here, but a {kind} on the device: expected one type", wanted.kind));
            }
        }
        let target = Target { name: name.clone(), found_as: None, criteria: BTreeMap::new() };
        Ok(Resolved::Sections(vec![target]))
    }

    fn there(&self) -> Option<&Package> {
        self.input.current.get(self.package.as_str())
    }

    /// The sections that were found by the same words earlier, whatever they hold and whether or not they are there.
    fn bound(&self, wanted: &WantedSection, criteria: &BTreeMap<OptionName, String>, found: &[Target]) -> Vec<Target> {
        let Some(key) = binding(self.package, wanted) else { return Vec::new() };
        let names = self.input.ground.bindings.get(&key).map_or(&[][..], Vec::as_slice);
        let target = |name: &SectionName| {
            let there = self.there().and_then(|package| package.section(name.as_str()));
            let is_other = there.is_some_and(|section| section.kind() != &wanted.kind)
                || found.iter().any(|target| target.name == *name);
            let criteria = if there.is_none() { criteria.clone() } else { BTreeMap::new() };
            (!is_other).then(|| Target { name: name.clone(), found_as: None, criteria })
        };
        names.iter().filter_map(target).collect()
    }

    fn on_device(&self, kind: &SectionType, criteria: &BTreeMap<OptionName, String>) -> Result<Vec<Target>, String> {
        if kind.as_str() == RADIO && criteria.contains_key("band") {
            return self.radios(criteria);
        }
        let Some(package) = self.there() else { return Ok(Vec::new()) };
        let names = names(package);
        let sections = package.sections().filter(|section| section.kind() == kind && holds(section, criteria));
        let target = |section: &Section| Target {
            name: names.get(section.name()).unwrap_or(section.name()).clone(),
            found_as: section.is_anonymous().then(|| section.name().clone()),
            criteria: BTreeMap::new(),
        };
        Ok(sections.map(target).collect())
    }

    fn radios(&self, criteria: &BTreeMap<OptionName, String>) -> Result<Vec<Target>, String> {
        let band: Band = criteria.get("band").map_or("", String::as_str).parse().map_err(|error| format!("{error}"))?;
        let mut others = criteria.clone();
        others.remove("band");
        let radios = self.input.member.facts.radios(self.input.current).into_iter().filter(|radio| radio.band == band);
        let fits = |name: &SectionName| {
            let section = self.there().and_then(|package| package.section(name.as_str()));
            section.map_or(others.is_empty(), |section| holds(section, &others))
        };
        let sections = radios.map(|radio| radio.section).filter(fits);
        Ok(sections.map(|name| Target { name, found_as: None, criteria: BTreeMap::new() }).collect())
    }

    /// The sections that earlier layers ask for and that will hold what is looked for.
    fn asked_for(&self, kind: &SectionType, criteria: &BTreeMap<OptionName, String>, found: &[Target]) -> Vec<Target> {
        let is_known = |name: &SectionName| found.iter().any(|target| target.name == *name);
        let holds = |section: &EffectiveSection| {
            criteria.iter().all(|(option, wanted)| {
                let value = section.setting(option.as_str()).and_then(|setting| setting.value.as_ref());
                value.is_some_and(|value| value.items().contains(wanted))
            })
        };
        let here = self.made.iter().filter(|((package, name), section)| {
            package == self.package
                && section.kind == *kind
                && section.deleted_by.is_none()
                && !is_known(name)
                && self.there().is_none_or(|package| package.section(name.as_str()).is_none())
                && holds(section)
        });
        here.map(|((_, name), section)| Target {
            name: name.clone(),
            found_as: section.found_as.clone(),
            criteria: BTreeMap::new(),
        })
        .collect()
    }
}

fn holds(section: &Section, criteria: &BTreeMap<OptionName, String>) -> bool {
    criteria
        .iter()
        .all(|(option, wanted)| section.get(option.as_str()).is_some_and(|value| value.items().contains(wanted)))
}

/// The names that the sections without one get as soon as they are managed.
pub(crate) fn names(package: &Package) -> BTreeMap<SectionName, SectionName> {
    let mut taken: BTreeSet<SectionName> = package.sections().map(|section| section.name().clone()).collect();
    let mut names = BTreeMap::new();
    for section in package.sections().filter(|section| section.is_anonymous()) {
        let wish = match stable_name::selector(package.name(), section) {
            Selector::Name(name) => name,
            Selector::Holding { criteria, .. } => stable_name::of_criteria(section.kind(), &criteria),
        };
        let mut name = wish.clone();
        for number in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = SectionName::new(format!("{wish}_{number}")).expect("invariant: a name with a number is a name");
        }
        names.insert(section.name().clone(), name);
    }
    names
}
