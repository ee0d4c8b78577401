//! What `rhyzome up` can be told; everything has a default.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde::{Deserialize, Serialize};
use types::{Port, Subnet};

use super::simulation::Simulation;

/// The settings of an installation on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the API listens.
    pub http: SocketAddr,
    /// Where the agents are served.
    pub jobs: SocketAddr,
    /// Where addresses come from.
    pub pools: Pools,
    /// The WireGuard port of the first network; the others follow.
    pub wireguard_first_port: Port,
    /// The embedded router.
    pub router: Router,
    /// How instances are run.
    pub accelerator: Accelerator,
    /// What is simulated in the place of router, hypervisor and network; nothing, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulate: Option<Simulation>,
}

impl Settings {
    /// The defaults, of a simulated installation or of a real one.
    pub fn simulated_if(simulated: bool) -> Self {
        Self { simulate: simulated.then(Simulation::default), ..Self::default() }
    }
}

/// How instances are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// By KVM where a guest was seen to run under it, by translation elsewhere.
    #[default]
    Auto,
    /// By KVM.
    Kvm,
    /// By translation, which runs everywhere.
    Tcg,
}

/// The addresses that networks and peers get when they ask for none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pools {
    /// Networks take subnets of this.
    pub networks: Subnet,
    /// Peers take addresses of this.
    pub peers: Subnet,
}

/// The embedded router's names and addresses on the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Router {
    /// Where its agent reaches it.
    pub listen: SocketAddr,
    /// The network namespace that it lives in.
    pub namespace: String,
    /// The machine's end of the link to it.
    pub interface: String,
    /// The addresses of that link: the first is the machine's, the second the router's.
    pub subnet: Subnet,
    /// The machine's nft table that masquerades for it and brings WireGuard to it.
    pub table: String,
    /// Where peers reach it from outside; the machine's own address on its way out when left out.
    pub endpoint_host: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: loopback(7443),
            jobs: loopback(7444),
            pools: Pools { networks: subnet("10.64.0.0/12"), peers: subnet("10.80.0.0/16") },
            wireguard_first_port: Port::try_from(51820).expect("invariant: 51820 is a port"),
            router: Router::default(),
            accelerator: Accelerator::default(),
            simulate: None,
        }
    }
}

impl Default for Router {
    fn default() -> Self {
        Self {
            listen: loopback(7445),
            namespace: "rhyzome-router".to_owned(),
            interface: "rz-uplink".to_owned(),
            subnet: subnet("10.254.254.0/30"),
            table: "rhyzome-uplink".to_owned(),
            endpoint_host: None,
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

fn subnet(text: &str) -> Subnet {
    text.parse().expect("invariant: the defaults are subnets")
}
