//! IPv4 subnets, host addresses, ranges and ports.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;

use crate::ParseError;

/// An IPv4 network in CIDR form with no host bits set; /8 to /30, so that a router and a host fit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet(Ipv4Net);

const SUBNET: &str = "an IPv4 subnet such as 10.77.0.0/24 (no host bits, /8 to /30)";

impl Subnet {
    /// The subnet of `prefix_len` bits that starts at `network`; refused with host bits set or outside /8 to /30.
    pub fn new(network: Ipv4Addr, prefix_len: u8) -> Result<Self, ParseError> {
        format!("{network}/{prefix_len}").parse()
    }

    /// The first address, which no host has.
    pub fn network(self) -> Ipv4Addr {
        self.0.network()
    }

    /// The last address, which no host has.
    pub fn broadcast(self) -> Ipv4Addr {
        self.0.broadcast()
    }

    /// Bits of the prefix.
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// The prefix as a mask, as in 255.255.255.0.
    pub fn netmask(self) -> Ipv4Addr {
        self.0.netmask()
    }

    /// Whether `address` can be a host's: inside, and neither the first nor the last.
    pub fn has_host(self, address: HostAddr) -> bool {
        self.0.contains(&address.0) && address.0 != self.network() && address.0 != self.broadcast()
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.network()) || other.0.contains(&self.network())
    }

    /// Whether every address of `other` is in this one.
    pub fn contains(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// The host at `offset` from the first address (offset 1 is the usual router), if it is one.
    pub fn host(self, offset: u32) -> Option<HostAddr> {
        let address = HostAddr(Ipv4Addr::from(u32::from(self.network()).checked_add(offset)?));
        self.has_host(address).then_some(address)
    }

    /// How many hosts the subnet can number.
    pub fn host_count(self) -> u32 {
        (1_u32 << (32 - u32::from(self.prefix_len()))) - 2
    }

    /// The subnets of `prefix_len` bits inside this one, in order; none when that is shorter than this one's.
    pub fn split(self, prefix_len: u8) -> impl Iterator<Item = Self> {
        self.0.subnets(prefix_len.min(30)).into_iter().flatten().map(Self)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Subnet {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let net: Ipv4Net = text.parse().map_err(|_| ParseError::new(text, SUBNET))?;
        match net.trunc() == net && (8..=30).contains(&net.prefix_len()) {
            true => Ok(Self(net)),
            false => Err(ParseError::new(text, SUBNET)),
        }
    }
}

text_type!(Subnet, "10.77.0.0/24", "An IPv4 subnet in CIDR form, no host bits set, /8 to /30.");

/// The IPv4 address of one host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddr(Ipv4Addr);

impl HostAddr {
    /// The address as the standard library has it.
    pub fn ip(self) -> Ipv4Addr {
        self.0
    }

    /// The address's place in `subnet`: 1 for the first host.
    pub fn offset_in(self, subnet: Subnet) -> u32 {
        u32::from(self.0).wrapping_sub(u32::from(subnet.network()))
    }
}

impl From<HostAddr> for Ipv4Addr {
    fn from(address: HostAddr) -> Self {
        address.0
    }
}

impl TryFrom<Ipv4Addr> for HostAddr {
    type Error = ParseError;
    fn try_from(address: Ipv4Addr) -> Result<Self, ParseError> {
        let refused =
            address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.octets()[0] == 0;
        match refused {
            true => Err(ParseError::new(&address.to_string(), HOST)),
            false => Ok(Self(address)),
        }
    }
}

const HOST: &str = "an IPv4 address of a host such as 10.77.0.5";

impl fmt::Display for HostAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Debug for HostAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for HostAddr {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let address: Ipv4Addr = text.parse().map_err(|_| ParseError::new(text, HOST))?;
        Self::try_from(address)
    }
}

text_type!(HostAddr, "10.77.0.5", "The IPv4 address of one host.");

/// Host addresses from `start` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HostRange {
    /// The first address.
    pub start: HostAddr,
    /// The last address, not before the first.
    pub end: HostAddr,
}

impl HostRange {
    /// Whether `address` lies in the range.
    pub fn contains(self, address: HostAddr) -> bool {
        (self.start..=self.end).contains(&address)
    }
}

/// A TCP or UDP port, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(std::num::NonZeroU16);

impl Port {
    /// The port's number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.get()
    }
}

impl TryFrom<u16> for Port {
    type Error = ParseError;
    fn try_from(number: u16) -> Result<Self, ParseError> {
        std::num::NonZeroU16::new(number).map(Self).ok_or_else(|| ParseError::new("0", "a port (1 to 65535)"))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Port {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number: u16 = text.parse().map_err(|_| ParseError::new(text, "a port (1 to 65535)"))?;
        Self::try_from(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_without_room_or_with_host_bits_are_refused() {
        for bad in ["10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/24", "0.0.0.0/0", "10.0.0.0", "10.0.0/24", "fd00::/64"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
        let subnet: Subnet = "10.77.0.0/30".parse().unwrap();
        assert_eq!(subnet.host_count(), 2);
        assert_eq!(subnet.host(1).unwrap().to_string(), "10.77.0.1");
        assert_eq!(subnet.host(3), None);
        assert_eq!(subnet.host(0), None);
    }

    #[test]
    fn overlap_is_symmetric() {
        let wide: Subnet = "10.0.0.0/8".parse().unwrap();
        let narrow: Subnet = "10.77.0.0/24".parse().unwrap();
        let other: Subnet = "10.78.0.0/24".parse().unwrap();
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide));
        assert!(!narrow.overlaps(other) && !other.overlaps(narrow));
        assert_eq!(wide.split(24).count(), 65_536);
    }

    #[test]
    fn ports_and_hosts_know_their_limits() {
        assert!("0".parse::<Port>().is_err());
        assert!("65536".parse::<Port>().is_err());
        assert!("255.255.255.255".parse::<HostAddr>().is_err());
        assert!("224.0.0.1".parse::<HostAddr>().is_err());
    }
}
