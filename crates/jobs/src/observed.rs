//! What targets observe of their objects and say in reports and observations.

use serde::{Deserialize, Serialize};
use types::{HostAddr, MemorySize};

/// What a router observes of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Where WireGuard is reached from outside; the port is the desired one.
    pub endpoint_host: Option<String>,
    /// Why the router cannot be worked at the moment; the rest is not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

impl Network {
    /// What is known of a network whose router cannot be worked.
    pub fn unreachable(reason: String) -> Self {
        Self { unreachable: Some(reason), ..Self::default() }
    }
}

/// What a hypervisor observes of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What the machine does.
    pub power: PowerState,
    /// How it is run.
    pub accelerator: Option<Accelerator>,
    /// What the guest said after it came up; forgotten when it stops.
    pub guest: Option<Guest>,
    /// Why it cannot run any more, where no other try helps: its disk is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerState {
    /// It runs.
    Running,
    /// It is off.
    Stopped,
    /// Its process died or its disk is missing.
    Failed,
}

/// How a machine's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// By the processor, through KVM.
    Kvm,
    /// By translation, through QEMU's TCG.
    Tcg,
}

/// What a guest says of itself once it is up: one line of JSON on its second serial port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its host name.
    pub hostname: String,
    /// The address it got.
    pub address: Option<HostAddr>,
    /// Seconds from its kernel's start to the report.
    pub uptime_seconds: Option<u32>,
}

/// What a target can take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Processors, for hypervisors.
    pub vcpus: Option<u32>,
    /// Memory, for hypervisors.
    pub memory: Option<MemorySize>,
    /// Disk in bytes that instances may have in all, for hypervisors.
    pub disk_bytes: Option<u64>,
    /// The host's address in the network that carries VXLANs, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<HostAddr>,
    /// The key of the agent's own host, unused by the core, for people.
    pub note: Option<String>,
}
