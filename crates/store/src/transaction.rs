//! One transaction on whichever engine there is, and how statements run in it.

use sqlx::encode::Encode;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Arguments, AssertSqlSafe, Database, Decode, FromRow, Postgres, Sqlite, Type, query_as_with, query_with, raw_sql,
};

use crate::Result;
use crate::statement::{Statement, Value, sql};

/// A transaction; dropped, it is undone.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
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
    /// The database's clock in milliseconds since 1970.
    pub(crate) async fn now(&mut self) -> Result<i64> {
        let clock = match self {
            Self::Sqlite(_) => "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Self::Postgres(_) => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        };
        self.fetch_scalar(sql(clock)).await
    }

    /// Waits until no other transaction holds the lock of that number, and holds it to the end. In SQLite a
    /// transaction that writes is alone anyway.
    pub(crate) async fn lock(&mut self, number: i64) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => {
                self.execute(sql("SELECT pg_advisory_xact_lock($1)").bind(number)).await?;
                Ok(())
            }
        }
    }

    /// Every row.
    pub(crate) async fn fetch_all<T: Row>(&mut self, statement: Statement) -> Result<Vec<T>> {
        let Statement { text, values } = statement;
        Ok(match self {
            Self::Sqlite(sqlite) => query_as_with(text, arguments::<Sqlite>(values)?).fetch_all(&mut **sqlite).await?,
            Self::Postgres(postgres) => {
                query_as_with(text, arguments::<Postgres>(values)?).fetch_all(&mut **postgres).await?
            }
        })
    }

    /// The row, if there is one.
    pub(crate) async fn fetch_optional<T: Row>(&mut self, statement: Statement) -> Result<Option<T>> {
        let Statement { text, values } = statement;
        Ok(match self {
            Self::Sqlite(sqlite) => {
                query_as_with(text, arguments::<Sqlite>(values)?).fetch_optional(&mut **sqlite).await?
            }
            Self::Postgres(postgres) => {
                query_as_with(text, arguments::<Postgres>(values)?).fetch_optional(&mut **postgres).await?
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
        Ok(match self {
            Self::Sqlite(sqlite) => {
                query_with(text, arguments::<Sqlite>(values)?).execute(&mut **sqlite).await?.rows_affected()
            }
            Self::Postgres(postgres) => {
                query_with(text, arguments::<Postgres>(values)?).execute(&mut **postgres).await?.rows_affected()
            }
        })
    }

    /// Runs statements of our own that have no values.
    pub(crate) async fn run_script(&mut self, text: String) -> Result<()> {
        let script = raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(sqlite) => script.execute(&mut **sqlite).await.map(drop)?,
            Self::Postgres(postgres) => script.execute(&mut **postgres).await.map(drop)?,
        }
        Ok(())
    }

    /// Keeps what was written.
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(sqlite) => Ok(sqlite.commit().await?),
            Self::Postgres(postgres) => Ok(postgres.commit().await?),
        }
    }
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
