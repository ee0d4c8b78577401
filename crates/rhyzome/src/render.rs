//! Rendering: from the database to the whole desired state of one object, in the transaction that changes it.

use std::collections::BTreeMap;

use api::{Image, Instance, Network};
use jobs::desired::SegmentKind;
use jobs::{Object, SecretField, desired};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store::{Caller, Session, StoreError, Write};
use types::{HostName, ImageId, InstanceId, NetworkId, Port, ResourceId, Slot, TargetId, Version};

use crate::segment::Segments;

/// What a secret of a network is for: its WireGuard server's private key.
pub const WIREGUARD_KEY: &str = "wireguard-private-key";
/// What a secret of an instance is for: its SSH host key.
pub const HOST_KEY: &str = "ssh-host-key";
/// What a secret of an instance is for: what its user gives to cloud-init.
pub const USER_DATA: &str = "user-data";

/// Why a state could not be rendered.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A rendering that was written into a job row.
#[derive(Clone, Copy, Debug)]
pub struct Rendered {
    /// The target.
    pub target: TargetId,
    /// The object.
    pub object: Object,
    /// The version that the row has.
    pub version: Version,
}

/// The spec of a resource, typed by its kind.
pub async fn spec<K: api::Kind, Mode>(
    session: &mut Session<'_, Mode>,
    caller: &Caller,
    id: K::Id,
) -> Result<(HostName, K::Spec)> {
    let row = session.resource(caller, id.into()).await?;
    Ok(((&row.name).into(), read("resource.spec", row.spec)?))
}

/// Reads JSON that the core wrote itself.
pub fn read<T: DeserializeOwned>(column: &'static str, value: serde_json::Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| StoreError::Corrupt { column, detail: error.to_string() })
}

/// Reads it without taking it.
pub fn typed<'value, T: Deserialize<'value>>(column: &'static str, value: &'value serde_json::Value) -> Result<T> {
    T::deserialize(value).map_err(|error| StoreError::Corrupt { column, detail: error.to_string() })
}

fn lacking(what: &str) -> StoreError {
    StoreError::Corrupt { column: "resource.spec", detail: format!("{what} was never chosen") }
}

/// Renders a network for its router; nothing for a network whose end is under way, which nobody brings up again.
pub async fn network(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    id: NetworkId,
    wireguard_first_port: Port,
    segments: Segments,
) -> Result<Option<Rendered>> {
    let row = session.resource(caller, id.into()).await?;
    if matches!(row.state.as_str(), "deleting" | "failed") {
        return Ok(None);
    }
    let (name, spec): (HostName, api::NetworkSpec) = ((&row.name).into(), read("resource.spec", row.spec)?);
    let (router, slot) = session.slot(caller, id).await?;
    let private_key =
        session.secret_id(caller, id.into(), WIREGUARD_KEY).await?.ok_or_else(|| lacking("the WireGuard key"))?;
    let status: api::NetworkStatus = read("status.body", row.status)?;
    let leases = session.served_leases(caller, id).await?;
    let admissions = session.served_admissions(caller, id).await?;
    let mut peers = BTreeMap::new();
    for row in admissions {
        let spec: api::PeerSpec = read("resource.spec", row.spec)?;
        let peer = desired::Peer { name: (&row.name).into(), public_key: spec.public_key, address: row.address };
        peers.insert(row.peer, peer);
    }
    let vxlan = match segments.kind(session, id, router).await? {
        SegmentKind::Vxlan(vxlan) => Some(vxlan),
        SegmentKind::Bridge | SegmentKind::Vlan { .. } => None,
    };
    let state = desired::Network {
        id,
        slot,
        segment: session.segment(caller, id).await?,
        vxlan,
        subnet: spec.subnet.ok_or_else(|| lacking("the subnet"))?,
        router_address: spec.router_address.ok_or_else(|| lacking("the router's address"))?,
        mtu: spec.mtu,
        dhcp: spec.dhcp.range.filter(|_| spec.dhcp.enabled).map(|range| desired::DhcpPool { range }),
        lease_seconds: spec.dhcp.lease_seconds,
        dns: desired::Dns {
            domain: spec.dns.domain.ok_or_else(|| lacking(&format!("the domain of {name}")))?,
            servers: spec.dns.servers,
        },
        isolation: match spec.isolation {
            api::network::Isolation::Internet => desired::Isolation::Internet,
            api::network::Isolation::Open => desired::Isolation::Open,
            api::network::Isolation::Closed => desired::Isolation::Closed,
        },
        leases: leases
            .into_iter()
            .map(|row| (row.instance, desired::Lease { name: (&row.name).into(), mac: row.mac, address: row.address }))
            .collect(),
        wireguard: desired::WireguardServer {
            port: wireguard_port(wireguard_first_port, slot)?,
            private_key: SecretField::Reference(private_key),
            public_key: status.wireguard_public_key.ok_or_else(|| lacking("the WireGuard key"))?,
        },
        peers,
    };
    let rendered = write(session, caller, router, Object::Network(id), Some(&state)).await?;
    // A router has VLANs by its own configuration.
    let features: &[&str] = if state.vxlan.is_some() { &[SegmentKind::VXLAN] } else { &[] };
    session.require(router, &rendered.object.to_string(), features).await?;
    Ok(Some(rendered))
}

/// The WireGuard port of a slot.
pub fn wireguard_port(first: Port, slot: Slot) -> Result<Port> {
    first
        .get()
        .checked_add(slot.get() - 1)
        .and_then(|port| Port::try_from(port).ok())
        .ok_or(StoreError::Exhausted { what: "WireGuard port" })
}

/// Renders a network's segment for a hypervisor.
pub async fn segment(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    hypervisor: TargetId,
    id: NetworkId,
    segments: Segments,
) -> Result<Rendered> {
    let (_, spec) = spec::<Network, _>(session, caller, id).await?;
    let state = desired::SegmentLink {
        network: id,
        segment: session.segment(caller, id).await?,
        mtu: spec.mtu,
        kind: segments.kind(session, id, hypervisor).await?,
    };
    let rendered = write(session, caller, hypervisor, Object::Segment(id), Some(&state)).await?;
    session.require(hypervisor, &rendered.object.to_string(), segments.feature().as_slice()).await?;
    Ok(rendered)
}

/// Renders an image for a hypervisor's cache.
pub async fn image(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    hypervisor: TargetId,
    id: ImageId,
) -> Result<Rendered> {
    let state = desired::Image { id, content: image_content(session, caller, id).await? };
    write(session, caller, hypervisor, Object::Image(id), Some(&state)).await
}

async fn image_content(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    id: ImageId,
) -> Result<desired::ImageContent> {
    let row = session.resource(caller, id.into()).await?;
    let spec: api::ImageSpec = read("resource.spec", row.spec)?;
    let status: <Image as api::Kind>::Status = read("status.body", row.status)?;
    Ok(desired::ImageContent {
        sha256: spec.sha256,
        file_size: status.file_size.ok_or_else(|| lacking("the image's size"))?,
        virtual_size: status.virtual_size.ok_or_else(|| lacking("the image's size"))?,
    })
}

/// Renders an instance for its hypervisor.
pub async fn instance(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    hypervisor: TargetId,
    id: InstanceId,
) -> Result<Rendered> {
    let row = session.resource(caller, id.into()).await?;
    let spec: <Instance as api::Kind>::Spec = read("resource.spec", row.spec)?;
    let (Some(network), Some(image)) = (spec.network.id(), spec.image.id()) else {
        return Err(lacking("network or image"));
    };
    let (_, network_spec) = self::spec::<Network, _>(session, caller, network).await?;
    let (address, mac) = session.nic(caller, id).await?;
    let image = image_content(session, caller, image).await?;
    let host_key = session.secret_id(caller, id.into(), HOST_KEY).await?.ok_or_else(|| lacking("the SSH host key"))?;
    let user_data = session.secret_id(caller, id.into(), USER_DATA).await?;
    let state = desired::Instance {
        id,
        hostname: (&row.name).into(),
        domain: network_spec.dns.domain.ok_or_else(|| lacking("the network's domain"))?,
        power: match spec.power {
            api::instance::Power::Running => desired::Power::Running,
            api::instance::Power::Stopped => desired::Power::Stopped,
        },
        restarts: spec.restarts,
        vcpus: spec.vcpus,
        memory: spec.memory_mib,
        disk: spec.disk_bytes.unwrap_or(image.virtual_size).max(image.virtual_size),
        image,
        nic: desired::Nic {
            network,
            segment: session.segment(caller, network).await?,
            mac,
            address,
            mtu: network_spec.mtu,
        },
        ssh_keys: spec.ssh_keys,
        host_key: SecretField::Reference(host_key),
        user_data: user_data.map(SecretField::Reference),
    };
    write(session, caller, hypervisor, Object::Instance(id), Some(&state)).await
}

/// Renders that nothing of an object is to be left on a target.
pub async fn gone(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    target: TargetId,
    object: Object,
) -> Result<Rendered> {
    write::<()>(session, caller, target, object, None).await
}

async fn write<State: serde::Serialize>(
    session: &mut Session<'_, Write>,
    caller: &Caller,
    target: TargetId,
    object: Object,
    state: Option<&State>,
) -> Result<Rendered> {
    let state = state
        .map(serde_json::to_value)
        .transpose()
        .map_err(|error| StoreError::Corrupt { column: "job.desired", detail: error.to_string() })?;
    let resource: ResourceId = object.resource();
    let version = session.render_job(caller, target, &object.to_string(), resource, state.as_ref()).await?;
    Ok(Rendered { target, object, version })
}
