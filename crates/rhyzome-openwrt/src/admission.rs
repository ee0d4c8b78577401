//! What of a desired network may go on a router: everything that netifd, dnsmasq, nft or WireGuard would choke on is
//! refused before it is staged, because UCI checks no meaning and apply answers 0 to all of it.
//!
//! A fault of the network itself refuses the network. A fault of one entry, a lease or a peer, refuses that entry alone.

use std::collections::{BTreeMap, BTreeSet};

use jobs::desired::{Lease, Network, Peer};
use types::{HostAddr, InstanceId, PeerId, ResourceId, WgPrivateKey};

use crate::render::DNS_PORT;

/// The shortest lease that dnsmasq gives, in seconds.
const SHORTEST_LEASE: u32 = 120;

/// A network of which every part may be staged.
pub struct Admitted {
    /// The network as it was asked for.
    pub network: Network,
    /// Its WireGuard server's private key.
    pub private_key: WgPrivateKey,
    /// The leases that go in.
    pub leases: BTreeMap<InstanceId, Lease>,
    /// The peers that go in.
    pub peers: BTreeMap<PeerId, Peer>,
    /// The entries that do not, and why.
    pub refused: BTreeMap<ResourceId, String>,
}

/// Checks `network`; an error is a sentence that names the field and what was expected.
pub fn admit(network: Network) -> Result<Admitted, String> {
    check_addresses(&network)?;
    check_dhcp(&network)?;
    let private_key = check_wireguard(&network)?;
    let mut refused = BTreeMap::new();
    let leases = sift(&network.leases, &mut refused, lease_check(&network));
    let peers = sift(&network.peers, &mut refused, peer_check(&network));
    Ok(Admitted { network, private_key, leases, peers, refused })
}

fn check_addresses(network: &Network) -> Result<(), String> {
    let Network { subnet, router_address, .. } = network;
    let first = subnet.network().octets()[0];
    if first == 0 || first == 127 || first >= 224 {
        return Err(format!(
            "subnet: {subnet} cannot be routed; expected one outside 0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0/3"
        ));
    }
    if !subnet.has_host(*router_address) {
        return Err(format!("router_address: {router_address} is no host's address in {subnet}"));
    }
    match network.dns.servers.iter().find(|server| *server == router_address) {
        Some(server) => Err(format!("dns.servers: {server} is the network's own name server, which cannot ask itself")),
        None => Ok(()),
    }
}

fn check_dhcp(network: &Network) -> Result<(), String> {
    let Network { subnet, router_address, lease_seconds, .. } = network;
    if *lease_seconds < SHORTEST_LEASE {
        return Err(format!("lease_seconds: {lease_seconds} is too short; expected {SHORTEST_LEASE} or more"));
    }
    let Some(pool) = network.dhcp else {
        return Ok(());
    };
    let (start, end) = (pool.range.start, pool.range.end);
    if start > end || !subnet.has_host(start) || !subnet.has_host(end) {
        return Err(format!("dhcp.range: {start} to {end} is no range of hosts' addresses in {subnet}"));
    }
    // OpenWrt's ipcalc.sh gives up on such a pool, and dnsmasq would start without it.
    match pool.range.contains(*router_address) {
        true => Err(format!("dhcp.range: {start} to {end} holds the router's own address {router_address}")),
        false => Ok(()),
    }
}

fn check_wireguard(network: &Network) -> Result<WgPrivateKey, String> {
    let server = &network.wireguard;
    if server.port.get() == DNS_PORT {
        return Err(format!("wireguard.port: {DNS_PORT} is the port of the networks' name servers"));
    }
    let Some(text) = server.private_key.value() else {
        return Err("wireguard.private_key: a reference came in the place of the key".to_owned());
    };
    let key = WgPrivateKey::from_base64(text.reveal()).map_err(|error| format!("wireguard.private_key: {error}"))?;
    match key.public() == server.public_key {
        true => Ok(key),
        false => Err("wireguard.public_key: it is not the private key's other half".to_owned()),
    }
}

/// Splits `entries` into those that `check` lets pass, in the order of their ids, and those it has a word against.
fn sift<Id, Entry>(
    entries: &BTreeMap<Id, Entry>,
    refused: &mut BTreeMap<ResourceId, String>,
    mut check: impl FnMut(&Entry) -> Result<(), String>,
) -> BTreeMap<Id, Entry>
where
    Id: Copy + Ord + Into<ResourceId>,
    Entry: Clone,
{
    let mut passed = BTreeMap::new();
    for (id, entry) in entries {
        match check(entry) {
            Ok(()) => drop(passed.insert(*id, entry.clone())),
            Err(reason) => drop(refused.insert((*id).into(), reason)),
        }
    }
    passed
}

fn lease_check(network: &Network) -> impl FnMut(&Lease) -> Result<(), String> {
    let (subnet, router_address) = (network.subnet, network.router_address);
    let (mut names, mut macs, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    move |Lease { name, mac, address }| {
        if !subnet.has_host(*address) {
            return Err(format!("address: {address} is no host's address in {subnet}"));
        }
        if *address == router_address {
            return Err(format!("address: {address} is the router's own"));
        }
        // dnsmasq does not start with an address twice; a name or a MAC twice has it choose.
        if addresses.contains(address) {
            return Err(format!("address: {address} is another instance's"));
        }
        if macs.contains(mac) {
            return Err(format!("mac: {mac} is another instance's"));
        }
        if names.contains(name) {
            return Err(format!("name: {name} is another instance's"));
        }
        names.insert(name.clone());
        macs.insert(*mac);
        addresses.insert(*address);
        Ok(())
    }
}

fn peer_check(network: &Network) -> impl FnMut(&Peer) -> Result<(), String> {
    let (subnet, server_key) = (network.subnet, network.wireguard.public_key);
    let (mut keys, mut addresses) = (BTreeSet::new(), BTreeSet::<HostAddr>::new());
    move |Peer { public_key, address, .. }| {
        if (subnet.network()..=subnet.broadcast()).contains(&address.ip()) {
            return Err(format!(
                "address: {address} is in the network's own {subnet}, where no packet to it would enter WireGuard"
            ));
        }
        if *public_key == server_key {
            return Err("public_key: it is the server's own".to_owned());
        }
        // WireGuard keeps one peer a key, and gives an address to the last peer that claims it.
        if keys.contains(public_key) {
            return Err(format!("public_key: {public_key} is another peer's"));
        }
        if addresses.contains(address) {
            return Err(format!("address: {address} is another peer's"));
        }
        keys.insert(*public_key);
        addresses.insert(*address);
        Ok(())
    }
}
