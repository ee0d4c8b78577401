use std::collections::BTreeSet;

use jobs::desired::{Isolation, Network};
use proptest::prelude::*;
use rhyzome_openwrt::admission::admit;
use rhyzome_openwrt::names::Names;
use rhyzome_openwrt::render::{PACKAGES, Settings, render};
use serde_json::json;
use types::{ResourceId, Slot};
use uci::{Config, Package, diff_owned};

use crate::fixture::{
    admitted, furnished, instance_id, lease, network, network_json, parse, peer, peer_id, settings, version,
};

fn rendered(network: Network) -> Config {
    render(&admitted(network), version(1), &settings())
}

fn rendered_with(segments: &serde_json::Value, network: Network) -> Config {
    let segments = serde_json::from_value(segments.clone()).unwrap();
    render(&admitted(network), version(1), &Settings { segments, ..settings() })
}

fn text(network: Network) -> String {
    rendered(network).to_string()
}

#[test]
fn a_network_as_uci() {
    insta::assert_snapshot!(text(furnished(0x2f)));
}

#[test]
fn a_closed_network_without_a_pool_has_no_way_out_and_no_resolver() {
    let mut network = network(1);
    network.dhcp = None;
    network.isolation = Isolation::Closed;
    network.mtu = 1280_i64.try_into().unwrap();
    insta::assert_snapshot!(text(network));
}

#[test]
fn an_open_network_reaches_private_addresses_and_asks_its_own_servers() {
    let mut network = network(1);
    network.isolation = Isolation::Open;
    network.dns.servers = vec!["9.9.9.9".parse().unwrap(), "192.168.1.53".parse().unwrap()];
    let text = text(network);
    assert!(text.contains("list server '192.168.1.53'") && text.contains("option noresolv '1'"), "{text}");
    assert!(text.contains("config forwarding") && !text.contains("10.0.0.0/8"), "{text}");
}

#[test]
fn a_segment_comes_by_a_veth_or_by_a_vlan() {
    for (segments, segment, ports) in [
        (json!({"kind": "bridge"}), 0x1f, Some("rzs1f")),
        (json!({"kind": "vlan", "trunk": "eth1", "first_vlan": 1000}), 31, Some("eth1.1030")),
        (json!({"kind": "vlan", "trunk": "eth1"}), 3096, None),
        (json!({"kind": "vxlan", "underlay": "192.0.2.1"}), 31, None),
    ] {
        let mut network = network_json(1);
        network["segment"] = segment.into();
        let config = rendered_with(&segments, parse(&network));
        let bridge = config.get("network").unwrap().section("rz1_bridge").unwrap();
        assert_eq!(bridge.get("ports").map(|ports| ports.items().join(" ")).as_deref(), ports, "{segments}");
    }
}

#[test]
fn a_segment_comes_by_vxlan_from_every_hypervisor() {
    let mut network = network_json(0x2f);
    network["vxlan"] = json!({"vni": 31, "remotes": ["192.0.2.1", "192.0.2.11", "192.0.2.12"]});
    network["mtu"] = 1450.into();
    let config = rendered_with(&json!({"kind": "vxlan", "underlay": "192.0.2.1"}), parse(&network));
    let text = config.to_string();
    insta::assert_snapshot!(
        text.split("\n\n")
            .filter(|section| section.contains("rz2fx") || section.contains("xlan"))
            .collect::<Vec<_>>()
            .join("\n\n")
    );

    // Nobody else is there yet: nobody is let in.
    network["vxlan"]["remotes"] = json!(["192.0.2.1"]);
    let alone = rendered_with(&json!({"kind": "vxlan", "underlay": "192.0.2.1"}), parse(&network)).to_string();
    assert!(alone.contains("option proto 'vxlan'") && !alone.contains("rz2f_vxlan"), "{alone}");
}

#[test]
fn the_first_and_last_slot_render() {
    for slot in [1, Slot::MAX] {
        let mut json = network_json(1);
        json["slot"] = slot.into();
        rendered(parse(&json));
    }
}

/// Why each of `changes` to a good network has it refused.
fn refusals(changes: impl IntoIterator<Item = (&'static str, serde_json::Value)>) -> String {
    let mut reasons = String::new();
    for (pointer, value) in changes {
        let mut json = network_json(1);
        *json.pointer_mut(pointer).unwrap() = value.clone();
        let Err(reason) = admit(parse(&json)) else { panic!("{pointer} = {value} was let in") };
        reasons += &format!("{pointer} = {value}\n    {reason}\n");
    }
    reasons
}

#[test]
fn what_a_router_would_choke_on_is_refused_with_a_reason() {
    use serde_json::json;
    insta::assert_snapshot!(refusals([
        ("/subnet", json!("127.0.0.0/8")),
        ("/router_address", json!("10.77.2.1")),
        ("/router_address", json!("10.77.1.255")),
        ("/dns/servers", json!(["10.77.1.1"])),
        ("/lease_seconds", json!(60)),
        ("/dhcp/range", json!({"start": "10.77.1.100", "end": "10.77.1.10"})),
        ("/dhcp/range", json!({"start": "10.77.1.10", "end": "10.77.2.10"})),
        ("/dhcp/range", json!({"start": "10.77.1.1", "end": "10.77.1.10"})),
        ("/wireguard/port", json!(5399)),
        ("/wireguard/private_key", json!({"secret": "sec-0000000000001"})),
        ("/wireguard/private_key", json!({"value": "c2hvcnQ="})),
        ("/wireguard/public_key", json!("HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykx=".replace('x', "0"))),
    ]));
}

#[test]
fn a_bad_entry_is_refused_and_its_siblings_go_in() {
    let mut network = furnished(1);
    for (number, bad) in [
        (3, lease("outside", 3, "10.77.2.9")),
        (4, lease("router", 4, "10.77.1.1")),
        (5, lease("twice", 5, "10.77.1.101")),
        (6, lease("same-mac", 1, "10.77.1.106")),
        (7, lease("hello", 7, "10.77.1.107")),
    ] {
        network.leases.insert(instance_id(number), bad);
    }
    network.leases.insert(instance_id(8), lease("good", 8, "10.77.1.108"));
    network.peers.insert(peer_id(2), peer("inside", 2, "10.77.1.9"));
    network.peers.insert(peer_id(3), peer("same-key", 7, "10.200.0.3"));
    network.peers.insert(peer_id(4), peer("same-address", 4, "10.200.0.2"));
    network.peers.insert(peer_id(5), peer("good", 5, "10.200.0.5"));

    let admitted = admitted(network);
    let let_in: Vec<_> = admitted.leases.values().map(|lease| lease.name.as_str()).collect();
    assert_eq!(let_in, ["hello", "world", "good"]);
    let let_in: Vec<_> = admitted.peers.values().map(|peer| peer.name.as_str()).collect();
    assert_eq!(let_in, ["laptop", "good"]);
    assert!(admitted.refused.contains_key(&ResourceId::Instance(instance_id(3))));
    insta::assert_debug_snapshot!(admitted.refused.values().collect::<Vec<_>>());
}

fn section_names(config: &Config) -> BTreeSet<(String, String)> {
    let sections = |package: &Package| {
        let name = package.name().to_string();
        package.sections().map(|section| (name.clone(), section.name().to_string())).collect::<Vec<_>>()
    };
    config.packages().flat_map(sections).collect()
}

proptest! {
    #[test]
    fn two_networks_share_no_section_and_no_device(one in 1..=Slot::MAX, other in 1..=Slot::MAX) {
        prop_assume!(one != other);
        let [one, other] = [one, other].map(|slot| {
            let mut json = network_json(1);
            json["slot"] = slot.into();
            json["segment"] = slot.into();
            let mut network = parse(&json);
            network.leases = furnished(1).leases;
            network.peers = furnished(1).peers;
            rendered(network)
        });
        let (one_names, other_names) = (section_names(&one), section_names(&other));
        prop_assert!(one_names.is_disjoint(&other_names));
        let names = |config: &Config| {
            let network = config.get("network").unwrap();
            network.of_kind("device").map(|device| device.text("name").unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        prop_assert!(names(&one).is_disjoint(&names(&other)));
    }

    #[test]
    fn what_was_rendered_and_taken_away_leaves_no_byte(slot in 1..200_u16, leases in 0..20_u8) {
        let mut desired = furnished(slot);
        for number in 0..leases {
            let address = format!("10.77.{slot}.{}", 110 + number);
            desired.leases.insert(instance_id(100 + u16::from(number)), lease(&format!("i{number}"), 100 + number, &address));
        }
        let wanted = rendered(desired);
        for name in PACKAGES {
            let before = format!("\nconfig thing\n\toption a '1'\n\nconfig other 'rzqueer'\n\tlist b '{name}'\n\n");
            let mut package = Package::parse(wanted.get(name).unwrap().name().clone(), &before).unwrap();
            let ours = |section: &uci::Section| Names::owner(section.name().as_str()).is_some();
            let changes = diff_owned(&package, wanted.get(name).unwrap(), ours).unwrap();
            uci::apply(&mut package, &changes).unwrap();
            prop_assert!(diff_owned(&package, wanted.get(name).unwrap(), ours).unwrap().is_empty());
            let empty = Package::new(package.name().clone());
            let changes = diff_owned(&package, &empty, ours).unwrap();
            uci::apply(&mut package, &changes).unwrap();
            prop_assert_eq!(package.to_string(), before);
        }
    }
}
