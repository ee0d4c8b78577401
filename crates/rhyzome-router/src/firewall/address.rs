//! Addresses, ports and ICMP types as the config writes them, and as nft does.

use ipnet::IpNet;

/// The IP versions that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Any,
}

impl Family {
    /// Reads the option `family`.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("any" | "*" | "") => Some(Family::Any),
            Some("ipv4" | "inet" | "inet4") => Some(Family::V4),
            Some("ipv6" | "inet6") => Some(Family::V6),
            Some(_) => None,
        }
    }
}

/// Addresses that a packet must have, or must not have.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressSet {
    /// The nets.
    pub nets: Vec<IpNet>,
    /// The nets that are not meant.
    pub except: Vec<IpNet>,
}

impl AddressSet {
    /// Reads a list of nets, each with `!` before it for the opposite.
    #[must_use]
    pub fn parse(items: &[&str]) -> Option<Self> {
        let mut set = AddressSet { nets: Vec::new(), except: Vec::new() };
        for item in items {
            match item.strip_prefix('!') {
                Some(net) => set.except.push(parse_net(net.trim())?),
                None => set.nets.push(parse_net(item)?),
            }
        }
        Some(set)
    }

    fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.except.is_empty()
    }

    /// The part for one IP version, as nft matches it; nothing if the set says nothing at all, and an error if it says
    /// something, but nothing about this version.
    ///
    /// # Errors
    /// When a packet of this version can never match.
    pub fn render(&self, field: &str, is_v4: bool) -> Result<Vec<String>, Never> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let of_version = |nets: &[IpNet]| -> Vec<String> {
            nets.iter().filter(|net| net.addr().is_ipv4() == is_v4).map(net_text).collect()
        };
        let (nets, except) = (of_version(&self.nets), of_version(&self.except));
        if nets.is_empty() && (!self.nets.is_empty() || except.is_empty()) {
            return Err(Never);
        }
        let header = if is_v4 { "ip" } else { "ip6" };
        let mut parts = Vec::new();
        if !nets.is_empty() {
            parts.push(format!("{header} {field} {}", braced(&nets)));
        }
        if !except.is_empty() {
            parts.push(format!("{header} {field} != {}", braced(&except)));
        }
        Ok(parts)
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// No packet can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Never;

fn parse_net(text: &str) -> Option<IpNet> {
    if let Some((address, mask)) = text.split_once('/')
        && let (Ok(address), Ok(mask)) = (address.parse(), mask.parse())
    {
        return IpNet::with_netmask(address, mask).ok();
    }
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

/// A net as nft writes it: a host without its length.
fn net_text(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.trunc().to_string() }
}

/// One item as it is, several as a set.
#[must_use]
pub fn braced(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        items => format!("{{ {} }}", items.join(", ")),
    }
}

/// A port or a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Reads `80`, `80-90` or `80:90`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
        let ports = Ports { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        (ports.first <= ports.last).then_some(ports)
    }

    /// The ports as nft writes them.
    #[must_use]
    pub fn render(self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }
}

/// An ICMP type, and a code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    kind: u8,
    code: Option<u8>,
}

impl IcmpType {
    /// Reads a name, a number, or `type/code`, as ICMP or ICMPv6 knows it.
    #[must_use]
    pub fn parse(text: &str, is_v4: bool) -> Option<Self> {
        let table = if is_v4 { ICMP } else { ICMPV6 };
        if let Some((_, kind, code)) = table.iter().find(|(name, _, _)| *name == text) {
            return Some(IcmpType { kind: *kind, code: *code });
        }
        match text.split_once('/') {
            Some((kind, code)) => Some(IcmpType { kind: kind.parse().ok()?, code: Some(code.parse().ok()?) }),
            None => Some(IcmpType { kind: text.parse().ok()?, code: None }),
        }
    }

    /// The type as nft matches it.
    #[must_use]
    pub fn render(self, is_v4: bool) -> String {
        let header = if is_v4 { "icmp" } else { "icmpv6" };
        match self.code {
            None => format!("{header} type {}", self.kind),
            Some(code) => format!("{header} type {} {header} code {code}", self.kind),
        }
    }
}

type Named = (&'static str, u8, Option<u8>);

const ICMP: &[Named] = &[
    ("echo-reply", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("echo-request", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("parameter-problem", 12, None),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

const ICMPV6: &[Named] = &[
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("port-unreachable", 1, Some(4)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("echo-request", 128, None),
    ("echo-reply", 129, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, expected) in [
            ("80", Some("80")),
            ("2005-2006", Some("2005-2006")),
            ("2005:2006", Some("2005-2006")),
            ("99999", None),
            ("9-8", None),
            ("http", None),
        ] {
            assert_eq!(Ports::parse(text).map(Ports::render).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_set_of_one_version_never_matches_the_other() {
        let set = AddressSet::parse(&["10.0.0.0/8", "!10.1.2.3", "192.168.0.0/255.255.0.0"]).unwrap();
        let expected = ["ip daddr { 10.0.0.0/8, 192.168.0.0/16 }", "ip daddr != 10.1.2.3"].map(str::to_owned);
        assert_eq!(set.render("daddr", true), Ok(expected.to_vec()));
        assert_eq!(set.render("daddr", false), Err(Never));
    }
}
