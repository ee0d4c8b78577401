//! The package `network`: the bridge with the router's address, the WireGuard server, and the way to its peers.

use jobs::desired::Vxlan;
use types::{HostAddr, Mtu};
use uci::{Package, Value};

use super::{Settings, add, one, text};
use crate::admission::Admitted;
use crate::names::Names;

/// What is left of 1500 bytes after an outer IPv6, UDP and WireGuard header.
const WIREGUARD_MTU: u16 = 1420;

pub(super) fn fill(package: &mut Package, names: Names, admitted: &Admitted, settings: &Settings) {
    let network = &admitted.network;
    let ports = settings.segments.bridge_ports(network);
    let bridge = [
        ("name", text(names.bridge())),
        ("type", text("bridge")),
        // Without it netifd makes no bridge until the first port is there.
        ("bridge_empty", text(1)),
        ("mtu", text(network.mtu.get())),
        ("ipv6", text(0)),
    ];
    add(
        package,
        "device",
        names.section("bridge"),
        bridge.into_iter().chain((!ports.is_empty()).then_some(("ports", Value::List(ports)))),
    );
    add(
        package,
        "interface",
        names.interface(),
        [
            ("device", text(names.bridge())),
            ("proto", text("static")),
            ("ipaddr", text(network.router_address)),
            ("netmask", text(network.subnet.netmask())),
        ],
    );
    if let (Some(vxlan), Some(underlay)) = (&network.vxlan, settings.segments.underlay()) {
        overlay(package, names, network.mtu, vxlan, underlay);
    }
    wireguard(package, names, admitted);
    routes(package, names, admitted);
}

/// The VXLAN, in the shape of OpenWrt's package `vxlan`: what is for everybody goes to each of its peers.
fn overlay(package: &mut Package, names: Names, mtu: Mtu, vxlan: &Vxlan, underlay: HostAddr) {
    add(
        package,
        "interface",
        names.vxlan(),
        [
            ("proto", text("vxlan")),
            ("vid", text(vxlan.vni)),
            ("port", text(Vxlan::PORT)),
            ("ipaddr", text(underlay)),
            ("mtu", text(mtu.get())),
        ],
    );
    for remote in vxlan.remotes.iter().filter(|remote| **remote != underlay) {
        let name = names.section(&format!("x{:08x}", remote.ip().to_bits()));
        add(package, "vxlan_peer", name, [("vxlan", text(names.vxlan())), ("dst", text(remote))]);
    }
}

fn wireguard(package: &mut Package, names: Names, admitted: &Admitted) {
    let network = &admitted.network;
    add(
        package,
        "interface",
        names.wireguard(),
        [
            ("proto", text("wireguard")),
            ("private_key", text(admitted.private_key.reveal().reveal())),
            ("listen_port", text(network.wireguard.port)),
            ("mtu", text(wireguard_mtu(network.mtu))),
            ("ip4table", text(names.route_table())),
            // Peers dial in; a route to where one was seen last would outlive its next move.
            ("nohostroute", text(1)),
        ],
    );
    for (id, peer) in &admitted.peers {
        add(
            package,
            &names.wireguard_peer(),
            names.peer(*id),
            [
                ("description", text(&peer.name)),
                ("public_key", text(peer.public_key)),
                ("allowed_ips", one(format_args!("{}/32", peer.address))),
                ("route_allowed_ips", text(1)),
            ],
        );
    }
}

/// The rules that make the network's machines, and the router when it answers for the network, look for peers among
/// the network's own: a peer has the same address in every network that it may enter.
fn routes(package: &mut Package, names: Names, admitted: &Admitted) {
    let table = text(names.route_table());
    let ours = format!("{}/32", admitted.network.router_address);
    add(package, "rule", names.section("from"), [("in", text(names.interface())), ("lookup", table.clone())]);
    add(package, "rule", names.section("answer"), [("src", text(ours)), ("lookup", table)]);
}

fn wireguard_mtu(mtu: Mtu) -> u16 {
    mtu.get().min(WIREGUARD_MTU)
}
