//! `/metrics`, on a listener of its own: it has neither tokens nor TLS, and the API has no path that lacks them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::core::Core;

/// Connections at once.
const CONNECTIONS: usize = 16;
/// How long a connection may last.
const DEADLINE: Duration = Duration::from_secs(30);

/// Serves figures until `shutdown`.
pub async fn serve(core: Arc<Core>, handle: PrometheusHandle, listener: TcpListener, shutdown: CancellationToken) {
    let router = Router::new().route("/metrics", get(figures)).with_state((core, handle));
    let service = TowerToHyperService::new(router);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next(), if connections.len() >= CONNECTIONS => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).keep_alive(false);
                let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                connections.spawn(async move {
                    let _ = tokio::time::timeout(DEADLINE, connection).await;
                });
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

async fn figures(State((core, handle)): State<(Arc<Core>, PrometheusHandle)>) -> Response {
    match super::render(&core, &handle).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "figures could not be put together");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
