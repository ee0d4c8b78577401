//! The schema, release by release.

use sqlx::SqlitePool;

use crate::{Result, StoreError};

/// Each release's change of the schema; a migration that was released is never edited.
const MIGRATIONS: [&str; 2] =
    [include_str!("../migrations/sqlite/0001_first.sql"), include_str!("../migrations/sqlite/0002_endurance.sql")];

/// Brings the schema up to this release's, in one transaction; a newer schema is refused.
pub(crate) async fn run(writer: &SqlitePool) -> Result<()> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(StoreError::Unusable(format!(
            "the database has schema {found}, this release knows {} at most: run the newer release",
            MIGRATIONS.len()
        )));
    }
    for migration in MIGRATIONS.into_iter().skip(found) {
        sqlx::raw_sql(migration).execute(&mut *transaction).await?;
    }
    if found < MIGRATIONS.len() {
        let mark = format!("PRAGMA user_version = {}", MIGRATIONS.len());
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *transaction).await?;
        tracing::info!(from = found, to = MIGRATIONS.len(), "the schema was migrated");
    }
    transaction.commit().await.map_err(StoreError::from)
}
