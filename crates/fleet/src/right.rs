//! Rights: which sections, what may be done with them, of which group.

use std::fmt;
use std::str::FromStr;

use types::ParseError;

use crate::GroupName;
use crate::cbor::{BytesError, Cbor, Reader, Writer};

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Write a section.
    Put,
    /// Delete a section.
    Delete,
    /// Write options that run code on devices, and have devices act.
    Execute,
    /// Approve, change and remove devices, make group keys.
    Approve,
    /// Make and take back join keys.
    Invite,
    /// Make users and change what they may, take keys away.
    Grant,
    /// Name voters, resolve forks.
    Vote,
}

/// All verbs in the order of their numbers, with their words.
pub const VERBS: [(Verb, &str); 7] = [
    (Verb::Put, "put"),
    (Verb::Delete, "delete"),
    (Verb::Execute, "execute"),
    (Verb::Approve, "approve"),
    (Verb::Invite, "invite"),
    (Verb::Grant, "grant"),
    (Verb::Vote, "vote"),
];

cbor_numbers! {
    Verb "a verb (0 to 6)" { Put = 0, Delete = 1, Execute = 2, Approve = 3, Invite = 4, Grant = 5, Vote = 6 }
}

impl fmt::Display for Verb {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(VERBS[*self as usize].1)
    }
}

impl FromStr for Verb {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = VERBS.iter().find(|(_, word)| *word == text);
        found
            .map(|(verb, _)| *verb)
            .ok_or_else(|| ParseError::new(text, "a verb (put, delete, execute, approve, invite, grant, vote)"))
    }
}

/// Some verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verbs(u8);

impl Verbs {
    /// Every verb.
    pub const ALL: Self = Self(0x7f);

    /// These.
    pub fn of(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self(verbs.into_iter().fold(0, |all, verb| all | 1 << verb as u8))
    }

    /// Whether this is one of them.
    pub const fn has(self, verb: Verb) -> bool {
        self.0 & 1 << verb as u8 != 0
    }

    const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Cbor for Verbs {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        let error = input.malformed("a set of verbs (1 to 127)");
        let bits = u8::read(input)?;
        (1..=Self::ALL.0).contains(&bits).then_some(Self(bits)).ok_or(error)
    }
}

/// Which sections: segments, of which `*` stands for any one, and a last `**` for any that follow, one at least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

impl Glob {
    /// All sections.
    pub fn all() -> Self {
        Self("**".into())
    }

    /// The glob as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a path.
    pub fn matches(&self, path: &str) -> bool {
        self.holds(path, |mine, other| mine == "*" || mine == other)
    }

    /// Whether everything that `other` matches is matched by this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.holds(&other.0, |mine, other| other != "**" && (mine == "*" || mine == other))
    }

    fn holds(&self, other: &str, one: impl Fn(&str, &str) -> bool) -> bool {
        let (mut mine, mut others) = (self.0.split('/'), other.split('/'));
        loop {
            match (mine.next(), others.next()) {
                (Some("**"), Some(_)) => return true,
                (Some(mine), Some(other)) if one(mine, other) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl FromStr for Glob {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let literal = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(allowed);
        let segments: Vec<_> = text.split('/').collect();
        let last = segments.len() - 1;
        let good =
            |(at, segment): (usize, &&str)| literal(segment) || *segment == "*" || *segment == "**" && at == last;
        (text.len() <= 128 && segments.iter().enumerate().all(good)).then(|| Self(text.to_owned())).ok_or_else(|| {
            ParseError::new(
                text,
                "a pattern of sections (segments, \"*\" for any one, a last \"**\" for any that follow)",
            )
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

cbor_texts! { Glob "a pattern of sections"; }

/// A right. What it says nothing of, it does not allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Of which sections.
    pub sections: Glob,
    /// What may be done.
    pub verbs: Verbs,
    /// Only where this group is concerned; anywhere if there is none.
    pub group: Option<GroupName>,
}

cbor_arrays! { Right 3 [sections, verbs, group]; }

impl Right {
    /// Everything, everywhere.
    pub fn all() -> Self {
        Self { sections: Glob::all(), verbs: Verbs::ALL, group: None }
    }

    /// Whether it allows all that `other` allows.
    pub fn covers(&self, other: &Self) -> bool {
        self.verbs.covers(other.verbs)
            && self.sections.covers(&other.sections)
            && (self.group.is_none() || self.group == other.group)
    }

    fn allows(&self, verb: Verb, path: &str, groups: &[GroupName]) -> bool {
        let group = self.group.as_ref().is_none_or(|group| groups.contains(group));
        group && self.verbs.has(verb) && self.sections.matches(path)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = VERBS.iter().filter(|(verb, _)| self.verbs.has(*verb)).map(|(_, word)| *word).collect();
        write!(out, "{}:{}", self.sections, words.join("+"))?;
        self.group.as_ref().map_or(Ok(()), |group| write!(out, ":{group}"))
    }
}

impl FromStr for Right {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected =
            "a right (\"SECTIONS:VERB+VERB\" or \"SECTIONS:VERB+VERB:GROUP\", such as \"groups/*/**:put+delete\")";
        let error = || ParseError::new(text, expected);
        let mut parts = text.split(':');
        let sections = parts.next().ok_or_else(error)?.parse()?;
        let verbs = match parts.next().ok_or_else(error)? {
            "all" => Verbs::ALL,
            words => Verbs::of(words.split('+').map(str::parse).collect::<Result<Vec<Verb>, _>>()?),
        };
        let group = parts.next().map(str::parse).transpose()?;
        match parts.next() {
            Some(_) => Err(error()),
            None => Ok(Self { sections, verbs, group }),
        }
    }
}

/// Whether one of these rights allows it. `groups` are those that are concerned.
pub fn allowed(rights: &[Right], verb: Verb, path: &str, groups: &[GroupName]) -> bool {
    rights.iter().any(|right| right.allows(verb, path, groups))
}

/// Whether these rights allow all that those allow.
pub fn covered(these: &[Right], those: &[Right]) -> bool {
    those.iter().all(|that| these.iter().any(|this| this.covers(that)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_all_that_follow() {
        assert!(glob("groups/*/config/network").matches("groups/ap/config/network"));
        assert!(!glob("groups/*").matches("groups/ap/config/network"));
        assert!(glob("groups/**").matches("groups/ap/config/network"));
        assert!(!glob("groups/ap/**").matches("groups/ap"));
        for bad in ["", "a//b", "**/a", "a*", "a/**b", "a b"] {
            assert!(bad.parse::<Glob>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nobody_covers_more_than_they_have() {
        let (all, group): (Right, Right) = ("**:all".parse().unwrap(), "groups/*/**:put:ap".parse().unwrap());
        assert!(all.covers(&group) && !group.covers(&all));
        assert!(!group.covers(&"groups/*/**:put".parse().unwrap()));
        assert!(!group.covers(&"groups/*/**:put+execute:ap".parse().unwrap()));
        assert!(!glob("*").covers(&glob("**")));
        assert_eq!(group.to_string(), "groups/*/**:put:ap");
    }

    fn any_glob() -> impl Strategy<Value = Glob> {
        let segment = prop::sample::select(vec!["a", "b", "*"]);
        (prop::collection::vec(segment, 0..3), any::<bool>()).prop_map(|(mut segments, open)| {
            if open || segments.is_empty() {
                segments.push("**");
            }
            glob(&segments.join("/"))
        })
    }

    proptest! {
        #[test]
        fn what_a_covered_pattern_matches_is_matched(one in any_glob(), other in any_glob(), path in "[abc](/[abc]){0,3}") {
            if one.covers(&other) && other.matches(&path) {
                prop_assert!(one.matches(&path));
            }
        }
    }
}
