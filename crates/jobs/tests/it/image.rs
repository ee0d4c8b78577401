//! Images come over the agent's connection.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jobs::simulated::Simulated;
use jobs::{Batching, Context, Held, Job, Observer, Outcome, Report, Target, observed};
use tokio_util::sync::CancellationToken;
use types::Sha256Digest;

use crate::core::Core;
use crate::{job, network, state, version};

/// Fetches one image for each job, and keeps what it got.
struct Fetching {
    digest: Sha256Digest,
    got: Mutex<Vec<u8>>,
    inner: Simulated,
}

#[async_trait]
impl Target for Fetching {
    fn features(&self) -> &'static [&'static str] {
        &[]
    }

    fn batching(&self) -> Batching {
        Batching::Each(1)
    }

    async fn capacity(&self) -> observed::Capacity {
        self.inner.capacity().await
    }

    async fn held(&self) -> anyhow::Result<Vec<Held>> {
        self.inner.held().await
    }

    async fn apply(&self, jobs: Vec<Job>, context: &Context) -> Vec<Report> {
        let mut bytes = Vec::new();
        match context.images.fetch(self.digest, &mut bytes).await {
            Ok(()) => {
                *self.got.lock().unwrap() = bytes;
                self.inner.apply(jobs, context).await
            }
            Err(error) => jobs.iter().map(|job| Report::refused(job, format!("{error:#}"))).collect(),
        }
    }

    async fn watch(&self, _: Observer) {}
}

async fn fetch(digest: Sha256Digest) -> (Arc<Fetching>, Report) {
    let (core, dir) = (Core::start(), tempfile::tempdir().unwrap());
    let there = Sha256Digest::from_bytes([7; 32]);
    core.state().image = Some((there, (0..=255).cycle().take(100_000).collect()));
    jobs::enrol::enrol(&core.invite(), &state(dir.path())).await.unwrap();
    let target = Arc::new(Fetching { digest, got: Mutex::default(), inner: Simulated::hypervisor() });
    let config = jobs::AgentConfig { core: None, invitation_file: None, tls: None, state_dir: state(dir.path()) };
    let stop = CancellationToken::new();
    let (stopped, working) = (stop.clone(), target.clone());
    let task = tokio::spawn(async move { jobs::run(&config, "test 1.0", working, stopped).await });
    core.put(job(1, "1:1"));
    core.until("a report", |state| !state.reports.is_empty()).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let report = core.state().reports[0].clone();
    assert_eq!((report.object, report.version), (network(1), version("1:1")));
    (target, report)
}

#[tokio::test]
async fn an_image_comes_whole() {
    let (target, report) = fetch(Sha256Digest::from_bytes([7; 32])).await;
    assert_eq!(report.outcome, Outcome::Applied, "{report:?}");
    assert_eq!(*target.got.lock().unwrap(), (0..=255).cycle().take(100_000).collect::<Vec<u8>>());
}

#[tokio::test]
async fn an_image_that_the_core_has_not_is_refused_by_its_name() {
    let (_, report) = fetch(Sha256Digest::from_bytes([8; 32])).await;
    let reason = report.reason.unwrap();
    assert!(reason.contains("does not send image 0808") && reason.contains("no such image"), "{reason}");
}
