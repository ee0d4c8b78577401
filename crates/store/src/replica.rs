//! Replicas: the cores that run over one database, and what becomes of the work of one that is gone.

use types::{ReplicaId, TargetId};

use crate::column::parse;
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

impl<Mode> Session<'_, Mode> {
    /// The replicas whose lease has run out.
    pub async fn dead_replicas(&mut self, _caller: &Caller) -> Result<Vec<ReplicaId>> {
        let dead: Vec<String> =
            self.fetch_scalars(sql("SELECT id FROM replica WHERE lease_until < $1").bind(self.now())).await?;
        dead.iter().map(|id| parse("replica.id", id)).collect()
    }

    /// All replicas but one.
    pub async fn other_replicas(&mut self, _caller: &Caller, replica: ReplicaId) -> Result<Vec<ReplicaId>> {
        let others: Vec<String> =
            self.fetch_scalars(sql("SELECT id FROM replica WHERE id <> $1").bind(replica.to_string())).await?;
        others.iter().map(|id| parse("replica.id", id)).collect()
    }
}

impl Session<'_, Write> {
    /// Adds a core that starts.
    pub async fn add_replica(&mut self, _caller: &Caller, lease_ms: i64) -> Result<ReplicaId> {
        let id = ReplicaId::make(self.now_unsigned()).map_err(|error| StoreError::Unusable(error.to_string()))?;
        self.execute(
            sql("INSERT INTO replica (id, lease_until, started_at) VALUES ($1, $2, $3)")
                .bind(id.to_string())
                .bind(self.now() + lease_ms)
                .bind(self.now()),
        )
        .await?;
        Ok(id)
    }

    /// Prolongs a replica's lease. One that was taken for dead is a replica again, but its work is not its own any more.
    pub async fn renew_replica(&mut self, _caller: &Caller, replica: ReplicaId, lease_ms: i64) -> Result<()> {
        self.execute(
            sql("INSERT INTO replica (id, lease_until, started_at) VALUES ($1, $2, $3) \
                ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until")
            .bind(replica.to_string())
            .bind(self.now() + lease_ms)
            .bind(self.now()),
        )
        .await?;
        Ok(())
    }

    /// Forgets a replica that is gone: its operations are anybody's, and the agents that had their sessions with it are
    /// away until they come back. Gives the targets of those.
    pub async fn bury_replica(&mut self, _caller: &Caller, replica: ReplicaId) -> Result<Vec<TargetId>> {
        self.execute(sql("DELETE FROM replica WHERE id = $1").bind(replica.to_string())).await?;
        self.execute(sql("UPDATE operation SET owner = NULL WHERE owner = $1").bind(replica.to_string())).await?;
        let targets: Vec<String> = self
            .fetch_scalars(
                sql("UPDATE agent SET connected = 0, replica = NULL, session = session + 1 WHERE replica = $1 \
                    RETURNING target")
                .bind(replica.to_string()),
            )
            .await?;
        targets.iter().map(|id| parse("agent.target", id)).collect()
    }
}
