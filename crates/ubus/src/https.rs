//! ubus over HTTPS, through uhttpd.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, Url, redirect};
use serde_json::Value;

use crate::{SessionId, Ubus, UbusError, wire};

/// uhttpd closes a connection that was idle for 20 s; what we send must not cross that.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a call may take, and how much it may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the connection with its handshakes.
    pub connect: Duration,
    /// For the whole call.
    pub total: Duration,
    /// Bytes of an answer.
    pub reply: usize,
}

impl Default for Limits {
    /// 5 s to connect, 30 s in all, 16 MiB: a router that is busy reloading answers late.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(30), reply: 16 << 20 }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// Not an address that this client calls.
    #[error("{url:?} is no address of a router's ubus: expected https://HOST/ubus")]
    Url {
        /// The address.
        url: String,
    },
    /// The TLS configuration does not fit.
    #[error("the TLS configuration cannot be used")]
    Tls(#[source] reqwest::Error),
}

/// The ubus of a router, over HTTPS. Certificates are checked as the TLS configuration says; there is no way around it.
#[derive(Debug)]
pub struct Https {
    client: reqwest::Client,
    url: Url,
    limits: Limits,
    last_id: AtomicU64,
}

impl Https {
    /// A client for the router at `url`, `https://192.168.1.1/ubus`.
    ///
    /// # Errors
    /// When the address is not one of HTTPS, or the TLS configuration cannot be used.
    pub fn new(url: &str, tls: rustls::ClientConfig, limits: Limits) -> Result<Self, HttpsError> {
        let parsed = Url::parse(url).ok().filter(|parsed| parsed.scheme() == "https" && parsed.has_host());
        let url = parsed.ok_or_else(|| HttpsError::Url { url: url.to_owned() })?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(limits.connect)
            .pool_idle_timeout(KEEP_ALIVE)
            .build()
            .map_err(HttpsError::Tls)?;
        Ok(Self { client, url, limits, last_id: AtomicU64::new(0) })
    }

    async fn exchange(&self, body: Vec<u8>, object: &str, method: &str) -> Result<Vec<u8>, UbusError> {
        let transport = |error: reqwest::Error| {
            let (object, method) = (object.to_owned(), method.to_owned());
            match disbelief(&error) {
                Some(reason) => UbusError::Certificate { object, method, reason },
                // The address is in every message of reqwest; it is ours and says nothing.
                None => UbusError::Transport { object, method, source: Box::new(error.without_url()) },
            }
        };
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(transport)?;
        if response.status() != reqwest::StatusCode::OK {
            let status = response.status().as_u16();
            return Err(UbusError::Http { object: object.to_owned(), method: method.to_owned(), status });
        }
        match read(response, self.limits.reply).await.map_err(transport)? {
            Some(body) => Ok(body),
            None => Err(UbusError::ReplyTooLarge {
                object: object.to_owned(),
                method: method.to_owned(),
                limit: self.limits.reply,
            }),
        }
    }
}

/// Why a certificate is not believed, where that is why a connection failed.
fn disbelief(error: &reqwest::Error) -> Option<String> {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let refused = causes.find_map(|cause| match tls(cause)? {
        rustls::Error::InvalidCertificate(refused) => Some(refused),
        _ => None,
    })?;
    use rustls::CertificateError as E;
    let reason = match refused {
        E::UnknownIssuer => "another CA has signed it; expected one of the CA that is configured".to_owned(),
        E::Expired | E::ExpiredContext { .. } => "it has expired; renew it, and look at both clocks".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet; look at both clocks".to_owned(),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "it is for another name; expected the host of the configured address".to_owned()
        }
        E::ApplicationVerificationFailure => "it is not the one whose fingerprint is pinned".to_owned(),
        other => other.to_string(),
    };
    Some(reason)
}

/// The error of TLS that an error is or holds: errors of sockets hold what they come from without naming it their cause.
fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(socket) => tls(socket.get_ref()?),
        None => error.downcast_ref::<rustls::Error>(),
    }
}

/// The body, unless it is larger than the limit.
async fn read(mut response: Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[async_trait]
impl Ubus for Https {
    async fn call(
        &self,
        session: &SessionId,
        object: &str,
        method: &str,
        args: Value,
    ) -> Result<Option<Value>, UbusError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let body = wire::encode(id, session, object, method, &args)?;
        let deadline = self.limits.total;
        let answer = tokio::time::timeout(deadline, self.exchange(body, object, method));
        let answer = answer.await.map_err(|_| UbusError::Deadline {
            object: object.to_owned(),
            method: method.to_owned(),
            deadline,
        })??;
        wire::decode(id, object, method, &answer)
    }
}
