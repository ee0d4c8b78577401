//! What a change comes to, as people are shown it.

use std::fmt;

use uci::{Config, OptionName, PackageName, Section, SectionName, SectionType, Value};

use crate::effective::Effective;
use crate::mask;

/// What differs between two configurations.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    /// The package.
    pub package: PackageName,
    /// The section: its name where it has one.
    pub section: SectionName,
    /// Its type.
    pub kind: SectionType,
    /// What differs.
    pub what: What,
}

/// What differs in a section.
#[derive(Clone, PartialEq, Eq)]
pub enum What {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// An option of it has another value.
    Option {
        /// The option.
        option: OptionName,
        /// What it was.
        before: Option<Value>,
        /// What it is to be.
        after: Option<Value>,
        /// Whether both are shown masked.
        is_secret: bool,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, section, kind, what } = self;
        match what {
            What::Added => write!(out, "+ {package}.{section}={kind}"),
            What::Removed => write!(out, "- {package}.{section}={kind}"),
            What::Option { option, before, after, is_secret } => {
                let shown = |value: &Value| mask::shown(value, *is_secret);
                match (before, after) {
                    (None, Some(after)) => write!(out, "+ {package}.{section}.{option}={}", shown(after)),
                    (Some(before), None) => write!(out, "- {package}.{section}.{option}={}", shown(before)),
                    (Some(before), Some(after)) => {
                        write!(out, "~ {package}.{section}.{option}={} (was {})", shown(after), shown(before))
                    }
                    (None, None) => write!(out, "  {package}.{section}.{option}"),
                }
            }
        }
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What differs between two configurations, in order. The effective configurations tell which values are secret although
/// their names do not give that away.
#[must_use]
pub fn difference(before: &Config, after: &Config, effective: &[&Effective]) -> Vec<Difference> {
    let mut packages: Vec<&PackageName> = before.packages().chain(after.packages()).map(uci::Package::name).collect();
    packages.sort();
    packages.dedup();
    let mut found = Vec::new();
    for package in packages {
        let (old, new) = (before.get(package.as_str()), after.get(package.as_str()));
        let in_new = |section: &Section| new.and_then(|new| new.section(section.name().as_str()));
        let in_old = |section: &Section| old.and_then(|old| old.section(section.name().as_str()));
        for section in old.into_iter().flat_map(|old| old.sections()).filter(|section| in_new(section).is_none()) {
            found.push(whole(package, section, What::Removed));
        }
        for section in new.into_iter().flat_map(|new| new.sections()) {
            let earlier = in_old(section);
            if earlier.is_none() {
                found.push(whole(package, section, What::Added));
            }
            found.extend(options(package, earlier, section, effective));
        }
    }
    found
}

fn whole(package: &PackageName, section: &Section, what: What) -> Difference {
    Difference { package: package.clone(), section: section.name().clone(), kind: section.kind().clone(), what }
}

fn options(
    package: &PackageName,
    earlier: Option<&Section>,
    section: &Section,
    effective: &[&Effective],
) -> Vec<Difference> {
    let mut names: Vec<&OptionName> =
        earlier.into_iter().flat_map(Section::options).chain(section.options()).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let key = (package.clone(), section.name().clone());
    let mut found = Vec::new();
    for option in names {
        let (before, after) = (earlier.and_then(|old| old.get(option.as_str())), section.get(option.as_str()));
        if before == after {
            continue;
        }
        let known = effective.iter().filter_map(|effective| effective.sections.get(&key)?.settings.get(option));
        let is_known_secret = known.flatten().any(|setting| setting.is_secret);
        let what = What::Option {
            option: option.clone(),
            before: before.cloned(),
            after: after.cloned(),
            is_secret: is_known_secret || mask::is_secret(package, section.kind(), option),
        };
        found.push(whole(package, section, what));
    }
    found
}
