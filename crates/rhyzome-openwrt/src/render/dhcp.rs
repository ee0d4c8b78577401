//! The package `dhcp`: a dnsmasq of the network's own, so that one bad lease stops nobody else.

use jobs::desired::{Isolation, Network};
use uci::{Package, Value};

use super::{DNS_PORT, add, text};
use crate::admission::Admitted;
use crate::names::Names;

pub(super) fn fill(package: &mut Package, names: Names, admitted: &Admitted) {
    server(package, names, &admitted.network);
    pool(package, names, &admitted.network);
    for (id, lease) in &admitted.leases {
        add(
            package,
            "host",
            names.lease(*id),
            [
                ("name", text(&lease.name)),
                ("mac", text(lease.mac)),
                ("ip", text(lease.address)),
                // The name is there before the instance is.
                ("dns", text(1)),
                ("instance", text(names.interface())),
            ],
        );
    }
}

fn server(package: &mut Package, names: Names, network: &Network) {
    let domain = &network.dns.domain;
    let options = [
        ("port", text(DNS_PORT)),
        ("interface", Value::from([names.interface().as_str(), names.wireguard().as_str()])),
        // dnsmasq adds it by itself, and the address there is the router's own dnsmasq's.
        ("notinterface", Value::from(["loopback"])),
        ("domain", text(domain)),
        ("local", text(format_args!("/{domain}/"))),
        ("expandhosts", text(1)),
        ("domainneeded", text(1)),
        ("boguspriv", text(1)),
        ("rebind_protection", text(1)),
        ("authoritative", text(1)),
        ("leasefile", text(names.lease_file())),
        // The names of the router and of other networks are not for this one.
        ("nohosts", text(1)),
        ("ignore_hosts_dir", text(1)),
        ("add_local_hostname", text(0)),
        // The router itself keeps asking its own dnsmasq.
        ("add_local_domain", text(0)),
        ("localuse", text(0)),
    ];
    add(package, "dnsmasq", names.interface(), options.into_iter().chain(upstream(network)));
}

/// Whom the server asks for other names: the given ones, or else the router's own, or nobody for a closed network.
fn upstream(network: &Network) -> Vec<(&'static str, Value)> {
    let servers: Vec<String> = network.dns.servers.iter().map(ToString::to_string).collect();
    match (servers.is_empty(), network.isolation) {
        (false, _) => vec![("noresolv", text(1)), ("server", Value::List(servers))],
        (true, Isolation::Closed) => vec![("noresolv", text(1))],
        (true, Isolation::Internet | Isolation::Open) => Vec::new(),
    }
}

fn pool(package: &mut Package, names: Names, network: &Network) {
    let (start, limit) = match network.dhcp {
        Some(pool) => {
            let start = pool.range.start.offset_in(network.subnet);
            (start, pool.range.end.offset_in(network.subnet) - start + 1)
        }
        None => (only_static(network), 1),
    };
    add(
        package,
        "dhcp",
        names.section("pool"),
        [
            ("instance", text(names.interface())),
            ("interface", text(names.interface())),
            ("start", text(start)),
            ("limit", text(limit)),
            ("dynamicdhcp", text(u8::from(network.dhcp.is_some()))),
            ("leasetime", text(format_args!("{}s", network.lease_seconds))),
            // Nobody else serves our bridge; to look for somebody costs seconds at each start.
            ("force", text(1)),
            ("dhcp_option", Value::List(dhcp_options(network))),
            ("ra", text("disabled")),
            ("dhcpv6", text("disabled")),
        ],
    );
    add(
        package,
        "dhcp",
        names.section("peers"),
        [("instance", text(names.interface())), ("interface", text(names.wireguard())), ("ignore", text(1))],
    );
}

/// The options 3, router; 6, name server; 26, MTU (RFC 2132). dnsmasq gives out the name server by itself only when it
/// listens on port 53.
fn dhcp_options(network: &Network) -> Vec<String> {
    let router = network.router_address;
    vec![format!("3,{router}"), format!("6,{router}"), format!("26,{}", network.mtu.get())]
}

/// A place for the range that dnsmasq wants even where all leases are static: the first host's that is not the router.
fn only_static(network: &Network) -> u32 {
    match network.router_address.offset_in(network.subnet) {
        1 => 2,
        _ => 1,
    }
}
