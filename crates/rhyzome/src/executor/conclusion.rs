//! How operations end: what becomes of the resource.

use std::time::Duration;

use store::{Caller, Claim, NewEvent, OperationRow, Session, StoreError, Write};
use types::{ResourceId, TargetId};

use super::step::{Begun, Step};
use crate::core::Core;
use crate::kind;
use crate::metric;
use crate::render::read;

/// How long a peer's address rests after its peer is gone, in milliseconds.
const PEER_REST_MS: i64 = 60_000;

/// All steps are done.
pub async fn succeed(
    session: &mut Session<'_, Write>,
    claim: Claim,
    operation: &OperationRow,
) -> Result<(), StoreError> {
    let caller = Caller::core();
    let resource = operation.resource;
    let deleted = operation.action.ends_with(".delete");
    if !deleted {
        session.set_state(&caller, resource, "ready").await?;
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
    metric::operation(&operation.action, "succeeded", age(session, operation));
    if deleted {
        release(session, resource).await?;
        session.forget_resource(&caller, resource).await?;
    }
    tracing::info!(operation = %operation.id, resource = %resource, action = operation.action, "an operation succeeded");
    Ok(())
}

/// How long ago an operation was asked for.
fn age(session: &Session<'_, Write>, operation: &OperationRow) -> Duration {
    Duration::from_millis(u64::try_from(session.now() - operation.created_at).unwrap_or(0))
}

/// Returns a resource's allocations to their pools: every target that held them has confirmed that it does not.
async fn release(session: &mut Session<'_, Write>, resource: ResourceId) -> Result<(), StoreError> {
    let caller = Caller::core();
    match resource {
        ResourceId::Network(id) => session.release_network(&caller, id).await,
        ResourceId::Instance(id) => {
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
            session.release_instance(&caller, id, until).await
        }
        ResourceId::Image(_) => Ok(()),
        ResourceId::Peer(id) => {
            let until = session.now() + PEER_REST_MS;
            session.release_peer(&caller, id, until).await
        }
    }
}

/// A step cannot be done: a create is taken back, an update returns to the spec before it.
pub async fn fail(
    core: &Core,
    session: &mut Session<'_, Write>,
    claim: Claim,
    operation: &OperationRow,
    reason: &str,
    rendered: &mut Vec<TargetId>,
) -> Result<(), StoreError> {
    let caller = Caller::core();
    let resource = operation.resource;
    // The rows in hand may be older than this transaction; what was begun in it must be undone too.
    let begun = session.operation(&caller, operation.id).await?.steps;
    let begun: Vec<_> = begun.iter().filter(|row| row.state == "running" || row.state == "done").collect();
    let updating = operation.action.ends_with(".update");
    if updating {
        if let Some(before) = &operation.previous_spec {
            let name = session.resource(&caller, resource).await?.name;
            session.set_spec(&caller, resource, &name, before).await?;
            session.set_references(&caller, resource, &kind::references(resource, before)?).await?;
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
    let failed = begun.last().map(|row| row.position);
    for row in &begun {
        match failed == Some(row.position) {
            true => session.set_step(claim, row.position, "failed", Some(reason), None).await?,
            false => session.set_step(claim, row.position, "undone", None, None).await?,
        }
    }
    session.set_state(&caller, resource, if updating { "ready" } else { "failed" }).await?;
    session.set_condition(&caller, resource, "applied", updating, Some(reason)).await?;
    session.finish_operation(claim, "failed", Some(reason)).await?;
    metric::operation(&operation.action, "failed", age(session, operation));
    let event = NewEvent { resource, change: "updated", operation: Some(operation.id), message: Some(reason) };
    session.add_event(&caller, &event).await?;
    tracing::warn!(operation = %operation.id, resource = %resource, action = operation.action, reason, "an operation failed");
    Ok(())
}
