//! The way of a port from a file of services to the outside, in every protocol of a real miniupnpd.

use serde_json::Value;

use crate::world::{Place, World, wait_for, write_page};

fn settings(protocol: &str) -> String {
    format!(
        r#"{{"node": "n1", "state_dir": "state", "services": "services.json", "on_exit": "withdraw",
            "gateway": {{"protocols": ["{protocol}"], "pulse_seconds": 1, "lease_seconds": 1200}},
            "firewall": {{"jump": {{"family": "inet", "table": "filter", "chain": "input"}}}}}}"#
    )
}

fn services(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(|port| format!(r#"{{"protocol": "tcp", "port": {port}}}"#)).collect();
    format!(r#"{{"services": [{{"name": "web", "ports": [{}]}}]}}"#, ports.join(", "))
}

/// A host that drops what nobody asked for.
const HOST_RULES: &str = "table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        udp sport { 1900, 5351 } accept
    }
}
";

fn port<'s>(status: &'s Value, port: &str) -> &'s Value {
    let ports = status["ports"].as_array().unwrap();
    ports.iter().find(|known| known["port"] == port).unwrap_or(&Value::Null)
}

fn is_mapped(status: &Value, name: &str) -> bool {
    port(status, name)["mapping"]["state"] == "mapped" && port(status, name)["stops_at"].is_null()
}

#[test]
fn a_port_is_published_and_withdrawn_in_every_protocol() {
    let mut world = World::new();
    write_page(world.dir.path());
    world.feed(Place::Host, &["nft", "-f", "-"], HOST_RULES);
    for web in ["8080", "9000"] {
        world.start(
            "web",
            Place::Host,
            &["busybox", "httpd", "-f", "-p", web, "-h", world.dir.path().to_str().unwrap().to_owned().as_str()],
        );
    }
    for (protocol, shown) in [("pcp", "PCP MAP "), ("igd", "rz:n1:"), ("nat-pmp", "NAT-PMP ")] {
        world.write("diplonat.json", &settings(protocol));
        world.write("services.json", &services(&[8080, 9000]));
        // What another program on this host has asked for is not ours.
        world.run_at_last(
            Place::Host,
            &[
                "upnpc",
                "-u",
                "http://192.168.77.1:5555/rootDesc.xml",
                "-e",
                "game",
                "-a",
                "192.168.77.2",
                "9000",
                "9000",
                "TCP",
            ],
        );
        let plan = String::from_utf8(world.diplonat(&["plan"]).stdout).unwrap();
        assert!(plan.contains("outside   11.22.33.5\n"), "{plan}");
        assert_eq!(world.fetch(8080), None, "{protocol}: nothing is published yet");

        world.start_diplonat();
        let what = format!("{protocol}: one port is mapped and the other is another's");
        let status = world.wait_for_status(&what, |status| {
            is_mapped(status, "tcp/8080") && port(status, "tcp/9000")["mapping"]["state"] == "failed"
        });
        if protocol != "nat-pmp" {
            let cause = port(&status, "tcp/9000")["stops_at"].as_str().unwrap();
            assert!(cause.contains("game"), "{protocol}: {cause}");
        }
        assert!(world.leases().contains(&format!(":{shown}")), "{protocol}: {}", world.leases());
        world.wait_for_page(8080);

        // The router loses everything: it is asserted again.
        world.let_router_age();
        world.stop("miniupnpd");
        world.start_router();
        let both =
            |world: &World| (world.leases().contains(":8080:") && world.leases().contains(":9000:")).then_some(());
        wait_for("all is mapped again", || both(&world)).unwrap_or_else(|| panic!("{}", world.log("diplonat")));

        // What is not wanted any more goes, from the firewall too; the end of diplonat withdraws the rest.
        world.write("services.json", &services(&[9000]));
        wait_for("a mapping ends", || (!world.leases().contains(":8080:")).then_some(())).unwrap();
        let closed = |world: &World| {
            !world.run(Place::Host, &["nft", "list", "set", "inet", "filter", "diplonat_tcp_open"]).contains("8080")
        };
        wait_for("the firewall closes", || closed(&world).then_some(())).unwrap();
        world.wait_for_page(9000);
        world.terminate("diplonat");
        assert_eq!(world.leases(), "", "{protocol}: nothing is left");
        let rules = world.run(Place::Host, &["nft", "list", "ruleset"]);
        assert!(!rules.contains("diplonat") && rules.contains("udp sport"), "{protocol}: {rules}");
    }
}
