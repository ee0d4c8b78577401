//! The store and its sessions, each one transaction.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::contention::Trouble;
use crate::pool::Pool;
use crate::statement::Statement;
use crate::transaction::{Row, Scalar, Transaction};
use crate::{Database, Installation, Result, SecretKey, StoreError, migration};

/// What transactions with events take turns for: "even" in ASCII.
const EVENTS: i64 = 0x6576_656e;

/// The database of one installation.
pub struct Store {
    pub(crate) pool: Pool,
    /// Whose turn it is among those who write in the background.
    background: Semaphore,
    /// Whose turn it is among those whose transactions got in each other's way.
    pub(crate) crowd: Semaphore,
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
    queries: u64,
    pub(crate) events: Vec<Statement>,
    pub(crate) trouble: Option<Trouble>,
    mode: std::marker::PhantomData<Mode>,
}

impl Store {
    /// Opens the database, makes it where there is none, and brings its schema up to this release's. Secrets are sealed
    /// with `key`.
    pub async fn open(database: &Database, key: SecretKey) -> Result<Self> {
        let pool = Pool::connect(database).await?;
        migration::run(pool.begin_alone().await?).await?;
        let installation = Installation::load_or_make(pool.begin_alone().await?, &key).await?;
        let background = Semaphore::new(pool.background_writers());
        Ok(Self { pool, background, crowd: Semaphore::new(1), key, installation })
    }

    /// Which installation this is.
    pub fn installation(&self) -> Installation {
        self.installation
    }

    /// A transaction that reads one state of the database.
    pub async fn read(&self) -> Result<Session<'_, Read>> {
        Session::start(self, self.pool.begin_read().await?, None).await
    }

    /// Reads without a transaction, for whoever is done with one statement: what another one reads may be newer. Costs
    /// half as much.
    pub async fn glance(&self) -> Result<Session<'_, Read>> {
        Session::start(self, self.pool.glance().await?, None).await
    }

    /// A transaction that may write, as if no other ran at the same time. SQLite lets one of them in after the other;
    /// PostgreSQL fails those that got in each other's way, so that [`transact`](crate::transact) suits most callers better.
    pub async fn write(&self) -> Result<Session<'_, Write>> {
        Session::start(self, self.pool.begin_write().await?, None).await
    }

    /// The same for whoever nobody waits for. Only few at a time ask the database, so that a person's request stands
    /// behind few of them, however many there are.
    pub(crate) async fn write_in_background(&self) -> Result<Session<'_, Write>> {
        let turn = self.background.acquire().await.expect("invariant: the semaphore is never closed");
        Session::start(self, self.pool.begin_write().await?, Some(turn)).await
    }

    /// Whether several cores may work on this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// Closes the connections after what runs has ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl<'store, Mode> Session<'store, Mode> {
    async fn start(
        store: &'store Store,
        mut transaction: Transaction,
        turn: Option<SemaphorePermit<'store>>,
    ) -> Result<Self> {
        let now = transaction.now().await?;
        Ok(Self {
            transaction,
            store,
            now,
            turn,
            queries: 0,
            events: Vec::new(),
            trouble: None,
            mode: std::marker::PhantomData,
        })
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

    /// How many statements were run so far.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// Every row that a statement gives.
    pub(crate) async fn fetch_all<T: Row>(&mut self, statement: Statement) -> Result<Vec<T>> {
        self.queries += 1;
        let rows = self.transaction.fetch_all(statement).await;
        self.note(rows)
    }

    /// The row that a statement gives, if there is one.
    pub(crate) async fn fetch_optional<T: Row>(&mut self, statement: Statement) -> Result<Option<T>> {
        self.queries += 1;
        let row = self.transaction.fetch_optional(statement).await;
        self.note(row)
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
        self.queries += 1;
        let value = self.transaction.fetch_scalar(statement).await;
        self.note(value)
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64> {
        self.queries += 1;
        let rows = self.transaction.execute(statement).await;
        self.note(rows)
    }

    /// Notes what another transaction may be to blame for.
    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        match &result {
            Err(StoreError::Contended { .. }) => self.trouble = Some(Trouble::Contention),
            Err(StoreError::Refused { .. }) if self.store.is_shared() => self.trouble = Some(Trouble::Constraint),
            _ => {}
        }
        result
    }
}

impl Session<'_, Write> {
    /// Keeps what was written. Events are written last, one transaction after the other: whoever has read up to a
    /// sequence number has missed none before it.
    pub async fn commit(mut self) -> Result<()> {
        if !self.events.is_empty() {
            self.transaction.lock(EVENTS).await?;
        }
        for event in self.events {
            self.transaction.execute(event).await?;
        }
        let committed = self.transaction.commit().await;
        drop(self.turn);
        committed
    }
}
