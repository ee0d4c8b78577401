//! Accepting a change: in one transaction the resource, its allocations and its operation, answered at once.

use std::sync::Arc;

use api::{Accepted, Fault, Kind};
use axum::http::HeaderValue;
use serde::Deserialize;
use store::{NewEvent, NewOperation, ResourceRow, Session, Write};
use types::{OperationId, ResourceId, Tags};

use crate::core::Core;
use crate::executor::{DEADLINE_MS, Step};
use crate::http::{SignedIn, find};
use crate::idempotency::{self, Answer, Keyed};
use crate::kind::{self, Asked, Ground, Managed};
use crate::refusal::Refusal;

/// Tags of one resource at most.
const TAGS: usize = 64;

/// What an update may change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Change<K: Kind> {
    tags: Tags,
    spec: K::Spec,
}

/// Accepts a new resource.
pub async fn create<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
    mut asked: Asked<K>,
) -> Result<Answer, Refusal> {
    let spec = asked.spec.clone();
    let answer = store::transact!(core.store, async |session| {
        if let Some(answer) = idempotency::claim(session, who, keyed).await? {
            return Ok(answer);
        }
        // What an earlier run filled in was undone with it.
        asked.spec = spec.clone();
        let accepted = record_create(core, who, session, &mut asked).await?;
        idempotency::keep_accepted(session, who, keyed, &accepted).await
    })
    .await?;
    Ok(announce::<K>(core, who, answer, "create"))
}

async fn record_create<K: Managed>(
    core: &Core,
    who: &SignedIn,
    session: &mut Session<'_, Write>,
    asked: &mut Asked<K>,
) -> Result<Accepted<K>, Refusal> {
    let mut ground = Ground { core, session, caller: &who.caller, tenant: &who.tenant };
    let mut faults = Vec::new();
    check_tags(&asked.tags, &mut faults);
    K::check(&mut ground, asked, &mut faults).await?;
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    let id = K::make_id(ground.session.now_unsigned()).map_err(|error| Refusal::Internal(error.into()))?;
    let (spec, empty) = (serde_json::to_value(&asked.spec)?, serde_json::json!({}));
    ground.session.add_resource(ground.caller, &kind::new_row(id, ground.tenant, asked, &spec, &empty)).await?;
    let status = K::allot(&mut ground, id, asked).await?;
    session.fill_in(&who.caller, id.into(), &serde_json::to_value(&asked.spec)?).await?;
    session.set_status(&who.caller, id.into(), &serde_json::to_value(&status)?).await?;
    session.set_references(&who.caller, id.into(), &K::references(&asked.spec)).await?;
    record_operation(who, session, id.into(), "create", "created", K::CREATE, None).await
}

/// Accepts a change of a resource; `change` makes it from the resource's row.
pub async fn update<K: Managed, F>(
    core: &Arc<Core>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
    which: &str,
    if_match: Option<&HeaderValue>,
    change: F,
) -> Result<Answer, Refusal>
where
    F: Fn(&ResourceRow) -> Result<Change<K>, Refusal>,
{
    let answer = store::transact!(core.store, async |session| {
        if let Some(answer) = idempotency::claim(session, who, keyed).await? {
            return Ok(answer);
        }
        let accepted = record_update::<K, F>(core, who, session, which, if_match, &change).await?;
        idempotency::keep_accepted(session, who, keyed, &accepted).await
    })
    .await?;
    Ok(announce::<K>(core, who, answer, "update"))
}

async fn record_update<K: Managed, F>(
    core: &Core,
    who: &SignedIn,
    session: &mut Session<'_, Write>,
    which: &str,
    if_match: Option<&HeaderValue>,
    change: &F,
) -> Result<Accepted<K>, Refusal>
where
    F: Fn(&ResourceRow) -> Result<Change<K>, Refusal>,
{
    let id = find::<K, _>(session, who, which).await?;
    let row = session.resource(&who.caller, id).await?;
    check_generation(&row, if_match)?;
    match row.state.as_str() {
        "ready" => {}
        "failed" => return Err(Refusal::Conflict("it has failed: delete it and make another".to_owned())),
        "deleting" => return Err(Refusal::Conflict("it is being deleted".to_owned())),
        _ => return Err(Refusal::Conflict("another operation on it is under way: wait for its end".to_owned())),
    }
    let Change { tags, spec } = change(&row)?;
    let before: K::Spec = kind_spec::<K>(&row)?;
    let mut asked = Asked::<K> { name: row.name.clone(), tags, spec, secret: None };
    let mut faults = Vec::new();
    check_tags(&asked.tags, &mut faults);
    let mut ground = Ground { core, session, caller: &who.caller, tenant: &who.tenant };
    K::compare(&before, &mut asked.spec, &mut faults);
    K::check(&mut ground, &mut asked, &mut faults).await?;
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    // What takes a failed update back may still wait for a target; a further update has it do something else.
    let withdrawing = session.active_operation(&who.caller, id).await?.is_some();
    session.preempt_operation(&who.caller, id, "an update was asked for").await?;
    let spec = serde_json::to_value(&asked.spec)?;
    let steps = if spec == row.spec && !withdrawing { &[][..] } else { K::UPDATE };
    if spec != row.spec {
        session.set_spec(&who.caller, id, &row.name, &spec).await?;
    }
    session.set_tags(&who.caller, id, &asked.tags).await?;
    // What the old spec refers to stays until the update is through: it may have to return.
    let referred = [K::references(&before), K::references(&asked.spec)].concat();
    session.set_references(&who.caller, id, &referred).await?;
    session.set_state(&who.caller, id, "updating").await?;
    record_operation(who, session, id, "update", "updated", steps, Some(&row.spec)).await
}

/// Accepts a resource's end, whatever it is doing.
pub async fn delete<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
    which: &str,
    if_match: Option<&HeaderValue>,
) -> Result<Answer, Refusal> {
    let answer = store::transact!(core.store, async |session| {
        if let Some(answer) = idempotency::claim(session, who, keyed).await? {
            return Ok(answer);
        }
        let accepted = record_delete::<K>(who, session, which, if_match).await?;
        idempotency::keep_accepted(session, who, keyed, &accepted).await
    })
    .await?;
    Ok(announce::<K>(core, who, answer, "delete"))
}

async fn record_delete<K: Managed>(
    who: &SignedIn,
    session: &mut Session<'_, Write>,
    which: &str,
    if_match: Option<&HeaderValue>,
) -> Result<Accepted<K>, Refusal> {
    let id = find::<K, _>(session, who, which).await?;
    let row = session.resource(&who.caller, id).await?;
    check_generation(&row, if_match)?;
    if row.state == "deleting"
        && let Some(operation) = session.active_operation(&who.caller, id).await?
    {
        let resource = kind::present(session, row).await?;
        return Ok(Accepted { resource, operation });
    }
    let referrers = session.referrers(&who.caller, id).await?;
    if !referrers.is_empty() {
        return Err(Refusal::InUse(referrers));
    }
    session.preempt_operation(&who.caller, id, "a delete was asked for").await?;
    session.set_state(&who.caller, id, "deleting").await?;
    record_operation(who, session, id, "delete", "updated", K::DELETE, None).await
}

async fn record_operation<K: Managed>(
    who: &SignedIn,
    session: &mut Session<'_, Write>,
    id: ResourceId,
    verb: &str,
    change: &str,
    steps: &[Step],
    previous_spec: Option<&serde_json::Value>,
) -> Result<Accepted<K>, Refusal> {
    let operation = OperationId::make(session.now_unsigned()).map_err(|error| Refusal::Internal(error.into()))?;
    let names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
    let action = format!("{}.{verb}", K::NOUN);
    let new = NewOperation {
        id: operation,
        resource: id,
        action: &action,
        deadline_ms: DEADLINE_MS,
        previous_spec,
        steps: &names,
    };
    session.add_operation(&who.caller, &new).await?;
    let event = NewEvent { resource: id, change, operation: Some(operation), message: None };
    session.add_event(&who.caller, &event).await?;
    let row = session.resource(&who.caller, id).await?;
    let resource = kind::present(session, row).await?;
    Ok(Accepted { resource, operation })
}

/// Tells whoever has to look, after the transaction, unless nothing happened in it.
fn announce<K: Managed>(core: &Core, who: &SignedIn, answer: Answer, verb: &str) -> Answer {
    if let (Some(operation), false) = (answer.operation, answer.replayed) {
        core.signals.operation();
        core.signals.event();
        tracing::info!(tenant = %who.tenant, %operation, action = format!("{}.{verb}", K::NOUN), "a change was accepted");
    }
    answer
}

fn kind_spec<K: Managed>(row: &ResourceRow) -> Result<K::Spec, Refusal> {
    Ok(crate::render::read("resource.spec", row.spec.clone())?)
}

fn check_tags(tags: &Tags, faults: &mut Vec<Fault>) {
    if tags.len() > TAGS {
        faults.push(Fault::new("/tags", format!("expected {TAGS} tags at most")));
    }
}

/// Holds If-Match (RFC 9110, section 13.1.1) against the resource's generation.
fn check_generation(row: &ResourceRow, if_match: Option<&HeaderValue>) -> Result<(), Refusal> {
    let Some(value) = if_match else { return Ok(()) };
    let current = format!("\"{}\"", row.generation);
    let matches =
        value.to_str().is_ok_and(|text| text.split(',').any(|tag| [current.as_str(), "*"].contains(&tag.trim())));
    match matches {
        true => Ok(()),
        false => Err(Refusal::Outdated(format!("it has generation {} by this time: read it again", row.generation))),
    }
}
