//! Instances: what is valid, and what they take.

use api::{Fault, Image, Instance, InstanceSpec, InstanceStatus, Network};
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use store::{Constraint, ResourceRow, Session, StoreError};
use types::{InstanceId, MacAddr, ResourceId, SecretText};

use super::network::static_ranges;
use super::{Asked, Ground, Managed, assemble, resolve};
use crate::executor::Step;
use crate::refusal::Refusal;
use crate::render::{HOST_KEY, USER_DATA, read};

/// Keys that may log in, at most.
const SSH_KEYS: usize = 64;
/// User-data, in bytes at most.
const USER_DATA_LIMIT: usize = 64 << 10;
/// How often a MAC address is drawn before the pool counts as empty.
const MAC_DRAWS: usize = 16;

impl Managed for Instance {
    const CREATE: &'static [Step] = &[Step::Place, Step::Segment, Step::CacheImage, Step::Lease, Step::Machine];
    const UPDATE: &'static [Step] = &[Step::Machine];
    const DELETE: &'static [Step] = &[Step::MachineGone, Step::LeaseGone, Step::SegmentGone];
    #[cfg(test)]
    const EXAMPLE: super::Example = super::Example {
        ground: &[("network", "ground"), ("image", "ground")],
        spec: r#"{"network": "ground", "image": "ground"}"#,
        change: r#"{"spec": {"power": "stopped"}}"#,
    };

    fn make_id(unix_ms: u64) -> Result<InstanceId, types::IdError> {
        InstanceId::make(unix_ms)
    }

    fn asked(body: api::InstanceCreate) -> Asked<Self> {
        Asked { name: body.name, tags: body.tags, spec: body.spec, secret: body.user_data.map(SecretText::new) }
    }

    async fn check(
        ground: &mut Ground<'_, '_>,
        asked: &mut Asked<Self>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Refusal> {
        let spec = &mut asked.spec;
        if spec.ssh_keys.len() > SSH_KEYS {
            faults.push(Fault::new("/spec/ssh_keys", format!("expected {SSH_KEYS} keys at most")));
        }
        if asked.secret.as_ref().is_some_and(|text| text.reveal().len() > USER_DATA_LIMIT) {
            faults.push(Fault::new("/user_data", format!("expected {USER_DATA_LIMIT} bytes at most")));
        }
        let network = resolve::<Network>(ground, &mut spec.network, "/spec/network", faults).await?;
        if let (Some((_, row)), Some(address)) = (&network, spec.address) {
            let network: api::NetworkSpec = read("resource.spec", row.spec.clone())?;
            if network.subnet.is_some_and(|subnet| !subnet.has_host(address)) {
                faults.push(Fault::new("/spec/address", format!("{address} is no host address of the network")));
            }
            if network.router_address == Some(address) {
                faults.push(Fault::new("/spec/address", format!("{address} is the router's")));
            }
        }
        let image = resolve::<Image>(ground, &mut spec.image, "/spec/image", faults).await?;
        if let Some((_, row)) = image {
            let status: api::ImageStatus = read("status.body", row.status)?;
            if let (Some(disk), Some(needed)) = (spec.disk_bytes, status.virtual_size)
                && disk < needed
            {
                faults.push(Fault::new("/spec/disk_bytes", format!("the image needs {needed} at least")));
            }
        }
        Ok(())
    }

    fn compare(before: &InstanceSpec, after: &mut InstanceSpec, faults: &mut Vec<Fault>) {
        after.address = after.address.or(before.address);
        after.disk_bytes = after.disk_bytes.or(before.disk_bytes);
        let mut same = |field: &str, equal: bool, what: &str| {
            if !equal {
                faults.push(Fault::new(field, format!("{what} cannot change")));
            }
        };
        same("/spec/network", after.network == before.network, "the network");
        same("/spec/image", after.image == before.image, "the image");
        same("/spec/address", after.address == before.address, "the address");
        same("/spec/disk_bytes", after.disk_bytes == before.disk_bytes, "the disk's size");
        if after.restarts < before.restarts {
            faults.push(Fault::new("/spec/restarts", "the number of restarts only rises"));
        }
    }

    async fn allot(
        ground: &mut Ground<'_, '_>,
        id: InstanceId,
        asked: &mut Asked<Self>,
    ) -> Result<InstanceStatus, Refusal> {
        let network = asked.spec.network.id().ok_or_else(|| Refusal::NotFound("network".to_owned()))?;
        let row = ground.session.resource(ground.caller, network.into()).await?;
        let ranges = static_ranges(&read("resource.spec", row.spec)?);
        let taken = ground.session.take_address(ground.caller, network, id, asked.spec.address, &ranges).await;
        let address = match taken {
            Err(StoreError::Refused { constraint: Constraint::Address }) => {
                return Err(Refusal::fault("/spec/address", "the address is taken, or rests after its last use"));
            }
            taken => taken?,
        };
        asked.spec.address = Some(address);
        let mac = draw_mac(ground, id).await?;
        let (private, public) = make_host_key()?;
        ground.session.add_secret(ground.caller, id.into(), HOST_KEY, &private).await?;
        if let Some(user_data) = &asked.secret {
            ground.session.add_secret(ground.caller, id.into(), USER_DATA, user_data).await?;
        }
        Ok(InstanceStatus {
            address: Some(address),
            mac: Some(mac),
            host_key: Some(public),
            ..InstanceStatus::default()
        })
    }

    fn references(spec: &InstanceSpec) -> Vec<ResourceId> {
        let network = spec.network.id().map(ResourceId::from);
        let image = spec.image.id().map(ResourceId::from);
        network.into_iter().chain(image).collect()
    }

    async fn complete<Mode: Send>(
        _session: &mut Session<'_, Mode>,
        page: &mut [(ResourceRow, InstanceStatus)],
    ) -> Result<(), StoreError> {
        for (row, status) in page {
            status.hypervisor = row.holder.as_ref().map(|holder| holder.target);
        }
        Ok(())
    }

    assemble!();
}

/// A random MAC address that no other instance has.
async fn draw_mac(ground: &mut Ground<'_, '_>, id: InstanceId) -> Result<MacAddr, Refusal> {
    for _ in 0..MAC_DRAWS {
        let random = getrandom::u32().map_err(|error| Refusal::Internal(anyhow::anyhow!("no randomness: {error}")))?;
        let [_, low @ ..] = random.to_be_bytes();
        let mac = MacAddr::of_guest(low);
        if ground.session.take_mac(ground.caller, id, mac).await? {
            return Ok(mac);
        }
    }
    Err(Refusal::Exhausted("no free MAC address was found".to_owned()))
}

/// A fresh Ed25519 host key: the private half in OpenSSH's format, and the public one.
fn make_host_key() -> Result<(SecretText, types::SshPublicKey), Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::Internal(anyhow::anyhow!("no SSH host key: {error}"));
    let key = PrivateKey::random(&mut ssh_key::rand_core::OsRng, Algorithm::Ed25519).map_err(|error| failed(&error))?;
    let private = key.to_openssh(LineEnding::LF).map_err(|error| failed(&error))?;
    let public = key.public_key().to_openssh().map_err(|error| failed(&error))?;
    Ok((SecretText::new(private.to_string()), public.parse().map_err(|error| failed(&error))?))
}
