//! The agent's runtime against a core over real TLS on loopback, with a simulated target.
#![allow(clippy::unwrap_used, missing_docs)]

mod core;
mod enrolment;
mod greeting;
mod hostile;
mod image;
mod outage;
mod renewal;
mod restore;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jobs::simulated::Simulated;
use jobs::{AgentConfig, AgentError, Job, Object, Want};
use pki::Clock;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use types::{NetworkId, Version};

use crate::core::Core;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn network(number: u64) -> Object {
    Object::Network(NetworkId::from_bits(number))
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn job(number: u64, at: &str) -> Job {
    let want = Want::Desired(format!("{{\"number\":{number}}}"));
    Job { object: network(number), version: version(at), requires: Vec::new(), want }
}

fn gone(number: u64, at: &str) -> Job {
    Job { want: Want::Gone, ..job(number, at) }
}

/// A running agent with a directory of its own.
struct Agent {
    state_dir: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Agent {
    /// Starts an agent that was invited by `core`.
    fn start(core: &Core, dir: &Path, target: &Arc<Simulated>) -> Self {
        let invitation_file = dir.join("invitation");
        if !invitation_file.exists() {
            config::file::write_private(&invitation_file, core.invite().reveal().reveal().as_bytes()).unwrap();
        }
        let config =
            AgentConfig { core: None, invitation_file: Some(invitation_file), tls: None, state_dir: state(dir) };
        Self::by(core.clock(), config, target)
    }

    fn with(config: AgentConfig, target: &Arc<Simulated>) -> Self {
        Self::by(Clock::system(), config, target)
    }

    fn by(clock: Clock, config: AgentConfig, target: &Arc<Simulated>) -> Self {
        let stop = CancellationToken::new();
        let (state_dir, stopped, target) = (config.state_dir.clone(), stop.clone(), target.clone());
        let task = tokio::spawn(async move { jobs::run_by(clock, &config, "test 1.0", target, stopped).await });
        Self { state_dir, stop, task }
    }

    /// Asks the agent to stop, and waits until it did.
    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("the agent stops").unwrap().unwrap();
    }

    /// Ends the agent as a crash does. A process takes its threads along; here, a write under way comes to its end.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        until("the agent let go of its directory", || jobs::cache::Cache::open(&self.state_dir).is_ok()).await;
    }

    /// Waits for the agent to stop by itself.
    async fn failure(self) -> AgentError {
        timeout(PATIENCE, self.task).await.expect("the agent stops by itself").unwrap().unwrap_err()
    }
}

fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

/// Waits until `condition` holds of something outside the program.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
