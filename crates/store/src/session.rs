//! The pools and their transactions.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Installation, Result, SecretKey, StoreError, migration};

/// How long a transaction waits for its turn.
const BUSY: Duration = Duration::from_secs(30);
/// Connections that only read.
const READERS: u32 = 4;

/// The database of one installation.
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Whose turn it is among those who write in the background.
    background: Semaphore,
    pub(crate) key: SecretKey,
    installation: Installation,
}

/// Marks a session that only reads.
pub struct Read;

/// Marks a session that may write.
pub struct Write;

/// One transaction. What is not committed is undone when the session is dropped.
pub struct Session<'store, Mode = Read> {
    pub(crate) transaction: Transaction<'static, Sqlite>,
    pub(crate) store: &'store Store,
    now: i64,
    turn: Option<SemaphorePermit<'store>>,
    mode: std::marker::PhantomData<Mode>,
}

impl Store {
    /// Opens the database at `path`, makes it where there is none, and brings its schema up to this release's. Secrets
    /// are sealed with `key`.
    pub async fn open(path: &Path, key: SecretKey) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer =
            SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY).connect_with(options.clone()).await?;
        migration::run(&writer).await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        let installation = Installation::load_or_make(&writer, &key).await?;
        Ok(Self { writer, reader, background: Semaphore::new(1), key, installation })
    }

    /// Which installation this is.
    pub fn installation(&self) -> Installation {
        self.installation
    }

    /// A transaction that reads one state of the database.
    pub async fn read(&self) -> Result<Session<'_, Read>> {
        Session::start(self, self.reader.begin().await?, None).await
    }

    /// A transaction that may write; it has the database's only pen until it ends.
    pub async fn write(&self) -> Result<Session<'_, Write>> {
        Session::start(self, self.writer.begin_with("BEGIN IMMEDIATE").await?, None).await
    }

    /// The same for whoever nobody waits for. Only one at a time asks for the pen, so that a person's request stands
    /// behind one of them at most, however many there are.
    pub async fn write_in_background(&self) -> Result<Session<'_, Write>> {
        let turn = self.background.acquire().await.expect("invariant: the semaphore is never closed");
        Session::start(self, self.writer.begin_with("BEGIN IMMEDIATE").await?, Some(turn)).await
    }

    /// Closes the pools after what runs has ended.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

impl<'store, Mode> Session<'store, Mode> {
    async fn start(
        store: &'store Store,
        mut transaction: Transaction<'static, Sqlite>,
        turn: Option<SemaphorePermit<'store>>,
    ) -> Result<Self> {
        let now: i64 = sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")
            .fetch_one(&mut *transaction)
            .await?;
        Ok(Self { transaction, store, now, turn, mode: std::marker::PhantomData })
    }

    /// The database's clock when the transaction began, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The same clock for making ids.
    pub fn now_unsigned(&self) -> u64 {
        u64::try_from(self.now).unwrap_or(0)
    }

    /// Which installation this is.
    pub fn installation(&self) -> Installation {
        self.store.installation
    }
}

impl Session<'_, Write> {
    /// Keeps what was written.
    pub async fn commit(self) -> Result<()> {
        let committed = self.transaction.commit().await;
        drop(self.turn);
        committed.map_err(StoreError::from)
    }
}
