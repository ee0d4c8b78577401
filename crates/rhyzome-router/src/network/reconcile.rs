//! The way from what there is to what is asked for: lines for `ip -batch`. No input or output.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::observed::{Link, Observed};
use super::plan::{Bridge, Plan, Proto, Route};
use super::rule::PolicyRule;
use super::vxlan::Vxlan;

/// The lines that lead from `observed` to what `plan` asks for; none if all is as it should be.
///
/// The namespace is the router's own, so that bridges, addresses and routes that nobody asks for are removed.
#[must_use]
pub fn steps(plan: &Plan, scope: &Scope<'_>, observed: &Observed) -> Vec<String> {
    let mut steps =
        Steps { plan, scope, observed, lines: Vec::new(), present: observed.links.keys().cloned().collect() };
    steps.remove_overlays();
    steps.make_overlays();
    steps.remove_bridges();
    steps.make_bridges();
    steps.fill_bridges();
    steps.devices();
    steps.routes();
    steps.rules();
    steps.lines
}

/// What a plan is brought about with.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The interfaces that are not to be up.
    pub off: &'a BTreeSet<String>,
    /// The interfaces whose routes are left as they are: others change them live.
    pub kept: &'a BTreeSet<String>,
    /// Tells the router from others, so that its bridges' MAC addresses differ.
    pub seed: &'a str,
}

/// Whether a bridge exists: while one of its ports is there, or always if it may be empty.
#[must_use]
pub fn bridge_exists(bridge: &Bridge, observed: &Observed) -> bool {
    bridge.may_be_empty || bridge.ports.iter().any(|port| observed.links.contains_key(port))
}

struct Steps<'a> {
    plan: &'a Plan,
    scope: &'a Scope<'a>,
    observed: &'a Observed,
    lines: Vec<String>,
    /// The devices that will be there when the lines so far have been followed.
    present: BTreeSet<String>,
}

impl Steps<'_> {
    /// VXLANs that nobody asks for, and those that are not what is asked for by now.
    fn remove_overlays(&mut self) {
        let wanted: BTreeMap<&str, &Vxlan> = overlays(self.plan, self.scope.off).collect();
        for (name, link) in self.observed.links.iter().filter(|(_, link)| link.kind.as_deref() == Some("vxlan")) {
            if wanted.get(name.as_str()).is_none_or(|vxlan| Some(&vxlan.device) != link.vxlan.as_ref()) {
                self.lines.push(format!("link delete {name}"));
                self.present.remove(name);
            }
        }
    }

    fn make_overlays(&mut self) {
        for (name, vxlan) in overlays(self.plan, self.scope.off) {
            let is_there = |link: &String| self.observed.links.contains_key(link);
            if self.present.contains(name) || !vxlan.device.link.as_ref().is_none_or(is_there) {
                continue;
            }
            let mac = vxlan.mac.clone().unwrap_or_else(|| mac(self.scope.seed, name));
            self.lines.push(vxlan.device.add(name, &mac));
            self.present.insert(name.to_owned());
        }
    }

    fn remove_bridges(&mut self) {
        let (plan, observed) = (self.plan, self.observed);
        let wanted = |name: &String| plan.bridges.get(name).is_some_and(|bridge| bridge_exists(bridge, observed));
        let is_bridge = |link: &Link| link.kind.as_deref() == Some("bridge");
        let doomed = observed.links.iter().filter(|(name, link)| is_bridge(link) && !wanted(name));
        for (name, _) in doomed {
            self.lines.push(format!("link delete {name}"));
            self.present.remove(name);
        }
    }

    fn make_bridges(&mut self) {
        let (plan, observed) = (self.plan, self.observed);
        let missing =
            |name: &str, bridge: &Bridge| bridge_exists(bridge, observed) && !observed.links.contains_key(name);
        for (name, bridge) in plan.bridges.iter().filter(|(name, bridge)| missing(name, bridge)) {
            // A bridge without a MAC address of its own takes that of a port, and another one with the next port.
            let mac = bridge.mac.clone().unwrap_or_else(|| mac(self.scope.seed, name));
            self.lines.push(format!("link add {name} address {mac} type bridge"));
            self.present.insert(name.clone());
        }
    }

    fn fill_bridges(&mut self) {
        let mut masters: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, bridge) in &self.plan.bridges {
            if self.present.contains(name) {
                masters.extend(bridge.ports.iter().map(|port| (port.as_str(), name.as_str())));
            }
        }
        for (name, link) in &self.observed.links {
            match (masters.get(name.as_str()), link.master.as_deref()) {
                (Some(wanted), Some(actual)) if *wanted == actual => {}
                (Some(wanted), _) => self.lines.push(format!("link set {name} master {wanted}")),
                (None, Some(_)) => self.lines.push(format!("link set {name} nomaster down")),
                (None, None) => continue,
            }
            if masters.contains_key(name.as_str()) && !link.is_up {
                self.lines.push(format!("link set {name} up"));
            }
        }
    }

    /// Addresses, MTUs and being up, of every device.
    fn devices(&mut self) {
        for device in self.present.clone() {
            let link = self.observed.links.get(&device).cloned().unwrap_or_default();
            let users: Vec<_> =
                self.plan.on_device(&device).filter(|(name, _)| is_on(self.plan, self.scope.off, name)).collect();
            let addressing = users.iter().filter_map(|(_, interface)| interface.addressing.as_ref().ok());
            let wanted: Vec<IpNet> = addressing.flat_map(|addressing| addressing.addresses.iter().copied()).collect();
            for address in link.addresses.iter().filter(|address| !wanted.contains(address)) {
                // The loopback addresses come with the device.
                if !address.addr().is_loopback() {
                    self.lines.push(format!("address delete {address} dev {device}"));
                }
            }
            for address in wanted.iter().filter(|address| !link.addresses.contains(address)) {
                let broadcast = if address.addr().is_ipv4() && address.prefix_len() < 31 { " broadcast +" } else { "" };
                self.lines.push(format!("address add {address}{broadcast} dev {device}"));
            }
            let mtu = users.iter().find_map(|(_, interface)| interface.mtu).or(self.plan.mtus.get(&device).copied());
            if let Some(mtu) = mtu.filter(|mtu| *mtu != link.mtu) {
                self.lines.push(format!("link set {device} mtu {mtu}"));
            }
            let is_bridge = self.plan.bridges.contains_key(&device);
            if !link.is_up && (is_bridge || device == "lo" || !users.is_empty()) {
                self.lines.push(format!("link set {device} up"));
            }
        }
    }

    fn routes(&mut self) {
        let mut wanted: Vec<(&str, &Route)> = Vec::new();
        let mut kept: Vec<&str> = Vec::new();
        for (name, interface) in &self.plan.interfaces {
            let (Some(device), Ok(addressing)) = (interface.l3_device(name), &interface.addressing) else { continue };
            if self.scope.kept.contains(name) {
                kept.push(device);
            } else if is_on(self.plan, self.scope.off, name) && self.present.contains(device) {
                wanted.extend(addressing.routes.iter().map(|route| (device, route)));
            }
        }
        let actual: Vec<(&str, &Route)> =
            self.observed.routes.iter().map(|(device, route)| (device.as_str(), route)).collect();
        for (device, route) in actual.iter().filter(|(device, _)| !kept.contains(device)) {
            // A device that goes takes its routes along.
            if !wanted.contains(&(device, route)) && self.present.contains(*device) {
                self.lines.push(format!("route delete {} dev {device} proto static{}", line(route), table(route)));
            }
        }
        for (device, route) in wanted.iter().filter(|wanted| !actual.contains(wanted)) {
            self.lines.push(format!("route replace {} dev {device} proto static{}", line(route), table(route)));
        }
    }

    fn rules(&mut self) {
        // A rule of an interface comes and goes with its device.
        let is_there = |device: &Option<String>| device.as_ref().is_none_or(|device| self.present.contains(device));
        let rules = self.plan.rules.iter().filter(|rule| is_there(&rule.arrives_on) && is_there(&rule.leaves_by));
        let wanted: Vec<&PolicyRule> = rules.collect();
        let actual = &self.observed.rules;
        let stale = actual.iter().filter(|rule| !wanted.contains(rule)).map(|rule| rule.line("delete"));
        let missing = wanted.iter().filter(|rule| !actual.contains(rule)).map(|rule| rule.line("add"));
        self.lines.extend(stale.chain(missing));
    }
}

/// The VXLANs that are to be there, by their interfaces.
pub fn overlays<'a>(plan: &'a Plan, off: &'a BTreeSet<String>) -> impl Iterator<Item = (&'a str, &'a Vxlan)> {
    let wanted = plan.interfaces.iter().filter(|(name, _)| !off.contains(*name));
    wanted.filter_map(|(name, interface)| match &interface.proto {
        Proto::Vxlan(vxlan) => Some((name.as_str(), &**vxlan)),
        Proto::None | Proto::Static | Proto::WireGuard(_) => None,
    })
}

/// Whether an interface is to be up: by itself, and not switched off.
fn is_on(plan: &Plan, off: &BTreeSet<String>, name: &str) -> bool {
    plan.interfaces.get(name).is_some_and(|interface| interface.addressing.is_ok()) && !off.contains(name)
}

fn line(route: &Route) -> String {
    let mut line = route.target.to_string();
    if let Some(gateway) = route.gateway {
        line.push_str(&format!(" via {gateway}"));
    }
    if route.metric != 0 {
        line.push_str(&format!(" metric {}", route.metric));
    }
    line
}

fn table(route: &Route) -> String {
    route.table.as_ref().map_or_else(String::new, |table| format!(" table {table}"))
}

/// A MAC address of the local range that a bridge keeps for as long as its router lives.
fn mac(seed: &str, bridge: &str) -> String {
    let hash = Sha256::new().chain_update(seed).chain_update([0]).chain_update(bridge).finalize();
    let octets: Vec<String> = hash[..5].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("02:{}", octets.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    const CONFIG: &str = "
        config device
            option name br-lab
            option type bridge
            option bridge_empty 1
            list ports rzs5
        config interface lab
            option device br-lab
            option proto static
            option ipaddr 10.20.30.1
            option netmask 255.255.255.0
        config interface wan
            option device wan
            option proto static
            option ipaddr 10.255.0.2/30
            option gateway 10.255.0.1
    ";

    fn plan() -> Plan {
        Plan::of(&Tree::of(&uci::Package::parse(uci::PackageName::new("network").unwrap(), CONFIG).unwrap()))
    }

    fn link(addresses: &[&str]) -> Link {
        Link { is_up: true, addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(), ..Link::default() }
    }

    fn observed(links: &[(&str, Link)]) -> Observed {
        let links = links.iter().map(|(name, link)| ((*name).to_owned(), link.clone())).collect();
        Observed { links, ..Observed::default() }
    }

    fn steps_from(observed: &Observed) -> String {
        let none = BTreeSet::new();
        steps(&plan(), &Scope { off: &none, kept: &none, seed: "seed" }, observed).join("\n")
    }

    #[test]
    fn an_empty_namespace_gets_all_that_is_asked_for() {
        let wan = Link { is_up: false, ..link(&[]) };
        insta::assert_snapshot!(steps_from(&observed(&[("wan", wan)])), @r"
        link add br-lab address 02:f8:e3:25:30:d7 type bridge
        address add 10.20.30.1/24 broadcast + dev br-lab
        link set br-lab up
        address add 10.255.0.2/30 broadcast + dev wan
        link set wan up
        route replace 0.0.0.0/0 via 10.255.0.1 dev wan proto static
        ");
    }

    #[test]
    fn a_port_that_comes_later_is_attached_and_what_nobody_asks_for_goes() {
        let bridge = Link { kind: Some("bridge".into()), ..link(&["10.20.30.1/24", "10.9.9.9/24"]) };
        let stale = Link { kind: Some("bridge".into()), ..link(&[]) };
        let port = Link { is_up: false, ..link(&[]) };
        let observed = observed(&[("br-lab", bridge), ("br-old", stale), ("rzs5", port)]);
        insta::assert_snapshot!(steps_from(&observed), @r"
        link delete br-old
        link set rzs5 master br-lab
        link set rzs5 up
        address delete 10.9.9.9/24 dev br-lab
        ");
    }

    #[test]
    fn nothing_is_done_when_all_is_there() {
        let bridge = Link { kind: Some("bridge".into()), ..link(&["10.20.30.1/24"]) };
        let mut observed = observed(&[("br-lab", bridge), ("wan", link(&["10.255.0.2/30"]))]);
        let route =
            Route { target: "0.0.0.0/0".parse().unwrap(), gateway: "10.255.0.1".parse().ok(), metric: 0, table: None };
        observed.routes.push(("wan".to_owned(), route));
        assert_eq!(steps_from(&observed), "");
    }
}
