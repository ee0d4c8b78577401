//! Networks to play with.

use jobs::desired::{Lease, Network, Peer};
use rhyzome_openwrt::admission::{Admitted, admit};
use rhyzome_openwrt::render::Settings;
use rhyzome_openwrt::segment::Segments;
use serde_json::{Value, json};
use types::{Epoch, InstanceId, NetworkId, PeerId, Revision, Version, WgPrivateKey, WgPublicKey};

/// A private key for each number, made for these tests.
pub fn private_key(number: u8) -> WgPrivateKey {
    let mut bytes = [0x48; 32];
    bytes[1] = number;
    WgPrivateKey::from_base64(&data_encoding::BASE64.encode(&bytes)).unwrap()
}

pub fn network_id(number: u16) -> NetworkId {
    NetworkId::from_bits(0x0123_4567_89ab_0000 + u64::from(number))
}

pub fn instance_id(number: u16) -> InstanceId {
    InstanceId::from_bits(0x0123_4567_89ab_1000 + u64::from(number))
}

pub fn peer_id(number: u16) -> PeerId {
    PeerId::from_bits(0x0123_4567_89ab_2000 + u64::from(number))
}

pub fn version(revision: u64) -> Version {
    Version { epoch: Epoch(1), revision: Revision(revision) }
}

/// The public half of [`private_key`].
pub fn key(number: u8) -> WgPublicKey {
    private_key(number).public()
}

/// The private key of the server of the network in `slot`.
pub fn server_key(slot: u16) -> WgPrivateKey {
    private_key(200 + u8::try_from(slot % 50).unwrap())
}

/// The network in `slot`, 10.77.SLOT.0/24, as JSON to change.
pub fn network_json(slot: u16) -> Value {
    json!({
        "id": network_id(slot),
        "slot": slot,
        "segment": slot,
        "subnet": format!("10.77.{slot}.0/24"),
        "router_address": format!("10.77.{slot}.1"),
        "mtu": 1500,
        "dhcp": {"range": {"start": format!("10.77.{slot}.10"), "end": format!("10.77.{slot}.100")}},
        "lease_seconds": 3600,
        "dns": {"domain": format!("net{slot}.internal"), "servers": []},
        "isolation": "internet",
        "leases": {},
        "wireguard": {
            "port": 51820 + slot,
            "private_key": {"value": server_key(slot).reveal().reveal()},
            "public_key": server_key(slot).public(),
        },
        "peers": {},
    })
}

pub fn network(slot: u16) -> Network {
    parse(&network_json(slot))
}

pub fn parse(network: &Value) -> Network {
    serde_json::from_value(network.clone()).unwrap()
}

pub fn lease(name: &str, last_of_mac: u8, address: &str) -> Lease {
    Lease {
        name: name.parse().unwrap(),
        mac: format!("52:54:00:00:00:{last_of_mac:02x}").parse().unwrap(),
        address: address.parse().unwrap(),
    }
}

pub fn peer(name: &str, key_number: u8, address: &str) -> Peer {
    Peer { name: name.parse().unwrap(), public_key: key(key_number), address: address.parse().unwrap() }
}

/// A network with two leases and a peer.
pub fn furnished(slot: u16) -> Network {
    let mut network = network(slot);
    network.leases.insert(instance_id(1), lease("hello", 1, &format!("10.77.{slot}.101")));
    network.leases.insert(instance_id(2), lease("world", 2, &format!("10.77.{slot}.102")));
    network.peers.insert(peer_id(1), peer("laptop", 7, "10.200.0.2"));
    network
}

pub fn admitted(network: Network) -> Admitted {
    admit(network).unwrap_or_else(|reason| panic!("refused: {reason}"))
}

pub fn settings() -> Settings {
    Settings { segments: Segments::Bridge {}, wan_zone: rhyzome_openwrt::zone::ZoneName::default() }
}
