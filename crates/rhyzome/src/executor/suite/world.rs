//! Routers and hypervisors that hold what the database tells them, without a wire in between.

use std::collections::{BTreeMap, BTreeSet};

use jobs::{Job, Object, Report, Want};
use store::Caller;
use types::{TargetId, Version};

use crate::core::Core;
use crate::job_server::report;

/// All targets of an installation.
#[derive(Default)]
pub struct World {
    /// What each target holds.
    pub held: BTreeMap<(TargetId, Object), (Version, String)>,
    /// Targets that are away.
    pub away: BTreeSet<TargetId>,
    /// Whether what is to be there is refused.
    pub refuses: bool,
    /// Whether networks that are to be there are refused.
    pub refuses_networks: bool,
    /// What was told last of each object, to see that no version ever means two things.
    told: BTreeMap<(TargetId, Object), (Version, Option<String>)>,
}

impl World {
    /// Tells every target that is there what it has not answered, and keeps its answer. Gives how many there were.
    pub async fn deliver(&mut self, core: &Core, targets: &[TargetId]) -> usize {
        let caller = Caller::core();
        let mut answered = 0;
        for target in targets {
            if self.away.contains(target) {
                continue;
            }
            let rows = core.store.read().await.unwrap().unanswered_jobs(&caller, *target).await.unwrap();
            for row in rows {
                let want = row.desired.map_or(Want::Gone, |desired| Want::Desired(desired.to_string()));
                let object: Object = row.object.parse().unwrap();
                let report = self.take(*target, Job { object, version: row.version, requires: row.requires, want });
                let mut session = core.store.write().await.unwrap();
                report::keep(core, &mut session, *target, &report).await.unwrap();
                session.commit().await.unwrap();
                answered += 1;
            }
        }
        answered
    }

    fn take(&mut self, target: TargetId, job: Job) -> Report {
        let key = (target, job.object);
        let wanted = match &job.want {
            Want::Desired(state) => Some(state.clone()),
            Want::Gone => None,
        };
        if let Some((version, state)) = self.told.get(&key) {
            assert!(job.version >= *version, "{}: {} after {version}", job.object, job.version);
            assert!(job.version > *version || wanted == *state, "{}: {version} means two things", job.object);
        }
        self.told.insert(key, (job.version, wanted.clone()));
        match wanted {
            Some(_) if self.refuses || self.refuses_networks && matches!(job.object, Object::Network(_)) => {
                return Report::refused(&job, "the suite says so");
            }
            Some(state) => self.held.insert(key, (job.version, state)),
            None => self.held.remove(&key),
        };
        Report::applied(&job)
    }

    /// What every target holds, without versions.
    pub fn objects(&self) -> BTreeMap<(TargetId, Object), String> {
        self.held.iter().map(|(key, (_, state))| (*key, state.clone())).collect()
    }
}
