//! From the configuration that a device has to the one it should have: what changes in UCI, and what was there before.

use std::collections::{BTreeMap, BTreeSet};

use uci::{Change, Config, DiffError, Edit, EditError, Package, PackageName, Section, SectionName, Value, diff_owned};

use crate::SectionPath;
use crate::document::Kind;
use crate::effective::{Effective, EffectiveSection};
use crate::ground::{Before, Ground};

/// What changes in a device's UCI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The calls of rpcd's `uci` object, in order.
    pub changes: Vec<Change>,
    /// What comes of them.
    pub target: Config,
    /// What was there before dusk came, once they are made.
    pub ground: Ground,
    /// The UCI sections that change, and the sections of the fleet that speak of them. Sections that nobody speaks of any
    /// more go back to what they were.
    pub touched: BTreeMap<(PackageName, SectionName), BTreeSet<SectionPath>>,
    /// Packages that have to be made before: there is no file of them.
    pub missing: BTreeSet<PackageName>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A change that UCI cannot hold.
    #[error("package {package}")]
    Edit {
        /// The package.
        package: PackageName,
        /// Why.
        source: EditError,
    },
    /// A change that no safe call makes.
    #[error(transparent)]
    Diff(#[from] DiffError),
}

/// What a device's UCI has to change, from what it is to what it should be.
///
/// # Errors
/// When UCI or rpcd cannot hold a change.
pub fn plan(effective: &Effective, current: &Config, ground: &Ground) -> Result<Plan, PlanError> {
    let of_effective = effective.sections.keys().map(|(package, _)| package);
    let packages: BTreeSet<&PackageName> =
        of_effective.chain(ground.sections.keys().map(|(package, _)| package)).collect();
    let mut plan = Plan {
        changes: Vec::new(),
        target: current.clone(),
        ground: Ground { sections: BTreeMap::new(), bindings: BTreeMap::new(), files: ground.files.clone() },
        touched: BTreeMap::new(),
        missing: BTreeSet::new(),
    };
    for package in packages {
        if effective.is_frozen(&Kind::Config(package.clone())) {
            let kept = ground.sections.iter().filter(|((of, _), _)| of == package);
            plan.ground.sections.extend(kept.map(|(key, before)| (key.clone(), before.clone())));
            let kept = ground.bindings.iter().filter(|((of, ..), _)| of == package);
            plan.ground.bindings.extend(kept.map(|(key, names)| (key.clone(), names.clone())));
            continue;
        }
        let wrong = |source| PlanError::Edit { package: package.clone(), source };
        let from = current.get(package.as_str());
        let mut steps = Steps {
            package,
            target: from.cloned().unwrap_or_else(|| Package::new(package.clone())),
            ground: BTreeMap::new(),
            renames: Vec::new(),
        };
        steps.rename(effective).map_err(wrong)?;
        let renamed = steps.target.clone();
        steps.withdraw(effective, ground).map_err(wrong)?;
        steps.bring(effective, ground).map_err(wrong)?;
        let owned: BTreeSet<&SectionName> = ground
            .sections
            .keys()
            .chain(effective.sections.keys())
            .filter(|(of, _)| of == package)
            .map(|(_, name)| name)
            .collect();
        let changes = diff_owned(&renamed, &steps.target, |section| owned.contains(section.name()))?;
        for section in steps.renames.iter().map(|(_, name)| name).chain(changes.iter().filter_map(section_of)) {
            let key = (package.clone(), section.clone());
            let paths = effective.sections.get(&key).map(speakers).unwrap_or_default();
            plan.touched.entry(key).or_default().extend(paths);
        }
        if from.is_none() && !changes.is_empty() {
            plan.missing.insert(package.clone());
        }
        let rename = |(section, name): (SectionName, SectionName)| Change {
            config: package.clone(),
            edit: Edit::RenameSection { section, name },
        };
        plan.changes.extend(steps.renames.into_iter().map(rename));
        plan.changes.extend(changes);
        if from.is_some() || !steps.target.is_empty() {
            plan.target.insert(steps.target);
        }
        plan.ground.sections.extend(steps.ground);
        let bound = effective.bindings.iter().filter(|((of, ..), _)| of == package);
        plan.ground.bindings.extend(bound.map(|(key, names)| (key.clone(), names.clone())));
    }
    Ok(plan)
}

/// The sections of the fleet that speak of a UCI section.
fn speakers(section: &EffectiveSection) -> BTreeSet<SectionPath> {
    let settings = section.settings.values().flatten().map(|setting| &setting.origin);
    settings.chain(&section.deleted_by).map(|origin| origin.section.clone()).collect()
}

fn section_of(change: &Change) -> Option<&SectionName> {
    match &change.edit {
        Edit::Add { name: section, .. }
        | Edit::Set { section, .. }
        | Edit::DeleteSection { section }
        | Edit::DeleteOptions { section, .. } => Some(section),
        Edit::RenameSection { .. } | Edit::RenameOption { .. } | Edit::Order { .. } => None,
    }
}

fn sections_of<'a>(
    effective: &'a Effective,
    package: &'a PackageName,
) -> impl Iterator<Item = (&'a SectionName, &'a EffectiveSection)> + use<'a> {
    let sections = effective.sections.iter().filter(move |((of, _), _)| of == package);
    sections.map(|((_, name), section)| (name, section))
}

/// One package on its way.
struct Steps<'a> {
    package: &'a PackageName,
    target: Package,
    ground: BTreeMap<(PackageName, SectionName), Before>,
    renames: Vec<(SectionName, SectionName)>,
}

impl Steps<'_> {
    /// Names the sections that have none and are managed from here on.
    fn rename(&mut self, effective: &Effective) -> Result<(), EditError> {
        for (name, section) in sections_of(effective, self.package) {
            if let Some(id) = &section.found_as {
                self.target.rename(id.as_str(), name.clone())?;
                self.renames.push((id.clone(), name.clone()));
            }
        }
        Ok(())
    }

    /// Takes back what nobody asks for any more.
    fn withdraw(&mut self, effective: &Effective, ground: &Ground) -> Result<(), EditError> {
        for (key, before) in ground.sections.iter().filter(|((package, _), _)| package == self.package) {
            let section = effective.sections.get(key);
            let name = &key.1;
            let is_there = self.target.section(name.as_str()).is_some();
            match section {
                Some(section) if section.deleted_by.is_some() => continue,
                None if !before.was_there => {
                    if is_there && !before.is_deleted {
                        self.target.delete(name.as_str())?;
                    }
                    continue;
                }
                _ => {}
            }
            if !is_there && before.is_deleted && before.was_there {
                self.target.add(before.kind.clone(), name.clone())?;
            }
            let is_whole = section.is_some_and(|section| section.is_whole);
            let Some(there) = self.target.section_mut(name.as_str()) else { continue };
            for (option, value) in &before.options {
                if is_whole || section.is_some_and(|section| section.settings.contains_key(option)) {
                    continue;
                }
                put(there, option, value.as_ref())?;
            }
        }
        Ok(())
    }

    /// Brings about what is asked for.
    fn bring(&mut self, effective: &Effective, ground: &Ground) -> Result<(), EditError> {
        for (name, section) in sections_of(effective, self.package) {
            let key = (self.package.clone(), name.clone());
            let earlier = ground.sections.get(&key);
            let there = self.target.section(name.as_str());
            let mut before = earlier.cloned().unwrap_or_else(|| Before {
                kind: there.map_or(&section.kind, Section::kind).clone(),
                was_there: there.is_some(),
                is_deleted: false,
                options: BTreeMap::new(),
            });
            if section.deleted_by.is_some() {
                if let Some(there) = there {
                    if before.was_there && !before.is_deleted {
                        remember(&mut before, there.options().map(|(option, _)| option.clone()).collect(), Some(there));
                    }
                    self.target.delete(name.as_str())?;
                }
                before.is_deleted = true;
                self.ground.insert(key, before);
                continue;
            }
            before.is_deleted = false;
            let mut managed: BTreeSet<_> = section.settings.keys().cloned().collect();
            if section.is_whole {
                managed.extend(there.into_iter().flat_map(Section::options).map(|(option, _)| option.clone()));
                // What was taken away before stays known until it is given back.
                managed.extend(before.options.keys().cloned());
            }
            before.options.retain(|option, _| managed.contains(option));
            remember(&mut before, managed.iter().cloned().collect(), there);
            if there.is_none() {
                self.target.add(section.kind.clone(), name.clone())?;
            }
            self.ground.insert(key, before);
            let Some(there) = self.target.section_mut(name.as_str()) else { continue };
            for option in &managed {
                let wanted = section.setting(option.as_str()).and_then(|setting| setting.value.as_ref());
                put(there, option, wanted)?;
            }
        }
        Ok(())
    }
}

/// Notes what options hold that were not managed before.
fn remember(before: &mut Before, options: Vec<uci::OptionName>, there: Option<&Section>) {
    for option in options {
        let value = there.and_then(|section| section.get(option.as_str())).cloned();
        before.options.entry(option).or_insert(value);
    }
}

fn put(section: &mut Section, option: &uci::OptionName, value: Option<&Value>) -> Result<(), EditError> {
    match value {
        Some(value) if section.get(option.as_str()) == Some(value) => Ok(()),
        Some(value) => section.set(option.clone(), value.clone()),
        None if section.get(option.as_str()).is_some() => section.delete(option.as_str()).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
