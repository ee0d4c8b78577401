//! The PostgreSQL server of the tests.

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection};

/// Where the socket of the tests' server is said to be.
const VARIABLE: &str = "RHYZOME_TEST_POSTGRES";

/// A running server.
#[derive(Clone)]
pub struct Server {
    folder: String,
}

impl Server {
    /// The number in the socket's name.
    pub const PORT: u16 = 5432;
    /// As whom tests come; the server asks for no password.
    pub const USER: &str = "postgres";

    /// The server that the environment names.
    pub fn find() -> Self {
        let folder = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} is not set: `cargo nextest run` starts PostgreSQL and sets it, or: eval \"$(scripts/postgres start)\"")
        });
        Self { folder }
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Makes an empty database with a name of its own.
    pub async fn create(&self) -> String {
        let folder = tempfile::tempdir().expect("a folder can be made");
        // The name of a fresh folder is as unlikely to be met again as a database's has to be.
        let unique = folder.path().file_name().expect("a fresh folder has a name").to_string_lossy().into_owned();
        let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("test_{}_{unique}", std::process::id());
        self.run("postgres", AssertSqlSafe(format!("CREATE DATABASE \"{name}\" TEMPLATE template0"))).await;
        name
    }

    /// Removes a database, whoever is connected to it.
    pub fn remove(&self, database: &str) {
        let (server, statement) = (self.clone(), format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)"));
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(server.run("postgres", AssertSqlSafe(statement)));
        });
        let _ = removal.join();
    }

    /// Runs SQL in a database.
    pub async fn run(&self, database: &str, script: AssertSqlSafe<String>) {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.folder)
            .port(Self::PORT)
            .username(Self::USER)
            .database(database)
            .ssl_mode(PgSslMode::Disable);
        let mut connection = PgConnection::connect_with(&options).await.unwrap_or_else(|error| {
            panic!("PostgreSQL does not answer in {}: start it with scripts/postgres start ({error})", self.folder)
        });
        sqlx::raw_sql(script).execute(&mut connection).await.expect("the script runs");
        let _ = connection.close().await;
    }
}
