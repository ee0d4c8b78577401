//! This core as one of several over the same database: that it lives, and what is left of those that do not.

use std::sync::Arc;
use std::time::Duration;

use store::{Caller, Store, StoreError};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use types::{ReplicaId, TargetId};

use crate::core::Core;

/// What this program is, for people.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// How long a replica counts as alive after its last beat, in milliseconds.
const LEASE_MS: i64 = 6_000;
/// How often a replica says that it lives, and looks for those that do not.
const BEAT: Duration = Duration::from_millis(1_500);
/// The lease of a core that is alone, so that nothing has to be renewed: a century.
const ALONE_MS: i64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// Begins to be a replica. One that has the database to itself takes over what those before it left.
pub async fn join(store: &Store) -> Result<ReplicaId, StoreError> {
    let caller = Caller::core();
    store::transact!(store, async |session| -> Result<ReplicaId, StoreError> {
        if store.is_shared() {
            let replica = session.add_replica(&caller, LEASE_MS).await?;
            session.note_replica(replica, RELEASE, own_time()).await?;
            return Ok(replica);
        }
        let replica = session.add_replica(&caller, ALONE_MS).await?;
        session.note_replica(replica, RELEASE, own_time()).await?;
        for before in session.other_replicas(&caller, replica).await? {
            session.bury_replica(&caller, before).await?;
        }
        Ok(replica)
    })
    .await
}

/// Says that this replica lives, and takes over from those that died, until `shutdown`.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    if !core.store.is_shared() {
        return;
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        let looked = async {
            renew(&core).await?;
            take_over(&core).await
        };
        if let Err(error) = looked.await {
            tracing::warn!(error = %anyhow::Error::new(error), "this replica could not say that it lives");
        }
    }
}

/// Ends this replica: others go on with its operations at once, and its agents count as away.
pub async fn leave(core: &Core) -> Result<(), StoreError> {
    let targets =
        store::transact!(core.store, async |session| session.bury_replica(&Caller::core(), core.replica).await).await?;
    tell(core, &targets);
    Ok(())
}

async fn renew(core: &Core) -> Result<(), StoreError> {
    store::transact!(core.store, async |session| -> Result<(), StoreError> {
        session.renew_replica(&Caller::core(), core.replica, LEASE_MS).await?;
        session.note_replica(core.replica, RELEASE, own_time()).await
    })
    .await
}

/// The time by this machine's clock, in milliseconds since 1970; the database has one of its own.
fn own_time() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

async fn take_over(core: &Core) -> Result<(), StoreError> {
    let caller = Caller::core();
    if core.store.read().await?.dead_replicas(&caller).await?.is_empty() {
        return Ok(());
    }
    let buried = store::transact!(core.store, async |session| -> Result<_, StoreError> {
        let mut buried = Vec::new();
        for replica in session.dead_replicas(&caller).await? {
            buried.push((replica, session.bury_replica(&caller, replica).await?));
        }
        Ok(buried)
    })
    .await?;
    for (replica, targets) in buried {
        tracing::warn!(%replica, agents = targets.len(), "a replica is gone; others go on with its work");
        tell(core, &targets);
    }
    Ok(())
}

fn tell(core: &Core, targets: &[TargetId]) {
    core.signals.operation();
    for target in targets {
        core.signals.left(*target);
    }
}
