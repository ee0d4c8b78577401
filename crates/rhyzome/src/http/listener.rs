//! HTTPS: connections in, requests to the router, an orderly end.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pki::{ServerConfig, TlsAcceptor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::route::router;
use crate::core::Core;

/// How long a TLS handshake may take, and how long a client may take over its headers.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Connections at once.
const CONNECTIONS: usize = 4096;
/// How long open requests have to end at a shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the API on `listener` until `shutdown`, then lets what runs come to its end.
pub async fn serve(core: Arc<Core>, listener: TcpListener, tls: Arc<ServerConfig>, shutdown: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let service = TowerToHyperService::new(router(core));
    let graceful = GracefulShutdown::new();
    let tasks = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (acceptor, service, shutdown) = (acceptor.clone(), service.clone(), shutdown.clone());
        let watcher = graceful.watcher();
        tasks.spawn(async move {
            let _permit = permit;
            let Some(stream) = handshake(&acceptor, stream).await else { return };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            let served = watcher.watch(connection);
            // Streams of events never end by themselves.
            tokio::select! {
                result = served => if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended early");
                },
                () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {}
            }
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    tasks.close();
    let _ = tokio::time::timeout(DRAIN, tasks.wait()).await;
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
