//! The difference of two packages, as the calls of rpcd's `uci` object that lead from one to the other.
//!
//! Anonymous sections are never changed: their ids move when somebody else commits, and a call that was meant for one
//! would reach another. Both packages must hold the same anonymous sections in the same order.

use std::collections::HashMap;

use crate::{Change, Edit, Package, PackageName, Section, SectionName, SectionType, Value, ValueError, Values};

/// A difference that no safe call removes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// The packages have different names.
    #[error("package {from} cannot become package {to}")]
    OtherPackage {
        /// The one that is.
        from: PackageName,
        /// The one that is to be.
        to: PackageName,
    },
    /// Anonymous sections differ.
    #[error(
        "anonymous section {section} of package {package} differs: expected named sections wherever something changes"
    )]
    Anonymous {
        /// The package.
        package: PackageName,
        /// The first that differs, by its id in the package that has it.
        section: SectionName,
    },
    /// An anonymous section would have to move.
    #[error("anonymous section {section} of package {package} would have to move to the front")]
    AnonymousOrder {
        /// The package.
        package: PackageName,
        /// The section.
        section: SectionName,
    },
    /// A type that rpcd does not take.
    #[error("section {section} of package {package} has the type {kind}: expected letters, digits, '_' and '-'")]
    Type {
        /// The package.
        package: PackageName,
        /// The section.
        section: SectionName,
        /// Its type.
        kind: SectionType,
    },
    /// A value that does not pass through rpcd.
    #[error("option {option} of section {section} of package {package}")]
    Value {
        /// The package.
        package: PackageName,
        /// The section.
        section: SectionName,
        /// The option.
        option: crate::OptionName,
        /// What is wrong with the value.
        source: ValueError,
    },
}

/// The calls that turn `from` into `to`. Equal packages give none, and no call sets what is so already.
///
/// # Errors
/// Where a call would have to touch an anonymous section, or rpcd would refuse or garble it.
pub fn diff(from: &Package, to: &Package) -> Result<Vec<Change>, DiffError> {
    compare_anonymous(from, to)?;
    let mut changes = diff_owned(from, to, |_| true)?;
    let order = order(from, to)?;
    if !order.is_empty() {
        changes.push(Change { config: from.name().clone(), edit: Edit::Order { sections: order } });
    }
    Ok(changes)
}

/// The calls that give those sections of `from` that `owned` picks the state they have in `to`: what is missing there is
/// deleted, what is only there is added at the end, and all other sections, the anonymous ones among them, are left
/// alone. The order of sections is not compared, as it cannot be changed without naming those of others.
///
/// # Errors
/// Where rpcd would refuse or garble a call.
pub fn diff_owned(from: &Package, to: &Package, owned: impl Fn(&Section) -> bool) -> Result<Vec<Change>, DiffError> {
    if from.name() != to.name() {
        return Err(DiffError::OtherPackage { from: from.name().clone(), to: to.name().clone() });
    }
    let is_ours = |section: &&Section| !section.is_anonymous() && owned(section);
    let mut edits = Vec::new();
    for section in from.sections().filter(is_ours) {
        if named(to, section.name()).is_none() {
            edits.push(Edit::DeleteSection { section: section.name().clone() });
        }
    }
    for section in to.sections().filter(is_ours) {
        let difference = Difference { package: from.name(), target: section };
        match named(from, section.name()) {
            None => edits.push(difference.addition(section.options().collect())?),
            Some(old) => difference.edits(old, &mut edits)?,
        }
    }
    Ok(edits.into_iter().map(|edit| Change { config: from.name().clone(), edit }).collect())
}

/// One section that is to come about.
struct Difference<'a> {
    package: &'a PackageName,
    target: &'a Section,
}

impl Difference<'_> {
    fn edits(&self, old: &Section, edits: &mut Vec<Edit>) -> Result<(), DiffError> {
        let section = self.target.name().clone();
        let (before, after) = (by_name(old), by_name(self.target));
        let gone = old.options().filter(|(name, _)| !after.contains_key(name.as_str()));
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        let changed = self.target.options().filter(|(name, value)| before.get(name.as_str()) != Some(value));
        let changed: Vec<_> = changed.collect();
        if !gone.is_empty() {
            edits.push(Edit::DeleteOptions { section: section.clone(), options: gone });
        }
        if old.kind() != self.target.kind() {
            // The type alone: lists that come with it would be appended to those that are there.
            edits.push(self.addition(Vec::new())?);
        }
        if !changed.is_empty() {
            edits.push(Edit::Set { section, values: self.values(changed)? });
        }
        Ok(())
    }

    fn addition(&self, values: Vec<(&crate::OptionName, &Value)>) -> Result<Edit, DiffError> {
        let (kind, name) = (self.target.kind().clone(), self.target.name().clone());
        if !kind.is_portable() {
            return Err(DiffError::Type { package: self.package.clone(), section: name, kind });
        }
        Ok(Edit::Add { kind, name, values: self.values(values)? })
    }

    fn values(&self, values: Vec<(&crate::OptionName, &Value)>) -> Result<Values, DiffError> {
        let check = |(option, value): (&crate::OptionName, &Value)| match value.check() {
            Ok(()) => Ok((option.clone(), value.clone())),
            Err(source) => Err(DiffError::Value {
                package: self.package.clone(),
                section: self.target.name().clone(),
                option: option.clone(),
                source,
            }),
        };
        values.into_iter().map(check).collect()
    }
}

fn named<'a>(package: &'a Package, name: &SectionName) -> Option<&'a Section> {
    package.section(name.as_str()).filter(|section| !section.is_anonymous())
}

fn by_name(section: &Section) -> HashMap<&str, &Value> {
    section.options().map(|(name, value)| (name.as_str(), value)).collect()
}

fn compare_anonymous(from: &Package, to: &Package) -> Result<(), DiffError> {
    let mut old = from.sections().filter(|section| section.is_anonymous());
    let mut new = to.sections().filter(|section| section.is_anonymous());
    loop {
        let differs = match (old.next(), new.next()) {
            (None, None) => return Ok(()),
            (Some(old), Some(new)) if old.kind() == new.kind() && by_name(old) == by_name(new) => continue,
            (Some(section), _) | (None, Some(section)) => section,
        };
        return Err(DiffError::Anonymous { package: from.name().clone(), section: differs.name().clone() });
    }
}

/// The sections that must move to the front, once all others have been deleted and added.
fn order(from: &Package, to: &Package) -> Result<Vec<SectionName>, DiffError> {
    // Anonymous sections are alike in both, so that the nth of one is the nth of the other.
    let is_kept = |section: &&Section| section.is_anonymous() || named(to, section.name()).is_some();
    let is_new = |section: &&Section| !section.is_anonymous() && named(from, section.name()).is_none();
    let mut place = HashMap::new();
    let mut ids = Vec::new();
    for section in from.sections().filter(is_kept).chain(to.sections().filter(is_new)) {
        let place_here = place.len() + ids.len();
        if section.is_anonymous() {
            ids.push((section, place_here));
        } else {
            place.insert(section.name(), place_here);
        }
    }
    let mut ids = ids.into_iter();
    let mut places = Vec::with_capacity(to.len());
    for section in to.sections() {
        let here = if section.is_anonymous() { ids.next() } else { place.get(section.name()).map(|at| (section, *at)) };
        places.extend(here);
    }
    // The longest end of the target that is in order already stays; what comes before it moves to the front.
    let mut stays = places.len();
    while stays > 0 && (stays == places.len() || places[stays - 1].1 < places[stays].1) {
        stays -= 1;
    }
    let moves = &places[..stays];
    if let Some((section, _)) = moves.iter().find(|(section, _)| section.is_anonymous()) {
        return Err(DiffError::AnonymousOrder { package: from.name().clone(), section: section.name().clone() });
    }
    Ok(moves.iter().map(|(section, _)| section.name().clone()).collect())
}
