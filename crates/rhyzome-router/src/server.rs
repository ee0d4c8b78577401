//! uhttpd: HTTPS in front of the router.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use pki::TlsAcceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::certificate::Certificate;
use crate::fault::{Fault, Faults};
use crate::json::Json;
use crate::router::{Machine, Router};
use crate::rpc::{self, BODY_LIMIT, Body, Request, Wish};
use crate::session::NOBODY;

/// How long a connection may stay idle.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The bytes of an answer that is far too long.
const HUGE: usize = 100_000_000;
/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 64;

/// A bound server.
pub struct Server {
    listener: TcpListener,
    certificate: Certificate,
    faults: Arc<Faults>,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(listen: SocketAddr, certificate: Certificate) -> io::Result<Self> {
        Ok(Server { listener: TcpListener::bind(listen).await?, certificate, faults: Arc::default() })
    }

    /// The same server, misbehaving.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Server { faults: Arc::new(faults), ..self }
    }

    /// The address, with the port that the kernel chose if 0 was asked for.
    ///
    /// # Errors
    /// As the socket says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` comes, then drops what is open.
    pub async fn serve<M: Machine>(self, router: Arc<Router<M>>, stop: impl Future<Output = ()>) {
        let mut time = JoinSet::new();
        time.spawn(Arc::clone(&router).keep_time());
        let mut tasks = JoinSet::new();
        let mut web = router.web();
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                Ok(()) = web.changed() => {
                    if self.certificate.reload() {
                        // procd starts uhttpd anew.
                        tasks.abort_all();
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            // Reap what has ended, so that the set does not grow.
            while tasks.try_join_next().is_some() {}
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(tls) = self.certificate.acceptor() else { continue };
            let (router, slots, faults) = (Arc::clone(&router), Arc::clone(&slots), Arc::clone(&self.faults));
            tasks.spawn(async move {
                let _slot = slots.acquire_owned().await.expect("invariant: the semaphore is never closed");
                connection(stream, tls, router, faults).await;
            });
        }
    }
}

async fn connection<M: Machine>(stream: TcpStream, tls: TlsAcceptor, router: Arc<Router<M>>, faults: Arc<Faults>) {
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "no TLS handshake"),
        Err(_) => return tracing::debug!("no TLS handshake in time"),
    };
    let service = service_fn(move |request| {
        let (router, faults) = (Arc::clone(&router), Arc::clone(&faults));
        async move { respond(&router, &faults, request).await }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(KEEP_ALIVE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a fault that was asked for")]
struct Cut;

async fn respond<M: Machine>(
    router: &Arc<Router<M>>,
    faults: &Faults,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let path = request.uri().path().to_owned();
    let object = path.strip_prefix("/ubus/call/").map(str::to_owned);
    if !matches!(path.as_str(), "/ubus" | "/ubus/") && object.is_none() {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    match *request.method() {
        Method::POST => {}
        Method::OPTIONS => return Ok(empty(StatusCode::OK)),
        Method::GET | Method::HEAD => return Ok(empty(StatusCode::NOT_FOUND)),
        _ => return Ok(empty(StatusCode::BAD_REQUEST)),
    }
    let bearer = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or(NOBODY)
        .to_owned();
    let body = match Limited::new(request.into_body(), BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Ok(too_long()),
        Err(_) => return Ok(empty(StatusCode::BAD_REQUEST)),
    };
    let fault = strike(faults, &body);
    router.suffer(fault);
    match fault {
        Some(Fault::Drop) => return Err(Cut),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Html) => return Ok(text(b"<html><body>Please log in</body></html>".to_vec())),
        Some(Fault::Half) => return Ok(text(br#"{"jsonrpc":"2.0","id":1,"result":[0,{"val"#.to_vec())),
        Some(Fault::Types) => return Ok(text(br#"{"jsonrpc":2,"id":"x","result":{"0":[]}}"#.to_vec())),
        Some(Fault::Status500) => return Ok(empty(StatusCode::INTERNAL_SERVER_ERROR)),
        Some(Fault::Huge) => return Ok(text(vec![b' '; HUGE])),
        Some(Fault::PowerOff) => std::process::abort(),
        Some(Fault::Lose | Fault::RestartRpcd | Fault::Full) | None => {}
    }
    let answer = match object {
        Some(object) => router.answer_bare(&body, &object, &bearer).await,
        None => router.answer(&body).await,
    };
    match fault {
        Some(Fault::Lose) => Err(Cut),
        _ => Ok(json(&answer)),
    }
}

/// What happens to a request; those of a batch are left alone.
fn strike(faults: &Faults, body: &[u8]) -> Option<Fault> {
    match rpc::parse(body) {
        Body::One(Request { wish: Ok(Wish::Call { object, method, .. }), .. }) => faults.strike(&object, &method),
        Body::One(_) | Body::Batch(_) => None,
    }
}

fn too_long() -> Response<Full<Bytes>> {
    let mut response = json(&rpc::error(Json::Null, rpc::Fault::Parse));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn json(value: &Json) -> Response<Full<Bytes>> {
    text(serde_json::to_vec(value).expect("invariant: JSON prints"))
}

fn text(text: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
