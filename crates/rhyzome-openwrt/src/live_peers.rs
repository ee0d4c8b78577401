//! The peers of a running WireGuard interface, and the way to them. netifd does not touch them when peers alone change in
//! UCI, and an interface that is taken down and up drops everybody; so they are changed one by one, by `wg` and `ip` on
//! the router, to what UCI would make of them at the next boot.

use std::collections::{BTreeMap, BTreeSet};

use uci::Config;

use crate::command::{Command, IP, WG};
use crate::names::Names;

/// The command whose output tells the peers: `KEY<tab>10.0.0.2/32 …`. It fails where there is no such interface.
pub fn show_peers(names: Names) -> Command {
    Command::new(WG, &format!("show {} allowed-ips", names.wireguard()))
}

/// The command whose output tells the routes: `10.0.0.2 dev …`. It fails where the table is empty.
pub fn show_routes(names: Names) -> Command {
    Command::new(IP, &format!("-4 route show table {}", names.route_table()))
}

/// The command whose output tells the rules: `10047: from all iif br-rz2f lookup 10047`.
pub fn show_rules() -> Command {
    Command::new(IP, "-4 rule show")
}

/// What a router has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// The allowed addresses of each peer, by public key.
    pub peers: BTreeMap<String, BTreeSet<String>>,
    /// The addresses in the network's table.
    pub routes: BTreeSet<String>,
    /// What leads to the network's table, as in `iif br-rz2f`.
    pub rules: BTreeSet<String>,
}

/// What it is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The router's own address in the network.
    router_address: String,
    /// The one address of each peer, by public key.
    peers: BTreeMap<String, String>,
}

impl Wanted {
    /// Reads the sections of the network with these names.
    pub fn of(config: &Config, names: Names) -> Self {
        let Some(network) = config.get("network") else {
            return Self::default();
        };
        let interface = network.section(&names.interface());
        let peer = |section: &uci::Section| {
            let address = section.get("allowed_ips")?.items().first()?.trim_end_matches("/32").to_owned();
            Some((section.text("public_key")?.to_owned(), address))
        };
        Self {
            router_address: interface.and_then(|section| section.text("ipaddr")).unwrap_or_default().to_owned(),
            peers: network.of_kind(&names.wireguard_peer()).filter_map(peer).collect(),
        }
    }
}

impl Live {
    /// Reads the outputs of [`show_peers`], [`show_routes`] and [`show_rules`].
    pub fn read(names: Names, peers: &str, routes: &str, rules: &str) -> Self {
        let peer = |line: &str| {
            let (key, addresses) = line.split_once('\t')?;
            let addresses = addresses.split_whitespace().filter(|address| *address != "(none)");
            Some((key.to_owned(), addresses.map(str::to_owned).collect()))
        };
        let route = |line: &str| line.split_whitespace().next().map(|target| target.trim_end_matches("/32").to_owned());
        let lookup = format!("lookup {}", names.route_table());
        let rule = |line: &str| {
            let (_, selector) = line.split_once(':')?;
            let selector = selector.trim().strip_suffix(&lookup)?.trim();
            // The kernel marks a rule whose device is away.
            let selector = selector.trim_start_matches("from all ").trim_end_matches(" [detached]");
            // netifd gives each table one for the router's own packets, which comes and goes with the interface.
            (selector != "iif lo").then(|| selector.to_owned())
        };
        Self {
            peers: peers.lines().filter_map(peer).collect(),
            routes: routes.lines().filter_map(route).collect(),
            rules: rules.lines().map(str::trim).filter_map(rule).collect(),
        }
    }

    /// What leads from here to `wanted`; nothing when it is there already. Peers that stay are not touched.
    pub fn towards(&self, names: Names, wanted: &Wanted) -> Vec<Command> {
        let device = names.wireguard();
        let addresses = &wanted.peers;
        let mut commands = Vec::new();
        for key in self.peers.keys().filter(|key| !addresses.contains_key(*key)) {
            commands.push(Command::new(WG, &format!("set {device} peer {key} remove")));
        }
        for (key, address) in addresses {
            let allowed = BTreeSet::from([format!("{address}/32")]);
            if self.peers.get(key) != Some(&allowed) {
                commands.push(Command::new(WG, &format!("set {device} peer {key} allowed-ips {address}/32")));
            }
        }
        let rules = [format!("iif {}", names.bridge()), format!("from {}", wanted.router_address)];
        commands.extend(self.ways(names, &addresses.values().cloned().collect(), &rules.into()));
        commands
    }

    /// What leads from here to nothing. The interface goes with UCI; what others than netifd put beside it does not.
    pub fn towards_nothing(&self, names: Names) -> Vec<Command> {
        self.ways(names, &BTreeSet::new(), &BTreeSet::new())
    }

    fn ways(&self, names: Names, routes: &BTreeSet<String>, rules: &BTreeSet<String>) -> Vec<Command> {
        let (device, table) = (names.wireguard(), names.route_table());
        let ip = |arguments: String| Command::new(IP, &format!("-4 {arguments}"));
        let old_rules = self.rules.difference(rules).map(|rule| ip(format!("rule del {rule} lookup {table}")));
        let old_routes =
            self.routes.difference(routes).map(|target| ip(format!("route del {target}/32 table {table}")));
        let new_routes = routes
            .difference(&self.routes)
            .map(|target| ip(format!("route replace {target}/32 dev {device} table {table}")));
        let new_rules =
            rules.difference(&self.rules).map(|rule| ip(format!("rule add {rule} lookup {table} priority {table}")));
        old_rules.chain(old_routes).chain(new_routes).chain(new_rules).collect()
    }
}

#[cfg(test)]
mod tests {
    use types::Slot;

    use super::*;

    const RULES: &str = "0:\tfrom all lookup local\n10047:\tfrom all iif br-rz2f lookup 10047\n\
                         10047:\tfrom 10.77.47.1 lookup 10047\n32766:\tfrom all lookup main\n\
                         90012:\tfrom all iif lo lookup 10047\n";

    fn names() -> Names {
        Names::of(Slot::try_from(0x2f).unwrap())
    }

    fn wanted(peers: &[(&str, &str)]) -> Wanted {
        let peers = peers.iter().map(|(key, address)| ((*key).to_owned(), (*address).to_owned())).collect();
        Wanted { router_address: "10.77.47.1".to_owned(), peers }
    }

    fn lines(commands: &[Command]) -> Vec<String> {
        commands.iter().map(|command| format!("{} {}", command.program, command.arguments.join(" "))).collect()
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        let live =
            Live::read(names(), "KEYA\t10.200.0.2/32\n", "10.200.0.2 dev rz2fw proto static scope link \n", RULES);
        assert_eq!(live.towards(names(), &wanted(&[("KEYA", "10.200.0.2")])), []);
    }

    #[test]
    fn a_peer_comes_another_goes_and_a_third_stays() {
        let shown = "KEYA\t10.200.0.2/32\nKEYB\t10.200.0.3/32\n";
        let live = Live::read(names(), shown, "10.200.0.2 dev rz2fw\n10.200.0.3 dev rz2fw\n", RULES);
        let expected = [
            "/usr/bin/wg set rz2fw peer KEYB remove",
            "/usr/bin/wg set rz2fw peer KEYC allowed-ips 10.200.0.4/32",
            "/sbin/ip -4 route del 10.200.0.3/32 table 10047",
            "/sbin/ip -4 route replace 10.200.0.4/32 dev rz2fw table 10047",
        ];
        let wanted = wanted(&[("KEYA", "10.200.0.2"), ("KEYC", "10.200.0.4")]);
        assert_eq!(lines(&live.towards(names(), &wanted)), expected);
    }

    #[test]
    fn a_peer_without_addresses_gets_its_own_and_rules_that_lack_are_made() {
        let live = Live::read(names(), "KEYA\t(none)\n", "", "0:\tfrom all lookup local\n");
        let expected = [
            "/usr/bin/wg set rz2fw peer KEYA allowed-ips 10.200.0.2/32",
            "/sbin/ip -4 route replace 10.200.0.2/32 dev rz2fw table 10047",
            "/sbin/ip -4 rule add from 10.77.47.1 lookup 10047 priority 10047",
            "/sbin/ip -4 rule add iif br-rz2f lookup 10047 priority 10047",
        ];
        assert_eq!(lines(&live.towards(names(), &wanted(&[("KEYA", "10.200.0.2")]))), expected);
    }

    #[test]
    fn of_a_network_that_went_nothing_stays() {
        let rules = RULES.replace("iif br-rz2f", "iif br-rz2f [detached]");
        let live = Live::read(names(), "", "10.200.0.2 dev rz2fw\n", &rules);
        let expected = [
            "/sbin/ip -4 rule del from 10.77.47.1 lookup 10047",
            "/sbin/ip -4 rule del iif br-rz2f lookup 10047",
            "/sbin/ip -4 route del 10.200.0.2/32 table 10047",
        ];
        assert_eq!(lines(&live.towards_nothing(names())), expected);
        assert_eq!(Live::default().towards_nothing(names()), []);
    }
}
