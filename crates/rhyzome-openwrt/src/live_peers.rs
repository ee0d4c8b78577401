//! The peers of a running WireGuard interface, and the routes to them. netifd does not touch them when peers alone change
//! in UCI, and an interface that is taken down and up drops everybody; so they are changed one by one, by `wg` and `ip` on
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

/// What a router has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// The allowed addresses of each peer, by public key.
    pub peers: BTreeMap<String, BTreeSet<String>>,
    /// The addresses in the network's table.
    pub routes: BTreeSet<String>,
}

/// What it is to have: the one address of each peer, by public key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(BTreeMap<String, String>);

impl Wanted {
    /// Reads the sections of the network with these names.
    pub fn of(config: &Config, names: Names) -> Self {
        let peer = |section: &uci::Section| {
            let address = section.get("allowed_ips")?.items().first()?.trim_end_matches("/32").to_owned();
            Some((section.text("public_key")?.to_owned(), address))
        };
        let kind = names.wireguard_peer();
        Self(config.get("network").into_iter().flat_map(|network| network.of_kind(&kind)).filter_map(peer).collect())
    }
}

impl Live {
    /// Reads the outputs of [`show_peers`] and [`show_routes`].
    pub fn read(peers: &str, routes: &str) -> Self {
        let peer = |line: &str| {
            let (key, addresses) = line.split_once('\t')?;
            let addresses = addresses.split_whitespace().filter(|address| *address != "(none)");
            Some((key.to_owned(), addresses.map(str::to_owned).collect()))
        };
        let route = |line: &str| line.split_whitespace().next().map(|target| target.trim_end_matches("/32").to_owned());
        Self { peers: peers.lines().filter_map(peer).collect(), routes: routes.lines().filter_map(route).collect() }
    }

    /// What leads from here to `wanted`; nothing when it is there already. Peers that stay are not touched.
    pub fn towards(&self, names: Names, wanted: &Wanted) -> Vec<Command> {
        let (device, table) = (names.wireguard(), names.route_table());
        let Wanted(wanted) = wanted;
        let routes: BTreeSet<String> = wanted.values().cloned().collect();
        let wg = |arguments: String| Command::new(WG, &format!("set {device} peer {arguments}"));
        let ip = |arguments: String| Command::new(IP, &format!("-4 route {arguments} dev {device} table {table}"));

        let gone = self.peers.keys().filter(|key| !wanted.contains_key(*key)).map(|key| wg(format!("{key} remove")));
        let is_there = |key: &String, address: &str| {
            self.peers.get(key).is_some_and(|allowed| allowed.iter().eq([&format!("{address}/32")]))
        };
        let come = wanted.iter().filter(|(key, address)| !is_there(key, address));
        let come = come.map(|(key, address)| wg(format!("{key} allowed-ips {address}/32")));
        let old_routes = self.routes.difference(&routes).map(|target| ip(format!("del {target}/32")));
        let new_routes = routes.difference(&self.routes).map(|target| ip(format!("replace {target}/32")));
        gone.chain(come).chain(old_routes).chain(new_routes).collect()
    }
}

#[cfg(test)]
mod tests {
    use types::Slot;

    use super::*;

    fn names() -> Names {
        Names::of(Slot::try_from(0x2f).unwrap())
    }

    fn wanted(peers: &[(&str, &str)]) -> Wanted {
        Wanted(peers.iter().map(|(key, address)| ((*key).to_owned(), (*address).to_owned())).collect())
    }

    fn lines(commands: &[Command]) -> Vec<String> {
        commands.iter().map(|command| format!("{} {}", command.program, command.arguments.join(" "))).collect()
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        let live = Live::read("KEYA\t10.200.0.2/32\n", "10.200.0.2 dev rz2fw proto static scope link \n");
        assert_eq!(live.towards(names(), &wanted(&[("KEYA", "10.200.0.2")])), []);
    }

    #[test]
    fn a_peer_comes_another_goes_and_a_third_stays() {
        let shown = "KEYA\t10.200.0.2/32\nKEYB\t10.200.0.3/32\n";
        let live = Live::read(shown, "10.200.0.2 dev rz2fw\n10.200.0.3 dev rz2fw\n");
        let expected = [
            "/usr/bin/wg set rz2fw peer KEYB remove",
            "/usr/bin/wg set rz2fw peer KEYC allowed-ips 10.200.0.4/32",
            "/sbin/ip -4 route del 10.200.0.3/32 dev rz2fw table 10047",
            "/sbin/ip -4 route replace 10.200.0.4/32 dev rz2fw table 10047",
        ];
        let wanted = wanted(&[("KEYA", "10.200.0.2"), ("KEYC", "10.200.0.4")]);
        assert_eq!(lines(&live.towards(names(), &wanted)), expected);
    }

    #[test]
    fn a_peer_without_its_address_or_with_another_beside_it_gets_its_own() {
        for allowed in ["(none)", "10.200.0.2/32 10.0.0.0/8"] {
            let live = Live::read(&format!("KEYA\t{allowed}\n"), "10.200.0.2 dev rz2fw\n");
            let expected = ["/usr/bin/wg set rz2fw peer KEYA allowed-ips 10.200.0.2/32"];
            assert_eq!(lines(&live.towards(names(), &wanted(&[("KEYA", "10.200.0.2")]))), expected);
        }
    }
}
