//! Sections: what the configuration is a map of.

use std::fmt;
use std::str::FromStr;

use types::ParseError;

use crate::name::is_name;
use crate::{DeviceId, GroupName, UserName};

/// The longest path, in bytes.
const LONGEST: usize = 128;
const EXPECTED: &str = "a section (\"users/NAME/…\", \"groups/NAME/…\", \"policies/NAME/…\" or \"devices/ID/…\": \
                        segments of letters, digits, \"-\", \"_\" and \".\", 128 characters at most)";

/// Where a section stands: `users/<name>/…`, `groups/<g>/…`, `policies/<p>/…`, `devices/<id>/…`.
///
/// A section of UCI is `…/config/<package>`. Segments are letters, digits, `-`, `_` and `.`, and do not begin with `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionPath(String);

/// Whom a section concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A user.
    User(UserName),
    /// All devices of a group.
    Group(GroupName),
    /// Whom the policy of this name says.
    Policy(String),
    /// One device.
    Device(DeviceId),
}

impl SectionPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whom the section concerns.
    pub fn scope(&self) -> Scope {
        read_scope(&self.0).expect("invariant: checked when the path was read")
    }

    /// What follows the scope: `config/network` of `groups/ap/config/network`.
    pub fn rest(&self) -> &str {
        let mut parts = self.0.splitn(3, '/');
        parts.nth(2).expect("invariant: checked when the path was read")
    }
}

impl Scope {
    /// What the paths of all its sections begin with: `groups/ap/`.
    pub fn prefix(&self) -> String {
        match self {
            Self::User(name) => format!("users/{name}/"),
            Self::Group(name) => format!("groups/{name}/"),
            Self::Policy(name) => format!("policies/{name}/"),
            Self::Device(id) => format!("devices/{id}/"),
        }
    }

    /// The section of this scope that `rest` names.
    pub fn section(&self, rest: &str) -> Result<SectionPath, ParseError> {
        (self.prefix() + rest).parse()
    }
}

fn read_scope(path: &str) -> Option<Scope> {
    let mut parts = path.splitn(3, '/');
    let (class, name, _) = (parts.next()?, parts.next()?, parts.next()?);
    match class {
        "users" => Some(Scope::User(name.parse().ok()?)),
        "groups" => Some(Scope::Group(name.parse().ok()?)),
        "policies" => is_name(name).then(|| Scope::Policy(name.to_owned())),
        "devices" => Some(Scope::Device(name.parse().ok()?)),
        _ => None,
    }
}

fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

impl FromStr for SectionPath {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let good = text.len() <= LONGEST && text.split('/').all(is_segment) && read_scope(text).is_some();
        good.then(|| Self(text.to_owned())).ok_or_else(|| ParseError::new(text, EXPECTED))
    }
}

impl fmt::Display for SectionPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

cbor_texts! { SectionPath "a section's path"; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_whom_it_concerns_and_what_of_it() {
        let path: SectionPath = "groups/ap/config/wireless".parse().unwrap();
        assert_eq!(path.scope(), Scope::Group("ap".parse().unwrap()));
        assert_eq!(path.rest(), "config/wireless");
        assert_eq!(path.scope().section("config/wireless"), Ok(path));
    }

    #[test]
    fn paths_that_could_mean_something_else_are_refused() {
        let long = format!("groups/ap/{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "groups",
            "groups/ap",
            "groups/ap/",
            "groups//x",
            "/groups/ap/x",
            "groups/AP/x",
            "groups/ap/../x",
            "devices/ap/x",
            "else/ap/x",
            "groups/ap/a b",
            &long,
        ] {
            assert!(bad.parse::<SectionPath>().is_err(), "{bad:?}");
        }
    }
}
