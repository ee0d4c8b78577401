//! Placement: which hypervisor an instance is on, what it takes there, and what every hypervisor has left.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::FromRow;
use types::{InstanceId, ResourceId, TargetId};

use crate::column::{counter, json, narrow, parse, parse_optional};
use crate::statement::sql;
use crate::{Caller, Result, Session, Write};

/// What an instance takes of its hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Processors.
    pub vcpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in bytes.
    pub disk_bytes: u64,
}

/// What may be placed on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Whatever fits.
    Open,
    /// Nothing more; what is there stays.
    Drained,
    /// Nothing: a person declared that it does not come back with what it held.
    Lost,
}

/// A hypervisor, what it can take, and what its instances take of that.
#[derive(Clone, Debug)]
pub struct HypervisorRow {
    /// The target.
    pub id: TargetId,
    /// Its name.
    pub name: String,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Why its agent cannot read it, where that is so.
    pub trouble: Option<String>,
    /// What may be placed on it.
    pub availability: Availability,
    /// What desired states may require of its agent.
    pub features: Vec<String>,
    /// What it can take, as its agent reported.
    pub capacity: serde_json::Value,
    /// How many instances are on it.
    pub instances: u64,
    /// What they take.
    pub taken: Taken,
}

#[derive(FromRow)]
struct Columns {
    id: String,
    name: String,
    capacity: String,
    drained_at: Option<i64>,
    lost_at: Option<i64>,
    connected: Option<i64>,
    trouble: Option<String>,
    features: Option<String>,
    instances: i64,
    vcpus: i64,
    memory_mib: i64,
    disk_bytes: i64,
}

impl TryFrom<Columns> for HypervisorRow {
    type Error = crate::StoreError;

    fn try_from(columns: Columns) -> Result<Self> {
        Ok(Self {
            id: parse("target.id", &columns.id)?,
            name: columns.name,
            connected: columns.connected == Some(1),
            trouble: columns.trouble,
            availability: Availability::of(columns.drained_at, columns.lost_at),
            features: json("agent.features", columns.features.as_deref().unwrap_or("[]"))?,
            capacity: json("target.capacity", &columns.capacity)?,
            instances: narrow("count", columns.instances)?,
            taken: Taken {
                vcpus: narrow("placement.vcpus", columns.vcpus)?,
                memory_mib: narrow("placement.memory_mib", columns.memory_mib)?,
                disk_bytes: narrow("placement.disk_bytes", columns.disk_bytes)?,
            },
        })
    }
}

impl Availability {
    pub(crate) fn of(drained_at: Option<i64>, lost_at: Option<i64>) -> Self {
        match (drained_at, lost_at) {
            (_, Some(_)) => Self::Lost,
            (Some(_), None) => Self::Drained,
            (None, None) => Self::Open,
        }
    }
}

impl<Mode> Session<'_, Mode> {
    /// The hypervisor that an instance is placed on.
    pub async fn placement(&mut self, caller: &Caller, instance: InstanceId) -> Result<Option<TargetId>> {
        let hypervisor: Option<String> = self
            .fetch_optional_scalar(
                sql("SELECT hypervisor FROM placement WHERE instance = $1 AND tenant LIKE $2 || ''")
                    .bind(instance.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        parse_optional("placement.hypervisor", hypervisor)
    }

    /// What an instance takes where it is placed; nothing where it is not.
    pub async fn taken(&mut self, caller: &Caller, instance: InstanceId) -> Result<Taken> {
        let row: Option<(i64, i64, i64)> = self
            .fetch_optional(
                sql("SELECT vcpus, memory_mib, disk_bytes FROM placement WHERE instance = $1 AND tenant LIKE $2 || ''")
                    .bind(instance.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        let Some((vcpus, memory_mib, disk_bytes)) = row else { return Ok(Taken::default()) };
        Ok(Taken {
            vcpus: narrow("placement.vcpus", vcpus)?,
            memory_mib: narrow("placement.memory_mib", memory_mib)?,
            disk_bytes: narrow("placement.disk_bytes", disk_bytes)?,
        })
    }

    /// All hypervisors that the caller may see, with what is taken of each.
    pub async fn hypervisors(&mut self, caller: &Caller) -> Result<Vec<HypervisorRow>> {
        let rows: Vec<Columns> = self
            .fetch_all(
                sql("SELECT t.id, t.name, t.capacity, t.drained_at, t.lost_at, a.connected, a.trouble, a.features, \
                    COALESCE(p.instances, 0) AS instances, COALESCE(p.vcpus, 0) AS vcpus, \
                    COALESCE(p.memory_mib, 0) AS memory_mib, COALESCE(p.disk_bytes, 0) AS disk_bytes \
                    FROM target t LEFT JOIN agent a ON a.id = (SELECT MAX(id) FROM agent WHERE target = t.id) \
                    LEFT JOIN (SELECT hypervisor, COUNT(*) AS instances, CAST(SUM(vcpus) AS BIGINT) AS vcpus, \
                    CAST(SUM(memory_mib) AS BIGINT) AS memory_mib, CAST(SUM(disk_bytes) AS BIGINT) AS disk_bytes \
                    FROM placement GROUP BY hypervisor) p ON p.hypervisor = t.id \
                    WHERE t.kind = 'hypervisor' AND t.tenant LIKE $1 || '' ORDER BY t.id")
                .bind(caller.pattern()),
            )
            .await?;
        rows.into_iter().map(HypervisorRow::try_from).collect()
    }

    /// How many instances on each hypervisor have the same value of a tag as `instance`, which is not counted.
    pub async fn placed_with_tag(
        &mut self,
        caller: &Caller,
        instance: InstanceId,
        tag: &str,
    ) -> Result<BTreeMap<TargetId, u64>> {
        let rows = self
            .fetch_all(
                sql("SELECT p.hypervisor, COUNT(*) FROM tag mine \
                    JOIN tag t ON t.tenant = mine.tenant AND t.name = mine.name AND t.value = mine.value \
                    JOIN placement p ON p.instance = t.resource \
                    WHERE mine.resource = $1 AND mine.name = $2 AND p.instance <> $1 AND mine.tenant LIKE $3 || '' \
                    GROUP BY p.hypervisor")
                .bind(instance.to_string())
                .bind(tag)
                .bind(caller.pattern()),
            )
            .await?;
        counted(rows)
    }

    /// How many instances on each hypervisor refer to `resource`.
    pub async fn placed_with(&mut self, caller: &Caller, resource: ResourceId) -> Result<BTreeMap<TargetId, u64>> {
        let rows = self
            .fetch_all(
                sql("SELECT p.hypervisor, COUNT(*) FROM reference f JOIN placement p ON p.instance = f.source \
                    WHERE f.target = $1 AND p.tenant LIKE $2 || '' GROUP BY p.hypervisor")
                .bind(resource.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        counted(rows)
    }

    /// The targets that are to hold an object.
    pub async fn holders(&mut self, caller: &Caller, object: &str) -> Result<BTreeSet<TargetId>> {
        let rows: Vec<String> = self
            .fetch_scalars(
                sql("SELECT target FROM job WHERE object = $1 AND desired IS NOT NULL AND tenant LIKE $2 || ''")
                    .bind(object)
                    .bind(caller.pattern()),
            )
            .await?;
        rows.iter().map(|target| parse("job.target", target)).collect()
    }

    /// The instances on a hypervisor.
    pub async fn placed_on(&mut self, caller: &Caller, hypervisor: TargetId) -> Result<Vec<InstanceId>> {
        let rows: Vec<String> = self
            .fetch_scalars(
                sql("SELECT instance FROM placement WHERE hypervisor = $1 AND tenant LIKE $2 || '' ORDER BY instance")
                    .bind(hypervisor.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        rows.iter().map(|instance| parse("placement.instance", instance)).collect()
    }

    /// What may be placed on a target.
    pub async fn availability(&mut self, target: TargetId) -> Result<Availability> {
        let row: Option<(Option<i64>, Option<i64>)> = self
            .fetch_optional(sql("SELECT drained_at, lost_at FROM target WHERE id = $1").bind(target.to_string()))
            .await?;
        Ok(row.map_or(Availability::Open, |(drained_at, lost_at)| Availability::of(drained_at, lost_at)))
    }
}

impl Session<'_, Write> {
    /// Places an instance on a hypervisor, once.
    pub async fn place(
        &mut self,
        caller: &Caller,
        instance: InstanceId,
        hypervisor: TargetId,
        taken: Taken,
    ) -> Result<()> {
        let tenant = self.tenant_of(caller, instance.into()).await?;
        self.execute(
            sql("INSERT INTO placement (instance, tenant, hypervisor, vcpus, memory_mib, disk_bytes) \
                VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(instance.to_string())
            .bind(tenant.as_str())
            .bind(hypervisor.to_string())
            .bind(counter(taken.vcpus))
            .bind(counter(taken.memory_mib))
            .bind(counter(taken.disk_bytes)),
        )
        .await?;
        Ok(())
    }

    /// Changes what an instance takes where it is.
    pub async fn take(&mut self, caller: &Caller, instance: InstanceId, taken: Taken) -> Result<()> {
        self.execute(
            sql("UPDATE placement SET vcpus = $1, memory_mib = $2, disk_bytes = $3 \
                WHERE instance = $4 AND tenant LIKE $5 || ''")
            .bind(counter(taken.vcpus))
            .bind(counter(taken.memory_mib))
            .bind(counter(taken.disk_bytes))
            .bind(instance.to_string())
            .bind(caller.pattern()),
        )
        .await?;
        Ok(())
    }

    /// Takes an instance off a hypervisor that does not run it any more, or was declared lost.
    pub async fn displace(&mut self, caller: &Caller, instance: InstanceId) -> Result<()> {
        self.execute(
            sql("DELETE FROM placement WHERE instance = $1 AND tenant LIKE $2 || ''")
                .bind(instance.to_string())
                .bind(caller.pattern()),
        )
        .await?;
        Ok(())
    }

    /// Says what may be placed on a target from this moment on.
    pub async fn set_availability(&mut self, target: TargetId, availability: Availability) -> Result<()> {
        let (drained_at, lost_at) = match availability {
            Availability::Open => (None, None),
            Availability::Drained => (Some(self.now()), None),
            Availability::Lost => (None, Some(self.now())),
        };
        self.execute(
            sql("UPDATE target SET drained_at = $1, lost_at = $2 WHERE id = $3")
                .bind(drained_at)
                .bind(lost_at)
                .bind(target.to_string()),
        )
        .await?;
        Ok(())
    }
}

fn counted(rows: Vec<(String, i64)>) -> Result<BTreeMap<TargetId, u64>> {
    rows.iter().map(|(target, count)| Ok((parse("target.id", target)?, narrow("count", *count)?))).collect()
}
