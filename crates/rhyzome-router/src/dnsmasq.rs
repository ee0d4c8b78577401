//! The config `dhcp` becomes one dnsmasq for each of its `dnsmasq` sections, configured as OpenWrt's init script does it.
//! No input or output.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};

use crate::files::Root;
use crate::tree::{Section, Tree};

/// Where the addresses of upstream name servers are written, as the config names it.
pub const UPSTREAM: &str = "/tmp/resolv.conf.d/resolv.conf.auto";

/// A dnsmasq to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The name of its section.
    pub name: String,
    /// Its configuration file.
    pub config: String,
    /// Its hosts file.
    pub hosts: String,
}

/// Where the files of instances lie on the machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder of hosts files.
    pub hosts: PathBuf,
    /// The folders that the config knows by other names.
    pub root: Root,
}

/// An interface that is up, as DHCP and DNS see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// Its device.
    pub device: String,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// Options of the section that are a word for dnsmasq when they are on.
const SWITCHES: [(&str, &str, bool); 16] = [
    ("authoritative", "dhcp-authoritative", false),
    ("domainneeded", "domain-needed", false),
    ("boguspriv", "bogus-priv", true),
    ("expandhosts", "expand-hosts", false),
    ("filterwin2k", "filterwin2k", false),
    ("localise_queries", "localise-queries", true),
    ("nonegcache", "no-negcache", false),
    ("strictorder", "strict-order", false),
    ("allservers", "all-servers", false),
    ("logqueries", "log-queries", false),
    ("noresolv", "no-resolv", false),
    ("localservice", "local-service", false),
    ("quietdhcp", "quiet-dhcp", false),
    ("sequential_ip", "dhcp-sequential-ip", false),
    ("rebind_protection", "stop-dns-rebind", true),
    ("nonwildcard", "bind-dynamic", true),
];

/// Options of the section that dnsmasq takes with their value.
const VALUES: [(&str, &str); 13] = [
    ("port", "port"),
    ("ednspacket_max", "edns-packet-max"),
    ("dhcpleasemax", "dhcp-lease-max"),
    ("queryport", "query-port"),
    ("minport", "min-port"),
    ("maxport", "max-port"),
    ("domain", "domain"),
    ("local", "local"),
    ("cachesize", "cache-size"),
    ("dnsforwardmax", "dns-forward-max"),
    ("local_ttl", "local-ttl"),
    ("min_cache_ttl", "min-cache-ttl"),
    ("max_cache_ttl", "max-cache-ttl"),
];

/// Lists of the section that dnsmasq takes item by item.
const LISTS: [(&str, &str); 4] = [
    ("server", "server"),
    ("address", "address"),
    ("listen_address", "listen-address"),
    ("bogusnxdomain", "bogus-nxdomain"),
];

/// The instances that the config asks for. `served` are the interfaces that are up.
#[must_use]
pub fn instances(dhcp: &Tree, served: &BTreeMap<String, Served>, places: &Places) -> Vec<Instance> {
    dhcp.of_kind("dnsmasq")
        .filter(|section| !section.flag("disabled", false))
        .map(|section| instance(section, dhcp, served, places))
        .collect()
}

/// The lease files of the instances, as the config names them.
#[must_use]
pub fn lease_files(dhcp: &Tree) -> Vec<String> {
    dhcp.of_kind("dnsmasq").map(lease_file).collect()
}

fn lease_file(section: &Section) -> String {
    // dnsmasq's own default is a file of the machine.
    section.text("leasefile").map_or_else(|| format!("/tmp/dhcp.leases.{}", section.name), str::to_owned)
}

struct Writer {
    config: String,
    hosts: String,
}

impl Writer {
    fn word(&mut self, word: &str) {
        let _ = writeln!(self.config, "{word}"); // writing to a string cannot fail
    }

    fn value(&mut self, name: &str, value: &str) {
        if value.contains(['\n', '\r']) {
            return tracing::warn!(option = name, "a value with a line break is passed over");
        }
        let _ = writeln!(self.config, "{name}={value}"); // writing to a string cannot fail
    }

    fn host(&mut self, address: &str, names: &str) {
        if (address.to_owned() + names).contains(['\n', '\r']) {
            return tracing::warn!("a host with a line break is passed over");
        }
        let _ = writeln!(self.hosts, "{address} {names}"); // writing to a string cannot fail
    }
}

fn instance(section: &Section, dhcp: &Tree, served: &BTreeMap<String, Served>, places: &Places) -> Instance {
    let mut writer = Writer { config: String::new(), hosts: String::new() };
    own_options(&mut writer, section, served);
    if !section.flag("noresolv", false) {
        let file = places.root.place(section.text("resolvfile").unwrap_or(UPSTREAM));
        writer.value("resolv-file", &file.to_string_lossy());
    }
    writer.word("no-hosts");
    writer.value("addn-hosts", &places.hosts.join(&section.name).to_string_lossy());
    writer.value("dhcp-leasefile", &places.root.place(&lease_file(section)).to_string_lossy());

    let ours = |other: &&Section| other.text("instance").is_none_or(|name| name == section.name);
    for pool in dhcp.of_kind("dhcp").filter(ours) {
        add_pool(&mut writer, pool, served);
    }
    for host in dhcp.of_kind("host").filter(ours) {
        add_host(&mut writer, host, section.text("domain"));
    }
    for domain in dhcp.of_kind("domain").filter(ours) {
        let names = domain.list("name").join(" ");
        for address in domain.list("ip").into_iter().filter(|_| !names.is_empty()) {
            writer.host(address, &names);
        }
    }
    for cname in dhcp.of_kind("cname").filter(ours) {
        if let (Some(name), Some(target)) = (cname.text("cname"), cname.text("target")) {
            writer.value("cname", &format!("{name},{target}"));
        }
    }
    Instance { name: section.name.clone(), config: writer.config, hosts: writer.hosts }
}

fn own_options(writer: &mut Writer, section: &Section, served: &BTreeMap<String, Served>) {
    for (option, word, default) in SWITCHES {
        if section.flag(option, default) {
            writer.word(word);
        }
    }
    if section.flag("rebind_protection", true) {
        if section.flag("rebind_localhost", false) {
            writer.word("rebind-localhost-ok");
        }
        for domain in section.list("rebind_domain") {
            writer.value("rebind-domain-ok", domain);
        }
    }
    for (option, name) in VALUES {
        if let Some(value) = section.text(option) {
            writer.value(name, value);
        }
    }
    for (option, name) in LISTS {
        for item in section.list(option) {
            writer.value(name, item);
        }
    }
    for (option, name) in [("interface", "interface"), ("notinterface", "except-interface")] {
        for interface in section.list(option) {
            let device = match interface {
                "loopback" => "lo",
                interface => served.get(interface).map_or(interface, |served| served.device.as_str()),
            };
            writer.value(name, device);
        }
    }
}

fn add_pool(writer: &mut Writer, pool: &Section, served: &BTreeMap<String, Served>) {
    let Some(interface) = pool.text("interface") else { return };
    let Some(served) = served.get(interface) else { return };
    if pool.flag("ignore", false) {
        return writer.value("no-dhcp-interface", &served.device);
    }
    let tag = pool.text("networkid").unwrap_or(interface);
    let net = served.addresses.iter().find_map(|address| match address {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    });
    if let Some(net) = net
        && pool.text("dhcpv4") != Some("disabled")
    {
        let (start, end) = range(pool, net);
        let end = if pool.flag("dynamicdhcp", true) { end.to_string() } else { "static".to_owned() };
        let lease_time = pool.text("leasetime").unwrap_or("12h");
        writer.value("dhcp-range", &format!("set:{tag},{start},{end},{},{lease_time}", net.netmask()));
    }
    let force = pool.flag("force_options", false);
    for option in pool.list("dhcp_option") {
        writer.value(if force { "dhcp-option-force" } else { "dhcp-option" }, &format!("tag:{tag},{option}"));
    }
    for option in pool.list("dhcp_option_force") {
        writer.value("dhcp-option-force", &format!("tag:{tag},{option}"));
    }
}

/// The first and the last address of a pool: `limit` of them from `start` on, within the net.
fn range(pool: &Section, net: &Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let number = |option: &str, default: u32| pool.text(option).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (start, limit) = (number("start", 100), number("limit", 150));
    let (network, broadcast) = (u32::from(net.network()), u32::from(net.broadcast()));
    let last = broadcast.saturating_sub(1).max(network);
    let first = network.saturating_add(start).min(last);
    let end = first.saturating_add(limit.max(1) - 1).min(last);
    (first.into(), end.into())
}

fn add_host(writer: &mut Writer, host: &Section, domain: Option<&str>) {
    let (name, address) = (host.text("name"), host.text("ip"));
    if name.is_none() && address.is_none() {
        return;
    }
    if let (true, Some(name), Some(address)) = (host.flag("dns", false), name, address) {
        let full = domain.map_or_else(|| name.to_owned(), |domain| format!("{name}.{domain} {name}"));
        writer.host(address, &full);
    }
    let macs = host.list("mac");
    let mut parts: Vec<String> = macs.iter().map(|&mac| mac.to_owned()).collect();
    if parts.is_empty() {
        let Some(name) = name else { return };
        parts.push(name.to_owned());
    }
    if let Some(tag) = host.text("tag") {
        parts.push(format!("set:{tag}"));
    }
    parts.extend(address.map(str::to_owned));
    if !macs.is_empty() {
        parts.extend(name.map(str::to_owned));
    }
    parts.extend(host.text("leasetime").map(str::to_owned));
    writer.value("dhcp-host", &parts.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
        config dnsmasq 'rz1'
            list interface 'rz1'
            list notinterface 'loopback'
            option domain 'home.internal'
            option local '/home.internal/'
            option noresolv '1'
            list server '9.9.9.9'
        config dnsmasq 'rz2'
        config dhcp 'rz1pool'
            option instance 'rz1'
            option interface 'rz1'
            option start '10'
            option limit '91'
            option leasetime '1h'
            list dhcp_option '6,10.20.30.1'
        config host 'hello'
            option instance 'rz1'
            option name 'hello'
            option mac '02:00:00:00:20:02'
            option ip '10.20.30.50'
            option dns '1'
        config domain 'svc'
            option instance 'rz1'
            option name 'svc.home.internal'
            option ip '10.20.30.99'
    ";

    #[test]
    fn each_instance_has_its_own_and_what_names_none() {
        let tree = Tree::of(&uci::Package::parse(uci::PackageName::new("dhcp").unwrap(), CONFIG).unwrap());
        let served = Served { device: "br-rz1".into(), addresses: vec!["10.20.30.1/24".parse().unwrap()] };
        let served = BTreeMap::from([("rz1".to_owned(), served)]);
        let (config, tmp) = ("/data/config".into(), "/data/tmp".into());
        let root = Root { config, tmp, acl: "/data/acl.d".into(), own: "/data/own".into() };
        let places = Places { hosts: "/data/run/hosts".into(), root };
        let instances = instances(&tree, &served, &places);
        insta::assert_snapshot!(instances[0].config.clone() + "---\n" + &instances[0].hosts, @r"
        bogus-priv
        localise-queries
        no-resolv
        stop-dns-rebind
        bind-dynamic
        domain=home.internal
        local=/home.internal/
        server=9.9.9.9
        interface=br-rz1
        except-interface=lo
        no-hosts
        addn-hosts=/data/run/hosts/rz1
        dhcp-leasefile=/data/tmp/dhcp.leases.rz1
        dhcp-range=set:rz1,10.20.30.10,10.20.30.100,255.255.255.0,1h
        dhcp-option=tag:rz1,6,10.20.30.1
        dhcp-host=02:00:00:00:20:02,10.20.30.50,hello
        ---
        10.20.30.50 hello.home.internal hello
        10.20.30.99 svc.home.internal
        ");
        assert!(!instances[1].config.contains("dhcp-range"), "{}", instances[1].config);
    }

    #[test]
    fn a_pool_stays_within_its_net() {
        let tree = |options: &str| {
            let text = format!("config dhcp 'x'\n{options}");
            let tree = Tree::of(&uci::Package::parse(uci::PackageName::new("dhcp").unwrap(), &text).unwrap());
            let range = range(tree.section("x").unwrap(), &"10.0.0.1/28".parse().unwrap());
            [range.0.to_string(), range.1.to_string()]
        };
        assert_eq!(tree("option start 2\noption limit 3\n"), ["10.0.0.2", "10.0.0.4"]);
        assert_eq!(tree("option start 10\noption limit 91\n"), ["10.0.0.10", "10.0.0.14"]);
        assert_eq!(tree("option start 100\n"), ["10.0.0.14", "10.0.0.14"]);
    }
}
