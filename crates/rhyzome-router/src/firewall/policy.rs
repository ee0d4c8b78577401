//! What the config `firewall` asks for, read as fw4 reads it: a section that it would not understand is passed over, and
//! named in the log. No input or output.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::address::{AddressSet, Family, Ports};
use crate::tree::{Section, Tree};

/// All that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// What happens to packets that no zone takes.
    pub defaults: Verdicts,
    /// Whether packets that belong to no connection are dropped.
    pub drop_invalid: bool,
    /// The zones, by name, in order.
    pub zones: Vec<Zone>,
    /// Who may talk to whom, in order.
    pub forwardings: Vec<Forwarding>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// The port forwards, in order.
    pub redirects: Vec<Redirect>,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Let it through.
    Accept,
    /// Refuse it and say so.
    Reject,
    /// Refuse it silently.
    #[default]
    Drop,
}

/// What to do with packets to the router, from it, and through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub struct Verdicts {
    pub input: Verdict,
    pub output: Verdict,
    pub forward: Verdict,
}

/// A zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// The devices of its networks.
    pub devices: Vec<String>,
    /// The router's own addresses in it.
    pub addresses: Vec<IpNet>,
    /// What happens to its packets; `forward` is about those that stay in the zone.
    pub verdicts: Verdicts,
    /// Whether IPv4 packets that leave by it take the router's address.
    pub masquerade: bool,
    /// Whose packets do, if not all.
    pub masquerade_from: AddressSet,
    /// For where packets do, if not for everywhere.
    pub masquerade_to: AddressSet,
    /// Whether TCP is told of the MTU on the way.
    pub clamp_mss: bool,
}

/// The devices and addresses of a network, as the config `network` has them.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The device that carries its addresses.
    pub device: Option<String>,
    /// The router's addresses in it.
    pub addresses: Vec<IpNet>,
}

/// Which side of a rule: all zones or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// Every zone.
    Every,
    /// The zone of this name.
    Zone(String),
}

/// Packets from one zone may go to another.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub struct Forwarding {
    pub from: Side,
    pub to: Side,
    pub family: Family,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub struct Rule {
    pub name: String,
    pub from: Option<Side>,
    pub to: Option<Side>,
    pub matching: Matching,
    pub verdict: Verdict,
}

/// What packets a rule or a redirect is for.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub struct Matching {
    pub family: Family,
    /// Protocols by name or number; none is all of them.
    pub protocols: Vec<String>,
    pub from: AddressSet,
    pub to: AddressSet,
    pub from_macs: Vec<String>,
    pub from_ports: Vec<Ports>,
    pub to_ports: Vec<Ports>,
    pub icmp_types: Vec<String>,
    /// nft's `limit` expression, if there is one.
    pub limit: Option<String>,
}

/// A port forward.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// Its name.
    pub name: String,
    /// The zone that the packets come from.
    pub from: String,
    /// The zone of the host that they go to, if it is said.
    pub to: Option<String>,
    /// Which packets; `to_ports` are the ports asked for from outside.
    pub matching: Matching,
    /// The host that they go to; none is the router itself.
    pub host: Option<Ipv4Addr>,
    /// The port there; none is the port asked for.
    pub port: Option<Ports>,
    /// Whether it also works from inside, by the outside address.
    pub reflection: bool,
}

type Refused<T> = Result<T, String>;

impl Policy {
    /// Reads the config. `networks` are those of the config `network`, by name.
    #[must_use]
    pub fn of(firewall: &Tree, networks: &BTreeMap<String, Network>) -> Self {
        let mut policy = Policy::default();
        for section in firewall.sections().iter().filter(|section| section.flag("enabled", true)) {
            let read = match section.kind.as_str() {
                "defaults" => policy.read_defaults(section),
                "zone" => policy.read_zone(section, networks),
                _ => Ok(()),
            };
            note(section, read);
        }
        for section in firewall.sections().iter().filter(|section| section.flag("enabled", true)) {
            let read = match section.kind.as_str() {
                "forwarding" => policy.forwarding(section).map(|read| policy.forwardings.push(read)),
                "rule" => policy.rule(section).map(|read| policy.rules.push(read)),
                "redirect" => policy.redirect(section).map(|read| policy.redirects.push(read)),
                _ => Ok(()),
            };
            note(section, read);
        }
        policy
    }

    /// A zone by its name.
    #[must_use]
    pub fn zone(&self, name: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.name == name)
    }

    fn read_defaults(&mut self, section: &Section) -> Refused<()> {
        self.defaults = verdicts(section, Verdicts::default())?;
        self.drop_invalid = section.flag("drop_invalid", false);
        Ok(())
    }

    fn read_zone(&mut self, section: &Section, networks: &BTreeMap<String, Network>) -> Refused<()> {
        let name = section.text("name").unwrap_or_default();
        let mut characters = name.chars();
        let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '.');
        if !first || !characters.all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c)) {
            return Err(format!("name {name:?}: expected a letter, and letters, digits, and / _ . -"));
        }
        if self.zone(name).is_some() {
            return Err(format!("name {name:?}: there is another zone of that name"));
        }
        let mut devices: Vec<String> = section.list("device").into_iter().map(str::to_owned).collect();
        let mut addresses = Vec::new();
        for network in section.list("network").iter().filter_map(|network| networks.get(*network)) {
            devices.extend(network.device.clone());
            addresses.extend(network.addresses.iter().copied());
        }
        devices.dedup();
        self.zones.push(Zone {
            name: name.to_owned(),
            devices,
            addresses,
            verdicts: verdicts(section, self.defaults)?,
            masquerade: section.flag("masq", false),
            masquerade_from: addresses_of(section, "masq_src")?,
            masquerade_to: addresses_of(section, "masq_dest")?,
            clamp_mss: section.flag("mtu_fix", false),
        });
        Ok(())
    }

    fn forwarding(&self, section: &Section) -> Refused<Forwarding> {
        Ok(Forwarding {
            from: self.side(section, "src")?.ok_or("src: expected a zone")?,
            to: self.side(section, "dest")?.ok_or("dest: expected a zone")?,
            family: family(section)?,
        })
    }

    fn rule(&self, section: &Section) -> Refused<Rule> {
        const KNOWN: [&str; 16] = [
            "name",
            "src",
            "dest",
            "family",
            "proto",
            "src_ip",
            "dest_ip",
            "src_mac",
            "src_port",
            "dest_port",
            "icmp_type",
            "limit",
            "limit_burst",
            "target",
            "enabled",
            "counter",
        ];
        refuse_unknown(section, &KNOWN)?;
        Ok(Rule {
            name: name(section),
            from: self.side(section, "src")?,
            to: self.side(section, "dest")?,
            matching: matching(section, "dest_port")?,
            verdict: verdict(section, "target", None)?,
        })
    }

    fn redirect(&self, section: &Section) -> Refused<Redirect> {
        const KNOWN: [&str; 19] = [
            "name",
            "src",
            "dest",
            "family",
            "proto",
            "src_ip",
            "src_dip",
            "src_mac",
            "src_port",
            "src_dport",
            "dest_ip",
            "dest_port",
            "reflection",
            "reflection_src",
            "limit",
            "limit_burst",
            "target",
            "enabled",
            "counter",
        ];
        refuse_unknown(section, &KNOWN)?;
        if section.text("target").is_some_and(|target| !target.eq_ignore_ascii_case("dnat")) {
            return Err("target: expected DNAT".to_owned());
        }
        let Some(Side::Zone(from)) = self.side(section, "src")? else { return Err("src: expected a zone".to_owned()) };
        let to = match self.side(section, "dest")? {
            Some(Side::Zone(zone)) => Some(zone),
            Some(Side::Every) | None => None,
        };
        let host = match section.text("dest_ip") {
            Some(text) => Some(text.parse().map_err(|_| format!("dest_ip {text:?}: expected an IPv4 address"))?),
            None => None,
        };
        let port = ports(section, "dest_port")?;
        if port.len() > 1 || (host.is_none() && port.is_empty()) {
            return Err("dest_ip, dest_port: expected a host, and one port or range".to_owned());
        }
        let mut matching = matching(section, "src_dport")?;
        matching.to = addresses_of(section, "src_dip")?;
        if matching.protocols.is_empty() {
            return Err("proto: expected tcp, udp, or both".to_owned());
        }
        Ok(Redirect {
            name: name(section),
            from,
            to,
            matching,
            host,
            port: port.first().copied(),
            reflection: section.flag("reflection", true),
        })
    }

    fn side(&self, section: &Section, option: &str) -> Refused<Option<Side>> {
        match section.text(option) {
            None => Ok(None),
            Some("*") => Ok(Some(Side::Every)),
            Some(name) if self.zone(name).is_some() => Ok(Some(Side::Zone(name.to_owned()))),
            Some(name) => Err(format!("{option} {name:?}: expected a zone")),
        }
    }
}

fn note(section: &Section, read: Refused<()>) {
    if let Err(reason) = read {
        tracing::warn!(section = section.name, kind = section.kind, %reason, "a firewall section is passed over");
    }
}

fn name(section: &Section) -> String {
    let name = section.text("name").unwrap_or(&section.name);
    // The name becomes a quoted comment.
    name.replace(['"', '\n', '\r', '\\'], " ")
}

fn refuse_unknown(section: &Section, known: &[&str]) -> Refused<()> {
    // A rule that is narrower than we understand must not become a wider one.
    match section.options().iter().find(|(option, _)| !known.contains(&option.as_str())) {
        Some((option, _)) => Err(format!("{option}: not known here")),
        None => Ok(()),
    }
}

fn verdicts(section: &Section, default: Verdicts) -> Refused<Verdicts> {
    Ok(Verdicts {
        input: verdict(section, "input", Some(default.input))?,
        output: verdict(section, "output", Some(default.output))?,
        forward: verdict(section, "forward", Some(default.forward))?,
    })
}

fn verdict(section: &Section, option: &str, default: Option<Verdict>) -> Refused<Verdict> {
    match (section.text(option).map(str::to_ascii_lowercase).as_deref(), default) {
        (Some("accept"), _) => Ok(Verdict::Accept),
        (Some("reject"), _) => Ok(Verdict::Reject),
        (Some("drop"), _) => Ok(Verdict::Drop),
        (None, Some(default)) => Ok(default),
        (text, _) => Err(format!("{option} {:?}: expected ACCEPT, REJECT or DROP", text.unwrap_or_default())),
    }
}

fn family(section: &Section) -> Refused<Family> {
    Family::parse(section.text("family")).ok_or_else(|| "family: expected ipv4, ipv6 or any".to_owned())
}

fn addresses_of(section: &Section, option: &str) -> Refused<AddressSet> {
    AddressSet::parse(&section.list(option)).ok_or_else(|| format!("{option}: expected addresses or nets"))
}

fn ports(section: &Section, option: &str) -> Refused<Vec<Ports>> {
    let parse = |text: &&str| Ports::parse(text).ok_or_else(|| format!("{option} {text:?}: expected ports"));
    section.list(option).iter().map(parse).collect()
}

fn matching(section: &Section, ports_option: &str) -> Refused<Matching> {
    let mut protocols = Vec::new();
    for protocol in section.list("proto") {
        match protocol.to_ascii_lowercase().as_str() {
            "all" | "any" | "*" => protocols.clear(),
            "tcpudp" => protocols.extend(["tcp".to_owned(), "udp".to_owned()]),
            known if known.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                protocols.push(known.to_owned());
            }
            _ => return Err(format!("proto {protocol:?}: expected names or numbers of protocols")),
        }
    }
    if section.get("proto").is_none() {
        protocols = vec!["tcp".to_owned(), "udp".to_owned()];
    }
    let from_macs = section.list("src_mac").into_iter().map(str::to_ascii_lowercase).collect::<Vec<_>>();
    if from_macs.iter().any(|mac| !is_mac(mac)) {
        return Err("src_mac: expected MAC addresses".to_owned());
    }
    let limit = match section.text("limit") {
        None => None,
        Some(limit) => Some(rate(limit, section.text("limit_burst")).ok_or("limit: expected as in 10/second")?),
    };
    Ok(Matching {
        family: family(section)?,
        protocols,
        from: addresses_of(section, "src_ip")?,
        to: addresses_of(section, "dest_ip")?,
        from_macs,
        from_ports: ports(section, "src_port")?,
        to_ports: ports(section, ports_option)?,
        icmp_types: section.list("icmp_type").into_iter().map(str::to_owned).collect(),
        limit,
    })
}

fn is_mac(text: &str) -> bool {
    text.split(':').count() == 6
        && text.split(':').all(|octet| octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn rate(limit: &str, burst: Option<&str>) -> Option<String> {
    let (count, unit) = limit.split_once('/')?;
    let count: u32 = count.parse().ok()?;
    let unit =
        ["second", "minute", "hour", "day"].into_iter().find(|name| name.starts_with(unit) && !unit.is_empty())?;
    match burst {
        Some(burst) => Some(format!("limit rate {count}/{unit} burst {} packets", burst.parse::<u32>().ok()?)),
        None => Some(format!("limit rate {count}/{unit}")),
    }
}
