//! Where a master keeps what authors of rollouts signed beforehand: `rollouts/<change>` beside its other files.

use anyhow::Context;
use fleet::ChangeId;
use fleet::rollout::Itinerary;

use crate::store::Store;

const FOLDER: &str = "rollouts";

/// What is kept of a rollout.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn read(store: &Store, rollout: ChangeId) -> anyhow::Result<Option<Itinerary>> {
    let name = name(rollout);
    let Some(bytes) = store.read(&name)? else { return Ok(None) };
    Itinerary::from_bytes(&bytes).map(Some).with_context(|| format!("{name} is damaged"))
}

/// All that is kept.
///
/// # Errors
/// As [`read`].
pub fn all(store: &Store) -> anyhow::Result<Vec<Itinerary>> {
    let rollouts = store.list(FOLDER)?.into_iter().filter_map(|name| name.parse().ok());
    rollouts.filter_map(|rollout| read(store, rollout).transpose()).collect()
}

/// Keeps it, instead of what was kept before.
///
/// # Errors
/// As writing the file.
pub fn keep(store: &Store, itinerary: &Itinerary) -> anyhow::Result<()> {
    store.write(&name(itinerary.rollout), &itinerary.to_bytes())
}

/// Forgets it.
///
/// # Errors
/// When the file cannot be removed.
pub fn forget(store: &Store, rollout: ChangeId) -> anyhow::Result<()> {
    store.remove(&name(rollout))
}

fn name(rollout: ChangeId) -> String {
    format!("{FOLDER}/{rollout}")
}
