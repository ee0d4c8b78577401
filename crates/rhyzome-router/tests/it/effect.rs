//! The transcripts that need netifd, dnsmasq, firewall4 and WireGuard: here, a real namespace.

use rhyzome_router::machine::{NamespaceMachine, Surroundings};
use rhyzome_router::namespace::Namespace;
use serde_json::Value;

use crate::net::{Net, need_root_and};
use crate::running::Running;
use crate::transcript::replay;

/// What stands on the other side of the router's four ports.
struct Bench {
    // Dropped in this order: the router before what it lives in.
    running: Running,
    outside: Net,
    _inside: Net,
}

impl Bench {
    fn new() -> Self {
        need_root_and(&["ip", "nft", "wg", "wireguard-go", "dnsmasq", "busybox", "setpriv", "nsenter"]);
        let (inside, outside) = (Net::new("rzt"), Net::new("rzo"));
        for port in 0..4 {
            inside.pair(&format!("eth{port}"), &outside, &format!("peer{port}"));
        }
        let namespace = Namespace::new(&inside.name);
        let running = Running::start(|root| {
            let run = root.config.with_file_name("run");
            NamespaceMachine::start(Surroundings { namespace, root, run, release: "24.10".to_owned() }).unwrap().0
        });
        Bench { running, outside, _inside: inside }
    }

    /// A DHCP client behind a port.
    fn act(&self, action: &Value) -> Value {
        let dhcp = &action["dhcp"];
        let port = dhcp["port"].as_str().unwrap().replace("eth", "peer");
        let tries = if dhcp["refused"] == true { "3" } else { "10" };
        let got = self.outside.dhcp(&port, dhcp["mac"].as_str().unwrap(), dhcp["hostname"].as_str(), tries);
        got.unwrap_or(Value::Null)
    }
}

macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let bench = Bench::new();
                replay($name, &bench.running.client, &|action| bench.act(action));
            }
        )*
    };
}

scenarios! {
    s33_system: "33-system",
    s35_interfaces: "35-effect-interfaces",
    s36_network: "36-effect-network",
    s37_bad_values: "37-effect-bad-values",
    s38_name_limits: "38-effect-name-limits",
    s39_firewall: "39-effect-firewall",
    s40_dnsmasq_bad: "40-effect-dnsmasq-bad",
}
