//! Networks made through the API, seen from the hosts in them.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::net::{Net, run};
use crate::program::{MACHINE, OUTSIDE, PRIVATE, Program, Session, eventually};
use crate::tunnel::Tunnel;

/// The private key of the router's WireGuard interface in network `n`, and its public half.
fn keys(n: u8) -> (String, String) {
    let private = data_encoding::BASE64.encode(&[n; 32]);
    let public = crate::tunnel::public_key(&private);
    (private, public)
}

/// A network as an agent would make it: a bridge, DHCP and DNS of its own, a zone of its own with a way out but not to
/// private addresses, and WireGuard. Its port is `rzs<n>`.
fn add_network(session: &Session<'_>, n: u8) {
    let (name, bridge, wg) = (format!("rz{n}"), format!("rz{n}br"), format!("rz{n}wg"));
    let router = format!("10.20.{n}.1");
    session.add(
        "network",
        "device",
        &bridge,
        json!({"name": bridge, "type": "bridge", "bridge_empty": "1", "ports": [format!("rzs{n}"), format!("rzt{n}")]}),
    );
    session.add(
        "network",
        "interface",
        &name,
        json!({"device": bridge, "proto": "static", "ipaddr": router, "netmask": "255.255.255.0"}),
    );
    let (private, _) = keys(n);
    session.add("network", "interface", &wg, json!({"proto": "wireguard", "private_key": private, "listen_port": (51820 + u32::from(n)).to_string(), "addresses": [format!("10.30.{n}.1/24")], "mtu": "1420", "ip4table": (10000 + u32::from(n)).to_string()}));
    session.add(
        "network",
        "rule",
        &format!("{name}from"),
        json!({"in": name, "lookup": (10000 + u32::from(n)).to_string()}),
    );

    session.add("dhcp", "dnsmasq", &name, json!({"interface": [name], "notinterface": ["loopback"], "domain": format!("net{n}.internal"), "local": format!("/net{n}.internal/"), "expandhosts": "1", "authoritative": "1", "rebind_protection": "1", "noresolv": "1"}));
    session.add(
        "dhcp",
        "dhcp",
        &format!("{name}dhcp"),
        json!({"instance": name, "interface": name, "start": "10", "limit": "91", "leasetime": "1h"}),
    );
    session.add("dhcp", "host", &format!("{name}h1"), json!({"instance": name, "name": "hello", "mac": format!("02:00:00:00:0{n}:01"), "ip": format!("10.20.{n}.150"), "dns": "1"}));

    session.add(
        "firewall",
        "zone",
        &name,
        json!({"name": name, "network": [name, wg], "input": "REJECT", "output": "ACCEPT", "forward": "ACCEPT"}),
    );
    session.add("firewall", "forwarding", &format!("{name}out"), json!({"src": name, "dest": "wan"}));
    session.add("firewall", "rule", &format!("{name}priv"), json!({"name": "no private addresses", "src": name, "dest": "wan", "proto": "all", "dest_ip": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], "target": "REJECT"}));
    session.add(
        "firewall",
        "rule",
        &format!("{name}dhcp"),
        json!({"name": "DHCP", "src": name, "proto": "udp", "dest_port": "67", "target": "ACCEPT"}),
    );
    session.add(
        "firewall",
        "rule",
        &format!("{name}dns"),
        json!({"name": "DNS", "src": name, "proto": "tcp udp", "dest_port": "53", "target": "ACCEPT"}),
    );
    session.add("firewall", "rule", &format!("{name}icmp"), json!({"name": "ping", "src": name, "proto": "icmp", "family": "ipv4", "icmp_type": ["echo-request"], "target": "ACCEPT"}));
    session.add("firewall", "rule", &format!("{name}wg"), json!({"name": "WireGuard", "src": "wan", "proto": "udp", "dest_port": (51820 + u32::from(n)).to_string(), "target": "ACCEPT"}));
}

/// All sections of [`add_network`], by config.
fn delete_network(session: &Session<'_>, n: u8) {
    for config in ["network", "dhcp", "firewall"] {
        let all = session.must("uci", "get", json!({"config": config}));
        let ours = all["values"].as_object().unwrap().keys().filter(|name| name.starts_with(&format!("rz{n}")));
        for section in ours {
            session.must("uci", "delete", json!({"config": config, "section": section}));
        }
    }
}

/// Gets an address by DHCP and takes it, with the way to the router.
fn join(host: &Net, mac: &str) -> String {
    let lease = host.dhcp("eth0", mac, None, "20").expect("a lease");
    let address = lease["address"].as_str().unwrap().to_owned();
    host.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"]);
    host.ip(&["route", "add", "default", "via", lease["router"][0].as_str().unwrap()]);
    address
}

fn pings(host: &Net, address: &str) -> bool {
    host.exec(&["busybox", "ping", "-c", "1", "-W", "2", address]).status.success()
}

/// What the router's name server at `server` answers.
fn resolves(host: &Net, name: &str, server: &str) -> Option<String> {
    let output = host.exec(&["busybox", "nslookup", name, server]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = text.split("Name:").nth(1)?.lines().find_map(|line| line.strip_prefix("Address"))?;
    let (_, address) = answer.split_once(':')?;
    Some(address.split_whitespace().next()?.to_owned())
}

#[test]
fn networks_serve_their_hosts_and_are_isolated() {
    let program = Program::start();
    let before = (program.configs(), links(&program));
    let session = program.login();
    add_network(&session, 1);
    add_network(&session, 2);
    session.apply(&["rz1", "rz2", "rz1wg", "rz2wg"]);

    // The ports come after the networks.
    let (one, two) = (program.host("rzs1"), program.host("rzs2"));
    assert_eq!(join(&one, "02:00:00:00:01:01"), "10.20.1.150");
    assert_eq!(join(&two, "02:00:00:00:02:01"), "10.20.2.150");
    let other = program.host("rzt1");
    let pooled = join(&other, "02:00:00:00:01:02");

    assert!(pings(&one, "10.20.1.1"), "the router answers");
    assert!(pings(&one, &pooled) && pings(&other, "10.20.1.150"), "hosts of a network reach each other");
    assert_eq!(resolves(&other, "hello.net1.internal", "10.20.1.1").as_deref(), Some("10.20.1.150"));
    assert_eq!(resolves(&other, "hello.net2.internal", "10.20.1.1"), None, "names stay in their network");

    assert!(!pings(&one, "10.20.2.150") && !pings(&two, "10.20.1.150"), "networks do not reach each other");
    assert!(resolves(&one, "hello.net2.internal", "10.20.2.1").is_none(), "nor each other's name servers");
    assert!(pings(&one, OUTSIDE) && pings(&two, OUTSIDE), "the outside is reached by masquerade");
    assert!(!pings(&one, PRIVATE), "private addresses outside are not");
    assert!(!pings(&one, "192.168.77.1"), "nor are the machine's");

    // A port forward, from outside by the machine's address and from inside by the router's.
    session.add(
        "firewall",
        "redirect",
        "rz1web",
        json!({"name": "Web", "src": "wan", "src_dport": "8080", "dest": "rz1", "dest_ip": "10.20.1.150", "dest_port": "80", "proto": "tcp", "target": "DNAT"}),
    );
    session.apply(&[]);
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("index.html"), "hello from inside").unwrap();
    one.exec(&["busybox", "httpd", "-p", "80", "-h", site.path().to_str().unwrap()]);
    let fetch = |from: &Net, address: &str| {
        let output = from.exec(&[
            "busybox",
            "timeout",
            "5",
            "busybox",
            "wget",
            "-q",
            "-O",
            "-",
            &format!("http://{address}:8080/"),
        ]);
        String::from_utf8_lossy(&output.stdout) == "hello from inside"
    };
    eventually("the port forward works from outside", || fetch(&program.outside, MACHINE));
    assert!(fetch(&program.machine, "127.0.0.1"), "and from the machine by its loopback address");
    assert!(fetch(&other, "10.254.254.2"), "and from inside the network by the router's outside address");
    assert!(!fetch(&two, "10.20.1.150"), "and not from another network");

    let servers = session.must("service", "list", json!({"name": "dnsmasq"}));
    assert_eq!(servers["dnsmasq"]["instances"]["rz1"]["running"], true, "{servers}");
    for net in [one, two, other] {
        net.ip(&["link", "delete", "eth0"]);
    }
    delete_network(&session, 1);
    delete_network(&session, 2);
    session.apply(&["wan"]);
    eventually("the devices of the networks are gone", || links(&program) == before.1);
    // Others come and go: the router looks around by `ip`.
    let daemons =
        || program.processes().into_iter().filter(|name| ["dnsmasq", "wireguard-go"].contains(&name.as_str()));
    eventually("the programs of the networks are gone", || daemons().count() == 0);
    assert_eq!(program.configs(), before.0, "the files are as they were, byte for byte");
    let ruleset = program.inside(&["nft", "list", "ruleset"]);
    assert!(!ruleset.contains("rz1") && !ruleset.contains("10.20."), "{ruleset}");
}

/// The names of the devices in the router.
fn links(program: &Program) -> Vec<String> {
    let links: Vec<serde_json::Value> = serde_json::from_str(&program.inside(&["ip", "-j", "link"])).unwrap();
    links.iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_peer_reaches_its_network_and_no_other() {
    let program = Program::start();
    let session = program.login();
    add_network(&session, 1);
    add_network(&session, 2);
    session.apply(&["rz1", "rz2", "rz1wg", "rz2wg"]);
    let (one, two) = (program.host("rzs1"), program.host("rzs2"));
    join(&one, "02:00:00:00:01:01");
    join(&two, "02:00:00:00:02:01");

    // The peer is written down, and set live: an apply does not touch an interface whose peers alone change.
    let (private, public) = keys(9);
    let peer = json!({"description": "laptop", "public_key": public, "allowed_ips": ["10.30.1.2/32"], "route_allowed_ips": "1"});
    session.add("network", "wireguard_rz1wg", "rz1p1", peer);
    session.apply(&["rz1wg"]);
    let peers = || session.exec("/usr/bin/wg", &["show", "rz1wg", "peers"])["stdout"].as_str().unwrap_or("").to_owned();
    assert_eq!(peers(), "", "an apply does not set a peer");
    session.exec("/usr/bin/wg", &["set", "rz1wg", "peer", &public, "allowed-ips", "10.30.1.2/32"]);
    assert_eq!(peers().trim(), public);

    let tunnel =
        Tunnel::new(&program.outside, &private, "10.30.1.2", &keys(1).1, &format!("{MACHINE}:51821"), "10.0.0.0/8");
    eventually("the peer reaches the host of its network", || tunnel.pings("10.20.1.150"));
    assert!(tunnel.pings("10.20.1.1"), "and the router");
    assert!(!tunnel.pings("10.20.2.150"), "but no other network");
    let instances = session.must("luci.wireguard", "getWgInstances", json!({}));
    let known = &instances["rz1wg"]["peers"][0];
    assert_eq!(known["name"], "laptop", "{instances}");
    assert_ne!(known["latest_handshake"], "0");

    // Brought up anew, the interface has the peers that are written down.
    session.exec("/usr/bin/wg", &["set", "rz1wg", "peer", &public, "remove"]);
    session.exec("/sbin/ifup", &["rz1wg"]);
    assert_eq!(peers().trim(), public);
    eventually("the peer is back", || tunnel.pings("10.20.1.150"));

    // So is the way to it, in the table that the network looks in; what is changed there live stays so.
    let ways = || program.inside(&["ip", "-4", "route", "show", "table", "10001"]);
    assert!(ways().contains("10.30.1.2 dev rz1wg"), "{}", ways());
    assert!(program.inside(&["ip", "-4", "rule", "show"]).contains("iif rz1br lookup 10001"));
    session.exec("/sbin/ip", &["-4", "route", "del", "10.30.1.2/32", "table", "10001"]);
    session.exec("/sbin/ip", &["-4", "route", "replace", "10.30.1.3/32", "dev", "rz1wg", "table", "10001"]);
    session.add(
        "network",
        "interface",
        "idle",
        json!({"device": "rz1br", "proto": "static", "ipaddr": "10.20.9.1/24"}),
    );
    session.apply(&["idle"]);
    assert!(ways().contains("10.30.1.3") && !ways().contains("10.30.1.2"), "{}", ways());
}

#[test]
fn killed_and_started_again_it_does_what_it_did() {
    let mut program = Program::start();
    let (private, public) = keys(9);
    {
        let session = program.login();
        add_network(&session, 1);
        let peer = json!({"public_key": public, "allowed_ips": ["10.30.1.2/32"]});
        session.add("network", "wireguard_rz1wg", "rz1p1", peer);
        session.apply(&["rz1", "rz1wg"]);
    }
    let one = program.host("rzs1");
    join(&one, "02:00:00:00:01:01");
    let mac = |program: &Program| {
        let links: serde_json::Value =
            serde_json::from_str(&program.inside(&["ip", "-j", "link", "show", "dev", "rz1br"])).unwrap();
        links[0]["address"].clone()
    };
    let before = mac(&program);
    // An apply that waits to be confirmed stays when the router is killed.
    {
        let session = program.login();
        let host =
            json!({"instance": "rz1", "name": "late", "mac": "02:00:00:00:01:03", "ip": "10.20.1.151", "dns": "1"});
        session.add("dhcp", "host", "rz1h2", host);
        session.must("uci", "apply", json!({"rollback": true, "timeout": 5}));
    }
    program.signal(Signal::SIGKILL);
    eventually("its programs die with it", || program.processes().is_empty());

    program.run();
    let session = program.login();
    assert_eq!(session.call("uci", "confirm", json!({})), json!([5]));
    assert!(pings(&one, "10.20.1.1") && pings(&one, OUTSIDE));
    assert_eq!(mac(&program), before, "hosts know the router by its MAC address");
    eventually("names resolve", || resolves(&one, "late.net1.internal", "10.20.1.1").as_deref() == Some("10.20.1.151"));
    let tunnel =
        Tunnel::new(&program.outside, &private, "10.30.1.2", &keys(1).1, &format!("{MACHINE}:51821"), "10.0.0.0/8");
    eventually("the peer reaches its network", || tunnel.pings("10.20.1.150"));
}

#[test]
fn killed_while_it_comes_up_it_comes_up_the_next_time() {
    let mut program = Program::start();
    {
        let session = program.login();
        add_network(&session, 1);
        session.apply(&["rz1", "rz1wg"]);
    }
    program.signal(Signal::SIGTERM);
    for milliseconds in [1, 10, 30, 60, 100, 150, 200, 300] {
        program.spawn();
        // Not to wait for something, but to be somewhere in the middle.
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        program.signal(Signal::SIGKILL);
    }
    program.run();
    let one = program.host("rzs1");
    assert_eq!(join(&one, "02:00:00:00:01:01"), "10.20.1.150");
    assert!(pings(&one, OUTSIDE));
    let daemons: Vec<String> = program.processes().into_iter().filter(|name| name != "ip").collect();
    assert_eq!(daemons, ["dnsmasq", "wireguard-go"], "and what was left of earlier ones is gone");
}

#[test]
fn nothing_is_left_on_the_machine() {
    let mut program = Program::start();
    let forwarding = |program: &Program| {
        let output = program.machine.exec(&["cat", "/proc/sys/net/ipv4/ip_forward"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let rest = |program: &Program| {
        let links = String::from_utf8_lossy(&program.machine.exec(&["ip", "-j", "link"]).stdout).into_owned();
        let tables = String::from_utf8_lossy(&program.machine.exec(&["nft", "list", "tables"]).stdout).into_owned();
        let namespace = std::path::Path::new("/run/netns").join(&program.netns).exists();
        (links.contains("rz-up"), tables, namespace, forwarding(program))
    };
    assert_eq!(rest(&program), (true, "table inet rz-uplink\n".to_owned(), true, "1".to_owned()));
    program.signal(Signal::SIGTERM);
    assert_eq!(rest(&program), (false, String::new(), false, "0".to_owned()));

    program.run();
    let output = program.cleanup();
    assert!(!output.status.success(), "a router that runs is not cleaned away");
    assert!(String::from_utf8_lossy(&output.stderr).contains("stop it first"));
    program.signal(Signal::SIGKILL);
    assert_eq!(rest(&program).3, "1");
    for _ in 0..2 {
        assert!(program.cleanup().status.success());
        assert_eq!(rest(&program), (false, String::new(), false, "0".to_owned()));
    }
    assert!(program.data().join("config/network").exists(), "its data stays");
}

#[test]
fn two_routers_with_tunnels_of_one_name_do_not_meet() {
    let programs = [Program::start(), Program::start()];
    for program in &programs {
        let session = program.login();
        add_network(&session, 1);
        session.apply(&["rz1", "rz1wg"]);
    }
    for program in &programs {
        let shown = program.login().exec("/usr/bin/wg", &["show", "interfaces"]);
        assert_eq!(shown["stdout"], "rz1wg\n");
    }
    assert!(!run("ls", &["/run"]).contains("rz1wg"));
}

/// A segment that the network between the hosts carries: the machine is on another host, and the way out is the router.
#[test]
fn a_machine_behind_a_vxlan_reaches_the_router_and_the_internet() {
    let program = Program::start();
    let before = links(&program);
    let session = program.login();
    session.add(
        "network",
        "interface",
        "under",
        json!({"device": "under", "proto": "static", "ipaddr": "192.0.2.1", "netmask": "255.255.255.0"}),
    );
    session.add(
        "network",
        "device",
        "rz3br",
        json!({"name": "br-rz3", "type": "bridge", "bridge_empty": "1", "ports": ["rz3x"], "mtu": "1450"}),
    );
    session.add(
        "network",
        "interface",
        "rz3",
        json!({"device": "br-rz3", "proto": "static", "ipaddr": "10.20.3.1", "netmask": "255.255.255.0"}),
    );
    session.add(
        "network",
        "interface",
        "rz3x",
        json!({"proto": "vxlan", "vid": "3003", "port": "4789", "ipaddr": "192.0.2.1", "mtu": "1450"}),
    );
    session.add("network", "vxlan_peer", "rz3_x1", json!({"vxlan": "rz3x", "dst": "192.0.2.2"}));
    session.add(
        "firewall",
        "zone",
        "rz3",
        json!({"name": "rz3", "network": ["rz3"], "input": "ACCEPT", "output": "ACCEPT", "forward": "REJECT"}),
    );
    session.add("firewall", "forwarding", "rz3out", json!({"src": "rz3", "dest": "wan"}));
    session.add(
        "firewall",
        "zone",
        "under",
        json!({"name": "under", "network": ["under"], "input": "ACCEPT", "output": "ACCEPT", "forward": "REJECT"}),
    );
    let host = program.host("under");
    host.ip(&["address", "add", "192.0.2.2/24", "dev", "eth0"]);
    session.apply(&["under", "rz3", "rz3x"]);

    // What a hypervisor's agent makes, and a machine in it.
    host.ip(&["link", "add", "seg", "type", "bridge"]);
    host.ip(&["link", "add", "vx", "type", "vxlan", "id", "3003", "dstport", "4789", "local", "192.0.2.2"]);
    host.exec(&["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx", "dst", "192.0.2.1"]);
    let machine = Net::new("rzc");
    host.pair("tap", &machine, "eth0");
    for port in ["vx", "tap"] {
        host.ip(&["link", "set", port, "master", "seg", "up"]);
    }
    host.ip(&["link", "set", "seg", "up"]);
    machine.ip(&["address", "add", "10.20.3.150/24", "dev", "eth0"]);
    machine.ip(&["link", "set", "eth0", "mtu", "1450"]);
    machine.ip(&["route", "add", "default", "via", "10.20.3.1"]);
    eventually("the machine reaches its router", || pings(&machine, "10.20.3.1"));
    assert!(pings(&machine, OUTSIDE), "and the internet by it");
    let whole = machine.exec(&["busybox", "ping", "-c", "1", "-W", "2", "-s", "1422", OUTSIDE]);
    assert!(whole.status.success(), "packets of full size");

    // Another peer in its place, live; then back; then another network identifier, which makes the device anew.
    let change = |config: &str, section: &str, values: serde_json::Value| {
        session.must("uci", "set", json!({"config": config, "section": section, "values": values}));
        session.apply(&["rz3x"]);
    };
    let floods = || program.inside(&["bridge", "fdb", "show", "dev", "rz3x"]);
    change("network", "rz3_x1", json!({"dst": "192.0.2.9"}));
    eventually("the other peer", || {
        floods().contains("dst 192.0.2.9") && !floods().contains("00:00:00:00:00:00 dst 192.0.2.2 ")
    });
    change("network", "rz3_x1", json!({"dst": "192.0.2.2"}));
    change("network", "rz3x", json!({"vid": "3004"}));
    eventually("the other identifier", || program.inside(&["ip", "-d", "link"]).contains("vxlan id 3004"));
    assert!(!pings(&machine, "10.20.3.1"), "it is in another segment");
    change("network", "rz3x", json!({"vid": "3003"}));
    eventually("the machine reaches its router again", || pings(&machine, "10.20.3.1"));

    for (config, section) in [
        ("network", "under"),
        ("network", "rz3br"),
        ("network", "rz3"),
        ("network", "rz3x"),
        ("network", "rz3_x1"),
        ("firewall", "rz3"),
        ("firewall", "rz3out"),
        ("firewall", "under"),
    ] {
        session.must("uci", "delete", json!({"config": config, "section": section}));
    }
    drop((machine, host));
    session.apply(&[]);
    eventually("nothing of it is left", || links(&program) == before);
}
