//! Names for sections that have none. An id like `cfg02af21` is a position: it means another section as soon as somebody
//! adds one before it. So what is managed is found by what is in it, and gets a name that follows from that.

use std::collections::BTreeMap;

use uci::{OptionName, PackageName, Section, SectionName, SectionType, Value};

use crate::document::Selector;
use crate::hash::hash;

/// The longest name that is made here.
const LONGEST: usize = 48;

/// The options that tell sections of a type apart, by package and type.
const KEYS: &[(&str, &str, &[&str])] = &[
    ("firewall", "zone", &["name"]),
    ("firewall", "forwarding", &["src", "dest"]),
    ("firewall", "rule", &["name"]),
    ("firewall", "redirect", &["name"]),
    ("firewall", "ipset", &["name"]),
    ("firewall", "nat", &["name"]),
    ("firewall", "include", &["path"]),
    ("dhcp", "host", &["mac"]),
    ("dhcp", "domain", &["name"]),
    ("network", "device", &["name"]),
    ("network", "bridge-vlan", &["device", "vlan"]),
    ("network", "switch", &["name"]),
    ("network", "switch_vlan", &["device", "vlan"]),
    ("system", "led", &["sysfs"]),
];

/// Types of which a package has one section.
const SINGLE: &[(&str, &str)] =
    &[("firewall", "defaults"), ("dhcp", "dnsmasq"), ("system", "system"), ("dropbear", "dropbear")];

/// How a section without a name is found again: by what tells it apart from others of its type, by being the only one, or
/// by a name made of all that is in it.
pub(crate) fn selector(package: &PackageName, section: &Section) -> Selector {
    if let Some(criteria) = criteria(package, section) {
        return Selector::Holding { criteria, index: None };
    }
    if is_single(package, section.kind()) {
        return Selector::Holding { criteria: BTreeMap::new(), index: Some(0) };
    }
    let options = section.options().map(|(name, value)| (name.clone(), value.clone())).collect();
    Selector::Name(of_content(section.kind(), &options))
}

/// The options that tell a section apart, if it has all that its type should have.
fn criteria(package: &PackageName, section: &Section) -> Option<BTreeMap<OptionName, String>> {
    let keys = keys(package.as_str(), section.kind().as_str())?;
    keys.iter()
        .map(|key| Some((OptionName::new(*key).ok()?, section.text(key)?.to_owned())))
        .collect::<Option<BTreeMap<_, _>>>()
}

/// Whether a package has one section of this type.
pub(crate) fn is_single(package: &PackageName, kind: &SectionType) -> bool {
    SINGLE.contains(&(package.as_str(), kind.as_str()))
}

/// The name of a section that is found by what it holds: its type, and what it holds.
pub(crate) fn of_criteria(kind: &SectionType, criteria: &BTreeMap<OptionName, String>) -> SectionName {
    let values: Vec<&str> = criteria.values().map(String::as_str).collect();
    let text = match values.is_empty() {
        true => kind.to_string(),
        false => format!("{kind}_{}", values.join("_")),
    };
    let word: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    // Different values must not become the same name.
    let is_plain = word == text && word.len() <= LONGEST;
    let name = match is_plain {
        true => word,
        false => {
            let parts = std::iter::once(kind.as_str()).chain(values).collect::<Vec<_>>().join("\0");
            let mark = hash("stable name", &[parts.as_bytes()]).to_string();
            format!("{}_{}", word.get(..LONGEST).unwrap_or(&word), &mark[..6])
        }
    };
    SectionName::new(name).expect("invariant: made of letters, digits and '_'")
}

/// A name made of all that is in a section.
pub(crate) fn of_content(kind: &SectionType, options: &BTreeMap<OptionName, Value>) -> SectionName {
    let mut parts = vec![kind.as_str()];
    for (name, value) in options {
        parts.push(name.as_str());
        parts.push(if value.as_str().is_some() { "option" } else { "list" });
        parts.extend(value.items().iter().map(String::as_str));
    }
    // No text of UCI holds the character that keeps them apart.
    let mark = hash("stable name", &[parts.join("\0").as_bytes()]).to_string();
    let kind = kind.as_str().replace('-', "_");
    SectionName::new(format!("{kind}_{}", &mark[..8])).expect("invariant: made of letters, digits and '_'")
}

fn keys(package: &str, kind: &str) -> Option<&'static [&'static str]> {
    KEYS.iter().find(|(of, what, _)| (*of, *what) == (package, kind)).map(|(_, _, keys)| *keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> SectionType {
        SectionType::new(text).unwrap()
    }

    #[test]
    fn different_sections_never_share_a_name() {
        let name = |value: &str| of_criteria(&kind("rule"), &[(OptionName::new("name").unwrap(), value.into())].into());
        assert_eq!(name("lan").as_str(), "rule_lan");
        assert!(name("Allow-Ping").as_str().starts_with("rule_allow_ping_"));
        assert_ne!(name("Allow-Ping"), name("Allow Ping"));
        assert_ne!(name("LAN"), name("lan"));
        let long = name(&"x".repeat(300));
        assert!(long.as_str().len() < 60, "{long}");
        name("Grüße 日本");
    }

    #[test]
    fn content_gives_a_name_that_changes_with_it() {
        let of = |value: Value| of_content(&kind("bridge-vlan"), &[(OptionName::new("o").unwrap(), value)].into());
        assert_eq!(of("1".into()), of("1".into()));
        assert_ne!(of("1".into()), of(["1"].into()));
        assert!(of("1".into()).as_str().starts_with("bridge_vlan_"));
    }
}
