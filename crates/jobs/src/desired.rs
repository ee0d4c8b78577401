//! Desired states: the whole of what one object should be on one target, as JSON.
//!
//! A state is rendered from the database and never patched. Unknown fields are refused: what a target does not
//! understand it must not half do (a state that needs more than version 1 names it in the job's `requires`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use types::{
    ByteSize, DomainName, HostAddr, HostName, HostRange, ImageId, InstanceId, MacAddr, MemorySize, Mtu, NetworkId,
    PeerId, Port, Segment, Sha256Digest, Slot, SshPublicKey, Subnet, Vcpus, WgPublicKey,
};

use crate::SecretField;

/// A network on its router.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The network's id.
    pub id: NetworkId,
    /// Its place on the router; every name there derives from it.
    pub slot: Slot,
    /// Its layer 2; the router's bridge takes the port `Segment::router_end` on an embedded router.
    pub segment: Segment,
    /// The VXLAN that carries it to hypervisors on other hosts; a router needs [`SegmentKind::VXLAN`] for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vxlan: Option<Vxlan>,
    /// The addresses of the network.
    pub subnet: Subnet,
    /// The router's own address in it.
    pub router_address: HostAddr,
    /// The largest packet.
    pub mtu: Mtu,
    /// The DHCP server for machines that are not ours; without it only the static leases are served.
    pub dhcp: Option<DhcpPool>,
    /// How long every lease lasts, in seconds.
    pub lease_seconds: u32,
    /// Names inside the network.
    pub dns: Dns,
    /// What the network's machines may reach outside.
    pub isolation: Isolation,
    /// The instances' static leases.
    pub leases: BTreeMap<InstanceId, Lease>,
    /// The WireGuard server.
    pub wireguard: WireguardServer,
    /// Who may enter by WireGuard.
    pub peers: BTreeMap<PeerId, Peer>,
}

/// Addresses that the DHCP server gives out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpPool {
    /// First and last address.
    pub range: HostRange,
}

/// The network's name service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Where the network's own names live: `hello` is `hello.<domain>`.
    pub domain: DomainName,
    /// Servers to ask for other names; the router's own when empty.
    pub servers: Vec<HostAddr>,
}

/// What the machines of a network may reach beyond it. Other networks are out of reach in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Public addresses, through NAT; private and management addresses behind the router are refused.
    #[default]
    Internet,
    /// Everything that the router can reach, private addresses too, through NAT.
    Open,
    /// Nothing.
    Closed,
}

/// A static lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The name in DNS and DHCP.
    pub name: HostName,
    /// Whose it is.
    pub mac: MacAddr,
    /// The address.
    pub address: HostAddr,
}

/// The WireGuard server of a network.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireguardServer {
    /// The UDP port it listens on.
    pub port: Port,
    /// Its private key in base64.
    pub private_key: SecretField,
    /// The public half.
    pub public_key: WgPublicKey,
}

/// One device that may enter by WireGuard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The peer's name, for people who read the router's configuration.
    pub name: HostName,
    /// Its key.
    pub public_key: WgPublicKey,
    /// Its one address.
    pub address: HostAddr,
}

/// A network's layer 2 on a hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentLink {
    /// The network whose segment it is.
    pub network: NetworkId,
    /// The segment's number; bridge and ports derive their names from it.
    pub segment: Segment,
    /// The largest packet.
    pub mtu: Mtu,
    /// How the segment reaches the router.
    pub kind: SegmentKind,
}

/// How a segment crosses from a hypervisor to the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentKind {
    /// A bridge on the one host that also runs the router, joined to it by a veth pair.
    Bridge,
    /// A VLAN on the trunk that the agent's configuration names; needs [`SegmentKind::VLAN`].
    Vlan {
        /// Its number in the tag, 1 to 4094.
        id: u16,
    },
    /// A VXLAN over the network between the hosts; needs [`SegmentKind::VXLAN`].
    Vxlan(Vxlan),
}

/// A VXLAN (RFC 7348).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vxlan {
    /// Its number in the header, 24 bits.
    pub vni: u32,
    /// The addresses, in the network between the hosts, of all who are on the segment.
    pub remotes: BTreeSet<HostAddr>,
}

impl Vxlan {
    /// The UDP port (RFC 7348, section 8).
    pub const PORT: u16 = 4789;
}

impl SegmentKind {
    /// The feature of a target that can carry VLANs.
    pub const VLAN: &str = "segment-vlan";
    /// The feature of a target that can carry VXLANs.
    pub const VXLAN: &str = "segment-vxlan";

    /// What a target must be able to do for it.
    pub const fn feature(&self) -> Option<&'static str> {
        match self {
            Self::Bridge => None,
            Self::Vlan { .. } => Some(Self::VLAN),
            Self::Vxlan(_) => Some(Self::VXLAN),
        }
    }
}

/// An image in a hypervisor's cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The image's id.
    pub id: ImageId,
    /// What it is.
    pub content: ImageContent,
}

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageContent {
    /// The digest of the file, which is qcow2 without a backing file.
    pub sha256: Sha256Digest,
    /// The length of the file.
    pub file_size: ByteSize,
    /// The size of the disk in it.
    pub virtual_size: ByteSize,
}

/// A virtual machine on a hypervisor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The instance's id.
    pub id: InstanceId,
    /// Its host name.
    pub hostname: HostName,
    /// The domain its name lives in.
    pub domain: DomainName,
    /// Whether it should run.
    pub power: Power,
    /// Raised once for each restart that was asked for.
    pub restarts: u64,
    /// Processors.
    pub vcpus: Vcpus,
    /// Memory.
    pub memory: MemorySize,
    /// The disk's size, not below the image's virtual size.
    pub disk: ByteSize,
    /// What the disk is cloned from, once.
    pub image: ImageContent,
    /// The one network interface.
    pub nic: Nic,
    /// Keys that may log in.
    pub ssh_keys: Vec<SshPublicKey>,
    /// The guest's own SSH host key (Ed25519, OpenSSH's private format).
    pub host_key: SecretField,
    /// What the user gives to cloud-init, as it is.
    pub user_data: Option<SecretField>,
}

/// Whether a machine should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It runs.
    Running,
    /// It is off.
    Stopped,
}

/// The network interface of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// The network.
    pub network: NetworkId,
    /// Its segment, whose bridge the interface joins.
    pub segment: Segment,
    /// The interface's MAC address.
    pub mac: MacAddr,
    /// The address that DHCP gives it.
    pub address: HostAddr,
    /// The largest packet.
    pub mtu: Mtu,
}
