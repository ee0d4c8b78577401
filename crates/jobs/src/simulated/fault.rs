//! What a simulated target does otherwise than a healthy one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{ResourceId, Revision, Version};

use super::Pattern;
use crate::backoff::Jitter;
use crate::{EntryReport, Held, Job, Object, Outcome, Want, desired};

/// Faults that hold until others take their place. The default is a healthy target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// How long every call takes, in milliseconds.
    pub delay_ms: u64,
    /// Up to how much longer, drawn for each call.
    pub jitter_ms: u64,
    /// Whether calls do not end.
    pub silent: bool,
    /// Objects, or entries of networks, that are refused.
    pub refuse: Vec<Refusal>,
    /// How often each version is to be tried again before it is applied.
    pub retries: u32,
    /// Objects that are said to be applied and yet are not held.
    pub forget: Vec<Pattern>,
    /// What is held though nobody asked for it.
    pub hold: Vec<Foreign>,
    /// By how many revisions what is held is older than what was applied.
    pub older_by: u64,
    /// Why it cannot say what it holds, where it cannot.
    pub unreadable: Option<String>,
}

/// What is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Objects as in `network/*`, or ids of leases' instances and of peers as in `peer-*`.
    pub what: Pattern,
    /// The reason that is given.
    #[serde(default = "refused_by_order")]
    pub reason: String,
}

/// Something that bears our marks and that the core does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foreign {
    /// What it is, as in `network/net-1hcp2k7w8q3zd`.
    pub object: Object,
    /// The version it bears.
    #[serde(default = "first_version")]
    pub version: Version,
}

fn refused_by_order() -> String {
    "the scenario says so".to_owned()
}

fn first_version() -> Version {
    Version { epoch: types::Epoch(1), revision: Revision(1) }
}

impl Faults {
    /// How long the next call takes.
    pub(super) fn pause(&self, jitter: Jitter) -> Duration {
        Duration::from_millis(self.delay_ms) + Duration::from_millis(self.jitter_ms).mul_f64(jitter.share())
    }

    /// Why `object` is refused, if it is.
    pub(super) fn refusal(&self, object: Object) -> Option<&str> {
        self.refusal_of(&object.to_string())
    }

    /// Entries of a job's desired state that are refused though the rest is not.
    pub(super) fn refused_entries(&self, job: &Job) -> BTreeMap<ResourceId, EntryReport> {
        let (Object::Network(_), Want::Desired(state)) = (job.object, &job.want) else { return BTreeMap::new() };
        if self.refuse.is_empty() {
            return BTreeMap::new();
        }
        let Ok(network) = serde_json::from_str::<desired::Network>(state) else { return BTreeMap::new() };
        let leases = network.leases.keys().map(|id| ResourceId::from(*id));
        let peers = network.peers.keys().map(|id| ResourceId::from(*id));
        let refused = leases.chain(peers).filter_map(|id| {
            let reason = Some(self.refusal_of(&id.to_string())?.to_owned());
            Some((id, EntryReport { outcome: Outcome::Refused, reason }))
        });
        refused.collect()
    }

    /// Whether `object` is forgotten as soon as it was applied.
    pub(super) fn forgets(&self, object: Object) -> bool {
        self.forget.iter().any(|pattern| pattern.matches(&object.to_string()))
    }

    /// What the target says that it holds, given what was applied.
    pub(super) fn as_held(&self, applied: Vec<Held>) -> Vec<Held> {
        let older = |held: Held| {
            let revision = Revision(held.version.revision.0.saturating_sub(self.older_by));
            Held { version: Version { revision, ..held.version }, ..held }
        };
        let foreign = self.hold.iter().map(|foreign| Held { object: foreign.object, version: foreign.version });
        applied.into_iter().map(older).chain(foreign).collect()
    }

    fn refusal_of(&self, name: &str) -> Option<&str> {
        self.refuse.iter().find(|refusal| refusal.what.matches(name)).map(|refusal| refusal.reason.as_str())
    }
}
