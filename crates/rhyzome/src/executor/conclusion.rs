//! How operations end: what becomes of the resource.

use std::time::Duration;

use jobs::Object;
use store::{Caller, Claim, ConditionRow, NewEvent, NewOperation, OperationRow, Session, StoreError, Write};
use types::{InstanceId, NetworkId, OperationId, ResourceId, TargetId};

use super::DEADLINE_MS;
use super::step::{Begun, Step};
use crate::core::Core;
use crate::kind;
use crate::render::{self, read};

/// What the action of an operation ends in that takes a failed one back.
pub const WITHDRAW: &str = ".withdraw";
/// How long a peer's address rests after its peer is gone, in milliseconds.
const PEER_REST_MS: i64 = 60_000;

/// That an operation has ended. Who counts it does so when the transaction is through: until then it may run again.
pub struct Ended {
    /// How: `succeeded` or `failed`.
    pub state: &'static str,
    /// How long after it was asked for.
    pub took: Duration,
}

impl Ended {
    fn new(state: &'static str, session: &Session<'_, Write>, operation: &OperationRow) -> Self {
        let took = Duration::from_millis(u64::try_from(session.now() - operation.created_at).unwrap_or(0));
        Self { state, took }
    }
}

/// All steps are done.
pub async fn succeed(
    session: &mut Session<'_, Write>,
    claim: Claim,
    operation: &OperationRow,
) -> Result<Ended, StoreError> {
    let caller = Caller::core();
    let resource = operation.resource;
    let deleted = operation.action.ends_with(".delete");
    let withdrawn = operation.action.ends_with(WITHDRAW);
    if withdrawn {
        // A create that failed was taken back; an update that failed left the spec before it, which the targets have again.
        let row = session.resource(&caller, resource).await?;
        match row.state.as_str() {
            "failed" if !row.is_lost() => release(session, resource).await?,
            _ => session.set_references(&caller, resource, &kind::references(resource, &row.spec)?).await?,
        }
        session.set_condition(&caller, resource, "stuck", false, None).await?;
    } else if !deleted {
        let row = session.resource(&caller, resource).await?;
        session.set_references(&caller, resource, &kind::references(resource, &row.spec)?).await?;
        session.set_state(&caller, resource, if row.is_lost() { "failed" } else { "ready" }).await?;
        session.set_condition(&caller, resource, "stuck", false, None).await?;
        session.set_condition(&caller, resource, "applied", true, None).await?;
    }
    let event = NewEvent {
        resource,
        change: if deleted { "deleted" } else { "updated" },
        operation: Some(operation.id),
        message: None,
    };
    session.add_event(&caller, &event).await?;
    session.finish_operation(claim, "succeeded", None).await?;
    if deleted {
        release(session, resource).await?;
        session.forget_resource(&caller, resource).await?;
    }
    tracing::info!(operation = %operation.id, resource = %resource, action = operation.action, "an operation succeeded");
    Ok(Ended::new("succeeded", session, operation))
}

/// Returns a resource's allocations to their pools: every target that held them has confirmed that it does not.
async fn release(session: &mut Session<'_, Write>, resource: ResourceId) -> Result<(), StoreError> {
    let caller = Caller::core();
    match resource {
        ResourceId::Network(id) => session.release_network(&caller, id).await,
        ResourceId::Instance(id) => {
            let placed = session.placement(&caller, id).await?;
            let row = session.resource(&caller, resource).await?;
            let asked: api::InstanceSpec = read("resource.spec", row.spec)?;
            let rest_ms = match asked.network.id() {
                Some(network) => {
                    let row = session.resource(&caller, network.into()).await?;
                    let network: api::NetworkSpec = read("resource.spec", row.spec)?;
                    i64::from(network.dhcp.lease_seconds) * 1000
                }
                None => 0,
            };
            let until = session.now() + rest_ms;
            session.release_instance(&caller, id, until).await?;
            if let (Some(hypervisor), Some(network)) = (placed, asked.network.id()) {
                // Two that end at the same time each leave the segment to the other: the last one takes it along.
                leave_segment(session, hypervisor, network, id).await?;
            }
            Ok(())
        }
        ResourceId::Image(_) => Ok(()),
        ResourceId::Peer(id) => {
            let until = session.now() + PEER_REST_MS;
            session.release_peer(&caller, id, until).await
        }
    }
}

/// Takes a segment off a hypervisor on which nobody is left.
async fn leave_segment(
    session: &mut Session<'_, Write>,
    hypervisor: TargetId,
    network: NetworkId,
    last: InstanceId,
) -> Result<(), StoreError> {
    let caller = Caller::core();
    let object = Object::Segment(network);
    let held = session.job(&caller, hypervisor, &object.to_string()).await?.is_some();
    if held && session.placed_referrers(&caller, hypervisor, network.into(), last).await? == 0 {
        render::gone(session, &caller, hypervisor, object).await?;
    }
    Ok(())
}

/// A step cannot be done: a create is taken back, an update returns to the spec before it. Targets are told at once and
/// not waited for; another operation sees that they follow, and then gives back what the resource had taken.
pub async fn fail(
    core: &Core,
    session: &mut Session<'_, Write>,
    claim: Claim,
    operation: &OperationRow,
    reason: &str,
    rendered: &mut Vec<TargetId>,
) -> Result<Ended, StoreError> {
    let caller = Caller::core();
    let resource = operation.resource;
    // The rows in hand may be older than this transaction; what was begun in it must be undone too.
    let steps = session.operation(&caller, operation.id).await?.steps;
    let begun: Vec<_> = steps.iter().filter(|row| row.state == "running" || row.state == "done").collect();
    let updating = operation.action.ends_with(".update");
    // First of all: a network that could not be made is not rendered any more.
    let lost = session.resource(&caller, resource).await?.is_lost();
    session.set_state(&caller, resource, if updating && !lost { "ready" } else { "failed" }).await?;
    if lost && !updating {
        // It is taken back like whatever could not be made.
        session.set_condition(&caller, resource, ConditionRow::INTACT, true, None).await?;
    }
    if updating {
        if let Some(before) = &operation.previous_spec {
            let row = session.resource(&caller, resource).await?;
            session.set_spec(&caller, resource, &row.name, before).await?;
            let referred = [kind::references(resource, before)?, kind::references(resource, &row.spec)?].concat();
            session.set_references(&caller, resource, &referred).await?;
        }
        for row in &begun {
            if let Begun::Awaiting(awaits) = Step::named(&row.name)?.begin(core, session, resource).await? {
                rendered.extend(super::awaited::targets(&awaits));
            }
        }
    } else {
        for row in begun.iter().rev() {
            rendered.extend(Step::named(&row.name)?.undo(core, session, resource).await?);
        }
    }
    let failed = steps.iter().find(|row| row.state != "done").map(|row| row.position);
    for row in &begun {
        if failed != Some(row.position) {
            session.set_step(claim, row.position, "undone", None, None).await?;
        }
    }
    if let Some(position) = failed {
        session.set_step(claim, position, "failed", Some(reason), None).await?;
    }
    session.set_condition(&caller, resource, "applied", updating, Some(reason)).await?;
    session.set_condition(&caller, resource, "stuck", false, None).await?;
    session.finish_operation(claim, "failed", Some(reason)).await?;
    let event = NewEvent { resource, change: "updated", operation: Some(operation.id), message: Some(reason) };
    session.add_event(&caller, &event).await?;
    tracing::warn!(operation = %operation.id, resource = %resource, action = operation.action, reason, "an operation failed");
    let steps = match updating {
        true => begun.iter().map(|row| Step::named(&row.name)).collect::<Result<Vec<_>, _>>()?,
        false => kind::plan(resource).delete.to_vec(),
    };
    withdraw(session, resource, &steps).await?;
    Ok(Ended::new("failed", session, operation))
}

/// Records the operation that follows a failed one until every target has confirmed.
async fn withdraw(session: &mut Session<'_, Write>, resource: ResourceId, steps: &[Step]) -> Result<(), StoreError> {
    let id = OperationId::make(session.now_unsigned()).map_err(|error| StoreError::Unusable(error.to_string()))?;
    let action = format!("{}{WITHDRAW}", kind::plan(resource).noun);
    let names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
    let new =
        NewOperation { id, resource, action: &action, deadline_ms: DEADLINE_MS, previous_spec: None, steps: &names };
    session.add_operation(&Caller::core(), &new).await
}
