//! The schema, release by release.

use crate::statement::sql;
use crate::transaction::Transaction;
use crate::{Result, StoreError};

/// Each release's change of the schema for SQLite and PostgreSQL; a migration that was released is never edited.
const MIGRATIONS: [(&str, &str); 2] = [
    (include_str!("../migrations/sqlite/0001_first.sql"), include_str!("../migrations/postgres/0001_first.sql")),
    (
        include_str!("../migrations/sqlite/0002_endurance.sql"),
        include_str!("../migrations/postgres/0002_endurance.sql"),
    ),
];

/// Brings the schema up to this release's in a transaction that is alone; a newer schema is refused.
pub(crate) async fn run(mut transaction: Transaction) -> Result<()> {
    let found = version(&mut transaction).await?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Unusable(format!(
            "the database has schema {found}, this release knows {} at most: run the newer release",
            MIGRATIONS.len()
        )));
    }
    for (sqlite, postgres) in MIGRATIONS.into_iter().skip(found) {
        match &transaction {
            Transaction::Sqlite(_) | Transaction::Glance(_) => transaction.run_script(sqlite.to_owned()).await?,
            Transaction::Postgres(_) => transaction.run_script(postgres.to_owned()).await?,
        }
    }
    if found < MIGRATIONS.len() {
        note_version(&mut transaction, MIGRATIONS.len()).await?;
        tracing::info!(from = found, to = MIGRATIONS.len(), "the schema was migrated");
    }
    transaction.commit().await
}

/// How many migrations the database has seen. SQLite has a place for that number, PostgreSQL gets a table.
async fn version(transaction: &mut Transaction) -> Result<usize> {
    let found: i64 = match transaction {
        Transaction::Sqlite(_) | Transaction::Glance(_) => transaction.fetch_scalar(sql("PRAGMA user_version")).await?,
        Transaction::Postgres(_) => {
            transaction
                .run_script("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)".to_owned())
                .await?;
            transaction.fetch_scalar(sql("SELECT COALESCE(MAX(version), 0) FROM schema_version")).await?
        }
    };
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

async fn note_version(transaction: &mut Transaction, version: usize) -> Result<()> {
    match transaction {
        Transaction::Sqlite(_) | Transaction::Glance(_) => {
            transaction.run_script(format!("PRAGMA user_version = {version}")).await
        }
        Transaction::Postgres(_) => {
            transaction
                .run_script(format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({version})"))
                .await
        }
    }
}
