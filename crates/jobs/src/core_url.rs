//! Where the core's job server is, or those of several cores over one database.

use std::fmt;
use std::str::FromStr;

use pki::ServerName;
use serde::de::{SeqAccess, Visitor};
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

/// The job servers of one core or of several over the same database, in the order in which they are tried; at least one.
/// A configuration names one or lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreUrls(Vec<CoreUrl>);

impl CoreUrls {
    /// The one that is tried first.
    pub fn first(&self) -> &CoreUrl {
        &self.0[0]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &CoreUrl> {
        self.0.iter()
    }
}

impl From<CoreUrl> for CoreUrls {
    fn from(url: CoreUrl) -> Self {
        Self(vec![url])
    }
}

impl<'de> Deserialize<'de> for CoreUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = CoreUrls;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{EXPECTED}, or a list of such")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<CoreUrls, E> {
        text.parse::<CoreUrl>().map(Into::into).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CoreUrls, A::Error> {
        let mut urls = Vec::new();
        while let Some(url) = list.next_element::<CoreUrl>()? {
            if urls.contains(&url) {
                return Err(serde::de::Error::custom(format!("{url} stands twice")));
            }
            urls.push(url);
        }
        match urls.is_empty() {
            true => Err(serde::de::Error::custom("the list is empty: expected at least one core's address")),
            false => Ok(CoreUrls(urls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_or_a_list_is_read() {
        let read = |text: &str| serde_json::from_str::<CoreUrls>(text).map_err(|error| error.to_string());
        let urls = |text: &str| read(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(urls(r#""https://a:1""#), ["https://a:1"]);
        assert_eq!(urls(r#"["https://b:2", "https://a:1"]"#), ["https://b:2", "https://a:1"]);
        for (wrong, told) in [
            ("[]", "at least one"),
            (r#"["https://a:1", "http://b:1"]"#, "https://host:port"),
            (r#"["https://a:1", "https://a:1/"]"#, "stands twice"),
            ("7", "or a list of such"),
        ] {
            assert!(read(wrong).unwrap_err().contains(told), "{wrong}: {:?}", read(wrong));
        }
    }

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
