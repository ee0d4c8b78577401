//! Networks on a real router: UCI in, packets out.

use std::time::{Duration, Instant};

use jobs::{Job, Outcome, Report, Target};
use serde_json::{Value, json};

use crate::fixture::{key, network_json, private_key, server_key};
use crate::real_router::{Machine, OUTSIDE, PATIENCE, RealRouter, eventually};
use crate::target::{context, gone, wanted, with_lease, with_peers};

async fn apply(router: &RealRouter, jobs: Vec<Job>) -> Vec<Report> {
    let reports = router.target.apply(jobs, &context()).await;
    for report in &reports {
        assert_eq!((report.outcome, &report.reason), (Outcome::Applied, &None), "{:?}", router.files());
    }
    reports
}

fn furnished(slot: u16) -> Value {
    let json = with_lease(network_json(slot), 1, &format!("10.77.{slot}.101"));
    with_peers(with_lease(json, 2, &format!("10.77.{slot}.102")), &[2])
}

#[tokio::test]
async fn networks_come_change_and_go_without_a_trace() {
    let router = RealRouter::start();
    let before = router.files();

    let (one, two) = (furnished(1), furnished(2));
    let reports = apply(&router, vec![wanted(1, &one, 1), wanted(2, &two, 1)]).await;
    assert_eq!(reports[0].status, Some(json!({"endpoint_host": "127.0.0.1"})));
    let (files, written) = (router.files(), router.written());
    assert!(files[0].contains("'br-rz1'") && files[0].contains("'rz2w'"), "{}", files[0]);

    apply(&router, vec![wanted(1, &one, 1), wanted(2, &two, 1)]).await;
    assert_eq!(router.written(), written, "the same again must write nothing");

    let mut changed = with_peers(with_lease(network_json(1), 3, "10.77.1.103"), &[3]);
    changed["dhcp"] = json!({"range": {"start": "10.77.1.20", "end": "10.77.1.29"}});
    changed["isolation"] = "open".into();
    changed["mtu"] = 1400.into();
    apply(&router, vec![wanted(1, &changed, 2)]).await;
    let [network, dhcp, firewall] = &router.files()[..] else { panic!("three packages") };
    assert!(dhcp.contains("10.77.1.103") && !dhcp.contains("10.77.1.101"), "{dhcp}");
    assert!(dhcp.contains("option limit '10'") && network.contains("option mtu '1400'"), "{dhcp}{network}");
    assert!(!firewall.contains("rz1_private") && firewall.contains("rz2_private"), "{firewall}");
    let peers = router.inside("wg show rz1w allowed-ips");
    assert!(peers.contains(&key(3).to_string()) && !peers.contains(&key(2).to_string()), "{peers}");

    apply(&router, vec![gone(1, 3), gone(2, 3)]).await;
    assert_eq!(router.files(), before, "not a byte may stay");
    assert_eq!(router.target.held().await.unwrap(), []);
}

/// Waits until an address answers.
fn reaches(machine: &Machine, address: &str) {
    eventually(address, || machine.reaches(address).then_some(()).ok_or_else(|| "it does not answer".to_owned()));
}

/// Has a machine ask for its address until it gets `expected`; gives what it was told.
fn address(machine: &Machine, router: &RealRouter, expected: &str) -> String {
    eventually("the address", || {
        let told = machine.asks_for_address(&router.path(""))?;
        if told.contains(&format!("ip={expected} ")) { Ok(told) } else { Err(told) }
    })
}

#[tokio::test]
async fn machines_get_their_addresses_and_names_and_stay_in_their_network() {
    let router = RealRouter::start();
    let outside = Machine::outside("outside", "198.51.100.9");
    let lan = Machine::outside("lan", "192.168.9.9");
    apply(&router, vec![wanted(1, &furnished(1), 1), wanted(2, &furnished(2), 1)]).await;

    let hello = Machine::on_segment("hello", 1, "52:54:00:00:00:01");
    let told = address(&hello, &router, "10.77.1.101");
    assert_eq!(told, "ip=10.77.1.101 router=10.77.1.1 dns=10.77.1.1 mtu=1500 domain=net1.internal lease=3600\n");
    let stranger = Machine::on_segment("stranger", 2, "52:54:00:00:00:99");
    let told = eventually("an address of the pool", || stranger.asks_for_address(&router.path("")));
    let last: u8 = told.split([' ', '.']).nth(3).unwrap().parse().unwrap();
    assert!((10..=100).contains(&last), "{told}");

    let looks_up = |name: &str| hello.run(&format!("busybox nslookup {name} 10.77.1.1"));
    let found = String::from_utf8(looks_up("i2.net1.internal").stdout).unwrap();
    assert!(found.contains("10.77.1.102"), "{found}");
    assert!(!looks_up("i2.net2.internal").status.success(), "names of another network are nobody's business");

    assert!(hello.reaches("10.77.1.1"), "the router in its network");
    assert!(!hello.reaches("10.77.2.1"), "the router in another network");
    assert!(!hello.reaches("10.77.2.101"), "another network");
    assert!(!hello.reaches("10.254.254.1"), "private addresses behind the router");
    reaches(&hello, "198.51.100.9");
    assert!(!hello.reaches("192.168.9.9"), "a private address behind the router");
    drop((outside, lan));

    let mut open = furnished(1);
    open["isolation"] = "open".into();
    apply(&router, vec![wanted(1, &open, 2)]).await;
    reaches(&hello, "192.168.9.9");
    open["isolation"] = "closed".into();
    apply(&router, vec![wanted(1, &open, 3)]).await;
    eventually("the way out to close", || {
        (!hello.reaches("198.51.100.9")).then_some(()).ok_or_else(|| "it is open".to_owned())
    });
    assert!(hello.reaches("10.77.1.1"));

    // The lease moves with its state.
    apply(&router, vec![wanted(1, &with_lease(network_json(1), 1, "10.77.1.150"), 4)]).await;
    address(&hello, &router, "10.77.1.150");
}

#[tokio::test]
async fn a_peer_reaches_the_networks_it_may_enter_and_no_other() {
    let router = RealRouter::start();
    apply(&router, vec![wanted(1, &furnished(1), 1), wanted(2, &furnished(2), 1), wanted(3, &network_json(3), 1)])
        .await;
    let machines = [1, 2, 3].map(|segment| {
        let machine = Machine::on_segment(&format!("m{segment}"), segment, "52:54:00:00:00:01");
        if segment == 3 {
            eventually("an address", || machine.asks_for_address(&router.path("")));
        } else {
            address(&machine, &router, &format!("10.77.{segment}.101"));
        }
        machine
    });
    // The one address is a peer's in both networks.
    let laptop = Peer::outside("laptop", &router, 2, "198.51.100.2", &[1, 2, 3]);
    for target in ["10.77.1.101", "10.77.2.101", "10.77.1.1"] {
        reaches(&laptop.machine, target);
    }
    assert!(!laptop.machine.reaches("10.77.3.1"), "a network that does not know it");
    let found = laptop.machine.run("busybox nslookup i2.net1.internal 10.77.1.1");
    assert!(String::from_utf8_lossy(&found.stdout).contains("10.77.1.102"), "{found:?}");

    // A new peer is there at once, and the old one does not notice.
    let handshakes = || router.inside("wg show rz1w latest-handshakes");
    let before = handshakes();
    apply(&router, vec![wanted(1, &with_peers(furnished(1), &[5]), 2)]).await;
    let phone = Peer::outside("phone", &router, 5, "198.51.100.5", &[1, 2]);
    reaches(&phone.machine, "10.77.1.101");
    assert!(!phone.machine.reaches("10.77.2.101"), "a network that it may not enter");
    assert!(handshakes().contains(before.trim()), "{before} became {}", handshakes());

    apply(&router, vec![wanted(1, &furnished(1), 3)]).await;
    assert!(!phone.machine.reaches("10.77.1.101"), "a peer that was taken out");
    assert!(laptop.machine.reaches("10.77.1.101") && laptop.machine.reaches("10.77.2.101"));

    apply(&router, vec![gone(1, 4), gone(2, 4), gone(3, 4)]).await;
    let left = router.inside("ip rule; ip route show table 10001; ip route show table 10002; ip link");
    assert!(!left.contains("br-rz") && !left.contains("lookup 1000") && !left.contains("10.200."), "{left}");
    drop(machines);
}

/// What was cut off in the middle is finished by the next try, whatever had been done of it.
#[tokio::test]
async fn a_change_that_was_cut_off_is_brought_about_by_the_next_try() {
    let router = RealRouter::start();
    let before = router.files();
    for (revision, milliseconds) in (1..).zip([20, 80, 160]) {
        let lease = with_lease(furnished(1), 9, &format!("10.77.1.{}", 200 + revision));
        let jobs = || vec![wanted(1, &lease, revision)];
        let context = context();
        // It may also have come to its end.
        drop(tokio::time::timeout(Duration::from_millis(milliseconds), router.target.apply(jobs(), &context)).await);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = router.target.apply(jobs(), &context).await.pop().unwrap();
            match report.outcome {
                Outcome::Applied => break,
                outcome => assert!(outcome == Outcome::Retrying && Instant::now() < deadline, "{report:?}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(router.files()[1].contains(&format!("10.77.1.{}", 200 + revision)));
    }
    apply(&router, vec![gone(1, 9)]).await;
    assert_eq!(router.files(), before);
}

/// A device of a person, with WireGuard in user space.
struct Peer {
    machine: Machine,
    wireguard: std::process::Child,
}

impl Peer {
    fn outside(name: &str, router: &RealRouter, number: u8, address: &str, networks: &[u16]) -> Self {
        let machine = Machine::outside(name, address);
        let device = format!("wg-{name}");
        let wireguard = machine.start(&["wireguard-go", "--foreground", &device]);
        let key_file = router.path(&format!("{name}.key"));
        std::fs::write(&key_file, private_key(number).reveal().reveal()).unwrap();
        let mut commands = format!("wg set {device} private-key {}", key_file.display());
        for slot in networks {
            let (key, port) = (server_key(*slot).public(), 51820 + slot);
            commands += &format!(" peer {key} endpoint {OUTSIDE}:{port} allowed-ips 10.77.{slot}.0/24");
        }
        commands += &format!(" && ip address add 10.200.0.{number}/32 dev {device} && ip link set {device} up");
        for slot in networks {
            commands += &format!(" && ip route add 10.77.{slot}.0/24 dev {device}");
        }
        eventually("WireGuard on the peer", || {
            let output = machine.run(&commands);
            output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
        });
        Self { machine, wireguard }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.wireguard.kill();
        let _ = self.wireguard.wait();
    }
}
