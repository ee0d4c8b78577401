//! A machine that says it is somebody else: nobody on its segment hears of it.
//!
//! Two machines are defined and off, and cables stand for their taps, so that every frame is what an attacker chose.

use std::net::Ipv4Addr;
use std::process::Command;

use jobs::desired::{Instance, Nic, Power};
use jobs::{Object, Observer, Target};
use types::InstanceId;

use crate::ground::{Ground, INSTANCE, NETWORK, as_sent, bring, eventually, remove};
use crate::wire::{EVERYBODY, Mac, Wire, arp, ethernet, router_advertisement, udp};

const NEIGHBOUR: InstanceId = InstanceId::from_bits(0x0123_4567_89ab_cdf0);
const MINE: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const THEIRS: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x57];
const ME: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const THEM: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn spoof(ground: Ground) {
    let (target, context) = (std::sync::Arc::new(ground.hypervisor()), ground.context());
    let segment = serde_json::to_string(&ground.segment()).unwrap();
    bring(&*target, &context, Object::Segment(NETWORK), "1:1", segment).await;
    for (id, mac, address) in [(INSTANCE, MINE, ME), (NEIGHBOUR, THEIRS, THEM)] {
        let wanted = ground.instance(Power::Stopped);
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":").parse().unwrap();
        let nic = Nic { mac, address: address.to_string().parse().unwrap(), ..wanted.nic.clone() };
        let wanted = Instance { id, nic, ..wanted };
        bring(&*target, &context, Object::Instance(id), "1:1", as_sent(&wanted)).await;
    }
    let [me, them] = [INSTANCE, NEIGHBOUR].map(|id| plug_in(&ground, id));

    attack(&me, &them);
    // With the table away the same frames pass, so that it is the table that stops them.
    let table = ["table", "bridge", "rhyzome-libvirt"];
    ground.run(Command::new("nft").arg("delete").args(table));
    me.send(&router_advertisement(MINE));
    them.received_before(&router_advertisement(MINE));

    // Whoever flushes the host's rules does not open the taps for long.
    let (observer, _observations) = Observer::channel(64);
    let watched = target.clone();
    let watcher = tokio::spawn(async move { watched.watch(observer).await });
    let listed = async || Command::new("nft").arg("list").args(table).output().unwrap().status.success().then_some(());
    eventually("the filter", listed).await;
    ground.run(Command::new("nft").args(["flush", "ruleset"]));
    eventually("the filter again", listed).await;
    attack(&me, &them);
    watcher.abort();

    // An agent that comes up finds from its records whom to admit.
    drop(target);
    ground.run(Command::new("nft").args(["flush", "ruleset"]));
    let target = std::sync::Arc::new(ground.hypervisor());
    let watched = target.clone();
    let (observer, _observations) = Observer::channel(64);
    let watcher = tokio::spawn(async move { watched.watch(observer).await });
    eventually("the filter of the next run", listed).await;
    attack(&me, &them);
    watcher.abort();

    unplug(&ground);
    for id in [INSTANCE, NEIGHBOUR] {
        remove(&*target, &context, Object::Instance(id)).await;
    }
    remove(&*target, &context, Object::Segment(NETWORK)).await;
    assert_eq!(ground.traces(), [] as [String; 0]);
}

#[test]
fn a_machine_speaks_for_itself_alone() {
    spoof(Ground::prepare());
}

/// Everything that must not pass, and between it what must.
fn attack(me: &Wire, them: &Wire) {
    for (what, frame) in [
        ("the neighbour's address by ARP", arp(MINE, 2, (MINE, THEM), THEM)),
        ("the router's address by ARP", arp(MINE, 2, (MINE, ROUTER), THEM)),
        ("the neighbour's MAC in ARP", arp(MINE, 2, (THEIRS, ME), ROUTER)),
        ("another MAC", arp(THEIRS, 1, (THEIRS, ME), ROUTER)),
        ("a question whether the neighbour's address is free", arp(MINE, 1, (MINE, NOWHERE), THEM)),
        ("the neighbour's address", udp(EVERYBODY, MINE, (THEM, 9), (ALL, 9), b"spoof")),
        ("another's MAC with the right address", udp(EVERYBODY, THEIRS, (ME, 9), (ALL, 9), b"spoof")),
        ("an answer of a DHCP server", udp(EVERYBODY, MINE, (ME, 67), (ALL, 68), b"offer")),
        ("a datagram without an address", udp(EVERYBODY, MINE, (NOWHERE, 9), (ALL, 9), b"spoof")),
        ("a router advertisement", router_advertisement(MINE)),
        ("a VLAN tag around it", ethernet(EVERYBODY, MINE, 0x8100, &[0, 1, 8, 0, 0x45])),
        ("a spanning tree", ethernet([1, 0x80, 0xc2, 0, 0, 0], MINE, 0x0026, &[0x42, 0x42, 3, 0, 0])),
    ] {
        me.send(&frame);
        let honest = udp(THEIRS, MINE, (ME, 9), (THEM, 9), what.as_bytes());
        me.send(&honest);
        assert_eq!(of_machines(them.received_before(&honest)), [] as [Vec<u8>; 0], "{what} passed");
    }
    // What is honest passes.
    for honest in [
        arp(MINE, 1, (MINE, ME), THEM),
        arp(MINE, 1, (MINE, NOWHERE), ME),
        udp(EVERYBODY, MINE, (NOWHERE, 68), (ALL, 67), b"discover"),
        udp(EVERYBODY, MINE, (ME, 68), (ALL, 67), b"renew"),
    ] {
        me.send(&honest);
        assert_eq!(of_machines(them.received_before(&honest)), [] as [Vec<u8>; 0]);
    }
    // The bridge has not learnt a wrong place for anybody.
    let answer = udp(MINE, THEIRS, (THEM, 9), (ME, 9), b"answer");
    them.send(&answer);
    me.received_before(&answer);
}

/// What bears a machine's MAC address: the segment's other ports are this host's, whose kernel may speak at any time.
fn of_machines(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.retain(|frame| frame.get(6..12).is_some_and(|source| [MINE, THEIRS].iter().any(|mac| mac == source)));
    frames
}

fn tap(id: InstanceId) -> String {
    format!("rt{}", id.suffix())
}

fn far_end(id: InstanceId) -> String {
    format!("xt{}", id.suffix())
}

/// Makes a cable between the segment's bridge and us, whose end at the bridge is named like the machine's tap.
fn plug_in(ground: &Ground, id: InstanceId) -> Wire {
    let (tap, far, bridge) = (tap(id), far_end(id), ground.segment().segment.bridge());
    let ip = |arguments: &[&str]| ground.run(Command::new("ip").args(["link"]).args(arguments));
    ip(&["add", &tap, "type", "veth", "peer", "name", &far]);
    for end in [&tap, &far] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
    }
    ip(&["set", &tap, "master", &bridge, "up"]);
    ip(&["set", &far, "up"]);
    Wire::on(&far)
}

fn unplug(ground: &Ground) {
    for id in [INSTANCE, NEIGHBOUR] {
        ground.run(Command::new("ip").args(["link", "delete", &tap(id)]));
    }
}
