//! The thin client: one method a verb, typed by the kind.

mod retry;

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::{ImageId, OperationId, SecretText};

use retry::{Failure, Retry};

use crate::{Accepted, Agent, Event, Image, Kind, Operation, Page, Problem, Reference};

/// How long a request may take, events and uploads apart.
const DEADLINE: Duration = Duration::from_secs(30);
/// The header that makes a change happen once, however often it is sent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused it and said why.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// No answer, or a broken one.
    #[error("no usable answer from {url}")]
    Transport {
        /// Where the request went.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// An answer that is not what the interface describes.
    #[error("an answer of {url} is not what was expected (HTTP {status}): {detail}")]
    Unexpected {
        /// Where the request went.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What could not be read.
        detail: String,
    },
}

/// A connection to one server, signed in with one token.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: SecretText,
}

impl Client {
    /// A client for the server at `base` (`https://host:port`), which must prove itself to `tls`.
    pub fn new(base: &str, token: SecretText, tls: rustls::ClientConfig) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_DEADLINE)
            .build()
            .map_err(|source| ClientError::Transport { url: base.clone(), source })?;
        Ok(Self { http, base, token })
    }

    /// One page of a kind, after the id `after`, filtered by `query` (pairs of parameters).
    pub async fn page<K: Kind>(&self, after: Option<&str>, query: &[(&str, &str)]) -> Result<Page<K>, ClientError> {
        let mut parameters = query.to_vec();
        parameters.extend(after.map(|id| ("after", id)));
        self.get_json(&with_query(&format!("/v1/{}", K::PATH), &parameters)).await
    }

    /// Everything of a kind, page by page.
    pub async fn list<K: Kind>(&self) -> Result<Vec<K>, ClientError> {
        self.list_filtered(&[]).await
    }

    /// Everything of a kind that `query` (pairs of parameters) lets through, page by page.
    pub async fn list_filtered<K: Kind>(&self, query: &[(&str, &str)]) -> Result<Vec<K>, ClientError> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let page: Page<K> = self.page(after.as_deref(), query).await?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(items);
            }
        }
    }

    /// One resource by id or name.
    pub async fn get<K: Kind>(&self, which: &Reference<K::Id>) -> Result<K, ClientError> {
        self.get_json(&format!("/v1/{}/{which}", K::PATH)).await
    }

    /// Asks for a resource.
    pub async fn create<K: Kind>(&self, body: &K::Create) -> Result<Accepted<K>, ClientError> {
        self.send_json(Method::POST, &format!("/v1/{}", K::PATH), Some(body)).await
    }

    /// Changes a resource by a merge patch (RFC 7396) on `name`, `tags` and `spec`.
    pub async fn update<K: Kind>(
        &self,
        which: &Reference<K::Id>,
        patch: &serde_json::Value,
    ) -> Result<Accepted<K>, ClientError> {
        self.send_json(Method::PATCH, &format!("/v1/{}/{which}", K::PATH), Some(patch)).await
    }

    /// Asks for a resource's end.
    pub async fn delete<K: Kind>(&self, which: &Reference<K::Id>) -> Result<Accepted<K>, ClientError> {
        self.send_json::<(), _>(Method::DELETE, &format!("/v1/{}/{which}", K::PATH), None).await
    }

    /// Restarts an instance.
    pub async fn restart(
        &self,
        which: &Reference<types::InstanceId>,
    ) -> Result<Accepted<crate::Instance>, ClientError> {
        self.send_json::<(), _>(Method::POST, &format!("/v1/instances/{which}/restart"), None).await
    }

    /// One operation.
    pub async fn operation(&self, id: OperationId) -> Result<Operation, ClientError> {
        self.get_json(&format!("/v1/operations/{id}")).await
    }

    /// The newest operations, at most `limit`.
    pub async fn operations(&self, limit: u16) -> Result<Page<Operation>, ClientError> {
        self.get_json(&format!("/v1/operations?limit={limit}")).await
    }

    /// All agents and their targets.
    pub async fn agents(&self) -> Result<Page<Agent>, ClientError> {
        self.get_json("/v1/agents").await
    }

    /// Sends the file of an image; `body` yields its bytes, `length` of them.
    pub async fn upload<S>(&self, image: ImageId, length: u64, body: S) -> Result<Image, ClientError>
    where
        S: Stream<Item = std::io::Result<Vec<u8>>> + Send + Sync + 'static,
    {
        let key = make_key();
        let request = self
            .request(Method::PUT, &format!("/v1/images/{image}/content"))
            .header("content-type", "application/octet-stream")
            .header("content-length", length)
            .header(IDEMPOTENCY_KEY, key)
            .body(reqwest::Body::wrap_stream(body));
        match self.answer(request).await {
            Ok(response) => self.read(response).await.map_err(|failed| failed.error),
            Err(failed) => Err(failed.error),
        }
    }

    /// Events after the one numbered `after`, for as long as the server sends them. Ends when the connection does: ask
    /// again after the last that arrived.
    pub async fn events(
        &self,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + use<>, ClientError> {
        let mut request = self.request(Method::GET, "/v1/events").header("accept", "text/event-stream");
        if let Some(sequence) = after {
            request = request.header("last-event-id", sequence);
        }
        let response = self.answer(request).await.map_err(|failed| failed.error)?;
        let url = response.url().to_string();
        let mut lines = EventLines::default();
        Ok(response.bytes_stream().flat_map(move |chunk| {
            let found = match chunk {
                Ok(bytes) => lines.feed(&bytes).into_iter().map(|data| parse_event(&url, &data)).collect(),
                Err(source) => vec![Err(ClientError::Transport { url: url.clone(), source })],
            };
            futures_util::stream::iter(found)
        }))
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send_json::<(), T>(Method::GET, path, None).await
    }

    async fn send_json<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let key = (method != Method::GET).then(make_key);
        let mut retry = Retry::default();
        loop {
            let mut request = self.request(method.clone(), path).timeout(DEADLINE);
            if let Some(key) = &key {
                request = request.header(IDEMPOTENCY_KEY, key);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let done = match self.answer(request).await {
                Ok(response) => self.read(response).await,
                Err(failed) => Err(failed),
            };
            let failed = match done {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match retry.after(failed.failure) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failed.error),
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.reveal())
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let response = request.send().await.map_err(|source| Failed::transport(self.base.clone(), source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (url, status) = (response.url().to_string(), response.status().as_u16());
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let failure = wait.map_or(Failure::Final, |seconds| Failure::Later(Duration::from_secs(seconds)));
        let bytes = response.bytes().await.map_err(|source| Failed::transport(url.clone(), source))?;
        let error = match serde_json::from_slice(&bytes) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(error) => ClientError::Unexpected { url, status, detail: error.to_string() },
        };
        Err(Failed { error, failure })
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failed> {
        let (url, status) = (response.url().to_string(), response.status().as_u16());
        let bytes = response.bytes().await.map_err(|source| Failed::transport(url.clone(), source))?;
        serde_json::from_slice(&bytes).map_err(|error| Failed {
            error: ClientError::Unexpected { url, status, detail: error.to_string() },
            failure: Failure::Final,
        })
    }
}

/// Why one attempt failed, and whether another may do better.
struct Failed {
    error: ClientError,
    failure: Failure,
}

impl Failed {
    fn transport(url: String, source: reqwest::Error) -> Self {
        let failure = match () {
            () if source.is_timeout() || source.is_builder() => Failure::Final,
            () if source.is_connect() => Failure::Unreachable,
            () => Failure::Broken,
        };
        Self { error: ClientError::Transport { url, source }, failure }
    }
}

/// A key that no other request has.
fn make_key() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("invariant: the system gives randomness");
    data_encoding::HEXLOWER.encode(&bytes)
}

/// `path` with parameters, percent-encoded.
fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pairs: Vec<String> =
        parameters.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

fn parse_event(url: &str, data: &str) -> Result<Event, ClientError> {
    serde_json::from_str(data).map_err(|error| ClientError::Unexpected {
        url: url.to_owned(),
        status: 200,
        detail: error.to_string(),
    })
}

/// Takes the `data` of server-sent events out of a stream of bytes (WHATWG HTML, section 9.2).
#[derive(Default)]
struct EventLines {
    rest: Vec<u8>,
    data: Vec<String>,
}

impl EventLines {
    /// Adds bytes; gives the data of every event that they complete.
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.rest.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.rest).trim_end_matches('\r').to_owned();
            self.rest.clear();
            match line.strip_prefix("data:") {
                Some(data) => self.data.push(data.strip_prefix(' ').unwrap_or(data).to_owned()),
                None if line.is_empty() && !self.data.is_empty() => {
                    complete.push(self.data.drain(..).collect::<Vec<_>>().join("\n"))
                }
                None => {}
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_cut_of_the_stream() {
        let text = b": hello\n\nid: 7\ndata: {\"a\":1}\n\ndata: x\ndata: y\r\n\r\n";
        for cut in 0..text.len() {
            let mut lines = EventLines::default();
            let mut found = lines.feed(&text[..cut]);
            found.extend(lines.feed(&text[cut..]));
            assert_eq!(found, ["{\"a\":1}", "x\ny"]);
        }
    }

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(with_query("/v1/x", &[("name", "a b&c")]), "/v1/x?name=a%20b%26c");
    }
}
