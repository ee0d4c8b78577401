//! Resources: the envelope, the status beside it, tags, references and conditions.

use std::collections::BTreeSet;

use sqlx::FromRow;
use types::{Generation, ResourceId, ResourceName, TagKey, TagValue, Tags, TargetId, TenantName};

use crate::column::{json, narrow, parse};
use crate::filter::{Condition, Filter};
use crate::statement::sql;
use crate::{Caller, IdleTarget, Result, Session, StoreError, Write};

/// Resources that one query names by their ids, at most: engines have a limit of values.
const AT_ONCE: usize = 1000;
/// What stands between the items of a list in an answer, and between an item's fields.
const ITEM: char = '\u{1e}';
const FIELD: char = '\u{1f}';

/// A resource as the database has it; spec and status are JSON of the kind's types.
#[derive(Clone, Debug)]
pub struct ResourceRow {
    /// The id.
    pub id: ResourceId,
    /// Whose it is.
    pub tenant: TenantName,
    /// The noun of its kind.
    pub kind: String,
    /// The name.
    pub name: ResourceName,
    /// How often the spec was set.
    pub generation: Generation,
    /// Which release's form the spec has.
    pub spec_version: u32,
    /// What was asked.
    pub spec: serde_json::Value,
    /// Where it is in its life.
    pub state: String,
    /// What was observed.
    pub status: serde_json::Value,
    /// Tags.
    pub tags: Tags,
    /// What is true of it.
    pub conditions: Vec<ConditionRow>,
    /// The target that has it, of a network or an instance.
    pub holder: Option<HolderRow>,
    /// When it was asked for.
    pub created_at: i64,
    /// When its spec or state changed last.
    pub updated_at: i64,
}

/// Something that is true or not of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionRow {
    /// What it says.
    pub name: String,
    /// Whether it is so.
    pub holds: bool,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: i64,
}

/// The router that has a network, or the hypervisor that has an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderRow {
    /// The target.
    pub target: TargetId,
    /// The same where it cannot be worked.
    pub idle: Option<IdleTarget>,
}

impl ConditionRow {
    /// The condition that says whether what a resource is made of is there.
    pub const INTACT: &str = "intact";
}

impl ResourceRow {
    /// Whether something that it is made of was there once and is missing.
    pub fn is_lost(&self) -> bool {
        self.conditions.iter().any(|condition| condition.name == ConditionRow::INTACT && !condition.holds)
    }
}

/// A resource to be made.
pub struct NewResource<'a> {
    /// The id.
    pub id: ResourceId,
    /// Whose it is.
    pub tenant: &'a TenantName,
    /// The noun of its kind.
    pub kind: &'a str,
    /// The name.
    pub name: &'a ResourceName,
    /// Tags.
    pub tags: &'a Tags,
    /// Which form the spec has.
    pub spec_version: u32,
    /// What was asked.
    pub spec: &'a serde_json::Value,
    /// What is known so far.
    pub status: &'a serde_json::Value,
}

/// A resource with what other tables say of it.
#[derive(FromRow)]
struct Columns {
    id: String,
    tenant: String,
    kind: String,
    name: String,
    generation: i64,
    spec_version: i64,
    spec: String,
    state: String,
    body: String,
    created_at: i64,
    updated_at: i64,
    tags: Option<String>,
    conditions: Option<String>,
    holder: Option<String>,
    holder_called: Option<String>,
    holder_hands: i64,
    holder_trouble: Option<String>,
    holder_seen_at: Option<i64>,
}

/// Every query of resources begins like this, and goes on with which are meant.
const SELECT: &str = "WITH page AS (SELECT r.id, r.tenant, r.kind, r.name, r.generation, r.spec_version, r.spec, \
     r.state, s.body, r.created_at, r.updated_at FROM resource r JOIN status s ON s.resource = r.id ";

/// And it ends like this: what other tables say of the resources of a page comes with them, one row each, since rows are
/// what an answer costs. Lists are texts, their items behind the separator of records, the items' fields behind that of
/// units (ASCII): `name value` of tags, `name holds since [reason]` of conditions.
const WITH_ALL: &str = ") SELECT p.*, \
     (SELECT string_agg(t.name || '\u{1f}' || t.value, '\u{1e}') FROM tag t WHERE t.resource = p.id) AS tags, \
     (SELECT string_agg(c.name || '\u{1f}' || c.holds || '\u{1f}' || c.since || \
     COALESCE('\u{1f}' || REPLACE(c.reason, '\u{1e}', ' '), ''), '\u{1e}' ORDER BY c.name) \
     FROM condition c WHERE c.resource = p.id) AS conditions, \
     h.id AS holder, h.kind || ' ' || h.name AS holder_called, \
     (SELECT COUNT(*) FROM agent a WHERE a.target = h.id AND a.connected = 1 AND a.trouble IS NULL) AS holder_hands, \
     (SELECT MAX(a.trouble) FROM agent a WHERE a.target = h.id AND a.connected = 1) AS holder_trouble, \
     (SELECT MAX(a.last_seen_at) FROM agent a WHERE a.target = h.id) AS holder_seen_at \
     FROM page p LEFT JOIN slot o ON o.network = p.id LEFT JOIN placement l ON l.instance = p.id \
     LEFT JOIN target h ON h.id = COALESCE(o.router, l.hypervisor) ORDER BY p.id";

impl<Mode> Session<'_, Mode> {
    /// One resource.
    pub async fn resource(&mut self, caller: &Caller, id: ResourceId) -> Result<ResourceRow> {
        let values = vec![id.to_string().into(), caller.pattern().into()];
        let found = self.select(Condition::new(SELECT).and("WHERE r.id = ? AND r.tenant LIKE ? || ''", values)).await?;
        found.into_iter().next().ok_or_else(|| StoreError::not_found(id))
    }

    /// The resource of that kind and name.
    pub async fn resource_called(
        &mut self,
        caller: &Caller,
        tenant: &TenantName,
        kind: &str,
        name: &ResourceName,
    ) -> Result<ResourceRow> {
        let values = vec![tenant.as_str().into(), kind.into(), name.as_str().into(), caller.pattern().into()];
        let which = "WHERE r.tenant = ? AND r.kind = ? AND r.name = ? AND r.tenant LIKE ? || ''";
        let found = self.select(Condition::new(SELECT).and(which, values)).await?;
        found.into_iter().next().ok_or_else(|| StoreError::not_found(format!("{kind} {name}")))
    }

    /// The id of the resource of that kind and name.
    pub async fn resource_named(
        &mut self,
        caller: &Caller,
        tenant: &TenantName,
        kind: &str,
        name: &ResourceName,
    ) -> Result<ResourceId> {
        let found: Option<String> = self
            .fetch_optional_scalar(
                sql("SELECT id FROM resource WHERE tenant = $1 AND kind = $2 AND name = $3 AND tenant LIKE $4 || ''")
                    .bind(tenant.as_str())
                    .bind(kind)
                    .bind(name.as_str())
                    .bind(caller.pattern()),
            )
            .await?;
        parse("resource.id", &found.ok_or_else(|| StoreError::not_found(format!("{kind} {name}")))?)
    }

    /// Resources of a kind in the order of ids, after `after`, at most `limit`.
    pub async fn resources(
        &mut self,
        caller: &Caller,
        kind: &str,
        after: Option<ResourceId>,
        limit: u32,
    ) -> Result<Vec<ResourceRow>> {
        self.resources_with(caller, kind, &Filter::default(), after, limit).await
    }

    /// Those of them that the filter lets through.
    pub async fn resources_with(
        &mut self,
        caller: &Caller,
        kind: &str,
        filter: &Filter,
        after: Option<ResourceId>,
        limit: u32,
    ) -> Result<Vec<ResourceRow>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let wanted = Condition::new(SELECT)
            .and(
                "WHERE r.kind = ? AND r.tenant LIKE ? || '' AND r.id > ?",
                vec![kind.into(), caller.pattern().into(), after.as_str().into()],
            )
            .and_filter(filter, &after)
            .and(" ORDER BY r.id LIMIT ?", vec![limit.into()]);
        self.select(wanted).await
    }

    /// These resources, as far as the caller sees them, a thousand in a query.
    pub async fn resources_of(&mut self, caller: &Caller, ids: &BTreeSet<ResourceId>) -> Result<Vec<ResourceRow>> {
        let (ids, mut found): (Vec<_>, _) = (ids.iter().collect(), Vec::with_capacity(ids.len()));
        for some in ids.chunks(AT_ONCE) {
            let mut wanted =
                Condition::new(SELECT).and("WHERE r.tenant LIKE ? || '' AND r.id IN (", vec![caller.pattern().into()]);
            for (place, id) in some.iter().enumerate() {
                wanted = wanted.and(if place == 0 { "?" } else { ", ?" }, vec![id.to_string().into()]);
            }
            found.extend(self.select(wanted.and(")", Vec::new())).await?);
        }
        Ok(found)
    }

    /// The resources that refer to `target`, a hundred at most.
    pub async fn referrers(&mut self, caller: &Caller, target: ResourceId) -> Result<Vec<(ResourceId, ResourceName)>> {
        let rows: Vec<(String, String)> = self
            .fetch_all(
                sql("SELECT r.id, r.name FROM reference f JOIN resource r ON r.id = f.source \
                    WHERE f.target = $1 AND f.tenant LIKE $2 || '' ORDER BY r.id LIMIT 100")
                .bind(target.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        rows.iter().map(|(id, name)| Ok((parse("resource.id", id)?, parse("resource.name", name)?))).collect()
    }

    /// Whose resource it is.
    pub async fn tenant_of(&mut self, caller: &Caller, id: ResourceId) -> Result<TenantName> {
        let tenant: Option<String> = self
            .fetch_optional_scalar(
                sql("SELECT tenant FROM resource WHERE id = $1 AND tenant LIKE $2 || ''")
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        parse("resource.tenant", &tenant.ok_or_else(|| StoreError::not_found(id))?)
    }

    /// The resources that are wanted, in the order of ids, in one query however many they are.
    async fn select(&mut self, wanted: Condition) -> Result<Vec<ResourceRow>> {
        let rows: Vec<Columns> = self.fetch_all(wanted.and(WITH_ALL, Vec::new()).statement()).await?;
        rows.into_iter().map(ResourceRow::try_from).collect()
    }
}

impl TryFrom<Columns> for ResourceRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self> {
        let holder = match &columns.holder {
            Some(target) => Some(HolderRow {
                target: parse("target.id", target)?,
                idle: (columns.holder_hands == 0).then_some(IdleTarget {
                    target: columns.holder_called.unwrap_or_default(),
                    last_seen_at: columns.holder_seen_at,
                    trouble: columns.holder_trouble,
                }),
            }),
            None => None,
        };
        Ok(Self {
            id: parse("resource.id", &columns.id)?,
            tenant: parse("resource.tenant", &columns.tenant)?,
            kind: columns.kind,
            name: parse("resource.name", &columns.name)?,
            generation: Generation(narrow("resource.generation", columns.generation)?),
            spec_version: narrow("resource.spec_version", columns.spec_version)?,
            spec: json("resource.spec", &columns.spec)?,
            state: columns.state,
            status: json("status.body", &columns.body)?,
            tags: items(&columns.tags).map(tag).collect::<Result<_>>()?,
            conditions: items(&columns.conditions).map(condition).collect::<Result<_>>()?,
            holder,
            created_at: columns.created_at,
            updated_at: columns.updated_at,
        })
    }
}

/// The items of a list.
fn items(list: &Option<String>) -> impl Iterator<Item = &str> {
    list.iter().flat_map(|list| list.split(ITEM))
}

fn tag(item: &str) -> Result<(TagKey, TagValue)> {
    let (name, value) = item.split_once(FIELD).unwrap_or((item, ""));
    Ok((parse("tag.name", name)?, parse("tag.value", value)?))
}

fn condition(item: &str) -> Result<ConditionRow> {
    let mut fields = item.splitn(4, FIELD);
    let mut field = || fields.next().unwrap_or_default();
    let (name, holds, since) = (field().to_owned(), field() != "0", parse("condition.since", field())?);
    Ok(ConditionRow { name, holds, reason: fields.next().map(str::to_owned), since })
}

impl Session<'_, Write> {
    /// Makes a resource in state `creating`, generation 1.
    pub async fn add_resource(&mut self, caller: &Caller, resource: &NewResource<'_>) -> Result<()> {
        if caller.tenant().is_some_and(|tenant| tenant != resource.tenant) {
            return Err(StoreError::not_found(format!("tenant {}", resource.tenant)));
        }
        self.execute(sql(
            "INSERT INTO resource (id, tenant, kind, name, generation, spec_version, spec, state, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, 1, $5, $6, 'creating', $7, $7)",
        )
        .bind(resource.id.to_string())
        .bind(resource.tenant.as_str())
        .bind(resource.kind)
        .bind(resource.name.as_str())
        .bind(i64::from(resource.spec_version))
        .bind(resource.spec.to_string())
        .bind(self.now()))
        .await?;
        self.execute(
            sql("INSERT INTO status (resource, tenant, body, updated_at) VALUES ($1, $2, $3, $4)")
                .bind(resource.id.to_string())
                .bind(resource.tenant.as_str())
                .bind(resource.status.to_string())
                .bind(self.now()),
        )
        .await?;
        self.set_tags(caller, resource.id, resource.tags).await
    }

    /// Fills in what the core chose for a resource in the transaction that makes it; the generation stays.
    pub async fn fill_in(&mut self, caller: &Caller, id: ResourceId, spec: &serde_json::Value) -> Result<()> {
        let done = self
            .execute(
                sql("UPDATE resource SET spec = $1 WHERE id = $2 AND tenant LIKE $3 || ''")
                    .bind(spec.to_string())
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        found(done, id)
    }

    /// Puts a new spec in the place of the old one, one generation on.
    pub async fn set_spec(
        &mut self,
        caller: &Caller,
        id: ResourceId,
        name: &ResourceName,
        spec: &serde_json::Value,
    ) -> Result<()> {
        let done = self
            .execute(
                sql("UPDATE resource SET name = $1, spec = $2, generation = generation + 1, updated_at = $3 \
                    WHERE id = $4 AND tenant LIKE $5 || ''")
                .bind(name.as_str())
                .bind(spec.to_string())
                .bind(self.now())
                .bind(id.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        found(done, id)
    }

    /// Moves a resource on in its life.
    pub async fn set_state(&mut self, caller: &Caller, id: ResourceId, state: &str) -> Result<()> {
        let done = self
            .execute(
                sql("UPDATE resource SET state = $1, updated_at = $2 WHERE id = $3 AND tenant LIKE $4 || ''")
                    .bind(state)
                    .bind(self.now())
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        found(done, id)
    }

    /// Writes what was observed; the generation stays.
    pub async fn set_status(&mut self, caller: &Caller, id: ResourceId, status: &serde_json::Value) -> Result<()> {
        let done = self
            .execute(
                sql("UPDATE status SET body = $1, updated_at = $2 WHERE resource = $3 AND tenant LIKE $4 || ''")
                    .bind(status.to_string())
                    .bind(self.now())
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        found(done, id)
    }

    /// Puts these tags in the place of all there are.
    pub async fn set_tags(&mut self, caller: &Caller, id: ResourceId, tags: &Tags) -> Result<()> {
        let tenant = self.tenant_of(caller, id).await?;
        self.execute(sql("DELETE FROM tag WHERE resource = $1").bind(id.to_string())).await?;
        for (name, value) in tags {
            self.execute(
                sql("INSERT INTO tag (resource, tenant, name, value) VALUES ($1, $2, $3, $4)")
                    .bind(id.to_string())
                    .bind(tenant.as_str())
                    .bind(name.as_str())
                    .bind(value.as_str()),
            )
            .await?;
        }
        Ok(())
    }

    /// Says whether something is true of a resource; `since` moves only when that changes.
    pub async fn set_condition(
        &mut self,
        caller: &Caller,
        id: ResourceId,
        name: &str,
        holds: bool,
        reason: Option<&str>,
    ) -> Result<()> {
        let tenant = self.tenant_of(caller, id).await?;
        self.execute(
            sql(
                "INSERT INTO condition (resource, tenant, name, holds, reason, since) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (resource, name) DO UPDATE SET reason = excluded.reason, holds = excluded.holds, \
             since = CASE WHEN condition.holds = excluded.holds THEN condition.since ELSE excluded.since END",
            )
            .bind(id.to_string())
            .bind(tenant.as_str())
            .bind(name)
            .bind(i64::from(holds))
            .bind(reason)
            .bind(self.now()),
        )
        .await?;
        Ok(())
    }

    /// Puts these references in the place of all that `source` has.
    pub async fn set_references(&mut self, caller: &Caller, source: ResourceId, targets: &[ResourceId]) -> Result<()> {
        let tenant = self.tenant_of(caller, source).await?;
        self.execute(sql("DELETE FROM reference WHERE source = $1").bind(source.to_string())).await?;
        for target in targets {
            self.execute(
                sql("INSERT INTO reference (source, target, tenant) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                    .bind(source.to_string())
                    .bind(target.to_string())
                    .bind(tenant.as_str()),
            )
            .await?;
        }
        Ok(())
    }

    /// Forgets a resource whose allocations are released and whose jobs are confirmed gone. A target that was declared
    /// lost is told when it comes back: its tombstones stay.
    pub async fn forget_resource(&mut self, caller: &Caller, id: ResourceId) -> Result<()> {
        self.execute(
            sql("DELETE FROM job WHERE resource = $1 AND tenant LIKE $2 || '' AND desired IS NULL \
                AND (NOT EXISTS (SELECT 1 FROM target WHERE target.id = job.target AND lost_at IS NOT NULL) \
                OR (outcome = 'applied' AND reported_epoch = epoch AND reported_revision = revision))")
            .bind(id.to_string())
            .bind(caller.pattern()),
        )
        .await?;
        let done = self
            .execute(
                sql("DELETE FROM resource WHERE id = $1 AND tenant LIKE $2 || ''")
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        found(done, id)
    }
}

fn found(rows: u64, id: ResourceId) -> Result<()> {
    match rows {
        0 => Err(StoreError::not_found(id)),
        _ => Ok(()),
    }
}
