//! What must be true of the database beyond its constraints, looked for by `rhyzome admin doctor`.

use std::collections::BTreeMap;

use types::{ResourceId, SecretId};

use crate::column::{narrow, parse};
use crate::statement::sql;
use crate::{Caller, Result, Session};

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it is about.
    pub subject: String,
    /// What is wrong with it.
    pub what: &'static str,
    /// What a person can do.
    pub remedy: &'static str,
}

struct Check {
    query: &'static str,
    what: &'static str,
    remedy: &'static str,
}

const RESTORE: &str = "rows were changed by hand or lost: restore a backup, or report it with this line";
const DELETE: &str = "delete it, and make it again";
const WAIT: &str = "start the core, or look into its log; rhyzome admin operation show tells more";

/// Each gives the subjects of what is wrong. `$1` is the time.
const CHECKS: [Check; 20] = [
    Check {
        query: "SELECT a.network FROM (SELECT network FROM slot UNION SELECT network FROM segment \
                UNION SELECT network FROM subnet UNION SELECT network FROM address UNION SELECT network FROM admission) a \
                WHERE $1 > 0 AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.id = a.network)",
        what: "a slot, segment, subnet, address or admission is allotted to a network that does not exist",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT a.instance FROM (SELECT instance FROM address WHERE instance IS NOT NULL \
                UNION SELECT instance FROM mac UNION SELECT instance FROM placement) a \
                WHERE $1 > 0 AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.id = a.instance)",
        what: "an address, MAC or placement is allotted to an instance that does not exist",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT a.peer FROM (SELECT peer FROM peer_address WHERE peer IS NOT NULL UNION SELECT peer FROM admission) a \
                WHERE $1 > 0 AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.id = a.peer)",
        what: "an address or admission is allotted to a peer that does not exist",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT r.id FROM resource r WHERE $1 > 0 AND r.kind = 'network' AND r.state <> 'failed' \
                AND NOT (EXISTS (SELECT 1 FROM slot a WHERE a.network = r.id) \
                AND EXISTS (SELECT 1 FROM segment a WHERE a.network = r.id) \
                AND EXISTS (SELECT 1 FROM subnet a WHERE a.network = r.id))",
        what: "the network has no slot, segment or subnet",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT r.id FROM resource r WHERE $1 > 0 AND r.kind = 'instance' AND r.state <> 'failed' \
                AND NOT (EXISTS (SELECT 1 FROM address a WHERE a.instance = r.id) \
                AND EXISTS (SELECT 1 FROM mac a WHERE a.instance = r.id))",
        what: "the instance has no address or MAC",
        remedy: DELETE,
    },
    Check {
        query: "SELECT r.id FROM resource r WHERE $1 > 0 AND r.kind = 'peer' AND r.state <> 'failed' \
                AND NOT EXISTS (SELECT 1 FROM peer_address a WHERE a.peer = r.id)",
        what: "the peer has no address",
        remedy: DELETE,
    },
    Check {
        query: "SELECT s.network FROM slot s JOIN subnet n ON n.network = s.network \
                WHERE $1 > 0 AND n.router <> s.router",
        what: "the network's slot and subnet are of different routers",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT a.network FROM address a JOIN subnet n ON n.network = a.network \
                WHERE $1 > 0 AND NOT a.address BETWEEN n.first_address AND n.last_address",
        what: "the network has an address outside its subnet",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT a.network FROM subnet a JOIN subnet b ON b.router = a.router AND b.network > a.network \
                WHERE $1 > 0 AND a.first_address <= b.last_address AND b.first_address <= a.last_address",
        what: "the network's subnet overlaps another's on the same router",
        remedy: "delete one of them",
    },
    Check {
        query: "SELECT f.source FROM reference f WHERE $1 > 0 AND NOT (EXISTS (SELECT 1 FROM resource r WHERE r.id = f.source) \
                AND EXISTS (SELECT 1 FROM resource r WHERE r.id = f.target))",
        what: "it refers to what does not exist",
        remedy: DELETE,
    },
    Check {
        query: "SELECT r.id FROM resource r WHERE $1 > 0 AND NOT EXISTS (SELECT 1 FROM status s WHERE s.resource = r.id)",
        what: "the resource has no status, so that lists do not show it",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT j.object FROM job j WHERE $1 > 0 AND j.desired IS NOT NULL \
                AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.id = j.resource)",
        what: "a target is to hold what belongs to no resource",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT s.network FROM slot s JOIN resource r ON r.id = s.network WHERE $1 > 0 AND r.state = 'ready' \
                AND NOT EXISTS (SELECT 1 FROM job j WHERE j.target = s.router AND j.resource = r.id AND j.desired IS NOT NULL) \
                UNION ALL SELECT p.instance FROM placement p JOIN resource r ON r.id = p.instance WHERE r.state = 'ready' \
                AND NOT EXISTS (SELECT 1 FROM job j WHERE j.target = p.hypervisor AND j.resource = r.id AND j.desired IS NOT NULL)",
        what: "the resource is ready, and its router or hypervisor is not told to have it",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT a.instance FROM address a JOIN resource r ON r.id = a.instance WHERE $1 > 0 AND r.state = 'ready' \
                AND NOT EXISTS (SELECT 1 FROM reference f WHERE f.source = a.instance AND f.target = a.network)",
        what: "the instance does not count as one of its network, which could be deleted under it",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT a.peer FROM admission a JOIN resource r ON r.id = a.peer WHERE $1 > 0 AND r.state = 'ready' \
                AND a.served = 1 AND NOT EXISTS \
                (SELECT 1 FROM reference f WHERE f.source = a.peer AND f.target = a.network)",
        what: "the peer does not count as one of its network, which could be deleted under it",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT r.id FROM resource r WHERE $1 > 0 AND r.state IN ('creating', 'updating', 'deleting') AND NOT EXISTS \
                (SELECT 1 FROM operation o WHERE o.resource = r.id AND o.state IN ('pending', 'running'))",
        what: "the resource is to change, and no operation is under way",
        remedy: "delete it: that works from every state",
    },
    Check {
        query: "SELECT o.id FROM operation o WHERE $1 > 0 AND o.state IN ('pending', 'running') \
                AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.id = o.resource)",
        what: "the operation is on a resource that does not exist",
        remedy: RESTORE,
    },
    Check {
        query: "SELECT o.id FROM operation o WHERE o.state = 'running' AND NOT EXISTS \
                (SELECT 1 FROM replica c WHERE c.id = o.owner AND c.lease_until > $1 - 60000)",
        what: "the core that worked on the operation is gone, and no other has taken it over",
        remedy: WAIT,
    },
    Check {
        query: "SELECT o.id FROM operation o WHERE o.state = 'pending' AND o.created_at < $1 - 60000 \
                AND NOT EXISTS (SELECT 1 FROM installation i WHERE i.name = 'paused')",
        what: "the operation waits for a core to work on it",
        remedy: WAIT,
    },
    Check {
        query: "SELECT o.id FROM operation o WHERE o.state IN ('pending', 'running') AND o.deadline_at < $1",
        what: "the operation is stuck",
        remedy: "rhyzome admin operation show tells what it waits for; retry and cancel are there too",
    },
];

/// What [`Session::census`] counts, each with its query.
macro_rules! tables {
    ($($table:literal)*) => {
        /// The tables that hold something for as long as a resource has it.
        pub const TABLES: &[&str] = &[$($table),*];
        const COUNTS: &[&str] = &[$(concat!("SELECT COUNT(*) FROM ", $table)),*];
    };
}
tables! {
    "resource" "status" "condition" "tag" "reference" "slot" "segment" "subnet" "address WHERE instance IS NOT NULL" "mac"
    "placement" "peer_address WHERE peer IS NOT NULL" "admission" "secret" "job"
    "operation WHERE state IN ('pending', 'running')"
}

impl<Mode> Session<'_, Mode> {
    /// Everything that is not as it must be, as far as the database can tell.
    pub async fn violations(&mut self) -> Result<Vec<Violation>> {
        let mut violations = Vec::new();
        for check in &CHECKS {
            let subjects: Vec<String> = self.fetch_scalars(sql(check.query).bind(self.now())).await?;
            let found = |subject| Violation { subject, what: check.what, remedy: check.remedy };
            violations.extend(subjects.into_iter().map(found));
        }
        Ok(violations)
    }

    /// How many rows each of [`TABLES`] has.
    pub async fn census(&mut self) -> Result<BTreeMap<&'static str, u64>> {
        let mut census = BTreeMap::new();
        for (table, query) in TABLES.iter().zip(COUNTS) {
            let count: i64 = self.fetch_scalar(sql(query)).await?;
            census.insert(*table, narrow("count", count)?);
        }
        Ok(census)
    }

    /// The ids of all resources.
    pub async fn resource_ids(&mut self, caller: &Caller) -> Result<Vec<ResourceId>> {
        let statement = sql("SELECT id FROM resource WHERE tenant LIKE $1 || '' ORDER BY id").bind(caller.pattern());
        let ids: Vec<String> = self.fetch_scalars(statement).await?;
        ids.iter().map(|id| parse("resource.id", id)).collect()
    }

    /// The ids of all secrets.
    pub async fn secret_ids(&mut self, caller: &Caller) -> Result<Vec<SecretId>> {
        let statement = sql("SELECT id FROM secret WHERE tenant LIKE $1 || '' ORDER BY id").bind(caller.pattern());
        let ids: Vec<String> = self.fetch_scalars(statement).await?;
        ids.iter().map(|id| parse("secret.id", id)).collect()
    }
}
