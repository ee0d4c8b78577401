//! `dusk set`: assignments written into the content of a section, which keeps its comments and its order.

use uci::{EditError, OptionName, Package, PackageName, ParseError, Section, SectionName, SectionType, Value};

use crate::address::{Assignment, OptionAddress, SectionAddress};
use crate::document::Selector;
use crate::stable_name;

/// Why an assignment cannot be written into a content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The content that is there is not UCI.
    #[error("the content that is there: {0}")]
    Content(#[from] ParseError),
    /// UCI cannot hold it.
    #[error("{address}: {source}")]
    Edit {
        /// What was to be changed.
        address: String,
        /// Why not.
        source: EditError,
    },
    /// The type of a section that is to be made is not known.
    #[error("{address}: the section is not in the content: expected {package}.{section}=TYPE before it")]
    NoType {
        /// What was to be changed.
        address: String,
        /// The package.
        package: PackageName,
        /// The section.
        section: SectionName,
    },
    /// The list does not have the item.
    #[error("{address} does not hold {item:?}")]
    NoItem {
        /// What was to be changed.
        address: String,
        /// What it should lose.
        item: String,
    },
    /// The assignment is about another package.
    #[error("{address} is of another package: expected {package}")]
    OtherPackage {
        /// What was to be changed.
        address: String,
        /// The package that the content is about.
        package: PackageName,
    },
}

/// Types of sections that are known by their package and name on every device.
const KNOWN: &[(&str, &str, &str)] = &[
    ("network", "lan", "interface"),
    ("network", "wan", "interface"),
    ("network", "wan6", "interface"),
    ("network", "loopback", "interface"),
    ("network", "globals", "globals"),
    ("dhcp", "lan", "dhcp"),
    ("dhcp", "wan", "dhcp"),
    ("dhcp", "odhcpd", "odhcpd"),
    ("system", "ntp", "timeserver"),
];

/// Writes assignments into the content of a section about `package`, empty where there is none.
///
/// The types of named sections come from the content, else from what `kind_of` knows, mostly of devices.
///
/// # Errors
/// Names the assignment and what was expected. Nothing is written then.
pub fn set(
    package: &PackageName,
    content: &str,
    assignments: &[Assignment],
    kind_of: impl Fn(&SectionName) -> Option<SectionType>,
) -> Result<String, SetError> {
    let mut edited = Package::parse(package.clone(), content)?;
    for assignment in assignments {
        assign(&mut edited, assignment, &kind_of)?;
    }
    Ok(edited.print())
}

fn assign(
    content: &mut Package,
    assignment: &Assignment,
    kind_of: &impl Fn(&SectionName) -> Option<SectionType>,
) -> Result<(), SetError> {
    let address = match assignment {
        Assignment::Set(address, _)
        | Assignment::Unset(address)
        | Assignment::Add(address, _)
        | Assignment::Remove(address, _) => &address.section,
        Assignment::Section(address, _) | Assignment::Delete(address) => address,
    };
    if address.package != *content.name() {
        return Err(SetError::OtherPackage { address: address.to_string(), package: content.name().clone() });
    }
    let wrong = |source| SetError::Edit { address: address.to_string(), source };
    match assignment {
        Assignment::Section(address, kind) => section(content, address, Some(kind.clone()), kind_of).map(drop),
        Assignment::Delete(address) => {
            let section = section(content, address, None, kind_of)?;
            let options: Vec<_> = section.options().map(|(name, _)| name.clone()).collect();
            for option in options.iter().filter(|option| option.as_str() != "dusk_select") {
                section.delete(option.as_str()).map_err(wrong)?;
            }
            section.set("dusk_delete", true).map_err(wrong)
        }
        Assignment::Set(at, value) => {
            let section = section(content, address, None, kind_of)?;
            wish_for(section, &at.option).map_err(wrong)?;
            section.set(at.option.clone(), value.clone()).map_err(wrong)
        }
        Assignment::Unset(at) => {
            let section = section(content, address, None, kind_of)?;
            if section.get(at.option.as_str()).is_some() {
                section.delete(at.option.as_str()).map_err(wrong)?;
            }
            let mut unset = items(section, "dusk_unset");
            if !unset.contains(&at.option.to_string()) {
                unset.push(at.option.to_string());
            }
            section.set("dusk_unset", Value::List(unset)).map_err(wrong)
        }
        Assignment::Add(at, item) => {
            let section = section(content, address, None, kind_of)?;
            wish_for(section, &at.option).map_err(wrong)?;
            let mut list = items(section, at.option.as_str());
            if !list.contains(item) {
                list.push(item.clone());
            }
            section.set(at.option.clone(), Value::List(list)).map_err(wrong)
        }
        Assignment::Remove(at, item) => remove(section(content, address, None, kind_of)?, at, item),
    }
}

fn remove(section: &mut Section, at: &OptionAddress, item: &str) -> Result<(), SetError> {
    let wrong = |source| SetError::Edit { address: at.to_string(), source };
    let mut list = items(section, at.option.as_str());
    let count = list.len();
    list.retain(|other| other != item);
    if list.len() == count {
        return Err(SetError::NoItem { address: at.to_string(), item: item.to_owned() });
    }
    match list.is_empty() {
        true => section.delete(at.option.as_str()).map(drop).map_err(wrong),
        false => section.set(at.option.clone(), Value::List(list)).map_err(wrong),
    }
}

/// What is set is not taken away any more, and what is wanted again is not deleted.
fn wish_for(section: &mut Section, option: &OptionName) -> Result<(), EditError> {
    if section.get("dusk_delete").is_some() {
        section.delete("dusk_delete")?;
    }
    let mut unset = items(section, "dusk_unset");
    if !unset.iter().any(|name| name == option.as_str()) {
        return Ok(());
    }
    unset.retain(|name| name != option.as_str());
    match unset.is_empty() {
        true => section.delete("dusk_unset").map(drop),
        false => section.set("dusk_unset", Value::List(unset)),
    }
}

fn items(section: &Section, option: &str) -> Vec<String> {
    section.get(option).map_or(Vec::new(), |value| value.items().to_vec())
}

/// The section of the content that an address means; it is made where it is not there.
fn section<'a>(
    content: &'a mut Package,
    address: &SectionAddress,
    kind: Option<SectionType>,
    kind_of: &impl Fn(&SectionName) -> Option<SectionType>,
) -> Result<&'a mut Section, SetError> {
    let wrong = |source| SetError::Edit { address: address.to_string(), source };
    let package = content.name().clone();
    match &address.selector {
        Selector::Name(name) => {
            if content.section(name.as_str()).is_none() {
                let known = KNOWN.iter().find(|(of, known, _)| (*of, *known) == (package.as_str(), name.as_str()));
                let known = || known.and_then(|(_, _, kind)| SectionType::new(*kind).ok());
                let no_type = || SetError::NoType {
                    address: address.to_string(),
                    package: package.clone(),
                    section: name.clone(),
                };
                let kind = kind.or_else(|| kind_of(name)).or_else(known).ok_or_else(no_type)?;
                content.add(kind, name.clone()).map_err(wrong)?;
            }
            let found = content.section_mut(name.as_str());
            Ok(found.expect("invariant: it is there or was added"))
        }
        selector => {
            let kind = address.kind.clone().or(kind).expect("invariant: a selector stands behind a type");
            let is_it = |section: &Section| {
                let own = match section.text("dusk_select") {
                    Some(text) => Selector::parse(text).ok(),
                    None => section.is_anonymous().then(|| stable_name::selector(&package, section)),
                };
                *section.kind() == kind && own.as_ref() == Some(selector)
            };
            let id = content.sections().find(|section| is_it(section)).map(|section| section.name().clone());
            let id = match id {
                Some(id) => id,
                None => {
                    let section = content.add_anonymous(kind).map_err(wrong)?;
                    section.set("dusk_select", selector.to_string()).map_err(wrong)?;
                    section.name().clone()
                }
            };
            Ok(content.section_mut(id.as_str()).expect("invariant: it is there or was added"))
        }
    }
}
