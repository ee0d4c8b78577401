//! Tags: what people hang on resources to find them again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A tag's key: 1 to 63 lower-case letters, digits, and `.`, `_`, `-`, `/` inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagKey(String);

/// A tag's value: up to 255 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagValue(String);

/// A resource's tags, 64 at most.
pub type Tags = BTreeMap<TagKey, TagValue>;

impl TagKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TagValue {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TagKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for TagValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for TagKey {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| plain(byte) || b"._-/".contains(&byte))
            && text.bytes().next().is_some_and(plain)
            && text.bytes().last().is_some_and(plain);
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(ParseError::new(text, "a tag's key (1 to 63 lower-case letters, digits, and . _ - / inside)")),
        }
    }
}

impl FromStr for TagValue {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.chars().count() <= 255 && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(ParseError::new(text, "a tag's value (255 characters at most, no control characters)")),
        }
    }
}

text_type!(TagKey, "team", "A tag's key: 1 to 63 lower-case letters, digits, and . _ - / inside.");
text_type!(TagValue, "garden", "A tag's value: 255 characters at most, no control characters.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_narrow_and_values_wide() {
        assert!("team.garden/x".parse::<TagKey>().is_ok());
        for bad in ["", "-a", "a/", "A", &"a".repeat(64)] {
            assert!(bad.parse::<TagKey>().is_err(), "{bad}");
        }
        assert!("".parse::<TagValue>().is_ok());
        assert!("ü ✓".parse::<TagValue>().is_ok());
        assert!("a\nb".parse::<TagValue>().is_err());
    }
}
