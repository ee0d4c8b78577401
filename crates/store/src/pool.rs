//! The connections to the database, and the transactions that begin on them.

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use crate::Result;
use crate::database::{BUSY, Database, sqlite_options};
use crate::transaction::Transaction;

/// Connections to SQLite that only read.
const READERS: u32 = 4;
/// What cores that migrate or make an installation take turns for: "rhyz" in ASCII.
const ALONE: i64 = 0x7268_797a;

/// Connections, kept open.
pub(crate) enum Pool {
    /// One that writes and several that read beside it.
    Sqlite { writer: SqlitePool, reader: SqlitePool },
    /// All alike.
    Postgres(PgPool),
}

impl Pool {
    /// Connects; SQLite's file is made where there is none.
    pub(crate) async fn connect(database: &Database) -> Result<Self> {
        match database {
            Database::Sqlite(path) => {
                let options = sqlite_options(path);
                let writer = SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(BUSY)
                    .connect_with(options.clone())
                    .await?;
                let reader = SqlitePoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(BUSY)
                    .connect_lazy_with(options.read_only(true).create_if_missing(false));
                Ok(Self::Sqlite { writer, reader })
            }
            Database::Postgres(postgres) => {
                let pool = PgPoolOptions::new()
                    .max_connections(postgres.connections)
                    .acquire_timeout(BUSY)
                    .connect_with(postgres.options())
                    .await?;
                Ok(Self::Postgres(pool))
            }
        }
    }

    /// A transaction that reads one state of the database.
    pub(crate) async fn begin_read(&self) -> Result<Transaction> {
        Ok(match self {
            Self::Sqlite { reader, .. } => Transaction::Sqlite(reader.begin().await?),
            Self::Postgres(pool) => {
                Transaction::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        })
    }

    /// A transaction that may write, as if no other ran at the same time.
    pub(crate) async fn begin_write(&self) -> Result<Transaction> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Transaction::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Transaction::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE").await?),
        })
    }

    /// A transaction beside which none of its sort runs, in this core or another.
    pub(crate) async fn begin_alone(&self) -> Result<Transaction> {
        match self {
            Self::Sqlite { .. } => self.begin_write().await,
            Self::Postgres(pool) => {
                let mut transaction = Transaction::Postgres(pool.begin().await?);
                transaction.lock(ALONE).await?;
                Ok(transaction)
            }
        }
    }

    /// How many may write in the background at once, so that a person's request stands behind few of them.
    pub(crate) fn background_writers(&self) -> usize {
        match self {
            Self::Sqlite { .. } => 1,
            Self::Postgres(pool) => (pool.options().get_max_connections() as usize / 2).max(1),
        }
    }

    /// Closes the connections after what runs has ended.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
