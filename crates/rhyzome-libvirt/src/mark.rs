//! The mark that everything of ours bears where it lives: whose it is and which desired state it was brought to.

use std::fmt;
use std::str::FromStr;

use jobs::{Held, Object};
use types::{Epoch, ParseError, Revision, Version};

/// Written as `rhyzome segment/net-… 1:7`, as in a bridge's alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub object: Object,
    /// The desired state it was brought to last; [`Mark::UNFINISHED`] before there is one.
    pub version: Version,
}

impl Mark {
    /// Older than every desired state, so that one is applied in any case.
    pub const UNFINISHED: Version = Version { epoch: Epoch(0), revision: Revision(0) };
    const WORD: &'static str = "rhyzome";
}

impl From<Mark> for Held {
    fn from(mark: Mark) -> Self {
        Self { object: mark.object, version: mark.version }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", Self::WORD, self.object, self.version)
    }
}

impl FromStr for Mark {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a mark (rhyzome, an object, a version)");
        let rest = text.strip_prefix(Self::WORD).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(refuse)?;
        let (object, version) = rest.split_once(' ').ok_or_else(refuse)?;
        Ok(Self { object: object.parse()?, version: version.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use types::NetworkId;

    use super::*;

    #[test]
    fn a_mark_round_trips() {
        let mark = Mark { object: Object::Segment(NetworkId::from_bits(7)), version: "2:41".parse().unwrap() };
        assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark);
        assert!(Mark::UNFINISHED < mark.version);
    }

    #[test]
    fn what_is_not_ours_is_no_mark() {
        for text in ["", "rhyzome", "uplink to the hall", "rhyzomes network/net-0000000000007 1:1"] {
            assert!(text.parse::<Mark>().is_err(), "{text:?}");
        }
    }
}
