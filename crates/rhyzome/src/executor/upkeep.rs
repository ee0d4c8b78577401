//! What nobody asks for and must be done now and then: images that no instance of a hypervisor uses leave its cache,
//! and addresses that have rested return to their pools.

use jobs::Object;
use store::{Caller, StoreError};
use types::TargetId;

use crate::core::Core;
use crate::render;

/// How long an image stays in a hypervisor's cache without an instance, in milliseconds: somebody may make the next.
const CACHE_REST_MS: i64 = 60 * 60 * 1000;

/// Does one round.
pub async fn run(core: &Core) -> Result<(), StoreError> {
    sweep_caches(core, CACHE_REST_MS).await?;
    store::transact_in_background!(core.store, async |session| session.forget_rested_addresses().await).await
}

/// Takes images out of caches in which nobody has used them for `rest_ms`.
pub async fn sweep_caches(core: &Core, rest_ms: i64) -> Result<(), StoreError> {
    let caller = Caller::core();
    let targets = store::transact_in_background!(core.store, async |session| -> Result<Vec<TargetId>, StoreError> {
        let mut targets = Vec::new();
        if session.paused().await?.is_some() {
            return Ok(targets);
        }
        session.note_idle_caches().await?;
        let since = session.now() - rest_ms;
        for (target, object) in session.idle_caches(since).await? {
            let Ok(object) = object.parse::<Object>() else {
                tracing::error!(target = %target, object, "a job is about no object that this release knows");
                continue;
            };
            render::gone(session, &caller, target, object).await?;
            tracing::info!(target = %target, object = %object, "an image that nobody uses leaves a cache");
            targets.push(target);
        }
        Ok(targets)
    })
    .await?;
    for target in targets {
        core.signals.jobs(target);
    }
    Ok(())
}
