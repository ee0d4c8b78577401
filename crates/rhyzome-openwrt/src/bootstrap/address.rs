//! Where a router is reached.

use std::str::FromStr;

/// A router's ubus over HTTPS. An address of HTTP is taken for the same host's HTTPS: no password goes over the former.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: Option<u16>,
}

impl Address {
    /// The host, a name or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(443)
    }

    /// The address of ubus.
    pub fn url(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("https://{host}:{port}/ubus"),
            None => format!("https://{host}/ubus"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address of a router; expected one as in https://192.168.1.1");
        let (rest, is_https) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => return Err(wrong()),
        };
        let authority = match rest.split_once('/') {
            None => rest,
            Some((authority, "" | "ubus" | "ubus/")) => authority,
            Some(_) => return Err(wrong()),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            None => authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port.ok_or_else(wrong)? {
            "" => None,
            port => Some(port.parse().map_err(|_| wrong())?),
        };
        let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        match is_name {
            true => Ok(Self { host: host.to_owned(), port: port.filter(|_| is_https) }),
            false => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nothing_goes_over_http() {
        for (text, url) in [
            ("https://192.168.1.1", "https://192.168.1.1/ubus"),
            ("https://192.168.1.1:8443/", "https://192.168.1.1:8443/ubus"),
            ("http://192.168.1.1/ubus", "https://192.168.1.1/ubus"),
            ("http://openwrt.lan:80", "https://openwrt.lan/ubus"),
            ("https://[fd00::1]:444/ubus", "https://[fd00::1]:444/ubus"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().url(), url);
        }
        for text in
            ["192.168.1.1", "ftp://x", "https://", "https://a b", "https://h:x", "https://h/cgi-bin", "https://[x"]
        {
            assert!(text.parse::<Address>().unwrap_err().contains("expected one as in"), "{text}");
        }
    }
}
