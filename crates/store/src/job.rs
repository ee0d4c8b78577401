//! Jobs: what each target should hold, and what it said of it.

use std::collections::BTreeMap;

use sqlx::FromRow;
use types::{Epoch, ResourceId, Revision, TargetId, TenantName, Version};

use crate::column::{counter, json, narrow, parse};
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// One object on one target.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// The router or hypervisor.
    pub target: TargetId,
    /// The object, as in `network/net-…`.
    pub object: String,
    /// Whose it is.
    pub tenant: TenantName,
    /// The resource that it serves.
    pub resource: ResourceId,
    /// Which rendering this is.
    pub version: Version,
    /// Features that the target must have.
    pub requires: Vec<String>,
    /// The desired state with references to secrets; `None` for gone.
    pub desired: Option<serde_json::Value>,
    /// The rendering that was reported on last.
    pub reported: Version,
    /// What was reported: `applied`, `retrying` or `refused`.
    pub outcome: Option<String>,
    /// Why it was not applied.
    pub reason: Option<String>,
    /// What was reported of entries, by resource id, as (outcome, reason).
    pub entries: BTreeMap<String, (String, Option<String>)>,
}

/// What a target says of a job.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The object.
    pub object: String,
    /// The rendering that it is about.
    pub version: Version,
    /// `applied`, `retrying` or `refused`.
    pub outcome: &'static str,
    /// Why it was not applied.
    pub reason: Option<String>,
    /// Outcomes of entries, by resource id.
    pub entries: BTreeMap<String, (String, Option<String>)>,
}

#[derive(FromRow)]
struct Columns {
    target: String,
    object: String,
    tenant: String,
    resource: String,
    epoch: i64,
    revision: i64,
    requires: String,
    desired: Option<String>,
    reported_epoch: i64,
    reported_revision: i64,
    outcome: Option<String>,
    reason: Option<String>,
    entries: String,
}

impl TryFrom<Columns> for JobRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self> {
        let version = |epoch, revision| -> Result<Version> {
            Ok(Version {
                epoch: Epoch(narrow("job.epoch", epoch)?),
                revision: Revision(narrow("job.revision", revision)?),
            })
        };
        Ok(Self {
            target: parse("job.target", &columns.target)?,
            tenant: parse("job.tenant", &columns.tenant)?,
            resource: parse("job.resource", &columns.resource)?,
            version: version(columns.epoch, columns.revision)?,
            requires: json("job.requires", &columns.requires)?,
            desired: columns.desired.map(|desired| json("job.desired", &desired)).transpose()?,
            reported: version(columns.reported_epoch, columns.reported_revision)?,
            entries: json("job.entries", &columns.entries)?,
            object: columns.object,
            outcome: columns.outcome,
            reason: columns.reason,
        })
    }
}

/// The rows that can be read. One that cannot must not keep a target from the others.
fn readable(rows: Vec<Columns>) -> Vec<JobRow> {
    let read = |columns: Columns| {
        let (target, object) = (columns.target.clone(), columns.object.clone());
        match JobRow::try_from(columns) {
            Ok(row) => Some(row),
            Err(error) => {
                tracing::error!(target, object, %error, "a job is left out");
                None
            }
        }
    };
    rows.into_iter().filter_map(read).collect()
}

impl JobRow {
    /// Whether the target has confirmed this very rendering.
    pub fn is_confirmed(&self) -> bool {
        self.reported == self.version && self.outcome.as_deref() == Some("applied")
    }
}

/// Every query of jobs begins like this.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT target, object, tenant, resource, epoch, revision, requires, desired, reported_epoch, \
             reported_revision, outcome, reason, entries FROM job ",
            $rest
        )
    };
}

impl<Mode> Session<'_, Mode> {
    /// One job.
    pub async fn job(&mut self, caller: &Caller, target: TargetId, object: &str) -> Result<Option<JobRow>> {
        let columns: Option<Columns> = self
            .fetch_optional(
                sql(select_jobs!("WHERE target = $1 AND object = $2 AND tenant LIKE $3 || ''"))
                    .bind(target.to_string())
                    .bind(object)
                    .bind(caller.pattern()),
            )
            .await?;
        columns.map(JobRow::try_from).transpose()
    }

    /// All jobs of a target, confirmed ones too.
    pub async fn jobs_of_target(&mut self, caller: &Caller, target: TargetId) -> Result<Vec<JobRow>> {
        let rows: Vec<Columns> = self
            .fetch_all(
                sql(select_jobs!("WHERE target = $1 AND tenant LIKE $2 || '' ORDER BY object"))
                    .bind(target.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        Ok(readable(rows))
    }

    /// The jobs of a target that it has not answered in their newest rendering.
    pub async fn unanswered_jobs(&mut self, caller: &Caller, target: TargetId) -> Result<Vec<JobRow>> {
        let rows: Vec<Columns> = self.fetch_all(sql(select_jobs!(
            "WHERE target = $1 AND tenant LIKE $2 || '' AND (reported_epoch <> epoch OR reported_revision <> revision) \
             ORDER BY object"
        ))
        .bind(target.to_string())
        .bind(caller.pattern()))
        .await?;
        Ok(readable(rows))
    }

    /// All jobs that serve a resource.
    pub async fn jobs_of_resource(&mut self, caller: &Caller, resource: ResourceId) -> Result<Vec<JobRow>> {
        let rows: Vec<Columns> = self
            .fetch_all(
                sql(select_jobs!("WHERE resource = $1 AND tenant LIKE $2 || '' ORDER BY target, object"))
                    .bind(resource.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        rows.into_iter().map(JobRow::try_from).collect()
    }
}

impl Session<'_, Write> {
    /// Sets what a target should hold of an object, `None` for gone. A state that the row has already keeps its
    /// version; any other gets the next revision.
    pub async fn render_job(
        &mut self,
        caller: &Caller,
        target: TargetId,
        object: &str,
        resource: ResourceId,
        desired: Option<&serde_json::Value>,
    ) -> Result<Version> {
        let epoch = self.installation().epoch;
        let before = self.job(caller, target, object).await?;
        if let Some(row) = &before
            && row.version.epoch == epoch
            && row.desired.as_ref() == desired
        {
            return Ok(row.version);
        }
        let revision = match &before {
            Some(row) => row.version.revision.next(),
            None => self.last_revision(target).await?.next(),
        };
        let tenant = match &before {
            Some(row) => row.tenant.clone(),
            None => self.tenant_of(caller, resource).await?,
        };
        self.execute(sql(
            "INSERT INTO job (target, object, tenant, resource, epoch, revision, desired, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (target, object) DO UPDATE SET \
             epoch = excluded.epoch, revision = excluded.revision, desired = excluded.desired, updated_at = excluded.updated_at, \
             idle_since = NULL",
        )
        .bind(target.to_string())
        .bind(object)
        .bind(tenant.as_str())
        .bind(resource.to_string())
        .bind(counter(epoch.0))
        .bind(counter(revision.0))
        .bind(desired.map(ToString::to_string))
        .bind(self.now()))
        .await?;
        Ok(Version { epoch, revision })
    }

    /// Says what a target must be able to do for an object.
    pub async fn require(&mut self, target: TargetId, object: &str, features: &[&str]) -> Result<()> {
        let features = serde_json::to_string(features).map_err(|error| StoreError::Unusable(error.to_string()))?;
        self.execute(
            sql("UPDATE job SET requires = $1 WHERE target = $2 AND object = $3")
                .bind(features)
                .bind(target.to_string())
                .bind(object),
        )
        .await?;
        Ok(())
    }

    /// Keeps a target's report, unless it is about an older rendering than one reported on before, or about one that
    /// was never made. Says whether it was kept.
    pub async fn keep_report(&mut self, _caller: &Caller, target: TargetId, report: &JobReport) -> Result<bool> {
        let entries =
            serde_json::to_string(&report.entries).map_err(|error| StoreError::Unusable(error.to_string()))?;
        let done = self.execute(sql(
            "UPDATE job SET reported_epoch = $1, reported_revision = $2, outcome = $3, reason = $4, entries = $5, \
             updated_at = $6 WHERE target = $7 AND object = $8 \
             AND (reported_epoch < $1 OR (reported_epoch = $1 AND reported_revision <= $2)) \
             AND (epoch > $1 OR (epoch = $1 AND revision >= $2))",
        )
        .bind(counter(report.version.epoch.0))
        .bind(counter(report.version.revision.0))
        .bind(report.outcome)
        .bind(report.reason.as_deref())
        .bind(entries)
        .bind(self.now())
        .bind(target.to_string())
        .bind(&report.object))
        .await?;
        if done > 0 && report.outcome == "applied" {
            self.forget_tombstone(target, report).await?;
        }
        Ok(done > 0)
    }

    /// Forgets a tombstone that its target has confirmed. The object's revisions go on where they were, should it ever
    /// come back, so that what was sent before is never taken for something else.
    async fn forget_tombstone(&mut self, target: TargetId, report: &JobReport) -> Result<()> {
        let forgotten = self
            .execute(
                sql("DELETE FROM job WHERE target = $1 AND object = $2 AND desired IS NULL AND epoch = $3 AND revision = $4")
                    .bind(target.to_string())
                    .bind(&report.object)
                    .bind(counter(report.version.epoch.0))
                    .bind(counter(report.version.revision.0)),
            )
            .await?;
        if forgotten == 0 {
            return Ok(());
        }
        self.execute(
            sql("UPDATE target SET last_revision = $1 WHERE id = $2 AND last_revision < $1")
                .bind(counter(report.version.revision.0))
                .bind(target.to_string()),
        )
        .await?;
        self.forget_held(target, &report.object).await
    }

    async fn last_revision(&mut self, target: TargetId) -> Result<Revision> {
        let statement = sql("SELECT last_revision FROM target WHERE id = $1").bind(target.to_string());
        let last: i64 = self.fetch_optional_scalar(statement).await?.unwrap_or(0);
        Ok(Revision(narrow("target.last_revision", last)?))
    }

    /// Has a job that its target has not applied sent once more, as a further revision.
    pub async fn repeat_job(&mut self, target: TargetId, object: &str) -> Result<()> {
        self.execute(
            sql("UPDATE job SET revision = revision + 1, updated_at = $1 WHERE target = $2 AND object = $3 \
                 AND (outcome IS NULL OR outcome <> 'applied' OR reported_revision <> revision OR reported_epoch <> epoch)")
            .bind(self.now())
            .bind(target.to_string())
            .bind(object),
        )
        .await?;
        Ok(())
    }

    /// Notes since when no instance of a hypervisor uses an image in its cache.
    pub async fn note_idle_caches(&mut self) -> Result<()> {
        self.execute(
            sql("UPDATE job SET idle_since = $1 WHERE idle_since IS NULL AND desired IS NOT NULL AND object LIKE 'image/%' \
                 AND NOT EXISTS (SELECT 1 FROM placement p JOIN reference f ON f.source = p.instance \
                 WHERE p.hypervisor = job.target AND f.target = job.resource)")
            .bind(self.now()),
        )
        .await?;
        self.execute(sql("UPDATE job SET idle_since = NULL WHERE idle_since IS NOT NULL AND EXISTS \
             (SELECT 1 FROM placement p JOIN reference f ON f.source = p.instance \
             WHERE p.hypervisor = job.target AND f.target = job.resource)"))
            .await?;
        Ok(())
    }

    /// Cached images, as (hypervisor, object), that nobody has used since then.
    pub async fn idle_caches(&mut self, since: i64) -> Result<Vec<(TargetId, String)>> {
        let statement = sql("SELECT target, object FROM job WHERE idle_since <= $1 AND desired IS NOT NULL");
        let rows: Vec<(String, String)> = self.fetch_all(statement.bind(since)).await?;
        rows.into_iter().map(|(target, object)| Ok((parse("job.target", &target)?, object))).collect()
    }
}
