//! Instances: virtual machines, each with one interface on one network.

use serde::{Deserialize, Serialize};
use types::{
    ByteSize, HostAddr, ImageId, InstanceId, MacAddr, MemorySize, NetworkId, ResourceName, SshPublicKey, Tags,
    TargetId, Vcpus,
};
use utoipa::ToSchema;

use crate::Reference;
use crate::resource::resource;

resource! {
    /// A virtual machine.
    Instance, "instance", "instances", Instance, InstanceId, InstanceSpec, InstanceStatus, InstanceCreate
}

/// The body of POST /v1/instances.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceCreate {
    /// The name, which is also the host name and the name in the network's DNS.
    pub name: ResourceName,
    /// Tags.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub tags: Tags,
    /// What is asked.
    pub spec: InstanceSpec,
    /// What cloud-init gets, 64 KiB at most. It is kept as a secret and never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
}

/// What is asked of an instance. What is left out the server chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// The network, by id or name. It cannot change.
    #[schema(value_type = String)]
    pub network: Reference<NetworkId>,
    /// The image that the disk is cloned from, by id or name. It cannot change.
    #[schema(value_type = String)]
    pub image: Reference<ImageId>,
    /// The address; a free one outside the DHCP range when left out. It cannot change.
    #[serde(default)]
    pub address: Option<HostAddr>,
    /// Processors. A change takes effect at the next start.
    #[serde(default = "one_vcpu")]
    pub vcpus: Vcpus,
    /// Memory in MiB. A change takes effect at the next start.
    #[serde(default = "some_memory")]
    pub memory_mib: MemorySize,
    /// The disk's size in bytes; the image's when left out. It cannot change.
    #[serde(default)]
    pub disk_bytes: Option<ByteSize>,
    /// Who may log in, 64 keys at most. Read by the guest at its first start.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub ssh_keys: Vec<SshPublicKey>,
    /// Whether it should run.
    #[serde(default)]
    pub power: Power,
    /// How often a restart was asked for; raised by POST to `/v1/instances/{instance}/restart`.
    #[serde(default)]
    pub restarts: u64,
}

fn one_vcpu() -> Vcpus {
    Vcpus::try_from(1).expect("invariant: 1 is a number of processors")
}

fn some_memory() -> MemorySize {
    MemorySize::try_from(256).expect("invariant: 256 MiB is a memory size")
}

/// Whether a machine should run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It should run.
    #[default]
    Running,
    /// It should be off.
    Stopped,
}

/// What a machine was seen doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PowerState {
    /// It runs.
    Running,
    /// It is off.
    Stopped,
    /// Its process died or its disk is missing.
    Failed,
}

/// What is known of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InstanceStatus {
    /// Its address, reserved from the moment it was asked for.
    pub address: Option<HostAddr>,
    /// Its MAC address.
    pub mac: Option<MacAddr>,
    /// The hypervisor that it is placed on; none while none is connected.
    pub hypervisor: Option<TargetId>,
    /// Its SSH host key.
    pub host_key: Option<SshPublicKey>,
    /// What the machine does.
    pub power: Option<PowerState>,
    /// What runs its instructions: `kvm` or `tcg`.
    pub accelerator: Option<String>,
    /// What the guest said once it was up; absent before and after.
    pub guest: Option<Guest>,
}

/// What a guest says of itself once it is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guest {
    /// Its host name.
    pub hostname: String,
    /// The address it got.
    pub address: Option<HostAddr>,
    /// Seconds from its kernel's start to the report.
    pub uptime_seconds: Option<u32>,
}
