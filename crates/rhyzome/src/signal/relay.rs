//! Carries hints between the replicas over the database's own channel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Hint;
use crate::core::Core;

/// Hints told at once: as many as fit into a message of the database.
const AT_ONCE: usize = 128;
/// How long nothing is relayed after a failure; everybody polls meanwhile.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells the other replicas what is said here, and the parts of this one what is said there, until `shutdown`.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    if !core.store.is_shared() {
        return;
    }
    let mut own = core.signals.own.subscribe();
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = hear(&core) => {}
        () = tell(&core, &mut own) => {}
    }
    // What was said last: that this replica leaves.
    tell_waiting(&core, &mut own, BTreeSet::new()).await;
}

async fn hear(core: &Core) {
    loop {
        let Err(error) = hear_until_failure(core).await;
        tracing::warn!(error = %anyhow::Error::new(error), "other replicas are not heard; this one polls");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hear_until_failure(core: &Core) -> Result<std::convert::Infallible, StoreError> {
    let own = core.replica.to_string();
    let mut hearing = core.store.hear().await?.ok_or_else(|| StoreError::Unusable("nobody can be heard".to_owned()))?;
    loop {
        let message = hearing.next().await?;
        let mut lines = message.lines();
        if lines.next() == Some(own.as_str()) {
            continue;
        }
        // A hint that is not understood is of a newer release.
        for hint in lines.filter_map(|line| line.parse().ok()) {
            core.signals.pass_on(hint);
        }
    }
}

async fn tell(core: &Core, own: &mut broadcast::Receiver<Hint>) {
    loop {
        let first = match own.recv().await {
            Ok(hint) => BTreeSet::from([hint]),
            Err(broadcast::error::RecvError::Lagged(_)) => BTreeSet::new(),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        tell_waiting(core, own, first).await;
    }
}

/// Tells all that waits to be told, beside what was taken already.
async fn tell_waiting(core: &Core, own: &mut broadcast::Receiver<Hint>, mut hints: BTreeSet<Hint>) {
    while hints.len() < AT_ONCE
        && let Ok(hint) = own.try_recv()
    {
        hints.insert(hint);
    }
    if hints.is_empty() {
        return;
    }
    let lines: Vec<String> = hints.iter().map(Hint::to_string).collect();
    if let Err(error) = core.store.tell(&format!("{}\n{}", core.replica, lines.join("\n"))).await {
        tracing::warn!(error = %anyhow::Error::new(error), "other replicas could not be told; they poll");
        tokio::time::sleep(PAUSE).await;
    }
}
