//! The bytes of one answer, which go on where they broke off if the server can (RFC 9110, sections 13.1.5 and 14.2).

use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{BoxStream, unfold};
use futures_util::{Stream, StreamExt};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use reqwest::{Response, StatusCode, Url};

use crate::image_source::{self, PrivateSources, Rest};

/// How often a server is asked for the rest before it gives any.
const TRIES: u32 = 4;
/// Before it is asked the first time; longer each time after.
const PAUSE: Duration = Duration::from_millis(500);

/// An answer on its way in.
struct Transfer<'a> {
    private: &'a PrivateSources,
    url: Url,
    /// What the server knows this file by, whole and in parts.
    validator: Option<HeaderValue>,
    /// How much has come.
    received: u64,
    /// How often the rest was asked for since any came.
    tries: u32,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
}

/// The bytes of a whole file, whose server is asked for the rest when they break off.
pub fn bytes(private: &PrivateSources, url: Url, response: Response) -> impl Stream<Item = reqwest::Result<Bytes>> {
    let validator = validator(response.headers());
    let body = response.bytes_stream().boxed();
    let transfer = Transfer { private, url, validator, received: 0, tries: 0, body };
    unfold(transfer, async |mut transfer| Some((transfer.next().await?, transfer)))
}

impl Transfer<'_> {
    async fn next(&mut self) -> Option<reqwest::Result<Bytes>> {
        loop {
            let error = match self.body.next().await? {
                Ok(chunk) => {
                    self.received += chunk.len() as u64;
                    self.tries = 0;
                    return Some(Ok(chunk));
                }
                Err(error) => error,
            };
            match self.rest().await {
                Some(body) => self.body = body,
                None => return Some(Err(error)),
            }
        }
    }

    /// What is missing; none where that cannot be had.
    async fn rest(&mut self) -> Option<BoxStream<'static, reqwest::Result<Bytes>>> {
        let validator = self.validator.clone().filter(|_| self.received > 0)?;
        while self.tries < TRIES {
            self.tries += 1;
            tokio::time::sleep(PAUSE * self.tries).await;
            tracing::info!(url = image_source::shown(&self.url), from = self.received, "asking for the rest of a file");
            let rest = Rest { from: self.received, validator: &validator };
            match image_source::ask(self.private, &self.url, Some(rest)).await {
                Ok(response) if is_rest(&response, self.received) => return Some(response.bytes_stream().boxed()),
                // The file is another by now, or comes only whole.
                Ok(_) => return None,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the rest of a file did not come"),
            }
        }
        None
    }
}

/// What a file is known by: a strong entity tag, else when it was changed last.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    tag.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

fn is_rest(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {from}-"))
}
