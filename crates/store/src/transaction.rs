//! One transaction on whichever engine there is, and how statements run in it.

use std::time::SystemTime;

use sqlx::encode::Encode;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Database, Decode, FromRow, Postgres, Sqlite, Type, query_as_with, query_with, raw_sql,
};
use sqlx_core::transaction::TransactionManager;

use crate::Result;
use crate::reader::Reader;
use crate::statement::{Statement, Value, sql};

/// A transaction; dropped, it is undone.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
    /// None: each statement stands for itself, and does no more than read.
    Glance(Glance),
}

/// A connection on which statements read, each for itself.
pub(crate) enum Glance {
    Sqlite(Reader),
    Postgres(PoolConnection<Postgres>),
}

/// The connection of either engine.
enum Connection<'transaction> {
    Sqlite(&'transaction mut SqliteConnection),
    Postgres(&'transaction mut PgConnection),
}

/// What a row of any engine becomes: a struct that derives `FromRow`, or a tuple.
pub(crate) trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// What a column of any engine becomes.
pub(crate) trait Scalar:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin
{
}

impl<T> Scalar for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin
{
}

impl Transaction {
    fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(sqlite) => Connection::Sqlite(sqlite),
            Self::Postgres(postgres) => Connection::Postgres(postgres),
            Self::Glance(Glance::Sqlite(reader)) => Connection::Sqlite(reader),
            Self::Glance(Glance::Postgres(postgres)) => Connection::Postgres(postgres),
        }
    }

    /// The database's clock in milliseconds since 1970. SQLite's is that of the machine, and so is that of a glance.
    pub(crate) async fn now(&mut self) -> Result<i64> {
        match self {
            Self::Sqlite(_) | Self::Glance(_) => {
                let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Ok(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Postgres(_) => {
                self.fetch_scalar(sql("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")).await
            }
        }
    }

    /// Waits until no other transaction holds the lock of that number, and holds it to the end. In SQLite a
    /// transaction that writes is alone anyway.
    pub(crate) async fn lock(&mut self, number: i64) -> Result<()> {
        match self {
            Self::Sqlite(_) | Self::Glance(_) => Ok(()),
            Self::Postgres(_) => {
                self.execute(sql("SELECT pg_advisory_xact_lock($1)").bind(number)).await?;
                Ok(())
            }
        }
    }

    /// Every row.
    pub(crate) async fn fetch_all<T: Row>(&mut self, statement: Statement) -> Result<Vec<T>> {
        let Statement { text, values } = statement;
        Ok(match self.connection() {
            Connection::Sqlite(sqlite) => query_as_with(text, arguments::<Sqlite>(values)?).fetch_all(sqlite).await?,
            Connection::Postgres(postgres) => {
                query_as_with(text, arguments::<Postgres>(values)?).fetch_all(postgres).await?
            }
        })
    }

    /// The row, if there is one.
    pub(crate) async fn fetch_optional<T: Row>(&mut self, statement: Statement) -> Result<Option<T>> {
        let Statement { text, values } = statement;
        Ok(match self.connection() {
            Connection::Sqlite(sqlite) => {
                query_as_with(text, arguments::<Sqlite>(values)?).fetch_optional(sqlite).await?
            }
            Connection::Postgres(postgres) => {
                query_as_with(text, arguments::<Postgres>(values)?).fetch_optional(postgres).await?
            }
        })
    }

    /// The only column of the only row.
    pub(crate) async fn fetch_scalar<T: Scalar>(&mut self, statement: Statement) -> Result<T> {
        let row: Option<(T,)> = self.fetch_optional(statement).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?.0)
    }

    /// How many rows changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64> {
        let Statement { text, values } = statement;
        Ok(match self.connection() {
            Connection::Sqlite(sqlite) => {
                query_with(text, arguments::<Sqlite>(values)?).execute(sqlite).await?.rows_affected()
            }
            Connection::Postgres(postgres) => {
                query_with(text, arguments::<Postgres>(values)?).execute(postgres).await?.rows_affected()
            }
        })
    }

    /// Runs statements of our own that have no values.
    pub(crate) async fn run_script(&mut self, text: String) -> Result<()> {
        let script = raw_sql(AssertSqlSafe(text));
        match self.connection() {
            Connection::Sqlite(sqlite) => script.execute(sqlite).await.map(drop)?,
            Connection::Postgres(postgres) => script.execute(postgres).await.map(drop)?,
        }
        Ok(())
    }

    /// Keeps what was written.
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(sqlite) => Ok(sqlite.commit().await?),
            Self::Postgres(postgres) => commit(postgres).await,
            Self::Glance(_) => Ok(()),
        }
    }
}

/// A COMMIT that PostgreSQL refuses ends the transaction too. sqlx does not know that and would have it undone once more,
/// of which the server complains: an empty one takes its place.
async fn commit(mut postgres: sqlx::Transaction<'static, Postgres>) -> Result<()> {
    let committed = <Postgres as Database>::TransactionManager::commit(&mut postgres).await;
    if let Err(sqlx::Error::Database(_)) = &committed {
        raw_sql("BEGIN").execute(&mut *postgres).await?;
    }
    Ok(committed?)
}

/// The values in an engine's form.
fn arguments<D: Database>(values: Vec<Value>) -> Result<D::Arguments>
where
    Option<i64>: for<'q> Encode<'q, D> + Type<D>,
    Option<String>: for<'q> Encode<'q, D> + Type<D>,
    Option<Vec<u8>>: for<'q> Encode<'q, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    for value in values {
        let added = match value {
            Value::Integer(integer) => arguments.add(integer),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
