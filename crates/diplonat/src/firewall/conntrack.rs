//! The kernel's list of connections: those to a port that has closed are ended, or they would live on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

use super::tool::{self, ToolError};
use crate::exposure::Transport;

const CONNTRACK: &str = "conntrack";

/// Forgets the connections to these ports of this host. Those from here to the same ports elsewhere stay.
pub async fn forget(ports: &BTreeSet<(Transport, u16)>) -> Result<(), ToolError> {
    if ports.is_empty() {
        return Ok(());
    }
    for address in own_addresses() {
        let (family, address) = match address {
            IpAddr::V4(address) => ("ipv4", address.to_string()),
            IpAddr::V6(address) => ("ipv6", address.to_string()),
        };
        for (transport, port) in ports {
            let port = port.to_string();
            let arguments =
                ["-D", "-f", family, "-p", transport.name(), "--orig-dst", &address, "--orig-port-dst", &port];
            match tool::run(CONNTRACK, &arguments, "").await {
                // It fails where there is nothing to forget.
                Ok(_) => {}
                Err(ToolError::Failed { said, .. }) if said.contains("0 flow entries") => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn own_addresses() -> BTreeSet<IpAddr> {
    let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| interface.address);
    let ips = addresses.filter_map(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    ips.filter(|address| !address.is_loopback()).collect()
}
