//! Replicas: the cores that run over one database, and what becomes of the work of one that is gone.

use types::{ReplicaId, TargetId};

use crate::column::parse;
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// A core that runs.
#[derive(Clone, Debug)]
pub struct ReplicaRow {
    /// Which one.
    pub id: ReplicaId,
    /// The release of its program.
    pub software: String,
    /// How far its clock is ahead of the database's, in milliseconds; behind where negative.
    pub ahead_ms: i64,
}

impl<Mode> Session<'_, Mode> {
    /// Asks the smallest question that there is.
    pub async fn probe(&mut self) -> Result<()> {
        let one: i64 = self.fetch_scalar(sql("SELECT COUNT(*) FROM replica WHERE id = ''")).await?;
        debug_assert_eq!(one, 0, "no replica is without a name");
        Ok(())
    }

    /// The replicas that live.
    pub async fn replicas(&mut self, _caller: &Caller) -> Result<Vec<ReplicaRow>> {
        let statement = sql("SELECT id, software, ahead_ms FROM replica WHERE lease_until >= $1 ORDER BY id");
        let rows: Vec<(String, String, i64)> = self.fetch_all(statement.bind(self.now())).await?;
        let row = |(id, software, ahead_ms): (String, String, i64)| {
            Ok(ReplicaRow { id: parse("replica.id", &id)?, software, ahead_ms })
        };
        rows.into_iter().map(row).collect()
    }

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

    /// Notes the release of a replica's program, and the time by its own clock in milliseconds since 1970.
    pub async fn note_replica(&mut self, replica: ReplicaId, software: &str, unix_ms: i64) -> Result<()> {
        self.execute(
            sql("UPDATE replica SET software = $1, ahead_ms = $2 WHERE id = $3")
                .bind(software)
                .bind(unix_ms - self.now())
                .bind(replica.to_string()),
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
