//! The ruleset as text for nft, laid out as fw4 lays it out: base chains that tell zones apart, and chains a zone.

use std::fmt::Write;

use ipnet::IpNet;

use super::TABLE;
use super::address::{AddressSet, Family, IcmpType, Ports, braced};
use super::policy::{Matching, Policy, Redirect, Side, Verdict, Zone};

/// The whole table, to be loaded at once in place of the one that is there.
#[must_use]
pub fn render(policy: &Policy) -> String {
    let mut text = Text(format!("add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n"));
    text.base(policy, Hook::Input);
    text.base(policy, Hook::Forward);
    text.base(policy, Hook::Output);
    text.chain("handle_reject", |chain| {
        chain.line("meta l4proto tcp reject with tcp reset");
        chain.line("reject with icmpx type port-unreachable");
    });
    for zone in &policy.zones {
        text.zone(policy, zone);
    }
    text.nat(policy);
    text.clamp(policy);
    text.0.push_str("}\n");
    text.0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hook {
    Input,
    Forward,
    Output,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
        }
    }
}

struct Text(String);

impl Text {
    fn chain(&mut self, name: &str, fill: impl FnOnce(&mut Text)) {
        let _ = writeln!(self.0, "\tchain {name} {{"); // writing to a string cannot fail
        fill(self);
        self.0.push_str("\t}\n\n");
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.0, "\t\t{line}");
    }

    fn base(&mut self, policy: &Policy, hook: Hook) {
        let verdict = match hook {
            Hook::Input => policy.defaults.input,
            Hook::Forward => policy.defaults.forward,
            Hook::Output => policy.defaults.output,
        };
        let (name, base) = (hook.name(), if verdict == Verdict::Accept { "accept" } else { "drop" });
        self.chain(name, |chain| {
            chain.line(&format!("type filter hook {name} priority filter; policy {base};"));
            match hook {
                Hook::Input => chain.line("iifname \"lo\" accept"),
                Hook::Output => chain.line("oifname \"lo\" accept"),
                Hook::Forward => {}
            }
            chain.line("ct state vmap { established : accept, related : accept }");
            if policy.drop_invalid {
                chain.line("ct state invalid drop");
            }
            chain.rules_of_all(policy, hook);
            let direction = if hook == Hook::Output { "oifname" } else { "iifname" };
            for zone in policy.zones.iter().filter(|zone| !zone.devices.is_empty()) {
                chain.line(&format!(
                    "{direction} {} jump {name}_{} comment \"!fw4: Handle {} IPv4/IPv6 {} traffic\"",
                    devices(zone),
                    zone.name,
                    zone.name,
                    // The longest of the words decides how long the name of a zone may be.
                    if hook == Hook::Forward { "forwarded" } else { name },
                ));
            }
            if verdict == Verdict::Reject {
                chain.line("jump handle_reject");
            }
        });
    }

    /// The rules and forwardings that are about every zone.
    fn rules_of_all(&mut self, policy: &Policy, hook: Hook) {
        for rule in &policy.rules {
            let here = match (&rule.from, &rule.to) {
                (Some(Side::Every), None) => hook == Hook::Input,
                (Some(Side::Every), Some(_)) => hook == Hook::Forward,
                (None, None | Some(Side::Every)) => hook == Hook::Output,
                _ => false,
            };
            if here {
                self.rule(&rule.matching, &target(rule.verdict, rule.to.as_ref()), &rule.name);
            }
        }
        if hook == Hook::Forward {
            for forwarding in policy.forwardings.iter().filter(|forwarding| forwarding.from == Side::Every) {
                let verdict = target(Verdict::Accept, Some(&forwarding.to));
                self.line(&format!("{}{verdict}", family_prefix(forwarding.family)));
            }
        }
    }

    fn zone(&mut self, policy: &Policy, zone: &Zone) {
        let name = &zone.name;
        let from = Side::Zone(name.clone());
        let redirected = policy.redirects.iter().any(|redirect| redirect.from == *name);
        let verdicts = zone.verdicts;
        self.chain(&format!("input_{name}"), |chain| {
            for rule in policy.rules.iter().filter(|rule| rule.from.as_ref() == Some(&from) && rule.to.is_none()) {
                chain.rule(&rule.matching, &target(rule.verdict, None), &rule.name);
            }
            if redirected {
                chain.line("ct status dnat accept comment \"!fw4: Accept port redirections\"");
            }
            chain.line(&format!("jump {}_from_{name}", word(verdicts.input)));
        });
        self.chain(&format!("forward_{name}"), |chain| {
            for rule in policy.rules.iter().filter(|rule| rule.from.as_ref() == Some(&from) && rule.to.is_some()) {
                chain.rule(&rule.matching, &target(rule.verdict, rule.to.as_ref()), &rule.name);
            }
            for forwarding in policy.forwardings.iter().filter(|forwarding| forwarding.from == from) {
                let verdict = target(Verdict::Accept, Some(&forwarding.to));
                chain.line(&format!("{}{verdict}", family_prefix(forwarding.family)));
            }
            if redirected {
                chain.line("ct status dnat accept comment \"!fw4: Accept port forwards\"");
            }
            chain.line(&format!("jump {}_to_{name}", word(verdicts.forward)));
        });
        self.chain(&format!("output_{name}"), |chain| {
            let is_here = |to: &Option<Side>| to.as_ref() == Some(&from);
            for rule in policy.rules.iter().filter(|rule| rule.from.is_none() && is_here(&rule.to)) {
                chain.rule(&rule.matching, &target(rule.verdict, None), &rule.name);
            }
            chain.line(&format!("jump {}_to_{name}", word(verdicts.output)));
        });
        for verdict in [Verdict::Accept, Verdict::Reject, Verdict::Drop] {
            for (direction, field) in [("from", "iifname"), ("to", "oifname")] {
                self.chain(&format!("{}_{direction}_{name}", word(verdict)), |chain| {
                    if zone.devices.is_empty() {
                        return;
                    }
                    let on = format!("{field} {}", devices(zone));
                    if (direction, verdict) == ("to", Verdict::Accept) && zone.masquerade {
                        // What is no connection cannot be translated and would leak the address behind.
                        chain.line(&format!("meta nfproto ipv4 {on} ct state invalid drop"));
                    }
                    chain.line(&format!("{on} counter {}", statement(verdict)));
                });
            }
        }
    }

    /// One line for each protocol and IP version that the rule is for.
    fn rule(&mut self, matching: &Matching, verdict: &str, name: &str) {
        for condition in conditions(matching) {
            self.line(&format!("{condition}counter {verdict} comment \"!fw4: {name}\""));
        }
    }

    fn nat(&mut self, policy: &Policy) {
        self.chain("dstnat", |chain| {
            chain.line("type nat hook prerouting priority dstnat; policy accept;");
            for zone in policy.zones.iter().filter(|zone| !zone.devices.is_empty()) {
                chain.line(&format!("iifname {} jump dstnat_{}", devices(zone), zone.name));
            }
        });
        self.chain("srcnat", |chain| {
            chain.line("type nat hook postrouting priority srcnat; policy accept;");
            for zone in policy.zones.iter().filter(|zone| !zone.devices.is_empty()) {
                chain.line(&format!("oifname {} jump srcnat_{}", devices(zone), zone.name));
            }
        });
        for zone in &policy.zones {
            self.chain(&format!("dstnat_{}", zone.name), |chain| {
                for redirect in &policy.redirects {
                    if redirect.from == zone.name {
                        chain.redirect(redirect, &redirect.matching, "");
                    }
                    if let Some(reflected) = reflection(policy, redirect, zone) {
                        chain.redirect(redirect, &reflected, " (reflection)");
                    }
                }
            });
            self.chain(&format!("srcnat_{}", zone.name), |chain| {
                for redirect in &policy.redirects {
                    chain.reflected_source(policy, redirect, zone);
                }
                if zone.masquerade {
                    let from = zone.masquerade_from.render("saddr", true);
                    let to = zone.masquerade_to.render("daddr", true);
                    if let (Ok(from), Ok(to)) = (from, to) {
                        let on: String = from.into_iter().chain(to).map(|part| part + " ").collect();
                        chain.line(&format!(
                            "meta nfproto ipv4 {on}masquerade comment \"!fw4: Masquerade IPv4 {} traffic\"",
                            zone.name
                        ));
                    }
                }
            });
        }
    }

    fn redirect(&mut self, redirect: &Redirect, matching: &Matching, suffix: &str) {
        let v4 = Matching { family: Family::V4, ..matching.clone() };
        let port = redirect.port.map_or_else(String::new, |port| format!(":{}", port.render()));
        let target = match redirect.host {
            Some(host) => format!("dnat ip to {host}{port}"),
            None => format!("redirect to {port}"),
        };
        self.rule(&v4, &target, &format!("{}{suffix}", redirect.name));
    }

    /// Connections that came back into their own zone take the router's address, so that answers come back to it.
    fn reflected_source(&mut self, policy: &Policy, redirect: &Redirect, zone: &Zone) {
        let (Some(_), Some(host)) = (reflection(policy, redirect, zone), redirect.host) else { return };
        let is_host = |net: &&IpNet| net.contains(&IpNet::from(std::net::IpAddr::V4(host)));
        let Some(own) = zone.addresses.iter().find(is_host) else { return };
        let mut matching = redirect.matching.clone();
        matching.family = Family::V4;
        matching.from = AddressSet { nets: nets(zone), except: Vec::new() };
        matching.to = AddressSet { nets: vec![IpNet::from(std::net::IpAddr::V4(host))], except: Vec::new() };
        if let Some(port) = redirect.port {
            matching.to_ports = vec![port];
        }
        self.rule(&matching, &format!("snat ip to {}", own.addr()), &format!("{} (reflection)", redirect.name));
    }

    fn clamp(&mut self, policy: &Policy) {
        self.chain("mangle_forward", |chain| {
            chain.line("type filter hook forward priority mangle; policy accept;");
            for zone in policy.zones.iter().filter(|zone| zone.clamp_mss && !zone.devices.is_empty()) {
                for (field, direction) in [("iifname", "ingress"), ("oifname", "egress")] {
                    chain.line(&format!(
                        "{field} {} tcp flags syn tcp option maxseg size set rt mtu comment \"!fw4: Zone {} {direction} MTU fixing\"",
                        devices(zone),
                        zone.name
                    ));
                }
            }
        });
    }
}

/// The packets from inside `zone` that ask for the outside address of a redirect whose host is in `zone`.
fn reflection(policy: &Policy, redirect: &Redirect, zone: &Zone) -> Option<Matching> {
    if !redirect.reflection || redirect.to.as_deref() != Some(&zone.name) || redirect.from == zone.name {
        return None;
    }
    let outside = policy.zone(&redirect.from)?;
    let own = |zone: &Zone| -> Vec<IpNet> {
        zone.addresses.iter().filter(|net| net.addr().is_ipv4()).map(|net| IpNet::from(net.addr())).collect()
    };
    let asked = match redirect.matching.to.says_nothing() {
        true => AddressSet { nets: own(outside), except: Vec::new() },
        false => redirect.matching.to.clone(),
    };
    let from = AddressSet { nets: nets(zone), except: Vec::new() };
    if asked.says_nothing() || from.says_nothing() {
        return None;
    }
    Some(Matching { from, to: asked, ..redirect.matching.clone() })
}

fn nets(zone: &Zone) -> Vec<IpNet> {
    zone.addresses.iter().filter(|net| net.addr().is_ipv4()).map(IpNet::trunc).collect()
}

fn devices(zone: &Zone) -> String {
    let quoted: Vec<String> = zone.devices.iter().map(|device| format!("\"{device}\"")).collect();
    braced(&quoted)
}

fn family_prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "meta nfproto ipv4 ",
        Family::V6 => "meta nfproto ipv6 ",
        Family::Any => "",
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Reject => "reject",
        Verdict::Drop => "drop",
    }
}

fn statement(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Reject => "jump handle_reject",
        Verdict::Drop => "drop",
    }
}

/// What to do with a packet that goes `to` a zone, where that is said.
fn target(verdict: Verdict, to: Option<&Side>) -> String {
    match to {
        Some(Side::Zone(zone)) => format!("jump {}_to_{zone}", word(verdict)),
        Some(Side::Every) | None => statement(verdict).to_owned(),
    }
}

/// The conditions of a rule, each ending in a space: one for each protocol and, where it matters, IP version.
fn conditions(matching: &Matching) -> Vec<String> {
    let addressed = !matching.from.says_nothing() || !matching.to.says_nothing();
    let protocols: Vec<Option<&str>> = match matching.protocols.as_slice() {
        [] => vec![None],
        protocols => protocols.iter().map(|protocol| Some(protocol.as_str())).collect(),
    };
    let mut conditions = Vec::new();
    for protocol in protocols {
        let split = addressed || matches!(protocol, Some("icmp"));
        let versions: &[Option<bool>] = match (matching.family, split) {
            (Family::V4, _) => &[Some(true)],
            (Family::V6, _) => &[Some(false)],
            (Family::Any, true) => &[Some(true), Some(false)],
            (Family::Any, false) => &[None],
        };
        for version in versions {
            conditions.extend(condition(matching, protocol, *version).into_iter().flatten());
        }
    }
    conditions
}

/// The conditions for one protocol and IP version (`Some(true)` is IPv4); several if ICMP types are.
fn condition(matching: &Matching, protocol: Option<&str>, v4: Option<bool>) -> Option<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    match v4 {
        Some(is_v4) => {
            parts.push(format!("meta nfproto {}", if is_v4 { "ipv4" } else { "ipv6" }));
            parts.extend(matching.from.render("saddr", is_v4).ok()?);
            parts.extend(matching.to.render("daddr", is_v4).ok()?);
        }
        None if matching.from.says_nothing() && matching.to.says_nothing() => {}
        None => return None,
    }
    if !matching.from_macs.is_empty() {
        parts.push(format!("ether saddr {}", braced(&matching.from_macs)));
    }
    let mut kinds = vec![String::new()];
    match protocol {
        None => {}
        Some(protocol @ ("tcp" | "udp" | "sctp" | "dccp" | "udplite")) => {
            let mut known = false;
            for (field, ports) in [("sport", &matching.from_ports), ("dport", &matching.to_ports)] {
                if !ports.is_empty() {
                    let ports: Vec<String> = ports.iter().map(|ports: &Ports| ports.render()).collect();
                    parts.push(format!("{protocol} {field} {}", braced(&ports)));
                    known = true;
                }
            }
            if !known {
                parts.push(format!("meta l4proto {protocol}"));
            }
        }
        Some("icmp" | "icmpv6" | "ipv6-icmp") => {
            let is_v4 = v4.unwrap_or(protocol == Some("icmp"));
            parts.push(format!("meta l4proto {}", if is_v4 { "icmp" } else { "ipv6-icmp" }));
            if !matching.icmp_types.is_empty() {
                let types = matching.icmp_types.iter().filter_map(|name| IcmpType::parse(name, is_v4));
                kinds = types.map(|kind| kind.render(is_v4) + " ").collect();
            }
        }
        Some(other) => parts.push(format!("meta l4proto {other}")),
    }
    let limit = matching.limit.as_ref().map_or_else(String::new, |limit| format!("{limit} "));
    let common: String = parts.into_iter().map(|part| part + " ").collect();
    Some(kinds.into_iter().map(|kind| format!("{common}{kind}{limit}")).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::policy::Network;
    use super::*;
    use crate::tree::Tree;

    const CONFIG: &str = "
        config defaults
            option input REJECT
            option output ACCEPT
            option forward REJECT
        config zone
            option name wan
            list network wan
            option input REJECT
            option forward REJECT
            option masq 1
        config zone
            option name lab
            list network lab
            option forward ACCEPT
        config forwarding
            option src lab
            option dest wan
        config rule
            option name 'not inside'
            option src lab
            option dest wan
            option proto all
            list dest_ip 10.0.0.0/8
            list dest_ip 192.168.0.0/16
            option target REJECT
        config rule
            option name ping
            option src lab
            option proto icmp
            list icmp_type echo-request
            option target ACCEPT
        config rule
            option name narrower
            option src lab
            option ipset friends
            option target ACCEPT
        config redirect
            option name web
            option src wan
            option src_dport 8080
            option dest lab
            option dest_ip 10.20.30.50
            option dest_port 80
            option proto tcp
    ";

    fn policy(text: &str) -> Policy {
        let tree = Tree::of(&uci::Package::parse(uci::PackageName::new("firewall").unwrap(), text).unwrap());
        let network = |device: &str, address: &str| {
            let addresses = vec![address.parse().unwrap()];
            (device.to_owned(), Network { device: Some(format!("br-{device}")), addresses })
        };
        Policy::of(&tree, &BTreeMap::from([network("lab", "10.20.30.1/24"), network("wan", "10.255.0.2/30")]))
    }

    fn chain<'a>(ruleset: &'a str, name: &str) -> Vec<&'a str> {
        let (_, chain) = ruleset.split_once(&format!("\tchain {name} {{\n")).unwrap();
        chain.lines().take_while(|line| *line != "\t}").map(str::trim).collect()
    }

    #[test]
    fn rules_stand_where_their_packets_pass() {
        let ruleset = render(&policy(CONFIG));
        let names =
            ["forward_lab", "input_lab", "dstnat_wan", "dstnat_lab", "srcnat_lab", "srcnat_wan", "accept_to_wan"];
        let chains: Vec<String> =
            names.iter().map(|name| format!("{name}\n  {}", chain(&ruleset, name).join("\n  "))).collect();
        insta::assert_snapshot!(chains.join("\n"), @r#"
        forward_lab
          meta nfproto ipv4 ip daddr { 10.0.0.0/8, 192.168.0.0/16 } counter jump reject_to_wan comment "!fw4: not inside"
          jump accept_to_wan
          jump accept_to_lab
        input_lab
          meta nfproto ipv4 meta l4proto icmp icmp type 8 counter accept comment "!fw4: ping"
          meta nfproto ipv6 meta l4proto ipv6-icmp icmpv6 type 128 counter accept comment "!fw4: ping"
          jump reject_from_lab
        dstnat_wan
          meta nfproto ipv4 tcp dport 8080 counter dnat ip to 10.20.30.50:80 comment "!fw4: web"
        dstnat_lab
          meta nfproto ipv4 ip saddr 10.20.30.0/24 ip daddr 10.255.0.2 tcp dport 8080 counter dnat ip to 10.20.30.50:80 comment "!fw4: web (reflection)"
        srcnat_lab
          meta nfproto ipv4 ip saddr 10.20.30.0/24 ip daddr 10.20.30.50 tcp dport 80 counter snat ip to 10.20.30.1 comment "!fw4: web (reflection)"
        srcnat_wan
          meta nfproto ipv4 masquerade comment "!fw4: Masquerade IPv4 wan traffic"
        accept_to_wan
          meta nfproto ipv4 oifname "br-wan" ct state invalid drop
          oifname "br-wan" counter accept
        "#);
    }

    #[test]
    fn a_rule_that_is_not_understood_lets_nothing_through() {
        assert!(!render(&policy(CONFIG)).contains("narrower"));
        for option in ["dest_port 99999", "src nowhere", "target MAYBE", "src_ip 300.1.1.1", "proto 'a b;c'"] {
            let text = format!(
                "config zone\noption name lab\nconfig rule\noption name odd\noption target ACCEPT\noption src lab\noption {option}\n"
            );
            assert!(!render(&policy(&text)).contains("odd"), "{option}");
        }
    }
}
