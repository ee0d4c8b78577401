//! SQLite's connections for statements that read, each for itself. A pool of sqlx would cost such a statement more than
//! the statement does: it has the thread behind a connection answer before and after each use.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Result, StoreError};

/// Connections, opened as they are needed and kept.
pub(crate) struct Readers {
    options: SqliteConnectOptions,
    turns: Arc<Semaphore>,
    free: Mutex<Vec<SqliteConnection>>,
}

/// One of them, free again when it is dropped.
pub(crate) struct Reader {
    connection: Option<SqliteConnection>,
    readers: Arc<Readers>,
    _turn: OwnedSemaphorePermit,
}

impl Readers {
    pub(crate) fn new(options: SqliteConnectOptions, most: usize) -> Self {
        Self { options, turns: Arc::new(Semaphore::new(most)), free: Mutex::default() }
    }

    pub(crate) async fn take(self: &Arc<Self>) -> Result<Reader> {
        let closed = |_| StoreError::from(sqlx::Error::PoolClosed);
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match free {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Reader { connection: Some(connection), readers: Arc::clone(self), _turn: turn })
    }

    /// Closes them, those in use when they are free.
    pub(crate) async fn close(&self) {
        self.turns.close();
        let free = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in free {
            // It has written nothing that could be lost.
            let _ = connection.close().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.readers.turns.is_closed()) {
            self.readers.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Deref for Reader {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("invariant: it is there until the end")
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("invariant: it is there until the end")
    }
}
