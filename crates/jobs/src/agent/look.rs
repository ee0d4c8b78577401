//! Reading the target: once before a session, and again and again while a session is held without it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::backoff::{Jitter, backoff_to_core};
use crate::{Reading, Target};

/// Longest time for the target to say what it holds.
const READ: Duration = Duration::from_secs(60);

/// What the target holds and can take, or why that is not known.
pub(super) async fn look(target: &dyn Target) -> Result<Reading, String> {
    let reading =
        async { Ok::<_, anyhow::Error>(Reading { held: target.held().await?, capacity: target.capacity().await }) };
    match timeout(READ, reading).await {
        Ok(Ok(reading)) => Ok(reading),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("reading it took over {} s", READ.as_secs())),
    }
}

/// Looks at a target that could not be read until there is something else to say of it.
pub(super) struct Lookout(JoinSet<Result<Reading, String>>);

impl Lookout {
    /// None is needed for a target that was read.
    pub(super) fn for_readable() -> Self {
        Self(JoinSet::new())
    }

    /// Looks again at a target that could not be read for `reason`.
    pub(super) fn for_unread(target: Arc<dyn Target>, reason: String) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            for failures in 1.. {
                sleep(backoff_to_core(failures, Jitter::draw())).await;
                let looked = look(target.as_ref()).await;
                if looked.as_ref().err() != Some(&reason) {
                    return looked;
                }
            }
            Err(reason)
        });
        Self(task)
    }

    /// What there is to say; may be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Result<Reading, String> {
        match self.0.join_next().await {
            Some(Ok(looked)) => looked,
            Some(Err(error)) => Err(format!("the agent failed: {error}")),
            None => std::future::pending().await,
        }
    }
}
