//! What becomes of a target that a person declared lost: nothing waits for it any more, and its instances start anew
//! elsewhere, on new disks. Should it come back, it is told that everything it held is gone.

use jobs::Object;
use store::{Availability, Caller, NewEvent, NewOperation, Session, StoreError, Write};
use types::{InstanceId, OperationId, TargetId};

use crate::kind::Managed;
use crate::render;

/// When the move of an instance counts as stuck, in milliseconds.
const DEADLINE_MS: i64 = 10 * 60 * 1000;

/// Declares a target lost. Gives the instances that start anew elsewhere.
pub async fn declare(session: &mut Session<'_, Write>, target: TargetId) -> Result<Vec<InstanceId>, StoreError> {
    let caller = Caller::core();
    session.set_availability(target, Availability::Lost).await?;
    let placed = session.placed_on(&caller, target).await?;
    if placed.is_empty() && session.hypervisors(&caller).await?.iter().all(|row| row.id != target) {
        // A router's networks stay its own: they have their places there.
        return Ok(placed);
    }
    for job in session.jobs_of_target(&caller, target).await? {
        let object: Object = job.object.parse().map_err(|error: types::ParseError| StoreError::Corrupt {
            column: "job.object",
            detail: error.to_string(),
        })?;
        render::gone(session, &caller, target, object).await?;
    }
    let mut moved = Vec::new();
    for id in placed {
        if start_elsewhere(session, id, u64::try_from(moved.len()).unwrap_or(0)).await? {
            moved.push(id);
        }
    }
    Ok(moved)
}

/// Begins an instance's life anew, with the address it has. One that is being deleted, or that failed, does not.
async fn start_elsewhere(session: &mut Session<'_, Write>, id: InstanceId, place: u64) -> Result<bool, StoreError> {
    let caller = Caller::core();
    let row = session.resource(&caller, id.into()).await?;
    match row.state.as_str() {
        "deleting" => return Ok(false),
        "failed" => {
            session.displace(&caller, id).await?;
            return Ok(false);
        }
        _ => {}
    }
    session.displace(&caller, id).await?;
    session.preempt_operation(&caller, id.into(), "its hypervisor was declared lost").await?;
    let status: api::InstanceStatus = render::read("status.body", row.status)?;
    let status = api::InstanceStatus { power: None, accelerator: None, guest: None, ..status };
    let status = serde_json::to_value(&status)
        .map_err(|error| StoreError::Corrupt { column: "status.body", detail: error.to_string() })?;
    session.set_status(&caller, id.into(), &status).await?;
    session.set_state(&caller, id.into(), if row.state == "creating" { "creating" } else { "updating" }).await?;
    // Each id has a millisecond of its own, so that many at once do not meet by chance.
    let operation =
        OperationId::make(session.now_unsigned() + place).map_err(|error| StoreError::Unusable(error.to_string()))?;
    let steps: Vec<&str> = api::Instance::CREATE.iter().map(|step| step.name()).collect();
    let new = NewOperation {
        id: operation,
        resource: id.into(),
        action: "instance.move",
        deadline_ms: DEADLINE_MS,
        previous_spec: None,
        steps: &steps,
    };
    session.add_operation(&caller, &new).await?;
    let message = Some("its hypervisor was declared lost: it starts elsewhere, on a new disk");
    let event = NewEvent { resource: id.into(), change: "updated", operation: Some(operation), message };
    session.add_event(&caller, &event).await?;
    Ok(true)
}
