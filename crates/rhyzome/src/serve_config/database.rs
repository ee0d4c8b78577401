//! The key `database` of `rhyzome.json`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use config::{FileError, TlsTrust, file};
use serde::Deserialize;
use store::Database;

/// Which database: a file, or a server.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseConfig {
    /// A file, for one core.
    Sqlite(SqliteConfig),
    /// A server, for as many cores as there are.
    Postgres(PostgresConfig),
}

/// A file of SQLite.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// The file; `rhyzome.sqlite` in the data directory when left out.
    pub file: Option<PathBuf>,
}

/// A server of PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PostgresFields")]
pub struct PostgresConfig {
    fields: PostgresFields,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostgresFields {
    /// A name, an address, or the folder of a unix socket.
    host: String,
    #[serde(default = "port")]
    port: types::Port,
    #[serde(default = "rhyzome")]
    database: String,
    #[serde(default = "rhyzome")]
    user: String,
    /// Holds the password and nothing else, readable by its owner alone.
    password_file: Option<PathBuf>,
    /// The CA of the server's certificate.
    tls: Option<TlsTrust>,
    /// Connections that one core makes at most.
    #[serde(default = "connections")]
    connections: u32,
}

/// Connections that a core needs at least: one hears the other cores, one writes in the background, two serve people.
const FEWEST: u32 = 4;
/// Connections that are surely a slip of the pen.
const MOST: u32 = 1000;

fn port() -> types::Port {
    types::Port::try_from(5432).expect("invariant: a port")
}

fn rhyzome() -> String {
    "rhyzome".to_owned()
}

fn connections() -> u32 {
    16
}

impl TryFrom<PostgresFields> for PostgresConfig {
    type Error = String;

    fn try_from(fields: PostgresFields) -> Result<Self, String> {
        if fields.host.is_empty() {
            return Err("host: expected a name, an address or the folder of a unix socket".to_owned());
        }
        if !(FEWEST..=MOST).contains(&fields.connections) {
            return Err(format!("connections: expected {FEWEST} to {MOST}, found {}", fields.connections));
        }
        let here = fields.host.starts_with('/')
            || fields.host == "localhost"
            || fields.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if fields.tls.is_none() && !here {
            return Err(format!(
                "tls: expected {{\"ca\": …}} with the CA of {}'s certificate, for it is on another machine",
                fields.host
            ));
        }
        Ok(Self { fields })
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self::Sqlite(SqliteConfig::default())
    }
}

impl DatabaseConfig {
    /// What the store opens; the password is read from its file.
    pub fn database(&self, data_dir: &Path) -> Result<Database, FileError> {
        match self {
            Self::Sqlite(SqliteConfig { file }) => {
                Ok(Database::Sqlite(file.clone().unwrap_or_else(|| data_dir.join("rhyzome.sqlite"))))
            }
            Self::Postgres(PostgresConfig { fields }) => {
                // The CA is read here for the sake of a clear error.
                fields.tls.as_ref().map(TlsTrust::read).transpose()?;
                Ok(Database::Postgres(store::Postgres {
                    host: fields.host.clone(),
                    port: fields.port.get(),
                    database: fields.database.clone(),
                    user: fields.user.clone(),
                    password: fields.password_file.as_deref().map(file::read_secret).transpose()?,
                    ca: fields.tls.as_ref().map(|trust| trust.ca.clone()),
                    connections: fields.connections,
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DatabaseConfig, String> {
        config::parse(text, Path::new("rhyzome.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn both_engines_are_read_and_the_password_comes_from_its_file() {
        let Database::Sqlite(file) = DatabaseConfig::default().database(Path::new("/data")).unwrap() else {
            panic!("SQLite is the default")
        };
        assert_eq!(file, Path::new("/data/rhyzome.sqlite"));

        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        file::write_private(&password, b"hush\n").unwrap();
        let text = serde_json::json!({"postgres": {"host": "/run/postgresql", "password_file": password}});
        let Database::Postgres(postgres) = read(&text.to_string()).unwrap().database(Path::new("/data")).unwrap()
        else {
            panic!("PostgreSQL was asked for")
        };
        assert_eq!((postgres.port, postgres.user.as_str(), postgres.connections), (5432, "rhyzome", 16));
        assert_eq!(postgres.password.unwrap().reveal(), "hush");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            (r#"{"postgres": {"host": "db.example.org"}}"#, "tls: expected"),
            (r#"{"postgres": {"host": ""}}"#, "host: expected"),
            (r#"{"postgres": {"host": "::1", "connections": 1}}"#, "connections: expected 4 to 1000"),
            (r#"{"postgres": {"host": "::1", "pasword_file": "x"}}"#, "did you mean \"password_file\""),
            (r#"{"sqlite": {"fill": "x"}}"#, "did you mean \"file\""),
            (r#"{"mysql": {}}"#, "mysql"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
