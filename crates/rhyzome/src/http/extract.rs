//! Parts of requests whose faults are told as problems.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::{body, deadline};
use crate::refusal::Refusal;

/// The whole body, within the route's limit.
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        check_media(request.headers(), "application/json", |media| media == "json" || media.ends_with("+json"))?;
        match tokio::time::timeout(deadline::BODY, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(Refusal::TooSlow(deadline::BODY)),
        }
    }
}

/// Refuses a body that says to be something else. One that says nothing is taken for what it should be.
pub fn check_media(headers: &HeaderMap, taken: &'static str, is_taken: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let sent = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let media = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.strip_prefix("application/").is_some_and(is_taken) {
        true => Ok(()),
        false => Err(Refusal::UnsupportedMedia { sent, taken }),
    }
}

fn refusal(error: &BytesRejection) -> Refusal {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::TooLarge(format!("a body may have {} bytes at most", super::route::BODY_LIMIT))
        }
        _ => Refusal::Malformed(error.body_text()),
    }
}

/// The query's parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        // Without a value a parameter would count as left out, and a filter that was meant would not be one.
        let mut named = query.split('&').filter(|pair| !pair.is_empty());
        if let Some(pair) = named.find(|pair| pair.split_once('=').is_none_or(|(_, value)| value.is_empty())) {
            return Err(Refusal::fault(pair.trim_end_matches('='), "expected a value"));
        }
        let pairs = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        match serde_path_to_error::deserialize(pairs) {
            Ok(value) => Ok(Self(value)),
            Err(error) => {
                let field = error.path().to_string();
                Err(Refusal::fault(&field, body::told(&error.into_inner().to_string())))
            }
        }
    }
}
