//! The door for those who ask how it stands: `/healthz`, `/readyz`, `/v1/status` and `/metrics`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::gateway::mapper::MappingState;
use crate::status::Status;

/// What gives the status of the moment.
pub type Look = Arc<dyn Fn() -> Status + Send + Sync>;

/// The door, open but not yet served.
pub struct Door(TcpListener);

impl Door {
    /// Opens it.
    pub async fn open(at: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(at).await;
        Ok(Self(listener.with_context(|| format!("the status cannot be served at {at} (\"listen\")"))?))
    }

    /// Serves whoever comes, for ever.
    pub async fn serve(self, look: Look) {
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/v1/status", get(async |State(look): State<Look>| Json(look())))
            .route("/metrics", get(async |State(look): State<Look>| metrics(&look())))
            .with_state(look);
        if let Err(error) = axum::serve(self.0, router).await {
            tracing::error!(%error, "the status is not served any more");
        }
    }
}

async fn ready(State(look): State<Look>) -> (StatusCode, String) {
    let status = look();
    match status.is_ready() {
        true => (StatusCode::OK, "ok\n".into()),
        false => (StatusCode::SERVICE_UNAVAILABLE, status.text()),
    }
}

/// The status as Prometheus reads it.
fn metrics(status: &Status) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, values: &[(&str, usize)]| {
        let put = "invariant: a text takes everything";
        writeln!(text, "# HELP diplonat_{name} {help}\n# TYPE diplonat_{name} gauge").expect(put);
        for (label, value) in values {
            writeln!(text, "diplonat_{name}{label} {value}").expect(put);
        }
    };
    let count = |is: &dyn Fn(&crate::status::PortStatus) -> bool| status.ports.iter().filter(|port| is(port)).count();
    let mapped = count(&|port| matches!(port.mapping, Some(MappingState::Mapped { .. })));
    let open = count(&|port| port.is_open == Some(true));
    gauge("ports_wanted", "Ports that are to be published.", &[("", status.ports.len())]);
    gauge("ports_open", "Ports that the firewall lets through.", &[("", open)]);
    gauge("ports_mapped", "Ports that the gateway maps.", &[("", mapped)]);
    gauge("refused", "Services, or ports of them, that are not published.", &[("", status.refused.len())]);
    let is_good = |is_good: bool| [("", usize::from(is_good))];
    gauge(
        "source_good",
        "Whether the source is known and believed.",
        &is_good(status.source.is_known && status.source.trouble.is_none()),
    );
    gauge("ready", "Whether everything that is wanted has been done.", &is_good(status.is_ready()));
    text
}
