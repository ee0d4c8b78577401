//! What targets observe becomes the status of resources.

use api::{InstanceStatus, NetworkStatus};
use jobs::{Object, observed};
use store::{Caller, ConditionRow, JobReport, NewEvent, Session, StoreError, Write};
use types::{ResourceId, TargetId};

use crate::core::Core;
use crate::render::{read, wireguard_port};

/// Notes on a resource whether its target has it as asked; an event tells that it was and is no more. One that failed
/// keeps the reason why.
pub async fn note_outcome(
    session: &mut Session<'_, Write>,
    target: TargetId,
    object: Object,
    report: &JobReport,
) -> Result<(), StoreError> {
    let own = matches!(object, Object::Network(_) | Object::Instance(_));
    let caller = Caller::core();
    if !own || !exists(session, object.resource()).await? || !holds(session, target, object).await? {
        return Ok(());
    }
    let (resource, row) = (object.resource(), session.resource(&caller, object.resource()).await?);
    if row.state == "failed" {
        return Ok(());
    }
    let (applied, reason) = (report.outcome == "applied", report.reason.as_deref());
    session.set_condition(&caller, resource, "applied", applied, reason).await?;
    let was_applied = row.conditions.iter().any(|condition| condition.name == "applied" && condition.holds);
    if was_applied && !applied && row.state == "ready" {
        let event = NewEvent { resource, change: "observed", operation: None, message: reason };
        session.add_event(&caller, &event).await?;
    }
    Ok(())
}

/// Notes what was observed of an object; an event tells it if it is news. What only another target may say is ignored.
pub async fn note_status(
    session: &mut Session<'_, Write>,
    core: &Core,
    target: TargetId,
    object: Object,
    status: &serde_json::Value,
) -> Result<(), StoreError> {
    let caller = Caller::core();
    let resource = object.resource();
    // Who is told to have nothing of it has nothing to say of it: it may be elsewhere.
    if !exists(session, resource).await? || !holds(session, target, object).await? {
        return Ok(());
    }
    let row = session.resource(&caller, resource).await?;
    let before = row.status;
    let after = match object {
        Object::Network(id) => {
            let seen: observed::Network = read("report.status", status.clone())?;
            let known: NetworkStatus = read("status.body", before.clone())?;
            let told = row.conditions.iter().find(|condition| condition.name == "reachable");
            let told = told.map(|condition| (condition.holds, &condition.reason));
            if told != Some((seen.unreachable.is_none(), &seen.unreachable)) {
                let reason = seen.unreachable.as_deref();
                session.set_condition(&caller, resource, "reachable", reason.is_none(), reason).await?;
            }
            if seen.unreachable.is_some() {
                return Ok(());
            }
            let (_, slot) = session.slot(&caller, id).await?;
            let port = wireguard_port(core.wireguard_first_port, slot)?;
            let wireguard_endpoint = seen.endpoint_host.map(|host| match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            });
            to_json(&NetworkStatus { wireguard_endpoint, ..known })?
        }
        Object::Instance(_) => {
            let seen: observed::Instance = read("report.status", status.clone())?;
            note_loss(session, resource, seen.lost.as_deref()).await?;
            let known: InstanceStatus = read("status.body", before.clone())?;
            to_json(&with_machine(known, seen))?
        }
        Object::Segment(_) | Object::Image(_) => return Ok(()),
    };
    if after != before {
        session.set_status(&caller, resource, &after).await?;
        let event = NewEvent { resource, change: "observed", operation: None, message: None };
        session.add_event(&caller, &event).await?;
    }
    Ok(())
}

/// An instance whose disk is missing has failed; it is as before where a person put the disk back.
async fn note_loss(
    session: &mut Session<'_, Write>,
    resource: ResourceId,
    lost: Option<&str>,
) -> Result<(), StoreError> {
    let caller = Caller::core();
    let row = session.resource(&caller, resource).await?;
    let was_lost = row.is_lost();
    if lost.is_none() && !was_lost {
        return Ok(());
    }
    session.set_condition(&caller, resource, ConditionRow::INTACT, lost.is_none(), lost).await?;
    let state = match (row.state.as_str(), lost) {
        ("ready", Some(_)) => "failed",
        ("failed", None) => "ready",
        // What is under way comes to its own end.
        _ => return Ok(()),
    };
    session.set_state(&caller, resource, state).await?;
    let event = NewEvent { resource, change: "updated", operation: None, message: lost };
    session.add_event(&caller, &event).await?;
    match lost {
        Some(reason) => tracing::error!(%resource, reason, "an instance is lost"),
        None => tracing::info!(%resource, "an instance that was lost is back"),
    }
    Ok(())
}

fn with_machine(known: InstanceStatus, seen: observed::Instance) -> InstanceStatus {
    InstanceStatus {
        power: Some(match seen.power {
            observed::PowerState::Running => api::instance::PowerState::Running,
            observed::PowerState::Stopped => api::instance::PowerState::Stopped,
            observed::PowerState::Failed => api::instance::PowerState::Failed,
        }),
        accelerator: seen.accelerator.map(|accelerator| match accelerator {
            observed::Accelerator::Kvm => "kvm".to_owned(),
            observed::Accelerator::Tcg => "tcg".to_owned(),
        }),
        guest: seen.guest.map(|guest| api::instance::Guest {
            hostname: guest.hostname,
            address: guest.address,
            uptime_seconds: guest.uptime_seconds,
        }),
        ..known
    }
}

fn to_json(status: &impl serde::Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(status)
        .map_err(|error| StoreError::Corrupt { column: "status.body", detail: error.to_string() })
}

async fn holds(session: &mut Session<'_, Write>, target: TargetId, object: Object) -> Result<bool, StoreError> {
    let job = session.job(&Caller::core(), target, &object.to_string()).await?;
    Ok(job.is_some_and(|job| job.desired.is_some()))
}

async fn exists(session: &mut Session<'_, Write>, resource: ResourceId) -> Result<bool, StoreError> {
    match session.tenant_of(&Caller::core(), resource).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
