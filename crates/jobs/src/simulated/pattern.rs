//! Texts with `*` for anything, which name several things at once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text in which `*` stands for any run of characters: `hypervisor-*`, `network/*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of that text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `text` is one of those that it names.
    pub fn matches(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(start) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let end = parts.pop().unwrap_or_default();
        for part in parts {
            let Some(place) = text.find(part) else { return false };
            text = &text[place + part.len()..];
        }
        text.ends_with(end)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in
            [("*", ""), ("a", "a"), ("a*", "abc"), ("*c", "abc"), ("a*c", "ac"), ("a*b*c", "a-b-b-c")]
        {
            assert!(Pattern::new(pattern).matches(text), "{pattern} names {text}");
        }
        for (pattern, text) in [("", "a"), ("a", "ab"), ("a*", "ba"), ("a*a", "a"), ("a*b*c", "acb"), ("*b*c", "cb")] {
            assert!(!Pattern::new(pattern).matches(text), "{pattern} does not name {text}");
        }
    }
}
