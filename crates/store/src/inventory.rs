//! What targets hold by their own account, and what of that nobody asked for.

use std::collections::BTreeMap;

use sqlx::FromRow;
use types::{Epoch, ResourceId, Revision, TargetId, Version};

use crate::column::{counter, narrow, parse};
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// An object that a target said it holds when it connected last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The router or hypervisor.
    pub target: TargetId,
    /// The target's name.
    pub name: String,
    /// The object, as in `network/net-…`.
    pub object: String,
    /// The rendering that it was brought to.
    pub version: Version,
    /// Since when it is known.
    pub first_seen_at: i64,
    /// When the target said so last.
    pub seen_at: i64,
}

#[derive(FromRow)]
struct Columns {
    target: String,
    name: String,
    object: String,
    epoch: i64,
    revision: i64,
    first_seen_at: i64,
    seen_at: i64,
}

impl TryFrom<Columns> for HeldRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self> {
        Ok(Self {
            target: parse("inventory.target", &columns.target)?,
            name: columns.name,
            object: columns.object,
            version: Version {
                epoch: Epoch(narrow("inventory.epoch", columns.epoch)?),
                revision: Revision(narrow("inventory.revision", columns.revision)?),
            },
            first_seen_at: columns.first_seen_at,
            seen_at: columns.seen_at,
        })
    }
}

/// Every query of inventories begins like this.
macro_rules! select_held {
    ($rest:literal) => {
        concat!(
            "SELECT i.target, t.name, i.object, i.epoch, i.revision, i.first_seen_at, i.seen_at FROM inventory i \
             JOIN target t ON t.id = i.target ",
            $rest
        )
    };
}

impl<Mode> Session<'_, Mode> {
    /// All that targets said they hold.
    pub async fn inventory(&mut self, caller: &Caller) -> Result<Vec<HeldRow>> {
        let statement = sql(select_held!("WHERE t.tenant LIKE $1 || '' ORDER BY t.name, i.object"));
        let rows: Vec<Columns> = self.fetch_all(statement.bind(caller.pattern())).await?;
        rows.into_iter().map(HeldRow::try_from).collect()
    }

    /// What targets hold and no job is about.
    pub async fn orphans(&mut self, caller: &Caller) -> Result<Vec<HeldRow>> {
        let statement = sql(select_held!(
            "WHERE t.tenant LIKE $1 || '' AND NOT EXISTS \
             (SELECT 1 FROM job j WHERE j.target = i.target AND j.object = i.object) ORDER BY t.name, i.object"
        ));
        let rows: Vec<Columns> = self.fetch_all(statement.bind(caller.pattern())).await?;
        rows.into_iter().map(HeldRow::try_from).collect()
    }
}

impl Session<'_, Write> {
    /// Keeps what a target says it holds, in the place of what it said before.
    pub async fn note_inventory(&mut self, target: TargetId, held: &BTreeMap<String, Version>) -> Result<()> {
        let before: Vec<String> =
            self.fetch_scalars(sql("SELECT object FROM inventory WHERE target = $1").bind(target.to_string())).await?;
        for object in before.iter().filter(|object| !held.contains_key(*object)) {
            self.forget_held(target, object).await?;
        }
        for (object, version) in held {
            self.execute(
                sql("INSERT INTO inventory (target, object, epoch, revision, first_seen_at, seen_at) \
                     VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (target, object) DO UPDATE SET \
                     epoch = excluded.epoch, revision = excluded.revision, seen_at = excluded.seen_at")
                .bind(target.to_string())
                .bind(object)
                .bind(counter(version.epoch.0))
                .bind(counter(version.revision.0))
                .bind(self.now()),
            )
            .await?;
        }
        Ok(())
    }

    /// Forgets that a target held an object.
    pub(crate) async fn forget_held(&mut self, target: TargetId, object: &str) -> Result<()> {
        let statement = sql("DELETE FROM inventory WHERE target = $1 AND object = $2");
        self.execute(statement.bind(target.to_string()).bind(object)).await?;
        Ok(())
    }

    /// Writes a tombstone for an orphan, so that its target takes it away.
    pub async fn bury_orphan(&mut self, orphan: &HeldRow, resource: ResourceId) -> Result<()> {
        let epoch = self.installation().epoch;
        self.execute(
            sql("INSERT INTO job (target, object, tenant, resource, epoch, revision, updated_at) \
                 SELECT id, $2, tenant, $3, $4, \
                 CASE WHEN last_revision < $5 THEN $5 ELSE last_revision END + 1, $6 FROM target WHERE id = $1")
            .bind(orphan.target.to_string())
            .bind(&orphan.object)
            .bind(resource.to_string())
            .bind(counter(epoch.0))
            .bind(counter(orphan.version.revision.0))
            .bind(self.now()),
        )
        .await?;
        Ok(())
    }
}
