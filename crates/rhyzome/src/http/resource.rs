//! What every kind's endpoints do.

use std::sync::Arc;

use api::{Accepted, Page, Reference};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use store::ResourceRow;
use types::{ResourceId, ScopeVerb};

use super::access::SignedIn;
use super::body;
use crate::acceptance::{self, Change};
use crate::core::Core;
use crate::kind::{self, Managed};
use crate::refusal::Refusal;

/// Items of a page at most, and where nothing is said.
const PAGE_LIMIT: u32 = 1000;
const PAGE: u32 = 100;

/// How much of a list is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub after: Option<String>,
}

impl PageQuery {
    /// How many items, within bounds.
    pub fn limit(&self) -> Result<u32, Refusal> {
        match self.limit.unwrap_or(PAGE) {
            limit if (1..=PAGE_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(Refusal::fault("limit", format!("expected 1 to {PAGE_LIMIT}"))),
        }
    }
}

/// One page of a kind.
pub async fn list<K: Managed>(core: &Core, who: &SignedIn, query: &PageQuery) -> Result<Page<K>, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Read)?;
    let after = match &query.after {
        Some(text) => {
            let id: K::Id =
                text.parse().map_err(|error: types::ParseError| Refusal::fault("after", error.to_string()))?;
            Some(id.into())
        }
        None => None,
    };
    let limit = query.limit()?;
    let mut session = core.store.read().await?;
    let mut rows = session.resources(&who.caller, K::NOUN, after, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(kind::present(&mut session, row).await?);
    }
    Ok(Page { items, next })
}

/// One resource, with its generation as the ETag.
pub async fn get<K: Managed>(core: &Core, who: &SignedIn, which: &str) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Read)?;
    let mut session = core.store.read().await?;
    let id = find::<K, _>(&mut session, who, which).await?;
    let row = session.resource(&who.caller, id).await?;
    let etag = format!("\"{}\"", row.generation);
    let resource: K = kind::present(&mut session, row).await?;
    Ok(([(header::ETAG, etag)], axum::Json(resource)).into_response())
}

/// The id that a path names by id or by name.
pub async fn find<K: Managed, Mode>(
    session: &mut store::Session<'_, Mode>,
    who: &SignedIn,
    which: &str,
) -> Result<ResourceId, Refusal> {
    let missing = || Refusal::NotFound(format!("{} {which}", K::NOUN));
    match which.parse().map_err(|_| missing())? {
        Reference::<K::Id>::Id(id) => Ok(id.into()),
        Reference::Name(name) => Ok(session.resource_named(&who.caller, &who.tenant, K::NOUN, &name).await?),
    }
}

/// Accepts a create.
pub async fn create<K: Managed>(core: &Arc<Core>, who: &SignedIn, bytes: &Bytes) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Create)?;
    let body: K::Create = body::typed(&body::json(bytes)?)?;
    let accepted = acceptance::create::<K>(core, who, K::asked(body)).await?;
    Ok(answer(accepted))
}

/// Accepts an update: a merge patch on `name`, `tags` and `spec`.
pub async fn update<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    which: &str,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Update)?;
    let patch = body::json(bytes)?;
    let change = |row: &ResourceRow| {
        let mut whole = serde_json::json!({"tags": row.tags, "spec": row.spec});
        body::merge(&mut whole, &patch);
        body::typed::<Change<K>>(&whole)
    };
    let accepted = acceptance::update::<K, _>(core, who, which, headers.get(header::IF_MATCH), change).await?;
    Ok(answer(accepted))
}

/// Accepts a delete.
pub async fn delete<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    which: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Delete)?;
    let accepted = acceptance::delete::<K>(core, who, which, headers.get(header::IF_MATCH)).await?;
    Ok(answer(accepted))
}

/// 202 with the resource and its operation.
pub fn answer<K: Managed>(accepted: Accepted<K>) -> Response {
    let location = format!("/v1/operations/{}", accepted.operation);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(accepted)).into_response()
}
