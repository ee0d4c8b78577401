//! The package `firewall`: a zone that may use the router's DHCP, DNS and ping, and of the outside what its isolation says.

use jobs::desired::{Isolation, Network, Vxlan};
use uci::{Package, Value};

use super::{DNS_PORT, Settings, add, text};
use crate::names::Names;

/// What lies behind a router and is not the internet: private networks (RFC 1918), shared addresses (RFC 6598), and what
/// the registry of special purposes (RFC 6890) keeps off it.
const NOT_THE_INTERNET: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

pub(super) fn fill(package: &mut Package, names: Names, network: &Network, settings: &Settings) {
    zone(package, names);
    services(package, names, network);
    add(
        package,
        "rule",
        names.section("wireguard"),
        [
            ("name", text(format_args!("{}-wireguard", names.slot()))),
            ("src", text(&settings.wan_zone)),
            ("proto", text("udp")),
            ("dest_port", text(network.wireguard.port)),
            ("target", text("ACCEPT")),
        ],
    );
    overlay(package, names, network, settings);
    match network.isolation {
        Isolation::Closed => {}
        Isolation::Open => way_out(package, names, settings),
        Isolation::Internet => {
            private_addresses(package, names, settings);
            way_out(package, names, settings);
        }
    }
}

/// Lets the VXLAN in from the other hosts, by whatever zone they lie in.
fn overlay(package: &mut Package, names: Names, network: &Network, settings: &Settings) {
    let (Some(vxlan), Some(underlay)) = (&network.vxlan, settings.segments.underlay()) else { return };
    let others = vxlan.remotes.iter().filter(|remote| **remote != underlay);
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if others.is_empty() {
        // A rule without addresses would let everybody in.
        return;
    }
    add(
        package,
        "rule",
        names.section("vxlan"),
        [
            ("name", text(format_args!("{}-vxlan", names.slot()))),
            ("src", text("*")),
            ("src_ip", Value::List(others)),
            ("dest_ip", text(underlay)),
            ("proto", text("udp")),
            ("dest_port", text(Vxlan::PORT)),
            ("target", text("ACCEPT")),
        ],
    );
}

fn zone(package: &mut Package, names: Names) {
    add(
        package,
        "zone",
        names.interface(),
        [
            ("name", text(names.interface())),
            ("network", Value::from([names.interface().as_str(), names.wireguard().as_str()])),
            ("input", text("REJECT")),
            ("output", text("ACCEPT")),
            // Among the network's own: from peers to instances and back.
            ("forward", text("ACCEPT")),
            // Packets that fit the bridge may not fit WireGuard.
            ("mtu_fix", text(1)),
        ],
    );
}

/// What the router does for the network.
fn services(package: &mut Package, names: Names, network: &Network) {
    let router = || text(network.router_address);
    let from_here = |part: &str| {
        [
            ("name", text(format_args!("{}-{part}", names.slot()))),
            ("src", text(names.interface())),
            ("family", text("ipv4")),
        ]
    };
    let accept = [("target", text("ACCEPT"))];
    let mut rule = |part: &str, what: Vec<(&'static str, Value)>| {
        let options = from_here(part).into_iter().chain(what).chain(accept.clone());
        add(package, "rule", names.section(part), options);
    };
    rule("dhcp", vec![("proto", text("udp")), ("dest_port", text(67))]);
    rule("dns", vec![("proto", text("tcp udp")), ("dest_ip", router()), ("dest_port", text(DNS_PORT))]);
    rule("ping", vec![("proto", text("icmp")), ("icmp_type", text("echo-request")), ("dest_ip", router())]);
    add(
        package,
        "redirect",
        names.section("names"),
        from_here("names").into_iter().chain([
            ("proto", text("tcp udp")),
            ("src_dip", router()),
            ("src_dport", text(53)),
            ("dest_ip", router()),
            ("dest_port", text(DNS_PORT)),
            ("target", text("DNAT")),
            ("reflection", text(0)),
        ]),
    );
}

fn private_addresses(package: &mut Package, names: Names, settings: &Settings) {
    add(
        package,
        "rule",
        names.section("private"),
        [
            ("name", text(format_args!("{}-private", names.slot()))),
            ("src", text(names.interface())),
            ("dest", text(&settings.wan_zone)),
            ("proto", text("all")),
            ("family", text("ipv4")),
            ("dest_ip", Value::from(NOT_THE_INTERNET.as_slice())),
            ("target", text("REJECT")),
        ],
    );
}

fn way_out(package: &mut Package, names: Names, settings: &Settings) {
    add(
        package,
        "forwarding",
        names.section("wan"),
        // The networks have no IPv6, and what an instance gives itself is not let out.
        [("src", text(names.interface())), ("dest", text(&settings.wan_zone)), ("family", text("ipv4"))],
    );
}
