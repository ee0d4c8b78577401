//! The pools and their transactions.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::statement::Statement;
use crate::transaction::{Row, Scalar, Transaction};
use crate::{Installation, Result, SecretKey, migration};

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
    transaction: Transaction,
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
        let installation = {
            let transaction = Transaction::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?);
            Installation::load_or_make(transaction, &key).await?
        };
        Ok(Self { writer, reader, background: Semaphore::new(1), key, installation })
    }

    /// Which installation this is.
    pub fn installation(&self) -> Installation {
        self.installation
    }

    /// A transaction that reads one state of the database.
    pub async fn read(&self) -> Result<Session<'_, Read>> {
        Session::start(self, Transaction::Sqlite(self.reader.begin().await?), None).await
    }

    /// A transaction that may write; it has the database's only pen until it ends.
    pub async fn write(&self) -> Result<Session<'_, Write>> {
        Session::start(self, Transaction::Sqlite(self.writer.begin_with("BEGIN IMMEDIATE").await?), None).await
    }

    /// The same for whoever nobody waits for. Only one at a time asks for the pen, so that a person's request stands
    /// behind one of them at most, however many there are.
    pub async fn write_in_background(&self) -> Result<Session<'_, Write>> {
        let turn = self.background.acquire().await.expect("invariant: the semaphore is never closed");
        Session::start(self, Transaction::Sqlite(self.writer.begin_with("BEGIN IMMEDIATE").await?), Some(turn)).await
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
        mut transaction: Transaction,
        turn: Option<SemaphorePermit<'store>>,
    ) -> Result<Self> {
        let now = transaction.now().await?;
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

    /// Every row that a statement gives.
    pub(crate) async fn fetch_all<T: Row>(&mut self, statement: Statement) -> Result<Vec<T>> {
        self.transaction.fetch_all(statement).await
    }

    /// The row that a statement gives, if there is one.
    pub(crate) async fn fetch_optional<T: Row>(&mut self, statement: Statement) -> Result<Option<T>> {
        self.transaction.fetch_optional(statement).await
    }

    /// The only column of every row.
    pub(crate) async fn fetch_scalars<T: Scalar>(&mut self, statement: Statement) -> Result<Vec<T>> {
        Ok(self.fetch_all::<(T,)>(statement).await?.into_iter().map(|(value,)| value).collect())
    }

    /// The only column of the row, if there is one.
    pub(crate) async fn fetch_optional_scalar<T: Scalar>(&mut self, statement: Statement) -> Result<Option<T>> {
        Ok(self.fetch_optional::<(T,)>(statement).await?.map(|(value,)| value))
    }

    /// The only column of the only row.
    pub(crate) async fn fetch_scalar<T: Scalar>(&mut self, statement: Statement) -> Result<T> {
        self.transaction.fetch_scalar(statement).await
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64> {
        self.transaction.execute(statement).await
    }
}

impl Session<'_, Write> {
    /// Keeps what was written.
    pub async fn commit(self) -> Result<()> {
        let committed = self.transaction.commit().await;
        drop(self.turn);
        committed
    }
}
