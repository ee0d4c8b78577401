//! What every kind's endpoints do.

use std::sync::Arc;

use api::{Page, Reference};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::{ResourceRow, Session};
use types::{ResourceId, ScopeVerb};

use super::access::SignedIn;
use super::body;
use super::filter::{self, ListQuery, Wanted};
use super::idempotency::Key;
use crate::acceptance::{self, Change};
use crate::core::Core;
use crate::idempotency::Answer;
use crate::kind::{self, Managed};
use crate::refusal::Refusal;

/// One page of a kind.
pub async fn list<K: Managed>(core: &Core, who: &SignedIn, query: impl Into<ListQuery>) -> Result<Page<K>, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Read)?;
    // One statement reads the page; what its filter names was found before, and has an id for good.
    page(&mut core.store.glance().await?, who, query.into()).await
}

/// Reads a page; the number of queries does not depend on its length.
pub async fn page<K: Managed, Mode: Send>(
    session: &mut Session<'_, Mode>,
    who: &SignedIn,
    query: ListQuery,
) -> Result<Page<K>, Refusal> {
    let Wanted { filter, after, limit } = query.resolve::<K, _>(session, who).await?;
    let mut rows = session.resources_with(&who.caller, K::NOUN, &filter, after, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| filter::cursor(&filter, row.id));
    let items = kind::present_all(session, rows).await?;
    Ok(Page { items, next })
}

/// One resource, with its generation as the ETag.
pub async fn get<K: Managed>(core: &Core, who: &SignedIn, which: &str) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Read)?;
    let mut session = core.store.glance().await?;
    let row = match named::<K>(which)? {
        Reference::Id(id) => session.resource(&who.caller, id.into()).await?,
        Reference::Name(name) => session.resource_called(&who.caller, &who.tenant, K::NOUN, &name).await?,
    };
    let etag = format!("\"{}\"", row.generation);
    let resource: K = kind::present(&mut session, row).await?;
    Ok(([(header::ETAG, etag)], axum::Json(resource)).into_response())
}

/// The id that a path names by id or by name.
pub async fn find<K: Managed, Mode>(
    session: &mut Session<'_, Mode>,
    who: &SignedIn,
    which: &str,
) -> Result<ResourceId, Refusal> {
    match named::<K>(which)? {
        Reference::Id(id) => Ok(id.into()),
        Reference::Name(name) => Ok(session.resource_named(&who.caller, &who.tenant, K::NOUN, &name).await?),
    }
}

fn named<K: Managed>(which: &str) -> Result<Reference<K::Id>, Refusal> {
    which.parse().map_err(|_| Refusal::NotFound(format!("{} {which}", K::NOUN)))
}

/// Accepts a create.
pub async fn create<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    key: Key,
    bytes: &Bytes,
) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Create)?;
    let body: K::Create = body::typed(&body::json(bytes)?)?;
    let answer = acceptance::create::<K>(core, who, key.bind(bytes).as_ref(), K::asked(body)).await?;
    Ok(accepted(answer))
}

/// Accepts an update: a merge patch on `name`, `tags` and `spec`.
pub async fn update<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    key: Key,
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
    let (keyed, if_match) = (key.bind(bytes), headers.get(header::IF_MATCH));
    let answer = acceptance::update::<K, _>(core, who, keyed.as_ref(), which, if_match, change).await?;
    Ok(accepted(answer))
}

/// Accepts a delete.
pub async fn delete<K: Managed>(
    core: &Arc<Core>,
    who: &SignedIn,
    key: Key,
    which: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    who.require(K::SCOPE, ScopeVerb::Delete)?;
    let (keyed, if_match) = (key.bind(&[]), headers.get(header::IF_MATCH));
    let answer = acceptance::delete::<K>(core, who, keyed.as_ref(), which, if_match).await?;
    Ok(accepted(answer))
}

/// 202 with the resource and its operation.
pub fn accepted(answer: Answer) -> Response {
    let location = answer.operation.map(|operation| format!("/v1/operations/{operation}"));
    let mut response = (StatusCode::ACCEPTED, written(answer)).into_response();
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The body of an answer, and whether it was given before.
pub fn written(answer: Answer) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (json, answer.body).into_response();
    if answer.replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}
