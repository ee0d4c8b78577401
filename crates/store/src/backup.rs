//! Copies of the database, and their way back.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::process::Command;

use crate::column::{counter, narrow};
use crate::database::{Postgres, sqlite_options};
use crate::pool::Pool;
use crate::statement::sql;
use crate::{Database, Result, Session, Store, StoreError, Write};

impl Store {
    /// Writes all that the database has at one moment to `file`, which is there and empty, while others go on. `database`
    /// is what the store was opened with.
    pub async fn back_up(&self, database: &Database, file: &Path) -> Result<()> {
        match (&self.pool, database) {
            (Pool::Sqlite { writer, .. }, Database::Sqlite(_)) => {
                let name = file.to_str().ok_or_else(|| unusable("the backup's name is not UTF-8"))?;
                // VACUUM takes no values, and a quotation mark is doubled within quotation marks.
                let copy = format!("VACUUM INTO '{}'", name.replace('\'', "''"));
                sqlx::raw_sql(AssertSqlSafe(copy)).execute(writer).await?;
                Ok(())
            }
            (Pool::Postgres(_), Database::Postgres(postgres)) => postgres.dump(file).await,
            _ => Err(unusable("the database is of another kind")),
        }
    }
}

impl Postgres {
    /// As `pg_dump --format=custom` does.
    async fn dump(&self, file: &Path) -> Result<()> {
        self.run("pg_dump", &["--format=custom".into(), "--no-owner".into(), option("--file", file)]).await
    }

    /// Puts a dump in the place of all that the database has, in one transaction, as
    /// `pg_restore --clean --if-exists --single-transaction` does.
    pub async fn restore(&self, file: &Path) -> Result<()> {
        let options = ["--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction"];
        let mut arguments: Vec<OsString> = options.map(OsString::from).to_vec();
        arguments.push(file.into());
        self.run("pg_restore", &arguments).await
    }

    async fn run(&self, program: &'static str, arguments: &[OsString]) -> Result<()> {
        let mut command = Command::new(program);
        command
            .args(["--host", &self.host, "--port", &self.port.to_string(), "--username", &self.user, "--no-password"])
            .args(["--dbname", &self.database])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // The environment of a process is its user's alone, unlike its arguments.
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.reveal());
        }
        match &self.ca {
            Some(ca) => command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", ca),
            None => command.env("PGSSLMODE", "disable"),
        };
        let done = command.output().await;
        let done =
            done.map_err(|error| unusable(format!("{program} (package postgresql-client) does not run: {error}")))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(unusable(format!("{program} failed: {}", String::from_utf8_lossy(&done.stderr).trim()))),
        }
    }
}

fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(value);
    option
}

/// Copies a backup of SQLite to where it can be worked on; a file that is none is refused.
pub async fn place_copy(backup: &Path, to: &Path) -> Result<()> {
    let failed = |error: std::io::Error| unusable(format!("cannot write {}: {error}", to.display()));
    remove_with_logs(to).map_err(failed)?;
    std::fs::copy(backup, to).map_err(failed)?;
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed)?;
    let refuse = |error: sqlx::Error| unusable(format!("{} is no backup: {error}", backup.display()));
    let mut connection: SqliteConnection =
        sqlite_options(to).create_if_missing(false).connect().await.map_err(refuse)?;
    let verdict: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await.map_err(refuse)?;
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'installation'")
        .fetch_one(&mut connection)
        .await
        .map_err(refuse)?;
    connection.close().await.map_err(refuse)?;
    match (verdict.as_str(), tables) {
        ("ok", 1..) => Ok(()),
        ("ok", _) => Err(unusable(format!("{} is a database, and not one of ours", backup.display()))),
        (verdict, _) => Err(unusable(format!("{} is damaged: {verdict}", backup.display()))),
    }
}

/// Puts a database of SQLite in the place of another, which stays beside it under the name that is given back.
pub fn put_in_place(fresh: &Path, path: &Path) -> Result<Option<PathBuf>> {
    let failed = |error: std::io::Error| unusable(format!("cannot write {}: {error}", path.display()));
    let kept = path.exists().then(|| free_name(path));
    if let Some(kept) = &kept {
        for log in ["", "-wal", "-shm"] {
            let from = with_suffix(path, log);
            if from.exists() {
                std::fs::rename(&from, with_suffix(kept, log)).map_err(failed)?;
            }
        }
    }
    std::fs::rename(fresh, path).map_err(failed)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(kept)
}

fn free_name(path: &Path) -> PathBuf {
    let names = (1_u32..).map(|number| with_suffix(path, &format!(".replaced-{number}")));
    names.into_iter().find(|name| !name.exists()).unwrap_or_else(|| with_suffix(path, ".replaced"))
}

fn remove_with_logs(path: &Path) -> std::io::Result<()> {
    for log in ["", "-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(path, log)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn unusable(why: impl Into<String>) -> StoreError {
    StoreError::Unusable(why.into())
}

impl<Mode> Session<'_, Mode> {
    /// How many cores work on the database at this moment.
    pub async fn running_cores(&mut self) -> Result<u64> {
        let statement = sql("SELECT COUNT(*) FROM replica WHERE lease_until >= $1").bind(self.now());
        let count: i64 = self.fetch_scalar(statement).await?;
        narrow("count", count)
    }
}

impl Session<'_, Write> {
    /// Begins an epoch after this database's and after `before`, paused for `reason`: agents take what the core says from
    /// here on, whatever they were told since the backup.
    pub async fn begin_epoch(&mut self, before: u64, reason: &str) -> Result<()> {
        let epoch = self.installation().epoch.0.max(before) + 1;
        for (name, value) in [("epoch", epoch.to_string()), ("paused", reason.to_owned())] {
            let set = sql("INSERT INTO installation (name, value) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value");
            self.execute(set.bind(name).bind(value)).await?;
        }
        self.execute(sql("UPDATE job SET epoch = $1").bind(counter(epoch))).await?;
        for statement in [
            "UPDATE agent SET connected = 0, replica = NULL",
            "UPDATE operation SET owner = NULL, attempt = attempt + 1 WHERE state IN ('pending', 'running')",
            "DELETE FROM inventory",
            "DELETE FROM replica",
        ] {
            self.execute(sql(statement)).await?;
        }
        Ok(())
    }
}
