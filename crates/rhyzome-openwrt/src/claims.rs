//! What is taken on a router already, by the operator's own configuration or by other networks.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use jobs::desired;
use types::Slot;
use uci::{Package, Section};

use crate::names::Names;

/// Subnets, ports and devices that a network must leave alone.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    subnets: Vec<(Ipv4Net, Holder)>,
    wireguard_ports: Vec<(u16, Holder)>,
    bridge_ports: Vec<(String, Holder)>,
}

/// What stands in a network's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// A sentence that names the field.
    pub reason: String,
    /// Whether another network of ours is in the way, which may be gone or moved the next time.
    pub passing: bool,
}

impl Conflict {
    fn new(reason: String, holder: &Holder) -> Self {
        Self { reason, passing: matches!(holder, Holder::Network(_)) }
    }
}

/// Who holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holder {
    Network(Slot),
    Other(String),
}

impl Holder {
    fn of(section: &Section) -> Self {
        let name = section.name().as_str();
        Names::owner(name).map_or_else(|| Self::Other(name.to_owned()), Self::Network)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(slot) => write!(out, "the network in slot {slot}"),
            Self::Other(section) => write!(out, "the router's own section {section}"),
        }
    }
}

impl Claims {
    /// What the package `network` claims.
    pub fn of(network: &Package) -> Self {
        let mut claims = Self::default();
        for section in network.sections() {
            let holder = Holder::of(section);
            // The address of a tunnel's end is one that another interface has.
            if section.text("proto") != Some("vxlan") {
                claims.subnets.extend(addresses(section).map(|subnet| (subnet, holder.clone())));
            }
            if let Some(port) = section.text("listen_port").and_then(|port| port.parse().ok()) {
                claims.wireguard_ports.push((port, holder.clone()));
            }
            for port in section.get("ports").into_iter().flat_map(|ports| ports.items()) {
                claims.bridge_ports.push((port.clone(), holder.clone()));
            }
        }
        claims
    }

    /// Adds a subnet that an interface got by itself, as by DHCP.
    pub fn add_subnet(&mut self, interface: &str, address: Ipv4Addr, prefix_len: u8) {
        let holder = Names::owner(interface).map_or_else(|| Holder::Other(interface.to_owned()), Holder::Network);
        if let Ok(subnet) = Ipv4Net::new(address, prefix_len) {
            self.subnets.push((subnet.trunc(), holder));
        }
    }

    /// Forgets what the network in `slot` holds.
    pub fn release(&mut self, slot: Slot) {
        let stays = |holder: &Holder| *holder != Holder::Network(slot);
        self.subnets.retain(|(_, holder)| stays(holder));
        self.wireguard_ports.retain(|(_, holder)| stays(holder));
        self.bridge_ports.retain(|(_, holder)| stays(holder));
    }

    /// Takes what `network` needs, or tells what stands in its way; nothing is taken then.
    pub fn take(&mut self, network: &desired::Network, bridge_ports: &[String]) -> Result<(), Conflict> {
        let subnet = Ipv4Net::new(network.subnet.network(), network.subnet.prefix_len())
            .expect("invariant: a subnet's prefix has at most 30 bits");
        let meets = |other: &Ipv4Net| other.contains(&subnet.network()) || subnet.contains(&other.network());
        if let Some((other, holder)) = self.subnets.iter().find(|(other, _)| meets(other)) {
            return Err(Conflict::new(format!("subnet: {subnet} overlaps {other} of {holder}"), holder));
        }
        let port = network.wireguard.port.get();
        if let Some((_, holder)) = self.wireguard_ports.iter().find(|(other, _)| *other == port) {
            return Err(Conflict::new(format!("wireguard.port: {port} is taken by {holder}"), holder));
        }
        if let Some((device, holder)) = self.bridge_ports.iter().find(|(other, _)| bridge_ports.contains(other)) {
            let reason = format!("segment: the device {device} is in a bridge of {holder} already");
            return Err(Conflict::new(reason, holder));
        }
        let holder = Holder::Network(network.slot);
        self.subnets.push((subnet, holder.clone()));
        self.wireguard_ports.push((port, holder.clone()));
        self.bridge_ports.extend(bridge_ports.iter().map(|device| (device.clone(), holder.clone())));
        Ok(())
    }
}

/// The static IPv4 addresses of an interface: `ipaddr` with a prefix or a netmask beside it, or a WireGuard interface's
/// `addresses`. One without a mask is a /32, as to netifd.
fn addresses(section: &Section) -> impl Iterator<Item = Ipv4Net> {
    let mask = section.text("netmask").and_then(|mask| mask.parse::<Ipv4Addr>().ok());
    let texts = ["ipaddr", "addresses"].into_iter().filter_map(|option| section.get(option));
    texts.flat_map(|value| value.items()).filter_map(move |text| {
        let net = match (text.parse::<Ipv4Net>(), text.parse::<Ipv4Addr>()) {
            (Ok(net), _) => net,
            (_, Ok(address)) => Ipv4Net::with_netmask(address, mask.unwrap_or(Ipv4Addr::BROADCAST)).ok()?,
            _ => return None,
        };
        Some(net.trunc())
    })
}
