//! Which agents may work their targets, and which may no more.

use types::{AgentId, TargetId, TenantName};

use crate::agent::EnrolledAgent;
use crate::column::parse;
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// What the database thinks of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The target that it was enrolled for.
    pub target: TargetId,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An agent, with its target, for people.
#[derive(Clone, Debug)]
pub struct AgentRecord {
    /// The agent.
    pub agent: EnrolledAgent,
    /// Whose the target is.
    pub tenant: TenantName,
    /// `router` or `hypervisor`.
    pub kind: String,
    /// The target's name.
    pub name: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Its version.
    pub software: Option<String>,
    /// The version of the job protocol that it spoke last.
    pub protocol: Option<i64>,
    /// When it was connected last, in milliseconds since 1970.
    pub last_seen_at: Option<i64>,
    /// When it was revoked, in milliseconds since 1970.
    pub revoked_at: Option<i64>,
    /// When it tried to connect last although it was revoked.
    pub refused_at: Option<i64>,
    /// The last moment of the certificate that it connected with last.
    pub certificate_until: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct StandingColumns {
    target: String,
    revoked_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct RecordColumns {
    id: String,
    target: String,
    tenant: String,
    kind: String,
    name: String,
    connected: i64,
    software: Option<String>,
    protocol: Option<i64>,
    last_seen_at: Option<i64>,
    revoked_at: Option<i64>,
    refused_at: Option<i64>,
    certificate_until: Option<i64>,
}

impl TryFrom<RecordColumns> for AgentRecord {
    type Error = StoreError;

    fn try_from(columns: RecordColumns) -> Result<Self> {
        let agent =
            EnrolledAgent { agent: parse("agent.id", &columns.id)?, target: parse("agent.target", &columns.target)? };
        Ok(Self {
            agent,
            tenant: parse("target.tenant", &columns.tenant)?,
            kind: columns.kind,
            name: columns.name,
            connected: columns.connected == 1,
            software: columns.software,
            protocol: columns.protocol,
            last_seen_at: columns.last_seen_at,
            revoked_at: columns.revoked_at,
            refused_at: columns.refused_at,
            certificate_until: columns.certificate_until,
        })
    }
}

impl<Mode> Session<'_, Mode> {
    /// What is known of an agent; `None` for one that never was or was forgotten.
    pub async fn standing(&mut self, agent: AgentId) -> Result<Option<Standing>> {
        let query = sql("SELECT target, revoked_at FROM agent WHERE id = $1").bind(agent.to_string());
        let row: Option<StandingColumns> = self.fetch_optional(query).await?;
        row.map(|row| Ok(Standing { target: parse("agent.target", &row.target)?, revoked: row.revoked_at.is_some() }))
            .transpose()
    }

    /// All agents that the caller may see, revoked ones too, in the order of their targets' names.
    pub async fn agent_records(&mut self, caller: &Caller) -> Result<Vec<AgentRecord>> {
        let rows: Vec<RecordColumns> = self
            .fetch_all(
                sql("SELECT a.id, a.target, t.tenant, t.kind, t.name, a.connected, a.software, a.protocol, \
                     a.last_seen_at, a.revoked_at, a.refused_at, a.certificate_until FROM agent a JOIN target t ON t.id = a.target \
                     WHERE t.tenant LIKE $1 || '' ORDER BY t.name, a.id LIMIT 10000")
                .bind(caller.pattern()),
            )
            .await?;
        rows.into_iter().map(AgentRecord::try_from).collect()
    }

    /// The agents that were revoked at that time or later, in milliseconds since 1970.
    pub async fn revoked_since(&mut self, time: i64) -> Result<Vec<AgentId>> {
        let query = sql("SELECT id FROM agent WHERE revoked_at >= $1").bind(time);
        let rows: Vec<String> = self.fetch_scalars(query).await?;
        rows.iter().map(|id| parse("agent.id", id)).collect()
    }
}

impl Session<'_, Write> {
    /// Notes that an agent was refused for it was revoked.
    pub async fn note_refused(&mut self, agent: AgentId) -> Result<()> {
        let statement = sql("UPDATE agent SET refused_at = $1 WHERE id = $2");
        self.execute(statement.bind(self.now()).bind(agent.to_string())).await?;
        Ok(())
    }

    /// Makes an agent for a target without an invitation; its certificate comes from elsewhere.
    pub async fn register_agent(&mut self, _caller: &Caller, target: TargetId) -> Result<AgentId> {
        let agent = AgentId::make(self.now_unsigned()).map_err(|error| StoreError::Unusable(error.to_string()))?;
        self.execute(
            sql("INSERT INTO agent (id, tenant, target, created_at) SELECT $1, tenant, id, $2 FROM target WHERE id = $3")
                .bind(agent.to_string())
                .bind(self.now())
                .bind(target.to_string()),
        )
        .await?;
        Ok(agent)
    }

    /// Revokes an agent: its session is fenced and there will be none. Whether it was known and not revoked yet.
    pub async fn revoke_agent(&mut self, _caller: &Caller, agent: AgentId) -> Result<bool> {
        let revoked: Option<String> = self
            .fetch_optional_scalar(
                sql("UPDATE agent SET revoked_at = $1, session = session + 1, connected = 0 \
                     WHERE id = $2 AND revoked_at IS NULL RETURNING id")
                .bind(self.now())
                .bind(agent.to_string()),
            )
            .await?;
        Ok(revoked.is_some())
    }

    /// Forgets an agent that was revoked; its target stays. Whether there was one.
    pub async fn forget_agent(&mut self, _caller: &Caller, agent: AgentId) -> Result<bool> {
        let query = sql("SELECT id FROM agent WHERE id = $1 AND revoked_at IS NOT NULL").bind(agent.to_string());
        let found: Option<String> = self.fetch_optional_scalar(query).await?;
        if found.is_none() {
            return Ok(false);
        }
        self.execute(sql("UPDATE invitation SET agent = NULL WHERE agent = $1").bind(agent.to_string())).await?;
        self.execute(sql("DELETE FROM agent WHERE id = $1").bind(agent.to_string())).await?;
        Ok(true)
    }
}
