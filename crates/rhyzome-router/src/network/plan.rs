//! What the config `network` asks for, read as netifd reads it. No input or output.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::rule::{PolicyRule, is_table};
use super::vxlan::Vxlan;
use crate::json::Json;
use crate::tree::{Section, Tree};

/// The longest name of a device.
const DEVICE_NAME_LIMIT: usize = 15;

/// All that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The bridges, by device name.
    pub bridges: BTreeMap<String, Bridge>,
    /// The MTU of devices that say one.
    pub mtus: BTreeMap<String, u32>,
    /// The devices that are to have no IPv6.
    pub without_ipv6: BTreeSet<String>,
    /// The interfaces, by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// The policy rules, in order.
    pub rules: Vec<PolicyRule>,
}

/// A bridge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bridge {
    /// The devices that belong into it, whether they are there or not.
    pub ports: Vec<String>,
    /// Whether it is made even while none of its ports is there.
    pub may_be_empty: bool,
    /// Its MAC address, if it says one.
    pub mac: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// What it is.
    pub proto: Proto,
    /// The device, for those that need one and name one that can be.
    pub device: Option<String>,
    /// Whether it comes up by itself.
    pub autostart: bool,
    /// DNS servers to ask.
    pub dns: Vec<IpAddr>,
    /// The metric of its routes.
    pub metric: u32,
    /// Its MTU, if it says one.
    pub mtu: Option<u32>,
    /// Its addresses and routes, or why it cannot have them.
    pub addressing: Result<Addressing, Trouble>,
}

/// What kind of interface one is.
#[derive(Clone, Debug, PartialEq)]
pub enum Proto {
    /// Only a device.
    None,
    /// Fixed addresses on a device.
    Static,
    /// A WireGuard device of the interface's name.
    WireGuard(Box<WireGuard>),
    /// A VXLAN device of the interface's name.
    Vxlan(Box<Vxlan>),
}

/// Addresses and routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Addressing {
    /// The addresses.
    pub addresses: Vec<IpNet>,
    /// The routes beside those that addresses bring.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Where it leads.
    pub target: IpNet,
    /// Over which router, if over one.
    pub gateway: Option<IpAddr>,
    /// Its metric.
    pub metric: u32,
    /// The table that it is in, if not the main one.
    pub table: Option<String>,
}

/// Why an interface does not come up.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Who found it.
    pub subsystem: &'static str,
    /// What it is.
    pub code: &'static str,
    /// Which values it is about.
    pub data: Vec<String>,
}

/// A WireGuard interface.
#[derive(Clone, PartialEq)]
pub struct WireGuard {
    /// The options of its own section, by which it is seen whether it changed: peers are not among them.
    pub section: Section,
    /// The peers.
    pub peers: Vec<Section>,
}

impl std::fmt::Debug for WireGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireGuard({}, {} peers)", self.section.name, self.peers.len())
    }
}

impl Trouble {
    /// The device that an interface needs is not there.
    pub const NO_DEVICE: Trouble = Trouble { subsystem: "interface", code: "NO_DEVICE", data: Vec::new() };

    fn proto(code: &'static str, data: &[&str]) -> Self {
        Trouble { subsystem: "proto", code, data: data.iter().map(|&item| item.to_owned()).collect() }
    }

    /// The error as a dump shows it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut members =
            vec![("subsystem".to_owned(), Json::from(self.subsystem)), ("code".to_owned(), Json::from(self.code))];
        if !self.data.is_empty() {
            members.push(("data".to_owned(), self.data.clone().into()));
        }
        Json::Object(members)
    }
}

impl Interface {
    /// The device that carries its addresses.
    #[must_use]
    pub fn l3_device<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.proto {
            Proto::WireGuard(_) | Proto::Vxlan(_) => Some(name),
            Proto::None | Proto::Static => self.device.as_deref(),
        }
    }
}

impl Plan {
    /// Reads the config.
    #[must_use]
    pub fn of(network: &Tree) -> Self {
        let mut plan = Plan::default();
        for device in network.of_kind("device") {
            let Some(name) = device.text("name").filter(|name| is_device_name(name)) else { continue };
            if let Some(mtu) = device.text("mtu").and_then(|mtu| mtu.parse().ok()) {
                plan.mtus.insert(name.to_owned(), mtu);
            }
            if !device.flag("ipv6", true) {
                plan.without_ipv6.insert(name.to_owned());
            }
            if device.text("type") == Some("bridge") {
                plan.bridges.insert(name.to_owned(), bridge(device));
            }
        }
        for section in network.of_kind("interface").filter(|section| !section.flag("disabled", false)) {
            plan.interfaces.insert(section.name.clone(), interface(section, network));
        }
        for kind in ["route", "route6"] {
            network.of_kind(kind).for_each(|section| plan.add_route(section));
        }
        for kind in ["rule", "rule6"] {
            let enabled = network.of_kind(kind).filter(|section| !section.flag("disabled", false));
            (1..).zip(enabled).for_each(|(place, section)| plan.add_rule(section, place));
        }
        let tables: BTreeSet<&str> = network.of_kind("interface").filter_map(own_table).collect();
        plan.rules.extend(tables.into_iter().map(PolicyRule::own_packets));
        plan
    }

    /// The interfaces that have this device for their addresses.
    pub fn on_device<'a>(&'a self, device: &'a str) -> impl Iterator<Item = (&'a String, &'a Interface)> {
        self.interfaces.iter().filter(move |(name, interface)| interface.l3_device(name) == Some(device))
    }

    fn add_rule(&mut self, section: &Section, place: u32) {
        let device = |name: &str| Some(self.interfaces.get(name)?.l3_device(name)?.to_owned());
        match PolicyRule::of(section, place, device) {
            Some(rule) => self.rules.push(rule),
            None => tracing::warn!(
                section = section.name,
                "a policy rule is passed over: expected interfaces, nets and a table"
            ),
        }
    }

    fn add_route(&mut self, section: &Section) {
        if section.flag("disabled", false) {
            return;
        }
        let Some(route) = route(section) else {
            tracing::warn!(
                section = section.name,
                "a route is passed over: expected target, and gateway, as addresses"
            );
            return;
        };
        let interface = section.text("interface").and_then(|name| self.interfaces.get_mut(name));
        if let Some(Ok(addressing)) = interface.map(|interface| &mut interface.addressing) {
            addressing.routes.push(route);
        }
    }
}

/// The routing table that an interface has for itself.
fn own_table(interface: &Section) -> Option<&str> {
    interface.text("ip4table").filter(|table| is_table(table) && *table != "main")
}

fn is_device_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= DEVICE_NAME_LIMIT
        && !name.contains(['/', ' ', '\t', '\n'])
        && name != "."
        && name != ".."
}

fn bridge(device: &Section) -> Bridge {
    Bridge {
        ports: device.list("ports").into_iter().filter(|name| is_device_name(name)).map(str::to_owned).collect(),
        may_be_empty: device.flag("bridge_empty", false),
        mac: device.text("macaddr").map(str::to_owned),
    }
}

fn interface(section: &Section, network: &Tree) -> Interface {
    let mut trouble = None;
    let proto = match section.text("proto") {
        Some("static") => Proto::Static,
        Some("wireguard") => {
            let kind = format!("wireguard_{}", section.name);
            let peers = network.of_kind(&kind).filter(|peer| !peer.flag("disabled", false)).cloned().collect();
            Proto::WireGuard(Box::new(WireGuard { section: section.clone(), peers }))
        }
        Some("vxlan") => match Vxlan::of(section, network) {
            Ok(vxlan) if section.name.len() <= DEVICE_NAME_LIMIT => Proto::Vxlan(Box::new(vxlan)),
            Ok(_) => {
                trouble = Some(Trouble::NO_DEVICE);
                Proto::None
            }
            Err(found) => {
                trouble = Some(found);
                Proto::None
            }
        },
        // netifd treats what it has no handler for as no protocol.
        _ => Proto::None,
    };
    let device = match proto {
        Proto::WireGuard(_) | Proto::Vxlan(_) => None,
        Proto::None | Proto::Static => {
            section.text("device").or_else(|| section.text("ifname")).filter(|name| is_device_name(name))
        }
    };
    let metric = section.text("metric").and_then(|metric| metric.parse().ok()).unwrap_or(0);
    let addressing = match &proto {
        Proto::None => trouble.map_or_else(|| Ok(Addressing::default()), Err),
        Proto::Vxlan(_) => Ok(Addressing::default()),
        Proto::Static => static_addressing(section, metric),
        Proto::WireGuard(wireguard) => wireguard_addressing(wireguard, metric),
    };
    Interface {
        proto,
        device: device.map(str::to_owned),
        autostart: section.flag("auto", true),
        dns: section.list("dns").into_iter().filter_map(|address| address.parse().ok()).collect(),
        metric,
        mtu: section.text("mtu").and_then(|mtu| mtu.parse().ok()),
        addressing,
    }
}

fn static_addressing(section: &Section, metric: u32) -> Result<Addressing, Trouble> {
    let mask = match section.text("netmask") {
        None => 32,
        Some(mask) => prefix(mask).ok_or_else(|| Trouble::proto("INVALID_NETMASK", &[]))?,
    };
    let mut addresses = Vec::new();
    for (option, default) in [("ipaddr", mask), ("ip6addr", 128)] {
        for text in section.list(option) {
            addresses.push(address(text, default).ok_or_else(|| Trouble::proto("INVALID_ADDRESS", &[text]))?);
        }
    }
    let mut routes = Vec::new();
    for (option, target) in [("gateway", "0.0.0.0/0"), ("ip6gw", "::/0")] {
        let Some(text) = section.text(option) else { continue };
        let gateway = text.parse().map_err(|_| Trouble::proto("INVALID_GATEWAY", &[text]))?;
        let target = target.parse().expect("invariant: the target is written in CIDR notation");
        routes.push(Route { target, gateway: Some(gateway), metric, table: own_table(section).map(str::to_owned) });
    }
    Ok(Addressing { addresses, routes })
}

fn wireguard_addressing(wireguard: &WireGuard, metric: u32) -> Result<Addressing, Trouble> {
    if wireguard.section.name.len() > DEVICE_NAME_LIMIT {
        return Err(Trouble::NO_DEVICE);
    }
    let mut addressing = Addressing::default();
    for text in wireguard.section.list("addresses") {
        let default = if text.contains(':') { 128 } else { 32 };
        let address = address(text, default).ok_or_else(|| Trouble::proto("INVALID_ADDRESS", &[text]))?;
        addressing.addresses.push(address);
    }
    for peer in wireguard.peers.iter().filter(|peer| peer.flag("route_allowed_ips", false)) {
        for text in peer.list("allowed_ips") {
            let default = if text.contains(':') { 128 } else { 32 };
            if let Some(target) = address(text, default) {
                let table = own_table(&wireguard.section).map(str::to_owned);
                addressing.routes.push(Route { target: target.trunc(), gateway: None, metric, table });
            }
        }
    }
    Ok(addressing)
}

/// An address with its prefix length, where the text may leave that out.
fn address(text: &str, default: u8) -> Option<IpNet> {
    match text.split_once('/') {
        Some((address, length)) => IpNet::new(address.parse().ok()?, prefix(length)?).ok(),
        None => IpNet::new(text.parse().ok()?, default).ok(),
    }
}

/// A prefix length, as a number or as a dotted mask.
fn prefix(text: &str) -> Option<u8> {
    if let Ok(length) = text.parse::<u8>() {
        return (length <= 128).then_some(length);
    }
    let mask = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let length = mask.leading_ones();
    (mask.checked_shl(length).unwrap_or(0) == 0).then_some(u8::try_from(length).ok()?)
}

fn route(section: &Section) -> Option<Route> {
    let target = section.text("target")?;
    let default = match section.text("netmask") {
        Some(mask) => prefix(mask)?,
        None if target.contains(':') => 128,
        None => 32,
    };
    let gateway = match section.text("gateway") {
        Some(gateway) => Some(gateway.parse().ok()?),
        None => None,
    };
    let metric = match section.text("metric") {
        Some(metric) => metric.parse().ok()?,
        None => 0,
    };
    let table = match section.text("table") {
        Some(table) if !is_table(table) => return None,
        table => table.filter(|table| *table != "main").map(str::to_owned),
    };
    Some(Route { target: address(target, default)?.trunc(), gateway, metric, table })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree of a config's text.
    fn tree(text: &str) -> Tree {
        Tree::of(&uci::Package::parse(uci::PackageName::new("network").unwrap(), text).unwrap())
    }

    fn one(options: &str) -> Interface {
        let text = format!("config interface 'x'\n{options}");
        Plan::of(&tree(&text)).interfaces.remove("x").unwrap()
    }

    #[test]
    fn masks_are_numbers_or_dotted_and_nothing_else() {
        for (text, expected) in [
            ("255.255.255.0", Some(24)),
            ("0.0.0.0", Some(0)),
            ("255.255.255.255", Some(32)),
            ("25", Some(25)),
            ("255.0.255.0", None),
            ("garbage", None),
            ("129", None),
        ] {
            assert_eq!(prefix(text), expected, "{text}");
        }
    }

    #[test]
    fn bad_values_are_troubles_of_the_interface() {
        let bad_address = one("option proto static\noption ipaddr 300.1.2.3\noption netmask 255.255.255.0\n");
        assert_eq!(bad_address.addressing, Err(Trouble::proto("INVALID_ADDRESS", &["300.1.2.3"])));
        let bad_mask = one("option proto static\noption ipaddr 10.1.2.3\noption netmask garbage\n");
        assert_eq!(bad_mask.addressing, Err(Trouble::proto("INVALID_NETMASK", &[])));
    }

    #[test]
    fn addresses_may_be_many_and_bring_their_own_prefix() {
        let two = one("option proto static\nlist ipaddr 10.1.7.1/24\nlist ipaddr 10.1.8.1\n");
        let expected: Vec<IpNet> = ["10.1.7.1/24", "10.1.8.1/32"].map(|net| net.parse().unwrap()).to_vec();
        assert_eq!(two.addressing.unwrap().addresses, expected);
    }

    #[test]
    fn an_unknown_protocol_is_none_and_a_long_device_name_no_device() {
        assert_eq!(one("option proto nonsense\noption device eth3\n").proto, Proto::None);
        assert_eq!(one("option proto static\noption device br-4567890123456\n").device, None);
    }

    #[test]
    fn a_wireguard_interface_routes_what_its_peers_may_use() {
        let plan = Plan::of(&tree(
            "config interface 'wg0'\noption proto wireguard\nlist addresses 10.99.0.1/24\n\
             config wireguard_wg0 'p'\nlist allowed_ips 10.99.0.2/32\noption route_allowed_ips 1\n",
        ));
        let addressing = plan.interfaces["wg0"].addressing.clone().unwrap();
        assert_eq!(addressing.routes.len(), 1);
        assert_eq!(addressing.routes[0].target.to_string(), "10.99.0.2/32");
    }
}
