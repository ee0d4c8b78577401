//! Networks to play with.

use jobs::desired::{Lease, Network, Peer};
use rhyzome_openwrt::admission::{Admitted, admit};
use rhyzome_openwrt::render::Settings;
use rhyzome_openwrt::segment::Segments;
use serde_json::{Value, json};
use types::{Epoch, InstanceId, NetworkId, PeerId, Revision, Version, WgPrivateKey, WgPublicKey};

/// A private key that was made for these tests.
pub const PRIVATE_KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

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

/// A public key for each number.
pub fn key(number: u8) -> WgPublicKey {
    let text = WgPrivateKey::from_base64(PRIVATE_KEY).unwrap().reveal();
    let mut bytes = data_encoding::BASE64.decode(text.reveal().as_bytes()).unwrap();
    bytes[1] = number;
    WgPrivateKey::from_base64(&data_encoding::BASE64.encode(&bytes)).unwrap().public()
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
            "private_key": {"value": PRIVATE_KEY},
            "public_key": WgPrivateKey::from_base64(PRIVATE_KEY).unwrap().public(),
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
