//! Peers: devices of people that may enter networks by WireGuard.

use serde::{Deserialize, Serialize};
use types::{HostAddr, NetworkId, PeerId, ResourceName, Subnet, Tags, WgPublicKey};
use utoipa::ToSchema;

use crate::Reference;
use crate::resource::resource;

resource! {
    /// A WireGuard peer.
    Peer, "peer", "peers", Peer, PeerId, PeerSpec, PeerStatus, PeerCreate
}

/// The body of POST /v1/peers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerCreate {
    /// The name.
    pub name: ResourceName,
    /// Tags.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub tags: Tags,
    /// What is asked.
    pub spec: PeerSpec,
}

/// What is asked of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerSpec {
    /// The device's public key; the private half never leaves the device.
    pub public_key: WgPublicKey,
    /// The networks it may enter, by id or name, 64 at most.
    #[schema(value_type = Vec<String>, max_items = 64)]
    pub networks: Vec<Reference<NetworkId>>,
}

/// What is known of a peer: all that its configuration needs beside its private key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PeerStatus {
    /// Its one address, the same in every network.
    pub address: Option<HostAddr>,
    /// The networks it may enter.
    pub networks: Vec<PeerNetwork>,
}

/// One network as a peer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerNetwork {
    /// The network's id.
    pub network: NetworkId,
    /// The network's name.
    pub name: ResourceName,
    /// Its addresses.
    pub subnet: Subnet,
    /// The public key of its WireGuard server.
    pub public_key: WgPublicKey,
    /// Where that is reached, as `host:port`; absent until the router has said so.
    pub endpoint: Option<String>,
}
