//! Databases for tests: a fresh one a test, on either engine.
//!
//! A crate whose tests are about the database has them compiled twice: `tests/it` for SQLite, and `tests/postgres`, a
//! symbolic link to it, for PostgreSQL. [`Engine::of`] tells them apart by the name of their binary, so that a test is
//! written once and knows nothing of it. `cargo nextest run` starts the server (scripts/postgres); a database made here
//! goes when its [`Ground`] is dropped.

mod server;

use std::path::PathBuf;

use store::{Database, Postgres, SecretKey, Store};
use tempfile::TempDir;

use server::Server;

/// The name of the binary of tests that run on PostgreSQL.
const POSTGRES: &str = "postgres";

/// What lies behind the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Engine {
    /// The engine of a binary of tests, by `env!("CARGO_CRATE_NAME")`.
    pub fn of(binary: &str) -> Self {
        if binary == POSTGRES { Self::Postgres } else { Self::Sqlite }
    }
}

/// An empty database, which goes when this is dropped.
pub struct Ground {
    place: Place,
}

enum Place {
    Sqlite(TempDir),
    Postgres { server: Server, database: String },
}

impl Ground {
    /// Makes the database.
    ///
    /// # Panics
    /// When the engine is PostgreSQL and its server does not run.
    pub async fn new(engine: Engine) -> Self {
        let place = match engine {
            Engine::Sqlite => Place::Sqlite(tempfile::tempdir().expect("a folder can be made")),
            Engine::Postgres => {
                let server = Server::find();
                let database = server.create().await;
                Place::Postgres { server, database }
            }
        };
        Self { place }
    }

    /// How it is reached.
    pub fn database(&self) -> Database {
        match &self.place {
            Place::Sqlite(_) => Database::Sqlite(self.file().expect("invariant: SQLite has a file")),
            Place::Postgres { server, database } => Database::Postgres(Postgres {
                host: server.folder().to_owned(),
                port: Server::PORT,
                database: database.clone(),
                user: Server::USER.to_owned(),
                password: None,
                ca: None,
                connections: 16,
            }),
        }
    }

    /// SQLite's file.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Sqlite(dir) => Some(dir.path().join("db.sqlite")),
            Place::Postgres { .. } => None,
        }
    }

    /// What `rhyzome.json` says of it under the key `database`; nothing for SQLite, whose file has a place of its own.
    pub fn setting(&self) -> Option<serde_json::Value> {
        match &self.place {
            Place::Sqlite(_) => None,
            Place::Postgres { server, database } => Some(serde_json::json!({"postgres": {
                "host": server.folder(), "port": Server::PORT, "database": database, "user": Server::USER,
            }})),
        }
    }

    /// Opens it with the key whose bytes are all `key`.
    pub async fn open(&self, key: u8) -> store::Result<Store> {
        Store::open(&self.database(), SecretKey::new([key; 32])).await
    }

    /// Runs SQL beside the store.
    pub async fn run(&self, script: &str) {
        let script = sqlx::AssertSqlSafe(script.to_owned());
        match &self.place {
            Place::Sqlite(_) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(self.file().expect("invariant: SQLite has a file"))
                    .create_if_missing(true);
                let pool = sqlx::SqlitePool::connect_with(options).await.expect("the file can be opened");
                sqlx::raw_sql(script).execute(&pool).await.expect("the script runs");
                pool.close().await;
            }
            Place::Postgres { server, database } => server.run(database, script).await,
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Place::Postgres { server, database } = &self.place {
            server.remove(database);
        }
    }
}
