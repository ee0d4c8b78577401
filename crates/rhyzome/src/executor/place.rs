//! The step that places an instance, and what it takes where it is: looked up, chosen and written in one transaction.

use jobs::Object;
use jobs::observed::Capacity;
use store::{Caller, Session, StoreError, Taken, Write};
use types::{InstanceId, TargetId};

use super::step::Begun;
use crate::core::Core;
use crate::placement::{Candidate, GROUP_TAG, Need, Unplaced, Words, choose, fits};
use crate::render::{read, spec};

/// Places an instance, once.
pub async fn begin(core: &Core, session: &mut Session<'_, Write>, id: InstanceId) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    if session.placement(&caller, id).await?.is_some() {
        return Ok(Begun::Awaiting(Vec::new()));
    }
    let Some(taken) = takes(session, id).await? else {
        return Ok(Begun::NotYet("the image is not ready".to_owned()));
    };
    // Thousands may wait for the first to come: they look no further.
    if !session.is_any_connected(&caller, "hypervisor").await? {
        return Ok(Begun::NotYet(Unplaced::NoneConnected.to_string()));
    }
    let need = Need { taken, features: core.segments.feature().into_iter().collect() };
    let candidates = candidates(session, id).await?;
    match choose(&need, &candidates) {
        Ok(hypervisor) => {
            session.place(&caller, id, hypervisor, taken).await?;
            Ok(Begun::Awaiting(Vec::new()))
        }
        Err(unplaced) => Ok(Begun::NotYet(unplaced.to_string())),
    }
}

/// Takes what an instance needs where it is; a reason when there is no room for more than it had.
pub async fn hold(
    session: &mut Session<'_, Write>,
    id: InstanceId,
    hypervisor: TargetId,
) -> Result<Option<String>, StoreError> {
    let caller = Caller::core();
    let Some(taken) = takes(session, id).await? else { return Ok(None) };
    let had = session.taken(&caller, id).await?;
    if taken == had {
        return Ok(None);
    }
    let rows = session.hypervisors(&caller).await?;
    let Some(row) = rows.into_iter().find(|row| row.id == hypervisor) else { return Ok(None) };
    let capacity: Capacity = read("target.capacity", row.capacity)?;
    let others = Taken {
        vcpus: row.taken.vcpus.saturating_sub(had.vcpus),
        memory_mib: row.taken.memory_mib.saturating_sub(had.memory_mib),
        disk_bytes: row.taken.disk_bytes.saturating_sub(had.disk_bytes),
    };
    // What takes no more of anything than before fits in any case, also on a host that became smaller.
    let more = taken.vcpus > had.vcpus || taken.memory_mib > had.memory_mib;
    if more && !fits(&capacity, others, taken) {
        return Ok(Some(format!("its hypervisor has no room for {}", Words(taken))));
    }
    session.take(&caller, id, taken).await?;
    Ok(None)
}

/// What an instance takes of its hypervisor; none while the size of its disk is not known.
async fn takes(session: &mut Session<'_, Write>, id: InstanceId) -> Result<Option<Taken>, StoreError> {
    let caller = Caller::core();
    let (_, asked) = spec::<api::Instance, _>(session, &caller, id).await?;
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let disk = match (asked.disk_bytes, asked.image.id()) {
        (Some(size), _) => size.get(),
        (None, Some(image)) => {
            let status: api::ImageStatus = read("status.body", session.resource(&caller, image.into()).await?.status)?;
            match status.virtual_size {
                Some(size) => size.get(),
                None => return Ok(None),
            }
        }
        (None, None) => 0,
    };
    let taken =
        Taken { vcpus: number(asked.vcpus.into()), memory_mib: number(asked.memory_mib.into()), disk_bytes: disk };
    Ok(Some(taken))
}

async fn candidates(session: &mut Session<'_, Write>, id: InstanceId) -> Result<Vec<Candidate>, StoreError> {
    let caller = Caller::core();
    let (_, asked) = spec::<api::Instance, _>(session, &caller, id).await?;
    let of_group = session.placed_with_tag(&caller, id, GROUP_TAG).await?;
    let of_network = match asked.network.id() {
        Some(network) => session.placed_with(&caller, network.into()).await?,
        None => Default::default(),
    };
    let cached = match asked.image.id() {
        Some(image) => session.holders(&caller, &Object::Image(image).to_string()).await?,
        None => Default::default(),
    };
    session
        .hypervisors(&caller)
        .await?
        .into_iter()
        .map(|row| {
            Ok(Candidate {
                id: row.id,
                connected: row.connected,
                trouble: row.trouble.map(|trouble| format!("hypervisor {}: {trouble}", row.name)),
                availability: row.availability,
                features: row.features,
                capacity: read("target.capacity", row.capacity)?,
                taken: row.taken,
                instances: row.instances,
                of_group: of_group.get(&row.id).copied().unwrap_or(0),
                of_network: of_network.get(&row.id).copied().unwrap_or(0),
                has_image: cached.contains(&row.id),
            })
        })
        .collect()
}
