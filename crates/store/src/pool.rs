//! The connections to the database, and the transactions that begin on them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tokio::time::Instant;

use crate::Result;
use crate::database::{BUSY, Database, sqlite_options};
use crate::reader::Readers;
use crate::transaction::{Glance, Transaction};

/// Between two tries to open a file that another is turning into a database.
const AGAIN: Duration = Duration::from_millis(20);
/// Connections to SQLite that only read, in transactions; as many read statement by statement.
const READERS: u32 = 4;
/// A connection to a server that has been idle for longer may be gone, and is asked before it is used.
const FRESH: Duration = Duration::from_secs(2);
/// What cores that migrate or make an installation take turns for: "rhyz" in ASCII.
const ALONE: i64 = 0x7268_797a;

/// Connections, kept open.
pub(crate) enum Pool {
    /// One that writes and several that read beside it, in transactions or statement by statement.
    Sqlite { writer: SqlitePool, reader: SqlitePool, glances: Arc<Readers> },
    /// All alike.
    Postgres(PgPool),
}

impl Pool {
    /// Connects; SQLite's file is made where there is none.
    pub(crate) async fn connect(database: &Database) -> Result<Self> {
        match database {
            Database::Sqlite(path) => {
                let options = sqlite_options(path);
                let writer = connect_writer(&options).await?;
                let options = options.read_only(true).create_if_missing(false);
                let reader = SqlitePoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(BUSY)
                    .test_before_acquire(false)
                    .connect_lazy_with(options.clone());
                Ok(Self::Sqlite { writer, reader, glances: Arc::new(Readers::new(options, READERS as usize)) })
            }
            Database::Postgres(postgres) => {
                let pool = PgPoolOptions::new()
                    .max_connections(postgres.connections)
                    .acquire_timeout(BUSY)
                    .test_before_acquire(false)
                    .before_acquire(|connection, known| {
                        Box::pin(async move { Ok(known.idle_for < FRESH || connection.ping().await.is_ok()) })
                    })
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

    /// No transaction, for statements that read, each for itself.
    pub(crate) async fn glance(&self) -> Result<Transaction> {
        Ok(Transaction::Glance(match self {
            Self::Sqlite { glances, .. } => Glance::Sqlite(glances.take().await?),
            Self::Postgres(pool) => Glance::Postgres(pool.acquire().await?),
        }))
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
            Self::Sqlite { writer, reader, glances } => {
                glances.close().await;
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Of two that turn an empty file's journal into a write-ahead log at the same time, SQLite lets neither wait for the
/// other, whatever the busy timeout says: who comes second tries again.
async fn connect_writer(options: &SqliteConnectOptions) -> Result<SqlitePool> {
    let deadline = Instant::now() + BUSY;
    loop {
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY).test_before_acquire(false);
        match pool.connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error)) if is_busy(&*error) && Instant::now() < deadline => {
                tokio::time::sleep(AGAIN).await;
            }
            connected => return Ok(connected?),
        }
    }
}

/// Whether another connection was in the way: SQLITE_BUSY, of whose extended codes it is the lowest byte.
fn is_busy(error: &dyn DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}
