//! Events: what changed, in order.

use sqlx::FromRow;
use types::{OperationId, ResourceId, ResourceName, TenantName};

use crate::column::{counter, narrow, parse, parse_optional};
use crate::statement::sql;
use crate::{Caller, Result, Session, Write};

/// One change of a resource.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Its place in the order.
    pub sequence: u64,
    /// Whose resource it is about.
    pub tenant: TenantName,
    /// When it happened.
    pub at: i64,
    /// The noun of the kind.
    pub kind: String,
    /// The resource.
    pub resource: ResourceId,
    /// The resource's name.
    pub name: ResourceName,
    /// What happened.
    pub change: String,
    /// Where the resource is in its life after it.
    pub state: String,
    /// The operation that it belongs to.
    pub operation: Option<OperationId>,
    /// More, for a person.
    pub message: Option<String>,
}

/// An event to be recorded.
pub struct NewEvent<'a> {
    /// The resource.
    pub resource: ResourceId,
    /// What happened.
    pub change: &'a str,
    /// The operation that it belongs to.
    pub operation: Option<OperationId>,
    /// More, for a person.
    pub message: Option<&'a str>,
}

#[derive(FromRow)]
struct Columns {
    sequence: i64,
    tenant: String,
    at: i64,
    kind: String,
    resource: String,
    name: String,
    change: String,
    state: String,
    operation: Option<String>,
    message: Option<String>,
}

impl<Mode> Session<'_, Mode> {
    /// Events after `sequence` in order, at most `limit`.
    pub async fn events(&mut self, caller: &Caller, sequence: u64, limit: u32) -> Result<Vec<EventRow>> {
        let rows: Vec<Columns> = self
            .fetch_all(
                sql("SELECT sequence, tenant, at, kind, resource, name, change, state, operation, message FROM event \
                    WHERE sequence > $1 AND tenant LIKE $2 || '' ORDER BY sequence LIMIT $3")
                .bind(counter(sequence))
                .bind(caller.pattern())
                .bind(i64::from(limit)),
            )
            .await?;
        rows.into_iter()
            .map(|columns| {
                Ok(EventRow {
                    sequence: narrow("event.sequence", columns.sequence)?,
                    tenant: parse("event.tenant", &columns.tenant)?,
                    at: columns.at,
                    kind: columns.kind,
                    resource: parse("event.resource", &columns.resource)?,
                    name: parse("event.name", &columns.name)?,
                    change: columns.change,
                    state: columns.state,
                    operation: parse_optional("event.operation", columns.operation)?,
                    message: columns.message,
                })
            })
            .collect()
    }

    /// The sequence number of the newest event; 0 before the first.
    pub async fn last_event(&mut self) -> Result<u64> {
        let last: Option<i64> = self.fetch_scalar(sql("SELECT MAX(sequence) FROM event")).await?;
        narrow("event.sequence", last.unwrap_or(0))
    }
}

impl Session<'_, Write> {
    /// Records an event about a resource as it is at this point of the transaction.
    pub async fn add_event(&mut self, caller: &Caller, event: &NewEvent<'_>) -> Result<()> {
        let row: Option<(String, String, String, String)> = self
            .fetch_optional(
                sql("SELECT tenant, kind, name, state FROM resource WHERE id = $1 AND tenant LIKE $2 || ''")
                    .bind(event.resource.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        let Some((tenant, kind, name, state)) = row else { return Ok(()) };
        self.events.push(
            sql("INSERT INTO event (tenant, at, kind, resource, name, change, state, operation, message) \
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(tenant)
            .bind(self.now())
            .bind(kind)
            .bind(event.resource.to_string())
            .bind(name)
            .bind(event.change)
            .bind(state)
            .bind(event.operation.map(|id| id.to_string()))
            .bind(event.message),
        );
        Ok(())
    }
}
