//! Targets, the agents that work them, and their invitations.

use std::fmt;

use sqlx::FromRow;
use types::{AgentId, InvitationId, ReplicaId, Sha256Digest, TargetId, TenantName};

use crate::column::{json, narrow, parse, parse_optional};
use crate::statement::sql;
use crate::{Availability, Caller, Result, Session, StoreError, Write};

/// A router or a hypervisor.
#[derive(Clone, Debug)]
pub struct TargetRow {
    /// The id.
    pub id: TargetId,
    /// Whose it is.
    pub tenant: TenantName,
    /// `router` or `hypervisor`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Why its agent cannot read it, where it said so when it connected last.
    pub trouble: Option<String>,
    /// What may be placed on it.
    pub availability: Availability,
}

/// A target and its agent, for people.
#[derive(Clone, Debug)]
pub struct AgentRow {
    /// The target.
    pub target: TargetRow,
    /// Its newest agent.
    pub agent: Option<AgentId>,
    /// The agent's version.
    pub software: Option<String>,
    /// When it was connected last.
    pub last_seen_at: Option<i64>,
    /// What the target can take.
    pub capacity: serde_json::Value,
    /// Jobs that the target has not confirmed.
    pub pending_jobs: u64,
}

/// A target that cannot be worked: its agent is not connected, or cannot read it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct IdleTarget {
    /// The target in words, as in `router main`.
    pub(crate) target: String,
    /// When its agent was connected last.
    pub last_seen_at: Option<i64>,
    /// What its agent cannot do, where it is connected.
    pub(crate) trouble: Option<String>,
}

impl fmt::Display for IdleTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trouble {
            Some(trouble) => write!(out, "{}: {trouble}", self.target),
            None => write!(out, "the agent of {} is not connected", self.target),
        }
    }
}

/// An agent that connects, as it introduced itself.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection<'a> {
    /// The core that it reached.
    pub replica: ReplicaId,
    /// The version of the job protocol that it speaks.
    pub protocol: u32,
    /// The program's version.
    pub software: &'a str,
    /// What desired states may require of it.
    pub features: &'a [String],
    /// The last moment of its certificate, in milliseconds since 1970.
    pub certificate_until: i64,
    /// What its target can take, or why the target cannot be read.
    pub capacity: std::result::Result<&'a serde_json::Value, &'a str>,
}

/// An invitation to be made.
pub struct NewInvitation {
    /// The id.
    pub id: InvitationId,
    /// For which target.
    pub target: TargetId,
    /// The digest of its secret.
    pub sha256: Sha256Digest,
    /// When it ends.
    pub expires_at: i64,
}

/// An agent as its certificate and an invitation made it.
#[derive(Clone, Copy, Debug)]
pub struct EnrolledAgent {
    /// The agent.
    pub agent: AgentId,
    /// The target that it works.
    pub target: TargetId,
}

#[derive(FromRow)]
struct Columns {
    id: String,
    tenant: String,
    kind: String,
    name: String,
    capacity: String,
    drained_at: Option<i64>,
    lost_at: Option<i64>,
    agent: Option<String>,
    connected: Option<i64>,
    trouble: Option<String>,
    software: Option<String>,
    last_seen_at: Option<i64>,
    pending_jobs: i64,
}

#[derive(FromRow)]
struct InvitationColumns {
    target: String,
    key_sha256: Option<String>,
    agent: Option<String>,
}

impl TryFrom<Columns> for AgentRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self> {
        Ok(Self {
            target: TargetRow {
                id: parse("target.id", &columns.id)?,
                tenant: parse("target.tenant", &columns.tenant)?,
                kind: columns.kind,
                name: columns.name,
                connected: columns.connected == Some(1),
                trouble: columns.trouble.filter(|_| columns.connected == Some(1)),
                availability: Availability::of(columns.drained_at, columns.lost_at),
            },
            agent: parse_optional("agent.id", columns.agent)?,
            software: columns.software,
            last_seen_at: columns.last_seen_at,
            capacity: json("target.capacity", &columns.capacity)?,
            pending_jobs: narrow("count", columns.pending_jobs)?,
        })
    }
}

impl<Mode> Session<'_, Mode> {
    /// All targets that the caller may see, in the order of their names; of one kind, if one is given.
    pub async fn targets(&mut self, caller: &Caller, kind: Option<&str>) -> Result<Vec<AgentRow>> {
        let rows: Vec<Columns> = self.fetch_all(sql(
            "SELECT t.id, t.tenant, t.kind, t.name, t.capacity, t.drained_at, t.lost_at, a.id AS agent, a.connected, a.trouble, a.software, a.last_seen_at, \
             (SELECT COUNT(*) FROM job j WHERE j.target = t.id AND (j.outcome IS NULL OR j.outcome <> 'applied' \
              OR j.reported_revision <> j.revision OR j.reported_epoch <> j.epoch)) AS pending_jobs \
             FROM target t LEFT JOIN agent a ON a.id = (SELECT MAX(id) FROM agent WHERE target = t.id) \
             WHERE t.kind LIKE $1 || '' AND t.tenant LIKE $2 || '' ORDER BY t.name, t.id LIMIT 10000",
        )
        .bind(kind.unwrap_or("%"))
        .bind(caller.pattern()))
        .await?;
        rows.into_iter().map(AgentRow::try_from).collect()
    }

    /// A target in words, as in `router main`.
    pub async fn target_words(&mut self, target: TargetId) -> Result<String> {
        let words: Option<String> = self
            .fetch_optional_scalar(sql("SELECT kind || ' ' || name FROM target WHERE id = $1").bind(target.to_string()))
            .await?;
        Ok(words.unwrap_or_else(|| target.to_string()))
    }

    /// A target, if it cannot be worked.
    pub async fn idle_target(&mut self, target: TargetId) -> Result<Option<IdleTarget>> {
        let statement = sql("SELECT t.kind || ' ' || t.name AS target, \
             (SELECT MAX(a.last_seen_at) FROM agent a WHERE a.target = t.id) AS last_seen_at, \
             (SELECT MAX(a.trouble) FROM agent a WHERE a.target = t.id AND a.connected = 1) AS trouble \
             FROM target t WHERE t.id = $1 AND NOT EXISTS \
             (SELECT 1 FROM agent a WHERE a.target = t.id AND a.connected = 1 AND a.trouble IS NULL)");
        self.fetch_optional(statement.bind(target.to_string())).await
    }

    /// Whether an agent of a target is connected.
    pub async fn is_connected(&mut self, target: TargetId) -> Result<bool> {
        let connected: i64 = self
            .fetch_scalar(
                sql("SELECT COUNT(*) FROM agent WHERE target = $1 AND connected = 1").bind(target.to_string()),
            )
            .await?;
        Ok(connected > 0)
    }

    /// Whether an agent of any target of a kind is connected.
    pub async fn is_any_connected(&mut self, caller: &Caller, kind: &str) -> Result<bool> {
        let one: Option<i64> = self
            .fetch_optional_scalar(
                sql("SELECT a.connected FROM agent a JOIN target t ON t.id = a.target \
                     WHERE a.connected = 1 AND t.kind = $1 AND t.tenant LIKE $2 || '' LIMIT 1")
                .bind(kind)
                .bind(caller.pattern()),
            )
            .await?;
        Ok(one.is_some())
    }

    /// Fails with [`StoreError::Fenced`] when a newer session of the same target has begun, or when the
    /// agent was revoked or forgotten.
    pub async fn guard_agent(&mut self, agent: AgentId, session: i64) -> Result<()> {
        let newest: Option<i64> =
            self.fetch_optional_scalar(sql("SELECT session FROM agent WHERE id = $1").bind(agent.to_string())).await?;
        match newest == Some(session) {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }
}

impl Session<'_, Write> {
    /// The target of that tenant, kind and name, made where there is none.
    pub async fn ensure_target(
        &mut self,
        _caller: &Caller,
        tenant: &TenantName,
        kind: &str,
        name: &str,
    ) -> Result<TargetId> {
        let found: Option<String> = self
            .fetch_optional_scalar(
                sql("SELECT id FROM target WHERE tenant = $1 AND kind = $2 AND name = $3")
                    .bind(tenant.as_str())
                    .bind(kind)
                    .bind(name),
            )
            .await?;
        if let Some(id) = found {
            return parse("target.id", &id);
        }
        // Tried again where chance gave the id of another, as it does when thousands are made in one transaction.
        loop {
            let id = TargetId::make(self.now_unsigned()).map_err(|error| StoreError::Unusable(error.to_string()))?;
            let made = sql("INSERT INTO target (id, tenant, kind, name, created_at) VALUES ($1, $2, $3, $4, $5) \
                            ON CONFLICT (id) DO NOTHING")
            .bind(id.to_string())
            .bind(tenant.as_str())
            .bind(kind)
            .bind(name)
            .bind(self.now());
            if self.execute(made).await? > 0 {
                return Ok(id);
            }
        }
    }

    /// Keeps an invitation.
    pub async fn add_invitation(&mut self, _caller: &Caller, new: &NewInvitation) -> Result<()> {
        self.execute(
            sql("INSERT INTO invitation (id, tenant, target, sha256, expires_at) \
                SELECT $1, tenant, id, $2, $3 FROM target WHERE id = $4")
            .bind(new.id.to_string())
            .bind(new.sha256.to_string())
            .bind(new.expires_at)
            .bind(new.target.to_string()),
        )
        .await?;
        Ok(())
    }

    /// Uses an invitation up and makes an agent for its target. `None` if it is unknown, used, expired or the secret
    /// wrong. The key that used it up gets the same answer again, for it may not have heard the first.
    pub async fn redeem_invitation(
        &mut self,
        id: InvitationId,
        secret_sha256: Sha256Digest,
        key_sha256: Sha256Digest,
    ) -> Result<Option<EnrolledAgent>> {
        let row: Option<InvitationColumns> = self.fetch_optional(sql(
            "SELECT target, key_sha256, agent FROM invitation WHERE id = $1 AND sha256 = $2 AND expires_at > $3",
        )
        .bind(id.to_string())
        .bind(secret_sha256.to_string())
        .bind(self.now()))
        .await?;
        let Some(InvitationColumns { target, key_sha256: used_by, agent }) = row else { return Ok(None) };
        let target: TargetId = parse("invitation.target", &target)?;
        if let Some(used_by) = used_by {
            let agent = agent.filter(|_| used_by == key_sha256.to_string());
            let agent = parse_optional("invitation.agent", agent)?;
            return Ok(agent.map(|agent| EnrolledAgent { agent, target }));
        }
        let agent = self.register_agent(&Caller::core(), target).await?;
        self.execute(
            sql("UPDATE invitation SET used_at = $1, key_sha256 = $2, agent = $3 WHERE id = $4")
                .bind(self.now())
                .bind(key_sha256.to_string())
                .bind(agent.to_string())
                .bind(id.to_string()),
        )
        .await?;
        Ok(Some(EnrolledAgent { agent, target }))
    }

    /// Records that an agent connected to a replica; the number of its session fences the ones before, those of other
    /// agents of its target too: a target has one master. One that was revoked is not found.
    pub async fn connect_agent(&mut self, agent: AgentId, new: NewConnection<'_>) -> Result<i64> {
        let features = serde_json::to_string(new.features).map_err(|error| StoreError::Unusable(error.to_string()))?;
        let session: Option<i64> = self.fetch_optional_scalar(sql(
            "UPDATE agent SET session = 1 + (SELECT MAX(a.session) FROM agent a WHERE a.target = agent.target), \
             connected = 1, software = $1, features = $2, last_seen_at = $3, replica = $4, protocol = $5, trouble = $6, certificate_until = $7 \
             WHERE id = $8 AND revoked_at IS NULL RETURNING session",
        )
        .bind(new.software)
        .bind(features)
        .bind(self.now())
        .bind(new.replica.to_string())
        .bind(new.protocol)
        .bind(new.capacity.err().map(str::to_owned))
        .bind(new.certificate_until)
        .bind(agent.to_string()))
        .await?;
        self.execute(
            sql("UPDATE agent SET session = session + 1, connected = 0, replica = NULL \
                 WHERE id <> $1 AND target = (SELECT a.target FROM agent a WHERE a.id = $1)")
            .bind(agent.to_string()),
        )
        .await?;
        if let Ok(capacity) = new.capacity {
            self.execute(
                sql("UPDATE target SET capacity = $1 WHERE id = (SELECT target FROM agent WHERE id = $2)")
                    .bind(capacity.to_string())
                    .bind(agent.to_string()),
            )
            .await?;
        }
        session.ok_or_else(|| StoreError::not_found(agent))
    }

    /// Records that an agent's session ended, unless a newer one has begun.
    pub async fn disconnect_agent(&mut self, agent: AgentId, session: i64) -> Result<()> {
        self.execute(
            sql("UPDATE agent SET connected = 0, replica = NULL, last_seen_at = $1 WHERE id = $2 AND session = $3")
                .bind(self.now())
                .bind(agent.to_string())
                .bind(session),
        )
        .await?;
        Ok(())
    }
}
