//! Configuration of a package: what options shall be, in sections that are there or are to be made.
//!
//! It is UCI as a device has it, with these options of our own: `dusk_select 'band=2g'` finds a section by what is in it
//! instead of by name, `dusk_template 'guest'` takes over the options of a template, `list dusk_unset 'option'` takes
//! options away, `dusk_whole '1'` takes away whatever is not named, `dusk_delete '1'` takes the section away.

use std::collections::BTreeMap;
use std::fmt;

use uci::{OptionName, PackageName, SectionName, SectionType, Value};

use super::source::Item;
use super::{DocumentError, Place, Source};
use crate::stable_name;

const SELECT: &str = "dusk_select";
const TEMPLATE: &str = "dusk_template";
const UNSET: &str = "dusk_unset";
const WHOLE: &str = "dusk_whole";
const DELETE: &str = "dusk_delete";
const OWN: [&str; 5] = [SELECT, TEMPLATE, UNSET, WHOLE, DELETE];

/// What a content says about one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDocument {
    /// The package.
    pub package: PackageName,
    /// Its sections, in order.
    pub sections: Vec<WantedSection>,
}

/// A section as a content wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSection {
    /// Its type.
    pub kind: SectionType,
    /// Which one it is.
    pub selector: Selector,
    /// The template whose options it takes over.
    pub template: Option<SectionName>,
    /// How far it goes.
    pub extent: Extent,
    /// What its options shall be.
    pub options: BTreeMap<OptionName, Wanted>,
    /// Where it stands.
    pub place: Place,
}

/// What an option shall be, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The value; nothing where the option shall not be there.
    pub value: Option<Value>,
    /// Where it stands.
    pub place: Place,
}

/// How far a wanted section goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Options that it does not name stay as they are.
    Named,
    /// There shall be no options but those that it names.
    Whole,
    /// The section shall not be there.
    Deleted,
}

/// Which section of its type is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// The one of this name.
    Name(SectionName),
    /// Those in which these options hold these values; of them the one at an index, from the end where it is negative.
    /// For radios `band` is understood whatever the driver calls it.
    Holding {
        /// The options and what they hold.
        criteria: BTreeMap<OptionName, String>,
        /// Which of them.
        index: Option<i32>,
    },
}

impl Selector {
    /// Reads what stands between the brackets of `@zone[name=lan]` or `@rule[0]`.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut criteria, mut index) = (BTreeMap::new(), None);
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None | Some(("index", _)) => {
                    let number = part.strip_prefix("index=").unwrap_or(part);
                    let number = number.parse().map_err(|_| {
                        format!("{part:?} selects nothing: expected a number, or option=value as in band=2g")
                    })?;
                    index = Some(number);
                }
                Some((option, value)) => {
                    let option = OptionName::new(option).map_err(|error| error.to_string())?;
                    criteria.insert(option, value.to_owned());
                }
            }
        }
        Ok(Self::Holding { criteria, index })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (criteria, index) = match self {
            Self::Name(name) => return name.fmt(out),
            Self::Holding { criteria, index } => (criteria, index),
        };
        let mut parts: Vec<String> = criteria.iter().map(|(option, value)| format!("{option}={value}")).collect();
        match index {
            Some(index) if parts.is_empty() => parts.push(index.to_string()),
            Some(index) => parts.push(format!("index={index}")),
            None => {}
        }
        out.write_str(&parts.join(","))
    }
}

impl ConfigDocument {
    pub(super) fn read(source: &Source<'_>) -> Result<Self, DocumentError> {
        let mut sections: Vec<WantedSection> = Vec::new();
        for item in source.items() {
            let section = section(source.package.name(), &item)?;
            let is_same = |other: &&WantedSection| other.kind == section.kind && other.selector == section.selector;
            if let Some(other) = sections.iter().find(is_same) {
                let line = other.place.line.unwrap_or_default();
                return Err(item.error(None, format!("is the same section as that of line {line}: expected it once")));
            }
            sections.push(section);
        }
        Ok(Self { package: source.package.name().clone(), sections })
    }
}

fn section(package: &PackageName, item: &Item<'_>) -> Result<WantedSection, DocumentError> {
    let section = item.section;
    let unknown =
        section.options().find(|(name, _)| name.as_str().starts_with("dusk_") && !OWN.contains(&name.as_str()));
    if let Some((name, _)) = unknown {
        return Err(item.error(Some(name.as_str()), format!("is not known here: expected one of {}", OWN.join(", "))));
    }
    let mut options = BTreeMap::new();
    for (name, value) in section.options().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        let place = item.place(Some(name.as_str()));
        options.insert(name.clone(), Wanted { value: Some(value.clone()), place });
    }
    for text in item.texts(UNSET) {
        let name = OptionName::new(text).map_err(|error| item.error(Some(UNSET), error.to_string()))?;
        let wanted = Wanted { value: None, place: item.place(Some(UNSET)) };
        if options.insert(name, wanted).is_some() {
            return Err(item.error(Some(UNSET), format!("{text} is set and taken away: expected one of both")));
        }
    }
    let extent = match (item.flag(WHOLE)?, item.flag(DELETE)?) {
        (false, false) => Extent::Named,
        (true, false) => Extent::Whole,
        (_, true) if options.is_empty() => Extent::Deleted,
        (_, true) => {
            let option = options.keys().next().map(OptionName::as_str);
            return Err(item.error(option, format!("stands in a section with {DELETE}: expected no other options")));
        }
    };
    let template = item.text(TEMPLATE)?.map(SectionName::new).transpose();
    let template = template.map_err(|error| item.error(Some(TEMPLATE), error.to_string()))?;
    let selector = match item.text(SELECT)? {
        Some(_) if !section.is_anonymous() => {
            return Err(item.error(Some(SELECT), "stands in a section with a name: expected one of both"));
        }
        Some(text) => Selector::parse(text).map_err(|problem| item.error(Some(SELECT), problem))?,
        None if !section.is_anonymous() => Selector::Name(section.name().clone()),
        None => stable_name::selector(package, section),
    };
    Ok(WantedSection { kind: section.kind().clone(), selector, template, extent, options, place: item.place(None) })
}
