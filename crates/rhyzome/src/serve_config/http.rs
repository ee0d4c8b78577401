//! The part of `rhyzome.json` about the HTTP API: where it is served, for whom, and how much.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use types::ParseError;

/// Where the HTTP API is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one, which is logged.
    pub listen: SocketAddr,
    /// The names that clients reach the API under, beside loopback and the address that it listens on.
    #[serde(default)]
    pub names: Vec<PublicName>,
    /// How much is served to whom.
    #[serde(default)]
    pub rate: Rate,
    /// How it ends.
    #[serde(default)]
    pub drain: Drain,
}

/// How much is served to whom. `null` takes a limit away.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Requests of one token.
    pub token: Option<Allowance>,
    /// Requests without a token, or with a wrong one, from one address (an IPv6 /64 counts as one).
    pub address: Option<Allowance>,
    /// Event streams that one token may have open.
    pub streams: usize,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
}

/// So many requests a second over time, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

impl Default for Rate {
    fn default() -> Self {
        let allowance = |per_second: u32, burst: u32| {
            Some(Allowance { per_second: NonZeroU32::new(per_second)?, burst: NonZeroU32::new(burst)? })
        };
        Self {
            token: allowance(500, 2000),
            address: allowance(20, 200),
            streams: 32,
            connections: 4096,
            connections_per_address: 1024,
        }
    }
}

/// How the server ends when it is told to.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// For how long `/readyz` says 503 while requests are still taken, so that a load balancer sees it in time.
    pub notice_seconds: u16,
    /// How long requests that are under way have after that.
    pub finish_seconds: u16,
}

impl Default for Drain {
    fn default() -> Self {
        Self { notice_seconds: 0, finish_seconds: 5 }
    }
}

impl Drain {
    /// For how long `/readyz` says 503 while requests are still taken.
    pub fn notice(&self) -> Duration {
        Duration::from_secs(self.notice_seconds.into())
    }

    /// How long requests that are under way have after that.
    pub fn finish(&self) -> Duration {
        Duration::from_secs(self.finish_seconds.into())
    }
}

/// A host name or address that the API has, without a port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicName(String);

impl PublicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        match is_address || (name.len() <= 253 && name.split('.').all(is_label)) {
            true => Ok(Self(name)),
            false => Err(ParseError::new(text, "a host name or an address, without a port")),
        }
    }
}

impl<'de> Deserialize<'de> for PublicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
