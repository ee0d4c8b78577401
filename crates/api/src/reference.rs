//! References from one resource to another: by id or by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{ParseError, ResourceName};

/// Another resource, by id or by name. The server answers with ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference<I> {
    /// By id.
    Id(I),
    /// By name, in the caller's tenant.
    Name(ResourceName),
}

impl<I: Copy> Reference<I> {
    /// The id, once the server has put it in the name's place.
    pub fn id(&self) -> Option<I> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(_) => None,
        }
    }
}

impl<I: fmt::Display> fmt::Display for Reference<I> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

impl<I: FromStr<Err = ParseError>> FromStr for Reference<I> {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Name).map_err(|_| ParseError::new(text, "an id or a name of a resource")),
        }
    }
}

impl<I: fmt::Display> Serialize for Reference<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, I: FromStr<Err = ParseError>> Deserialize<'de> for Reference<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
