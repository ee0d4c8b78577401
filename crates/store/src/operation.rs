//! Operations and their steps, claimed by one executor at a time.

use sqlx::FromRow;
use types::{OperationId, ReplicaId, ResourceId, TenantName};

use crate::column::{json, narrow, parse};
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// An operation as the database has it.
#[derive(Clone, Debug)]
pub struct OperationRow {
    /// The id.
    pub id: OperationId,
    /// Whose it is.
    pub tenant: TenantName,
    /// The resource that changes.
    pub resource: ResourceId,
    /// Kind and verb.
    pub action: String,
    /// How far it is.
    pub state: String,
    /// When it counts as stuck.
    pub deadline_at: i64,
    /// The spec before an update.
    pub previous_spec: Option<serde_json::Value>,
    /// Why it failed or what it waits for.
    pub reason: Option<String>,
    /// Why an administrator wants it given up.
    pub cancel_reason: Option<String>,
    /// When it was asked for.
    pub created_at: i64,
    /// When it last moved.
    pub updated_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// Its steps in order.
    pub steps: Vec<StepRow>,
}

impl OperationRow {
    /// Whether it has not ended.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "running")
    }
}

/// One step of an operation.
#[derive(Clone, Debug)]
pub struct StepRow {
    /// Its place, from 0.
    pub position: u32,
    /// What it does.
    pub name: String,
    /// How far it is.
    pub state: String,
    /// Why it waits or failed.
    pub reason: Option<String>,
    /// What it waits for, as the executor wrote it.
    pub awaits: serde_json::Value,
}

/// An operation to be made.
pub struct NewOperation<'a> {
    /// The id.
    pub id: OperationId,
    /// The resource that changes.
    pub resource: ResourceId,
    /// Kind and verb.
    pub action: &'a str,
    /// How long it may take before it counts as stuck, in milliseconds.
    pub deadline_ms: i64,
    /// The spec before an update.
    pub previous_spec: Option<&'a serde_json::Value>,
    /// The names of its steps in order.
    pub steps: &'a [&'a str],
}

/// The right to work an operation: every write of its holder is conditional on the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Which operation.
    pub operation: OperationId,
    /// Which attempt at it.
    pub attempt: i64,
}

#[derive(FromRow)]
struct Columns {
    id: String,
    tenant: String,
    resource: String,
    action: String,
    state: String,
    deadline_at: i64,
    previous_spec: Option<String>,
    reason: Option<String>,
    cancel_reason: Option<String>,
    created_at: i64,
    updated_at: i64,
    finished_at: Option<i64>,
}

/// An operation's id, and a step of it: position, name, state, reason and what it waits for.
type StepColumns = (String, i64, String, String, Option<String>, String);

impl Columns {
    fn with_steps(self, steps: Vec<StepColumns>) -> Result<OperationRow> {
        Ok(OperationRow {
            id: parse("operation.id", &self.id)?,
            tenant: parse("operation.tenant", &self.tenant)?,
            resource: parse("operation.resource", &self.resource)?,
            action: self.action,
            state: self.state,
            deadline_at: self.deadline_at,
            previous_spec: self.previous_spec.map(|spec| json("operation.previous_spec", &spec)).transpose()?,
            reason: self.reason,
            cancel_reason: self.cancel_reason,
            created_at: self.created_at,
            updated_at: self.updated_at,
            finished_at: self.finished_at,
            steps: steps
                .into_iter()
                .map(|(_, position, name, state, reason, awaits)| {
                    let (position, awaits) = (narrow("step.position", position)?, json("step.awaits", &awaits)?);
                    Ok(StepRow { position, name, state, reason, awaits })
                })
                .collect::<Result<_>>()?,
        })
    }
}

/// Every query of operations begins like this.
macro_rules! select_operations {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, resource, action, state, deadline_at, previous_spec, reason, cancel_reason, created_at, \
             updated_at, finished_at FROM operation ",
            $rest
        )
    };
}

impl<Mode> Session<'_, Mode> {
    /// One operation with its steps.
    pub async fn operation(&mut self, caller: &Caller, id: OperationId) -> Result<OperationRow> {
        let columns: Option<Columns> = self
            .fetch_optional(
                sql(select_operations!("WHERE id = $1 AND tenant LIKE $2 || ''"))
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        let columns = columns.ok_or_else(|| StoreError::not_found(id))?;
        let steps = self
            .fetch_all(
                sql("SELECT operation, position, name, state, reason, awaits FROM step WHERE operation = $1 \
                     ORDER BY position")
                .bind(&columns.id),
            )
            .await?;
        columns.with_steps(steps)
    }

    /// Operations from the newest, before `before`, at most `limit`.
    pub async fn operations(
        &mut self,
        caller: &Caller,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<Vec<OperationRow>> {
        let before = before.map_or_else(|| "oq".to_owned(), |id| id.to_string());
        let rows: Vec<Columns> = self
            .fetch_all(
                sql(select_operations!("WHERE tenant LIKE $1 || '' AND id < $2 ORDER BY id DESC LIMIT $3"))
                    .bind(caller.pattern())
                    .bind(&before)
                    .bind(i64::from(limit)),
            )
            .await?;
        let steps: Vec<StepColumns> = self
            .fetch_all(
                sql("SELECT operation, position, name, state, reason, awaits FROM step WHERE operation IN \
                     (SELECT id FROM operation WHERE tenant LIKE $1 || '' AND id < $2 ORDER BY id DESC LIMIT $3) \
                     ORDER BY operation DESC, position")
                .bind(caller.pattern())
                .bind(before)
                .bind(i64::from(limit)),
            )
            .await?;
        let mut steps = steps.into_iter().peekable();
        rows.into_iter()
            .map(|columns| {
                let own = std::iter::from_fn(|| steps.next_if(|(operation, ..)| *operation == columns.id)).collect();
                columns.with_steps(own)
            })
            .collect()
    }

    /// The operation under way on a resource.
    pub async fn active_operation(&mut self, caller: &Caller, resource: ResourceId) -> Result<Option<OperationId>> {
        let id: Option<String> = self.fetch_optional_scalar(sql(
            "SELECT id FROM operation WHERE resource = $1 AND state IN ('pending', 'running') AND tenant LIKE $2 || ''",
        )
        .bind(resource.to_string())
        .bind(caller.pattern()))
        .await?;
        id.map(|id| parse("operation.id", &id)).transpose()
    }
}

impl Session<'_, Write> {
    /// Records an operation with all its steps.
    pub async fn add_operation(&mut self, caller: &Caller, new: &NewOperation<'_>) -> Result<()> {
        let tenant = self.tenant_of(caller, new.resource).await?;
        self.execute(sql(
            "INSERT INTO operation (id, tenant, resource, action, state, deadline_at, previous_spec, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $7)",
        )
        .bind(new.id.to_string())
        .bind(tenant.as_str())
        .bind(new.resource.to_string())
        .bind(new.action)
        .bind(self.now() + new.deadline_ms)
        .bind(new.previous_spec.map(ToString::to_string))
        .bind(self.now()))
        .await?;
        for (position, name) in (0_i64..).zip(new.steps) {
            self.execute(
                sql("INSERT INTO step (operation, position, tenant, name, state) VALUES ($1, $2, $3, $4, 'pending')")
                    .bind(new.id.to_string())
                    .bind(position)
                    .bind(tenant.as_str())
                    .bind(*name),
            )
            .await?;
        }
        Ok(())
    }

    /// Cancels the operation under way on a resource, if there is one: another comes first, for this reason. Its executor
    /// is fenced off.
    pub async fn preempt_operation(&mut self, caller: &Caller, resource: ResourceId, reason: &str) -> Result<()> {
        self.execute(
            sql("UPDATE operation SET state = 'cancelled', owner = NULL, attempt = attempt + 1, reason = $4, \
                updated_at = $1, finished_at = $1 \
                WHERE resource = $2 AND state IN ('pending', 'running') AND tenant LIKE $3 || ''")
            .bind(self.now())
            .bind(resource.to_string())
            .bind(caller.pattern())
            .bind(reason),
        )
        .await?;
        Ok(())
    }

    /// Asks for an operation to be given up, which its executor does. Says whether it was under way.
    pub async fn ask_to_cancel(&mut self, caller: &Caller, id: OperationId, reason: &str) -> Result<bool> {
        let done = self
            .execute(
                sql("UPDATE operation SET cancel_reason = $1 \
                     WHERE id = $2 AND state IN ('pending', 'running') AND tenant LIKE $3 || ''")
                .bind(reason)
                .bind(id.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        Ok(done > 0)
    }

    /// Gives an operation more time and, if nobody works it, to the next executor at once.
    pub async fn prolong_operation(&mut self, caller: &Caller, id: OperationId, deadline_at: i64) -> Result<()> {
        self.execute(
            sql("UPDATE operation SET deadline_at = $1 \
                 WHERE id = $2 AND state IN ('pending', 'running') AND tenant LIKE $3 || ''")
            .bind(deadline_at)
            .bind(id.to_string())
            .bind(caller.pattern()),
        )
        .await?;
        Ok(())
    }

    /// Claims the oldest operation that nobody works, for as long as the replica lives; none while the installation is
    /// paused. One whose row cannot be read fails, so that the others behind it go on.
    pub async fn claim_operation(&mut self, _caller: &Caller, replica: ReplicaId) -> Result<Option<Claim>> {
        loop {
            let row: Option<(String, i64)> = self
                .fetch_optional(
                    sql("UPDATE operation SET owner = $1, attempt = attempt + 1, state = 'running', updated_at = $2 \
                        WHERE id = (SELECT id FROM operation WHERE state IN ('pending', 'running') AND owner IS NULL \
                        AND NOT EXISTS (SELECT 1 FROM installation WHERE name = 'paused') ORDER BY id LIMIT 1) \
                        RETURNING id, attempt")
                    .bind(replica.to_string())
                    .bind(self.now()),
                )
                .await?;
            let Some((id, attempt)) = row else { return Ok(None) };
            match parse("operation.id", &id) {
                Ok(operation) => return Ok(Some(Claim { operation, attempt })),
                Err(error) => {
                    let reason = error.to_string();
                    tracing::error!(operation = id, reason, "an operation cannot be worked");
                    let statement = sql("UPDATE operation SET state = 'failed', reason = $1 WHERE id = $2");
                    self.execute(statement.bind(reason).bind(id)).await?;
                }
            }
        }
    }

    /// Gives all operations of a replica up, so that another executor goes on at once.
    pub async fn give_up_operations(&mut self, _caller: &Caller, replica: ReplicaId) -> Result<()> {
        self.execute(
            sql("UPDATE operation SET owner = NULL WHERE owner = $1 AND state = 'running'").bind(replica.to_string()),
        )
        .await?;
        Ok(())
    }

    /// Fails with [`StoreError::Fenced`] unless the claim still holds. Every write of an executor begins with this.
    pub async fn guard(&mut self, claim: Claim) -> Result<()> {
        let done = self
            .execute(
                sql("UPDATE operation SET updated_at = $1 WHERE id = $2 AND attempt = $3 AND state = 'running'")
                    .bind(self.now())
                    .bind(claim.operation.to_string())
                    .bind(claim.attempt),
            )
            .await?;
        match done {
            0 => Err(StoreError::Fenced),
            _ => Ok(()),
        }
    }

    /// Moves a step on.
    pub async fn set_step(
        &mut self,
        claim: Claim,
        position: u32,
        state: &str,
        reason: Option<&str>,
        awaits: Option<&serde_json::Value>,
    ) -> Result<()> {
        self.execute(sql(
            "UPDATE step SET state = $1, reason = $2, awaits = COALESCE($3, awaits) WHERE operation = $4 AND position = $5",
        )
        .bind(state)
        .bind(reason)
        .bind(awaits.map(ToString::to_string))
        .bind(claim.operation.to_string())
        .bind(i64::from(position)))
        .await?;
        Ok(())
    }

    /// Says what an operation waits for.
    pub async fn set_operation_reason(&mut self, claim: Claim, reason: Option<&str>) -> Result<()> {
        self.execute(
            sql("UPDATE operation SET reason = $1 WHERE id = $2 AND attempt = $3")
                .bind(reason)
                .bind(claim.operation.to_string())
                .bind(claim.attempt),
        )
        .await?;
        Ok(())
    }

    /// Says by when an operation must have gone on.
    pub async fn set_operation_deadline(&mut self, claim: Claim, deadline_at: i64) -> Result<()> {
        self.execute(
            sql("UPDATE operation SET deadline_at = $1 WHERE id = $2 AND attempt = $3")
                .bind(deadline_at)
                .bind(claim.operation.to_string())
                .bind(claim.attempt),
        )
        .await?;
        Ok(())
    }

    /// Ends an operation.
    pub async fn finish_operation(&mut self, claim: Claim, state: &str, reason: Option<&str>) -> Result<()> {
        self.execute(
            sql("UPDATE operation SET state = $1, reason = $2, finished_at = $3, updated_at = $3, owner = NULL, \
                lease_until = NULL WHERE id = $4 AND attempt = $5")
            .bind(state)
            .bind(reason)
            .bind(self.now())
            .bind(claim.operation.to_string())
            .bind(claim.attempt),
        )
        .await?;
        Ok(())
    }
}
