//! Where the core's job server is.

use std::fmt;
use std::str::FromStr;

use pki::ServerName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{ParseError, Port};

const EXPECTED: &str = "the core's address (https://host:port)";

/// Where the core's job server is, as in `https://core.example.org:7741`. There is nothing but TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreUrl {
    host: ServerName<'static>,
    port: Port,
}

impl CoreUrl {
    /// The name or address that the core's certificate must be for.
    pub fn host(&self) -> &ServerName<'static> {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> Port {
        self.port
    }

    /// What a socket connects to: host and port.
    pub(crate) fn socket_address(&self) -> (String, u16) {
        (self.host.to_str().into_owned(), self.port.get())
    }
}

impl fmt::Display for CoreUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.to_str() {
            address if address.contains(':') => write!(out, "https://[{address}]:{}", self.port),
            host => write!(out, "https://{host}:{}", self.port),
        }
    }
}

impl FromStr for CoreUrl {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, EXPECTED);
        let rest = text.strip_prefix("https://").ok_or_else(refuse)?;
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or_else(refuse)?;
        let host = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').filter(|address| address.contains(':')).ok_or_else(refuse)?,
            None => host,
        };
        Ok(Self {
            host: ServerName::try_from(host.to_owned()).map_err(|_| refuse())?,
            port: port.parse().map_err(|_| refuse())?,
        })
    }
}

impl Serialize for CoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CoreUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_a_port_are_read() {
        for good in ["https://core.example.org:7741", "https://127.0.0.1:1", "https://[fd00::1]:7741"] {
            assert_eq!(good.parse::<CoreUrl>().unwrap().to_string(), good);
        }
        assert_eq!("https://localhost:1/".parse::<CoreUrl>().unwrap().to_string(), "https://localhost:1");
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "http://core:1",
            "https://core",
            "https://core:0",
            "https://:1",
            "https://core:1/x",
            "https://[core]:1",
            "",
        ] {
            assert!(bad.parse::<CoreUrl>().is_err(), "{bad}");
        }
    }
}
