//! `rhyzome admin restore`: a backup in the place of the database, in an epoch of its own and paused.

use std::path::PathBuf;

use anyhow::{Context, bail};
use store::{Database, Store, StoreError};

use super::consent::Consent;
use crate::command::output;
use crate::serve::{be_alone, open_store, read_config, read_secret_key};
use crate::serve_config::ServeConfig;

/// Why a restored installation is paused.
const PAUSED: &str = "a backup was restored";

/// What restoring is told.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreOptions {
    /// The core's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    /// The backup.
    #[arg(value_name = "BACKUP")]
    file: PathBuf,
}

/// Restores it. No core may serve. What was there before stays beside it.
pub async fn run(options: RestoreOptions) -> anyhow::Result<()> {
    let config = read_config(options.config.as_deref())?;
    if !config.secret_key().exists() {
        bail!("the key file {} is missing: the secrets of the backup need it", config.secret_key().display());
    }
    let database = config.database.database(&config.data_dir)?;
    anyhow::ensure!(options.file.exists(), "there is no {}", options.file.display());
    let question = format!("put {} in the place of {database}", options.file.display());
    options.consent.ask(&question, "nothing was changed")?;
    let before = epoch_before(&config).await;
    let (kept, store) = match &database {
        Database::Sqlite(path) => {
            let _alone = be_alone(&config)?;
            let fresh = path.with_extension("restoring");
            store::place_copy(&options.file, &fresh).await?;
            let restored = Store::open(&Database::Sqlite(fresh.clone()), read_secret_key(&config.secret_key())?).await;
            let restored = restored.with_context(|| format!("{} cannot be restored", options.file.display()))?;
            begin_epoch(&restored, before).await?;
            restored.close().await;
            let kept = store::put_in_place(&fresh, path)?;
            (kept, open_store(&config).await?)
        }
        Database::Postgres(postgres) => {
            nobody_works(&config).await?;
            postgres.restore(&options.file).await?;
            let restored = open_store(&config).await?;
            begin_epoch(&restored, before).await?;
            restored.close().await;
            (None, open_store(&config).await?)
        }
    };
    let epoch = store.installation().epoch;
    store.close().await;
    if let Some(kept) = kept {
        output::line(format_args!("{}: what was there before", kept.display()))?;
    }
    output::line(format_args!(
        "restored, in epoch {epoch} and paused: start the core, let agents connect, then rhyzome admin resume"
    ))?;
    Ok(())
}

/// Refuses while a core works on the database. One that died counts until its lease has run out.
async fn nobody_works(config: &ServeConfig) -> anyhow::Result<()> {
    let store = open_store(config).await?;
    let cores = store.read().await?.running_cores().await?;
    store.close().await;
    match cores {
        0 => Ok(()),
        _ => bail!("another rhyzome serve works on the database: stop it, or wait some seconds if it has died"),
    }
}

/// The epoch of the database that is replaced; 0 if it cannot be told.
async fn epoch_before(config: &ServeConfig) -> u64 {
    match open_store(config).await {
        Ok(store) => {
            let epoch = store.installation().epoch.0;
            store.close().await;
            epoch
        }
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "the database that is replaced cannot be read");
            0
        }
    }
}

async fn begin_epoch(store: &Store, before: u64) -> anyhow::Result<()> {
    let begun: Result<(), StoreError> =
        store::transact!(store, async |session| session.begin_epoch(before, PAUSED).await).await;
    Ok(begun?)
}
