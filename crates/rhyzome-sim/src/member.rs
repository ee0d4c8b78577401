//! One simulated target with the agent that works it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jobs::AgentConfig;
use jobs::bundle::{Invited, InvitedKind};
use jobs::cache::{Cache, CacheError};
use jobs::simulated::Simulated;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use types::HostAddr;

use crate::order::{Away, Holding, Loss};

/// What members say that they are.
const SOFTWARE: &str = concat!("rhyzome-sim ", env!("CARGO_PKG_VERSION"));
/// Absences that wait for their turn.
const ABSENCES: usize = 16;
/// How long an agent that was cut off may take to let its directory go.
const LETTING_GO: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// One member of a fleet.
pub struct Member {
    name: String,
    kind: InvitedKind,
    config: AgentConfig,
    target: Arc<Simulated>,
    absences: mpsc::Sender<Away>,
}

impl Member {
    /// Makes the member's directory and the file with its invitation. Absences go to what is given beside it.
    pub fn make(
        invited: &Invited,
        features: &'static [&'static str],
        underlay: Option<HostAddr>,
        state_dir: &Path,
    ) -> anyhow::Result<(Self, mpsc::Receiver<Away>)> {
        anyhow::ensure!(
            !invited.name.is_empty() && !invited.name.starts_with('.') && !invited.name.contains('/'),
            "{:?} cannot be the name of a member: it names its directory",
            invited.name
        );
        let dir = state_dir.join(&invited.name);
        config::file::make_private_directory(&dir)?;
        let invitation_file = dir.join("invitation");
        config::file::write_private(&invitation_file, invited.invitation.reveal().as_bytes())?;
        let target = match invited.kind {
            InvitedKind::Router => Simulated::router(),
            InvitedKind::Hypervisor => Simulated::hypervisor(),
        };
        let target = target.with_features(features).with_underlay(underlay);
        let (absences, received) = mpsc::channel(ABSENCES);
        let config = AgentConfig { core: None, invitation_file: Some(invitation_file), tls: None, state_dir: dir };
        let (name, kind) = (invited.name.clone(), invited.kind);
        Ok((Self { name, kind, config, target: Arc::new(target), absences }, received))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The target itself.
    pub fn target(&self) -> &Simulated {
        &self.target
    }

    /// Sends it away. Absences beyond those that wait already are left out.
    pub fn send_away(&self, away: Away) {
        if self.absences.try_send(away).is_err() {
            tracing::warn!(agent = self.name, "an absence was left out: too many wait");
        }
    }

    /// What it holds.
    pub fn holding(&self) -> Holding {
        let state = self.target.state();
        let objects = state.objects.iter().map(|(object, (version, _))| (*object, *version)).collect();
        Holding { kind: self.kind, objects }
    }

    /// Works the target until `shutdown`, absences apart. What was wanted in an earlier run is held from the start: the
    /// real thing holds its objects however its agent ended.
    pub async fn work(&self, mut absences: mpsc::Receiver<Away>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let cache = free_cache(&self.config.state_dir).await?;
        let kept = spawn_blocking(move || cache.jobs()).await??;
        self.target.recall(kept);
        loop {
            let agent = jobs::run(&self.config, SOFTWARE, self.target.clone(), shutdown.clone());
            let away = tokio::select! {
                ended = agent => return Ok(ended?),
                Some(away) = absences.recv() => away,
            };
            self.lose(away.loses).await?;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = sleep(Duration::from_millis(away.for_ms)) => {}
            }
        }
    }

    async fn lose(&self, loses: Loss) -> anyhow::Result<()> {
        let (target, agent) = match loses {
            Loss::Nothing => (false, false),
            Loss::Target => (true, false),
            Loss::Agent => (false, true),
            Loss::Everything => (true, true),
        };
        // Also where nothing is lost: the next agent finds the directory free.
        let cache = free_cache(&self.config.state_dir).await?;
        if target {
            self.target.recall([]);
        }
        if agent {
            let forget = move || {
                let jobs = cache.jobs()?;
                jobs.iter().try_for_each(|job| cache.forget(job.object))
            };
            spawn_blocking(forget).await??;
        }
        Ok(())
    }
}

/// The directory of an agent that was cut off, when the last of its writes is through.
async fn free_cache(state_dir: &Path) -> anyhow::Result<Cache> {
    let deadline = tokio::time::Instant::now() + LETTING_GO;
    loop {
        let dir = state_dir.to_owned();
        match spawn_blocking(move || Cache::open(&dir)).await? {
            Err(CacheError::Locked(_)) if tokio::time::Instant::now() < deadline => sleep(LOOK).await,
            opened => return opened.context("the member's directory cannot be used"),
        }
    }
}
