//! Operations: to look at, never to change.

use std::sync::Arc;

use api::operation::{Step, StepState};
use api::{Operation, OperationState, Page, Timestamp};
use axum::Json;
use axum::extract::{Path, State};
use store::{OperationRow, StoreError};
use types::{OperationId, ScopeKind, ScopeVerb};

use super::access::SignedIn;
use super::extract::Query;
use super::filter::PageQuery;
use crate::core::Core;
use crate::refusal::Refusal;

/// The newest operations first.
#[utoipa::path(get, path = "/v1/operations", operation_id = "list_operations", tag = "operations", params(PageQuery), responses(
    (status = 200, body = Page<Operation>)
))]
pub async fn list(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Operation>>, Refusal> {
    who.require(ScopeKind::Operation, ScopeVerb::Read)?;
    let limit = query.limit()?;
    let before: Option<OperationId> = query
        .after
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: types::ParseError| Refusal::fault("after", error.to_string()))?;
    let mut session = core.store.read().await?;
    let mut rows = session.operations(&who.caller, before, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let items = rows.into_iter().map(present).collect::<Result<_, _>>()?;
    Ok(Json(Page { items, next }))
}

/// One operation.
#[utoipa::path(get, path = "/v1/operations/{operation}", operation_id = "get_operation", tag = "operations",
    params(("operation" = String, Path, description = "The operation's id.")), responses(
    (status = 200, body = Operation)
))]
pub async fn get(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    Path(operation): Path<String>,
) -> Result<Json<Operation>, Refusal> {
    who.require(ScopeKind::Operation, ScopeVerb::Read)?;
    let id: OperationId = operation.parse().map_err(|_| Refusal::NotFound(format!("operation {operation}")))?;
    let mut session = core.store.read().await?;
    Ok(Json(present(session.operation(&who.caller, id).await?)?))
}

fn present(row: OperationRow) -> Result<Operation, Refusal> {
    fn word<T: serde::de::DeserializeOwned>(column: &'static str, word: &str) -> Result<T, StoreError> {
        crate::render::read(column, serde_json::Value::String(word.to_owned()))
    }
    let state: OperationState = word("operation.state", &row.state)?;
    let steps = row
        .steps
        .into_iter()
        .map(|step| {
            let state: StepState = word("step.state", &step.state)?;
            Ok(Step { name: step.name, state, reason: step.reason })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Operation {
        id: row.id,
        tenant: row.tenant,
        action: row.action,
        resource: row.resource,
        state,
        steps,
        reason: row.reason,
        created_at: Timestamp::from_unix_ms(row.created_at),
        updated_at: Timestamp::from_unix_ms(row.updated_at),
        finished_at: row.finished_at.map(Timestamp::from_unix_ms),
    })
}
