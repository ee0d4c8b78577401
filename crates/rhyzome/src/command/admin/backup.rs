//! `rhyzome admin backup`: a copy of the database at one moment, also while the core serves.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use store::{Database, Store};

use super::open;
use crate::command::output;

/// What a backup is told.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupOptions {
    /// The core's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the backup goes (mode 0600); there must be no such file yet.
    #[arg(value_name = "BACKUP")]
    file: PathBuf,
}

/// Makes it. The key file is not in it: without that file its secrets stay closed.
pub async fn run(options: BackupOptions) -> anyhow::Result<()> {
    let (config, store) = open(options.config.as_deref()).await?;
    let database = config.database.database(&config.data_dir)?;
    let made = make(&store, &database, &options.file).await;
    store.close().await;
    if made.is_err() {
        let _ = std::fs::remove_file(part(&options.file));
    }
    made?;
    output::line(format_args!(
        "{}: the database; keep {} too, in another place: it opens the database's secrets",
        options.file.display(),
        config.secret_key().display()
    ))?;
    Ok(())
}

async fn make(store: &Store, database: &Database, file: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!file.exists(), "{} exists already", file.display());
    let part = part(file);
    let cannot = || format!("cannot write {}", part.display());
    let _ = std::fs::remove_file(&part);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).with_context(cannot)?;
    store.back_up(database, &part).await.with_context(cannot)?;
    File::open(&part)?.sync_all().with_context(cannot)?;
    std::fs::rename(&part, file).with_context(|| format!("cannot write {}", file.display()))?;
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(directory)?.sync_all()?)
}

/// Where a file lies that is not whole yet.
fn part(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
