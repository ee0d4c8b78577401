//! Figures for Prometheus. No tenant, name, address or secret is ever a label.

mod listener;

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use store::{Caller, StoreError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::core::Core;

pub use listener::serve;

const REQUESTS: &str = "rhyzome_http_request_duration_seconds";
const RATE_LIMITED: &str = "rhyzome_http_rate_limited_total";
const OPERATIONS: &str = "rhyzome_operation_duration_seconds";
const EXECUTOR_TASKS: &str = "rhyzome_executor_tasks";
const DATABASE: &str = "rhyzome_database_duration_seconds";
const JOBS_WAITING: &str = "rhyzome_jobs_waiting";
const AGENTS_CONNECTED: &str = "rhyzome_agents_connected";

/// How often the database is measured.
const PROBE: Duration = Duration::from_secs(5);

/// Limits of the buckets of what people wait for, in seconds.
const QUICK: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Limits of the buckets of operations, in seconds.
const LONG: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Begins to keep figures; what reads them.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(OPERATIONS.to_owned()), &LONG)?
        .set_buckets(&QUICK)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| anyhow::anyhow!("figures are kept already"))?;
    describe_histogram!(REQUESTS, "Requests by route, method and status.");
    describe_counter!(RATE_LIMITED, "Requests that were too many, by what they were too many for.");
    describe_histogram!(OPERATIONS, "Operations that ended, by action and state.");
    describe_gauge!(EXECUTOR_TASKS, "Operations that are being worked on.");
    describe_histogram!(
        DATABASE,
        "A small question to the database, every few seconds, by what is waited for: an answer, or one's turn to write."
    );
    describe_gauge!(JOBS_WAITING, "Jobs that their target has not confirmed, by the target's kind.");
    describe_gauge!(AGENTS_CONNECTED, "Agents that are connected, by their target's kind.");
    Ok(handle)
}

/// A request was answered. `route` is a template, as in `/v1/networks/{network}`.
pub fn request(route: &str, method: &str, status: u16, took: Duration) {
    histogram!(REQUESTS, "route" => route.to_owned(), "method" => method.to_owned(), "status" => status.to_string())
        .record(took);
}

/// A request was one too many, by the count of `by`.
pub fn rate_limited(by: &'static str) {
    counter!(RATE_LIMITED, "by" => by).increment(1);
}

/// An operation ended.
pub fn operation(action: &str, state: &'static str, took: Duration) {
    histogram!(OPERATIONS, "action" => action.to_owned(), "state" => state).record(took);
}

/// Counts an operation as worked on until it is dropped.
pub struct ExecutorTask;

impl ExecutorTask {
    /// Begins to count.
    pub fn begin() -> Self {
        gauge!(EXECUTOR_TASKS).increment(1);
        Self
    }
}

impl Drop for ExecutorTask {
    fn drop(&mut self) {
        gauge!(EXECUTOR_TASKS).decrement(1);
    }
}

/// Measures the database by small questions, until `shutdown`. A scrape would find it as busy as whoever scrapes is often.
pub async fn probe(core: Arc<Core>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(PROBE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = probe_once(&core).await {
            tracing::warn!(error = %anyhow::Error::new(error), "the database did not answer a small question");
        }
    }
}

async fn probe_once(core: &Core) -> Result<(), StoreError> {
    let began = Instant::now();
    core.store.read().await?.probe().await?;
    histogram!(DATABASE, "of" => "read").record(began.elapsed());
    // How long a change waits for its turn.
    let began = Instant::now();
    core.store.write().await?.probe().await?;
    histogram!(DATABASE, "of" => "write").record(began.elapsed());
    Ok(())
}

/// Looks up what is not counted as it happens, and gives all figures as text.
async fn render(core: &Arc<Core>, handle: &PrometheusHandle) -> anyhow::Result<String> {
    for (kind, waiting, connected) in gauges(core).await? {
        gauge!(JOBS_WAITING, "target" => kind).set(waiting);
        gauge!(AGENTS_CONNECTED, "target" => kind).set(connected);
    }
    handle.run_upkeep();
    Ok(handle.render())
}

async fn gauges(core: &Arc<Core>) -> anyhow::Result<[(&'static str, f64, f64); 2]> {
    let rows = core.store.read().await?.targets(&Caller::core(), None).await?;
    let mut sums = [("router", 0.0, 0.0), ("hypervisor", 0.0, 0.0)];
    for row in rows {
        let Some(sum) = sums.iter_mut().find(|(kind, ..)| *kind == row.target.kind) else { continue };
        sum.1 += f64::from(u32::try_from(row.pending_jobs).unwrap_or(u32::MAX));
        sum.2 += f64::from(u8::from(row.target.connected));
    }
    Ok(sums)
}
