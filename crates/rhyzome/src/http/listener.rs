//! HTTPS: connections in, requests to the router, an orderly end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use pki::{ServerConfig, TlsAcceptor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::host::Names;
use super::linger::Lingering;
use super::rate::{ClientAddr, Places};
use super::route::router;
use crate::core::Core;
use crate::serve_config::HttpConfig;

/// How long a TLS handshake may take, and how long a client may take over its headers.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Headers of a request, and the bytes of all of them, at most. More is answered with 431.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 32 << 10;

/// Serves the API on `listener` until `shutdown`, then lets what runs come to its end.
/// Each connection takes what `tls` holds when it comes.
pub async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    config: &HttpConfig,
    shutdown: CancellationToken,
) {
    let router = router(core, Names::new(config));
    let graceful = GracefulShutdown::new();
    let tasks = TaskTracker::new();
    let room = Arc::new(Semaphore::new(config.rate.connections));
    let places = Places::new(config.rate.connections_per_address);
    let finish = config.drain.finish();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let (stream, address) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let client = ClientAddr(address.ip());
        let Some(place) = places.take(client.key()) else {
            tracing::debug!(%address, "a connection was refused: there are too many from its address");
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let (router, shutdown) = (router.clone(), shutdown.clone());
        let watcher = graceful.watcher();
        tasks.spawn(async move {
            let (_permit, _place): (_, super::rate::Place<IpAddr>) = (permit, place);
            let Some(stream) = handshake(&acceptor, stream).await else { return };
            let service = service_fn(move |request: hyper::Request<Incoming>| answer(router.clone(), client, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .max_headers(HEADERS)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(Lingering::new(stream)), service);
            let served = watcher.watch(connection);
            // A client that does not read its answer never ends by itself.
            tokio::select! {
                result = served => if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended early");
                },
                () = async { shutdown.cancelled().await; tokio::time::sleep(finish).await } => {}
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(finish, graceful.shutdown()).await;
    tasks.close();
    let _ = tokio::time::timeout(finish, tasks.wait()).await;
}

async fn answer(
    router: Router,
    client: ClientAddr,
    request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(client);
    router.oneshot(request).await
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<pki::server::TlsStream<TcpStream>> {
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}
