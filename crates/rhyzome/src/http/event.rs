//! Events: server-sent (WHATWG HTML, section 9.2), with ids to resume from.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api::event::Change;
use api::{Event, Timestamp};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as Message, KeepAlive};
use futures_util::stream::{Stream, unfold};
use serde::Deserialize;
use store::{Caller, EventRow, StoreError};
use tokio::sync::watch;
use types::{ScopeKind, ScopeVerb, TokenId};

use super::access::SignedIn;
use super::extract::Query;
use super::rate::Place;
use crate::core::Core;
use crate::refusal::Refusal;

/// Events read at once.
const BATCH: u32 = 256;
/// How often the database is looked at without a hint.
const POLL: Duration = Duration::from_secs(5);
/// How often a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// From where events are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// The sequence number of the last event that is known; the header `Last-Event-ID` says the same. Without either,
    /// events from this moment on.
    pub after: Option<u64>,
}

/// Events as they happen, after the last that the caller knows.
#[utoipa::path(get, path = "/v1/events", operation_id = "follow_events", tag = "events", params(EventQuery,
    ("last-event-id" = Option<u64>, Header, description = "The sequence number of the last event that is known.")),
    responses((status = 200, body = Event, content_type = "text/event-stream",
        description = "One server-sent event a change: its id is the sequence number, its data an Event in JSON.")
))]
pub async fn follow(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Refusal> {
    who.require(ScopeKind::Event, ScopeVerb::Read)?;
    if core.draining.is_cancelled() {
        return Err(Refusal::Busy("the server is about to end: ask again, and another answers".to_owned()));
    }
    let place = core.limits.stream(who.token)?;
    let resumed = match headers.get("last-event-id") {
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(number.ok_or_else(|| Refusal::fault("Last-Event-ID", "expected the sequence number of an event"))?)
        }
        None => query.after,
    };
    let hints = core.signals.hear_events();
    let after = match resumed {
        Some(sequence) => sequence,
        None => core.store.read().await?.last_event().await?,
    };
    let feed = Feed { core, caller: who.caller, after, hints, ready: Vec::new().into_iter(), _place: place };
    let stream = unfold(feed, |mut feed| async move { Some((Ok(feed.next().await?), feed)) });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Feed {
    core: Arc<Core>,
    caller: Caller,
    after: u64,
    hints: watch::Receiver<()>,
    ready: std::vec::IntoIter<Message>,
    _place: Place<TokenId>,
}

impl Feed {
    /// The next event; `None` ends the stream, and the caller resumes.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.ready.next() {
                return Some(message);
            }
            self.hints.borrow_and_update();
            match self.read().await {
                Ok(0) => tokio::select! {
                    () = self.core.draining.cancelled() => return None,
                    _ = tokio::time::timeout(POLL, self.hints.changed()) => {}
                },
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %anyhow::Error::new(error), "events could not be read");
                    return None;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<usize, StoreError> {
        let rows = self.core.store.read().await?.events(&self.caller, self.after, BATCH).await?;
        if let Some(last) = rows.last() {
            self.after = last.sequence;
        }
        let messages = rows.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let count = messages.len();
        self.ready = messages.into_iter();
        Ok(count)
    }
}

fn message(row: EventRow) -> Result<Message, StoreError> {
    let word = |word: String| serde_json::Value::String(word);
    let change: Change = crate::render::read("event.change", word(row.change))?;
    let event = Event {
        sequence: row.sequence,
        at: Timestamp::from_unix_ms(row.at),
        tenant: row.tenant,
        kind: row.kind,
        resource: row.resource,
        name: row.name,
        change,
        state: crate::render::read("event.state", word(row.state))?,
        operation: row.operation,
        message: row.message,
    };
    let data = serde_json::to_string(&event)
        .map_err(|error| StoreError::Corrupt { column: "event", detail: error.to_string() })?;
    Ok(Message::default().id(event.sequence.to_string()).data(data))
}
