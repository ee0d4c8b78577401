//! Which database: where it lies and how it is reached.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use types::SecretText;

/// How long a transaction waits for its turn.
pub(crate) const BUSY: Duration = Duration::from_secs(30);

/// Where the database is.
pub enum Database {
    /// A file, for one core.
    Sqlite(PathBuf),
    /// A server, for as many cores as there are.
    Postgres(Postgres),
}

/// How a PostgreSQL server is reached.
pub struct Postgres {
    /// A name or an address; a path is the folder of a unix socket.
    pub host: String,
    /// The TCP port, which names the unix socket too.
    pub port: u16,
    /// Which of the server's databases.
    pub database: String,
    /// As whom.
    pub user: String,
    /// The user's password, where the server asks for one.
    pub password: Option<SecretText>,
    /// The CA that the server's certificate must come from; without one nothing is encrypted.
    pub ca: Option<PathBuf>,
    /// Connections at most.
    pub connections: u32,
}

impl fmt::Display for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(out, "the database {}", file.display()),
            Self::Postgres(Postgres { host, port, database, .. }) => {
                write!(out, "the database {database} of PostgreSQL at {host}, port {port},")
            }
        }
    }
}

/// What a session asks of the server: a core that vanished, or hangs in a transaction, must not hold its locks for long.
const MANNERS: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "30s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("client_min_messages", "warning"),
];

impl Postgres {
    pub(crate) fn options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.database)
            .username(&self.user)
            .application_name("rhyzome")
            .options(MANNERS);
        let options = match &self.password {
            Some(password) => options.password(password.reveal()),
            None => options,
        };
        match &self.ca {
            Some(ca) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca),
            None => options.ssl_mode(PgSslMode::Disable),
        }
    }
}

pub(crate) fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
}
