//! The way out: the kernel's default route.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;

/// The kernel's table of IPv4 routes.
const TABLE: &str = "/proc/net/route";

/// The default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface.
    pub interface: String,
    /// The next router.
    pub gateway: Ipv4Addr,
}

/// The default route with the lowest metric, if there is one.
pub fn default_route() -> Option<Route> {
    best(&fs::read_to_string(Path::new(TABLE)).ok()?)
}

/// Our address on the way to `gateway`. Nothing is sent.
pub fn local_address(gateway: Ipv4Addr) -> std::io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(SocketAddrV4::new(gateway, 9))?;
    match socket.local_addr()? {
        std::net::SocketAddr::V4(local) => Ok(*local.ip()),
        std::net::SocketAddr::V6(_) => Err(std::io::Error::other("an IPv4 socket has an IPv6 address")),
    }
}

fn best(table: &str) -> Option<Route> {
    let routes = table.lines().skip(1).filter_map(row);
    routes.min_by_key(|(metric, _)| *metric).map(|(_, route)| route)
}

/// A line with a default route, as in `eth0 00000000 0102A8C0 0003 0 0 100 00000000 …`: addresses in the machine's order.
fn row(line: &str) -> Option<(u32, Route)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [interface, "00000000", gateway, flags, _, _, metric, "00000000", ..] = fields.as_slice() else { return None };
    let address = |text| Some(Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?.to_ne_bytes()));
    // RTF_UP and RTF_GATEWAY
    let is_usable = u32::from_str_radix(flags, 16).ok()? & 3 == 3;
    let route = Route { interface: (*interface).to_owned(), gateway: address(gateway)? };
    is_usable.then_some((metric.parse().ok()?, route))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let address = |octets| format!("{:08X}", u32::from_ne_bytes(octets));
        let table = format!(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
             wlan0\t00000000\t{}\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t{}\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0\n",
            address([10, 0, 0, 1]),
            address([192, 168, 1, 1]),
        );
        let route = best(&table).unwrap();
        assert_eq!((route.interface.as_str(), route.gateway), ("eth0", Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(best("Iface\n"), None);
    }
}
