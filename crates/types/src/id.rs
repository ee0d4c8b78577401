//! Typed ids: a prefix that names the kind and 13 characters of base32 (42 bits of milliseconds, 22 random).
//!
//! Ids sort by the time they were made. They are names, never secrets.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// Crockford's alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters after the prefix: 13 × 5 bits hold 64.
const LENGTH: usize = 13;
const EXPECTED: &str = "an id (a prefix such as \"net-\" and 13 characters of base32)";

/// Why no id could be made.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// The system's source of randomness failed.
    #[error("no randomness for an id: {0}")]
    Randomness(getrandom::Error),
}

fn encode(value: u64) -> [u8; LENGTH] {
    std::array::from_fn(|place| ALPHABET[(value >> (5 * (LENGTH - 1 - place)) & 31) as usize])
}

fn decode(text: &str) -> Option<u64> {
    if text.len() != LENGTH {
        return None;
    }
    let mut value: u64 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)? as u64;
        if place == 0 && digit > 15 {
            return None;
        }
        value = value << 5 | digit;
    }
    Some(value)
}

/// Puts 42 bits of milliseconds before 22 bits of `random`.
fn compose(unix_ms: u64, random: u32) -> u64 {
    unix_ms << 22 | u64::from(random) & 0x3f_ffff
}

fn random() -> Result<u32, IdError> {
    getrandom::u32().map_err(IdError::Randomness)
}

macro_rules! ids {
    ($($name:ident $prefix:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// What the text form begins with, hyphen included.
            pub const PREFIX: &'static str = concat!($prefix, "-");

            /// A fresh id for something made at `unix_ms` (milliseconds since 1970).
            pub fn make(unix_ms: u64) -> Result<Self, IdError> {
                Ok(Self(compose(unix_ms, random()?)))
            }

            /// The id of the 64 bits that it stands for.
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            /// The 64 bits that the text form encodes.
            pub const fn bits(self) -> u64 {
                self.0
            }

            /// When what it names was made, in milliseconds since 1970.
            pub const fn made_at(self) -> u64 {
                self.0 >> 22
            }

            /// The 13 characters without the prefix, as used in names that must stay short.
            pub fn suffix(self) -> String {
                encode(self.0).into_iter().map(char::from).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}{}", Self::PREFIX, self.suffix())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.strip_prefix(Self::PREFIX)
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| ParseError::new(text, concat!("an id (\"", $prefix, "-\" and 13 characters of base32)")))
            }
        }

        text_type!($name, concat!($prefix, "-1hcp2k7w8q3zd"), $doc);
    )*};
}

ids! {
    NetworkId "net" "The id of a network.";
    InstanceId "ins" "The id of an instance.";
    ImageId "img" "The id of an image.";
    PeerId "peer" "The id of a peer.";
    OperationId "op" "The id of an operation.";
    AgentId "agt" "The id of an agent.";
    TargetId "tgt" "The id of a target: a router or a hypervisor.";
    TokenId "tok" "The id of an API token (not the token).";
    InvitationId "inv" "The id of an agent's invitation (not its secret).";
    SecretId "sec" "The id of a row in the table of secrets.";
    ClusterId "clu" "The id of an installation.";
    ReplicaId "rep" "The id of one run of a core.";
}

/// The id of any resource, when its kind is known from the prefix alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceId {
    /// A network.
    Network(NetworkId),
    /// An instance.
    Instance(InstanceId),
    /// An image.
    Image(ImageId),
    /// A peer.
    Peer(PeerId),
}

impl ResourceId {
    /// When the resource was made, in milliseconds since 1970.
    pub const fn made_at(self) -> u64 {
        match self {
            Self::Network(id) => id.made_at(),
            Self::Instance(id) => id.made_at(),
            Self::Image(id) => id.made_at(),
            Self::Peer(id) => id.made_at(),
        }
    }

    /// Whether `text` has the shape of an id of any kind, known or not; names must not.
    pub fn looks_like(text: &str) -> bool {
        text.rsplit_once('-').is_some_and(|(prefix, rest)| {
            (2..=5).contains(&prefix.len())
                && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
                && decode(rest).is_some()
        })
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(id) => id.fmt(out),
            Self::Instance(id) => id.fmt(out),
            Self::Image(id) => id.fmt(out),
            Self::Peer(id) => id.fmt(out),
        }
    }
}

impl FromStr for ResourceId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once('-').map(|(prefix, _)| prefix) {
            Some("net") => text.parse().map(Self::Network),
            Some("ins") => text.parse().map(Self::Instance),
            Some("img") => text.parse().map(Self::Image),
            Some("peer") => text.parse().map(Self::Peer),
            _ => Err(ParseError::new(text, EXPECTED)),
        }
    }
}

text_type!(ResourceId, "net-1hcp2k7w8q3zd", "The id of a resource of any kind.");

macro_rules! into_resource_id {
    ($($variant:ident $id:ident),*) => {$(
        impl From<$id> for ResourceId {
            fn from(id: $id) -> Self {
                Self::$variant(id)
            }
        }
    )*};
}

into_resource_id!(Network NetworkId, Instance InstanceId, Image ImageId, Peer PeerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_sorts_by_time() {
        let early = NetworkId::make(1_700_000_000_000).unwrap();
        let late = NetworkId::make(1_800_000_000_000).unwrap();
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<NetworkId>().unwrap(), early);
        assert_eq!(early.to_string().len(), 4 + LENGTH);
    }

    #[test]
    fn another_kind_or_a_broken_text_is_refused() {
        let id = NetworkId::make(1_700_000_000_000).unwrap().to_string();
        assert!(id.parse::<InstanceId>().is_err());
        assert!(id.to_uppercase().parse::<NetworkId>().is_err());
        assert!("net-".parse::<NetworkId>().is_err());
        assert!("net-zzzzzzzzzzzzz".parse::<NetworkId>().is_err(), "over 64 bits");
        assert!("net-000000000000é".parse::<NetworkId>().is_err());
    }

    #[test]
    fn resource_ids_know_their_kind() {
        let id = PeerId::from_bits(7);
        assert_eq!(id.to_string().parse::<ResourceId>().unwrap(), ResourceId::Peer(id));
        assert!(ResourceId::looks_like(&id.to_string()));
        assert!(!ResourceId::looks_like("web-server"));
    }
}
