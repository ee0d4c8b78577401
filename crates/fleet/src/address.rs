//! The path language of options: `network.lan.ipaddr`, `firewall.@zone[name=lan].input`,
//! `wireless.@radio[band=2g].channel`.

use std::fmt;
use std::str::FromStr;

use uci::{OptionName, PackageName, SectionName, SectionType, Value};

use crate::document::Selector;

/// What radios are called in paths: their type.
const RADIO: (&str, &str) = ("radio", "wifi-device");

/// A text that is no path of an option, or no change of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {problem}")]
pub struct AddressError {
    /// The text.
    pub text: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

/// Which section of a package a path means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SectionAddress {
    /// The package.
    pub package: PackageName,
    /// The type; a name alone does not tell it.
    pub kind: Option<SectionType>,
    /// Which one.
    pub selector: Selector,
}

/// The path of an option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionAddress {
    /// The section.
    pub section: SectionAddress,
    /// The option.
    pub option: OptionName,
}

/// What `dusk set` takes: `path=value`, `path=` to take an option away, `path+=item` and `path-=item` for lists,
/// `package.name=type` to make a section, `package.section=` to take it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// An option gets a value.
    Set(OptionAddress, Value),
    /// An option shall not be there.
    Unset(OptionAddress),
    /// A list gets an item.
    Add(OptionAddress, String),
    /// A list loses an item.
    Remove(OptionAddress, String),
    /// A section shall be there.
    Section(SectionAddress, SectionType),
    /// A section shall not be there.
    Delete(SectionAddress),
}

impl SectionAddress {
    fn read(text: &str) -> Result<(Self, &str), String> {
        let (package, rest) =
            text.split_once('.').ok_or("expected package.section.option, as in network.lan.ipaddr".to_owned())?;
        let package = PackageName::new(package).map_err(|error| error.to_string())?;
        let Some(by_type) = rest.strip_prefix('@') else {
            let (name, rest) = rest.split_once('.').map_or((rest, ""), |(name, rest)| (name, rest));
            let name = SectionName::new(name).map_err(|error| error.to_string())?;
            return Ok((Self { package, kind: None, selector: Selector::Name(name) }, rest));
        };
        let expected = "expected [ ] behind @type, as in @radio[band=2g] or @rule[0]";
        let (kind, rest) = by_type.split_once('[').ok_or(expected.to_owned())?;
        let (inside, rest) = rest.split_once(']').ok_or(expected.to_owned())?;
        let kind = if kind == RADIO.0 { RADIO.1 } else { kind };
        let kind = SectionType::new(kind).map_err(|error| error.to_string())?;
        let selector = Selector::parse(inside)?;
        let rest = match rest.strip_prefix('.') {
            Some(rest) => rest,
            None if rest.is_empty() => rest,
            None => return Err(format!("{rest:?} follows the section: expected .option")),
        };
        Ok((Self { package, kind: Some(kind), selector }, rest))
    }
}

impl FromStr for SectionAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.to_owned(), problem };
        match Self::read(text).map_err(wrong)? {
            (address, "") => Ok(address),
            (_, rest) => Err(wrong(format!("{rest:?} is too much: expected a section"))),
        }
    }
}

impl FromStr for OptionAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.to_owned(), problem };
        let (section, option) = SectionAddress::read(text).map_err(wrong)?;
        if option.is_empty() {
            return Err(wrong("expected an option behind the section".to_owned()));
        }
        let option = OptionName::new(option).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { section, option })
    }
}

impl FromStr for Assignment {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem: String| AddressError { text: text.to_owned(), problem };
        // The first = outside of brackets parts path and value.
        let mut depth = 0;
        let at = text.char_indices().find(|(_, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            depth <= 0 && *c == '='
        });
        let Some((at, _)) = at else {
            return Err(wrong("expected path=value, as in wireless.@radio[band=2g].channel=6".to_owned()));
        };
        let (path, value) = (&text[..at], &text[at + 1..]);
        if let Some(path) = path.strip_suffix('+') {
            return Ok(Self::Add(path.parse()?, value.to_owned()));
        }
        if let Some(path) = path.strip_suffix('-') {
            return Ok(Self::Remove(path.parse()?, value.to_owned()));
        }
        let (section, option) = SectionAddress::read(path).map_err(wrong)?;
        if option.is_empty() {
            if value.is_empty() {
                return Ok(Self::Delete(section));
            }
            let kind = SectionType::new(value).map_err(|error| wrong(error.to_string()))?;
            if section.kind.as_ref().is_some_and(|other| *other != kind) {
                return Err(wrong("the type is that of the path: expected package.name=type".to_owned()));
            }
            return Ok(Self::Section(section, kind));
        }
        let option = OptionName::new(option).map_err(|error| wrong(error.to_string()))?;
        let address = OptionAddress { section, option };
        if value.is_empty() {
            return Ok(Self::Unset(address));
        }
        let value = Value::from(value);
        value.check().map_err(|error| wrong(error.to_string()))?;
        Ok(Self::Set(address, value))
    }
}

impl fmt::Display for SectionAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_ref().map(SectionType::as_str);
        let kind = kind.map(|kind| if kind == RADIO.1 { RADIO.0 } else { kind });
        match (&self.selector, kind) {
            (Selector::Name(name), _) => write!(out, "{}.{name}", self.package),
            (selector, kind) => write!(out, "{}.@{}[{selector}]", self.package, kind.unwrap_or("section")),
        }
    }
}

impl fmt::Display for OptionAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.section, self.option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_they_are_read() {
        for path in [
            "network.lan.ipaddr",
            "wireless.@radio[band=2g].channel",
            "firewall.@rule[-1].target",
            "firewall.@forwarding[dest=wan,src=lan].enabled",
            "wireless.@wifi-iface[network=lan,index=1].ssid",
        ] {
            assert_eq!(path.parse::<OptionAddress>().unwrap().to_string(), path);
        }
    }

    #[test]
    fn an_assignment_parts_at_the_first_equals_sign_outside_of_brackets() {
        let Ok(Assignment::Set(address, value)) = "wireless.@radio[band=2g].channel=a=b".parse() else { panic!("set") };
        assert_eq!((address.option.as_str(), value.as_str()), ("channel", Some("a=b")));
        assert_eq!(address.section.kind.unwrap().as_str(), "wifi-device");
        assert!(matches!("network.lan.dns+=1.1.1.1".parse(), Ok(Assignment::Add(_, item)) if item == "1.1.1.1"));
        assert!(matches!("network.lan.dns-=1.1.1.1".parse(), Ok(Assignment::Remove(..))));
        assert!(matches!("network.lan.dns=".parse(), Ok(Assignment::Unset(_))));
        assert!(matches!("network.guest=interface".parse(), Ok(Assignment::Section(..))));
        assert!(matches!("network.guest=".parse(), Ok(Assignment::Delete(_))));
    }

    #[test]
    fn what_is_no_path_is_told_with_what_was_expected() {
        for (bad, expected) in [
            ("network", "path=value"),
            ("network=1", "network.lan.ipaddr"),
            ("network.lan", "path=value"),
            ("network.@radio.channel=6", "@radio[band=2g]"),
            ("wireless.@radio[2g].channel=6", "band=2g"),
            ("wireless.@radio[band=2g]channel=6", ".option"),
            ("network.l-n.x=1", "letters, digits"),
            ("network.lan.x=\u{1}", "U+0001"),
        ] {
            let error = bad.parse::<Assignment>().unwrap_err().to_string();
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}
