use jobs::{Job, Object, Want};
use rhyzome_openwrt::plan::{Decision, Found, plan};
use rhyzome_openwrt::render::{nothing, render};
use types::NetworkId;
use uci::{Config, Package};

use crate::fixture::{admitted, furnished, network_id, network_json, settings, version};

fn wanted(json: &serde_json::Value, revision: u64) -> Job {
    let id: NetworkId = json["id"].as_str().unwrap().parse().unwrap();
    let want = Want::Desired(json.to_string());
    Job { object: Object::Network(id), version: version(revision), requires: Vec::new(), want }
}

fn gone(slot: u16, revision: u64) -> Job {
    let object = Object::Network(network_id(slot));
    Job { object, version: version(revision), requires: Vec::new(), want: Want::Gone }
}

/// A router with these networks at revision 5, and a LAN of its own.
fn router(slots: &[u16]) -> Found {
    let mut config = nothing();
    let lan = "config interface 'lan'\n\toption ipaddr '192.168.1.1'\n\toption netmask '255.255.255.0'\n";
    config.insert(Package::parse(config.get("network").unwrap().name().clone(), lan).unwrap());
    for slot in slots {
        add(&mut config, &render(&admitted(furnished(*slot)), version(5), &settings()));
    }
    Found { config, addresses: Vec::new() }
}

fn add(config: &mut Config, sections: &Config) {
    for package in sections.packages() {
        let target = config.get_mut(package.name().as_str()).unwrap();
        let changes = uci::diff_owned(&Package::new(package.name().clone()), package, |_| true).unwrap();
        uci::apply(target, &changes).unwrap();
    }
}

fn told(decisions: &[Decision]) -> Vec<String> {
    let tell = |decision: &Decision| match decision {
        Decision::Refuse(reason) => format!("refuse: {reason}"),
        Decision::Wait(reason) => format!("wait: {reason}"),
        Decision::Place(placement) if placement.network.is_some() => "place".to_owned(),
        Decision::Place(placement) => format!("remove {} slot(s)", placement.slots.len()),
    };
    decisions.iter().map(tell).collect()
}

#[test]
fn the_same_again_changes_nothing_and_a_drift_is_undone() {
    let mut found = router(&[1]);
    let mut json = network_json(1);
    json["leases"] = serde_json::to_value(furnished(1).leases).unwrap();
    json["peers"] = serde_json::to_value(furnished(1).peers).unwrap();
    let decisions = plan(&[wanted(&json, 5)], &found, &settings());
    let [Decision::Place(placement)] = decisions.as_slice() else { panic!("{:?}", told(&decisions)) };
    assert_eq!(placement.changes(&found.config).unwrap(), []);

    let firewall = found.config.get_mut("firewall").unwrap();
    firewall.section_mut("rz1").unwrap().set("input", "ACCEPT").unwrap();
    firewall.add("rule", "rz1_mine").unwrap();
    firewall.add("rule", "rz2_other").unwrap();
    assert_eq!(placement.changes(&found.config).unwrap().len(), 2, "the option and the extra section of this slot");
}

#[test]
fn jobs_that_can_be_done_are_and_the_others_say_why_not() {
    let mut bad = network_json(2);
    bad["dhcp"] = serde_json::json!({"range": {"start": "10.77.2.1", "end": "10.77.2.9"}});
    let mut in_lan = network_json(3);
    in_lan["subnet"] = "192.168.0.0/16".into();
    in_lan["router_address"] = "192.168.3.1".into();
    in_lan["dhcp"] = serde_json::Value::Null;
    let mut same_slot = network_json(4);
    same_slot["slot"] = 1.into();
    let mut same_port = network_json(5);
    same_port["wireguard"]["port"] = 51821.into();
    let mut same_subnet = network_json(6);
    same_subnet["subnet"] = "10.77.0.0/16".into();
    let jobs = [&network_json(7), &bad, &in_lan, &same_slot, &same_port, &same_subnet].map(|json| wanted(json, 1));
    let strange = Job { object: Object::Segment(network_id(9)), ..gone(9, 1) };
    let jobs: Vec<Job> = jobs.into_iter().chain([strange, gone(8, 1)]).collect();
    insta::assert_debug_snapshot!(told(&plan(&jobs, &router(&[1]), &settings())));
}

#[test]
fn older_versions_and_broken_states_are_refused() {
    let mut of_another = network_json(1);
    of_another["id"] = network_id(2).to_string().into();
    let mut broken = network_json(1);
    broken["colour"] = "green".into();
    let of_another = Job { object: Object::Network(network_id(1)), ..wanted(&of_another, 9) };
    let jobs = [wanted(&network_json(1), 4), of_another, wanted(&broken, 9)];
    let told = told(&plan(&jobs, &router(&[1]), &settings()));
    assert_eq!(told[0], "refuse: the router has version 1:5 of it already");
    assert!(told[1].starts_with("refuse: the desired state is of net-"), "{told:?}");
    assert!(told[2].contains("unknown field `colour`"), "{told:?}");
}

#[test]
fn a_slot_is_free_again_in_the_batch_that_empties_it() {
    let mut successor = network_json(2);
    for (field, value) in
        [("slot", 1.into()), ("subnet", "10.77.1.0/24".into()), ("router_address", "10.77.1.1".into())]
    {
        successor[field] = value;
    }
    successor["dhcp"] = serde_json::Value::Null;
    let found = router(&[1]);
    assert!(told(&plan(&[wanted(&successor, 1)], &found, &settings()))[0].starts_with("wait: slot"));
    assert_eq!(told(&plan(&[gone(1, 6), wanted(&successor, 1)], &found, &settings())), ["remove 1 slot(s)", "place"]);
}

#[test]
fn a_network_that_moves_takes_its_old_slot_away() {
    let mut moved = network_json(1);
    moved["slot"] = 0x30.into();
    let found = router(&[1]);
    let decisions = plan(&[wanted(&moved, 6)], &found, &settings());
    let [Decision::Place(placement)] = decisions.as_slice() else { panic!("{:?}", told(&decisions)) };
    assert_eq!(placement.slots.len(), 2);
    let mut config = found.config.clone();
    for change in placement.changes(&config).unwrap() {
        uci::apply(config.get_mut(change.config.as_str()).unwrap(), &[change]).unwrap();
    }
    let text = config.to_string();
    assert!(!text.contains("'rz1"), "{text}");
    assert!(text.contains("'rz30w'") && text.contains("192.168.1.1"), "{text}");
}

#[test]
fn addresses_that_interfaces_got_by_themselves_count() {
    let mut found = router(&[]);
    found.addresses.push(rhyzome_openwrt::plan::InterfaceAddress {
        interface: "wan".to_owned(),
        address: "10.77.1.55".parse().unwrap(),
        prefix_len: 16,
    });
    let told = told(&plan(&[wanted(&network_json(1), 1)], &found, &settings()));
    assert_eq!(told, ["refuse: subnet: 10.77.1.0/24 overlaps 10.77.0.0/16 of the router's own section wan"]);
}
