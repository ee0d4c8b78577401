//! Networks: a subnet with a router, DHCP, DNS, a firewall zone and a WireGuard server of its own.

use serde::{Deserialize, Serialize};
use types::{DomainName, HostAddr, HostRange, Mtu, NetworkId, ResourceName, Subnet, Tags, TargetId, WgPublicKey};
use utoipa::ToSchema;

use crate::resource::resource;

resource! {
    /// A private network.
    Network, "network", "networks", Network, NetworkId, NetworkSpec, NetworkStatus, NetworkCreate
}

/// The body of POST /v1/networks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkCreate {
    /// The name.
    pub name: ResourceName,
    /// Tags.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub tags: Tags,
    /// What is asked.
    #[serde(default)]
    pub spec: NetworkSpec,
}

/// What is asked of a network. What is left out the server chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// The addresses; a free /24 of the server's pool when left out. It cannot change.
    pub subnet: Option<Subnet>,
    /// The router's address; the subnet's first when left out. It cannot change.
    pub router_address: Option<HostAddr>,
    /// The largest packet in bytes.
    pub mtu: Mtu,
    /// The DHCP server.
    pub dhcp: Dhcp,
    /// The name service.
    pub dns: Dns,
    /// What machines may reach outside.
    pub isolation: Isolation,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            subnet: None,
            router_address: None,
            mtu: Mtu::try_from(1500).expect("invariant: 1500 is an MTU"),
            dhcp: Dhcp::default(),
            dns: Dns::default(),
            isolation: Isolation::default(),
        }
    }
}

/// The DHCP server of a network. Instances have static leases whether or not it is enabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dhcp {
    /// Whether machines that are no instances get addresses.
    pub enabled: bool,
    /// The addresses for them; .10 to .100 when left out and the subnet has room.
    pub range: Option<HostRange>,
    /// How long a lease lasts, in seconds (120 to 604800).
    #[schema(minimum = 120, maximum = 604800)]
    pub lease_seconds: u32,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self { enabled: true, range: None, lease_seconds: 43_200 }
    }
}

/// The name service of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Where instances' names live; `<network>.internal` when left out.
    pub domain: Option<DomainName>,
    /// Servers to ask for all other names, four at most; the router's own when empty.
    pub servers: Vec<HostAddr>,
}

/// What the machines of a network may reach outside of it; other networks never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Public addresses, through NAT; private and management addresses behind the router are refused.
    #[default]
    Internet,
    /// Everything that the router reaches, through NAT.
    Open,
    /// Nothing.
    Closed,
}

/// What is known of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NetworkStatus {
    /// The router that serves it.
    pub router: Option<TargetId>,
    /// The public key of its WireGuard server.
    pub wireguard_public_key: Option<WgPublicKey>,
    /// Where its WireGuard server is reached, as `host:port`.
    pub wireguard_endpoint: Option<String>,
}
