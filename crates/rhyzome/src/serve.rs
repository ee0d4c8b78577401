//! `rhyzome serve`: database, executor, HTTP API and job server in one process.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use config::file;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pki::{Authority, Clock};
use store::{Database, SecretKey, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{self, SignalKind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::SecretText;

use crate::command::output;
use crate::core::Core;
use crate::download::{self, Downloads};
use crate::serve_config::{FILE_NAME, ServeConfig};
use crate::server_certificate::{self, ServerCertificate};
use crate::{executor, http, image_file, job_server, metric, replica, signal};

/// How long each stage of the core's end may take, requests that are under way apart.
const ENDING: Duration = Duration::from_secs(5);

/// What `rhyzome serve` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeOptions {
    /// The configuration; rhyzome.json in the working directory or /etc/rhyzome when left out.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and do nothing else.
    #[arg(long)]
    check_config: bool,
    /// Serve only the HTTP API, or only agents and operations, beside other cores over the same PostgreSQL.
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
}

/// A part of the core that can run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The HTTP API.
    Http,
    /// The server that agents dial, and the executor of operations.
    Jobs,
}

/// Reads the configuration.
pub fn read_config(path: Option<&Path>) -> anyhow::Result<ServeConfig> {
    Ok(config::load::<ServeConfig>(path, FILE_NAME)?.value)
}

/// Opens the database with its key, which is made where there is none and no database either.
pub async fn open_store(config: &ServeConfig) -> anyhow::Result<Store> {
    file::make_private_directory(&config.data_dir)?;
    // Key and schema are made once, however many processes begin at the same moment.
    let lock = File::create(config.data_dir.join("open.lock")).context("the data directory cannot be locked")?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await?;
    let _lock = lock.context("the data directory cannot be locked")?;
    let database = config.database.database(&config.data_dir)?;
    let key_file = config.secret_key();
    if let Database::Sqlite(file) = &database
        && file.exists()
        && !key_file.exists()
    {
        anyhow::bail!("the key file {} is missing: the secrets of the database need it", key_file.display());
    }
    let made = !key_file.exists();
    if made {
        make_secret_key(&key_file)?;
    }
    let opened = Store::open(&database, read_secret_key(&key_file)?).await;
    if opened.is_err() && made {
        // The database has another key, or was not reached: this one has sealed nothing.
        file::remove(&key_file)?;
    }
    opened.with_context(|| match made {
        false => format!("{database} cannot be used"),
        true => format!("{database} cannot be used, and there was no key file {}", key_file.display()),
    })
}

fn make_secret_key(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let text = SecretText::new(data_encoding::BASE64.encode(&bytes));
    Ok(file::write_private(path, text.reveal().as_bytes())?)
}

/// Reads the key that seals the database's secrets.
pub fn read_secret_key(path: &Path) -> anyhow::Result<SecretKey> {
    let text = file::read_secret(path)?;
    let bytes = data_encoding::BASE64.decode(text.reveal().trim().as_bytes()).ok();
    let bytes: [u8; 32] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .with_context(|| format!("{}: expected 32 bytes in base64", path.display()))?;
    Ok(SecretKey::new(bytes))
}

/// Holds the data directory of a core that must be the only one, until it is dropped.
pub fn be_alone(config: &ServeConfig) -> anyhow::Result<File> {
    let path = config.data_dir.join("serve.lock");
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another rhyzome serve works on {}: SQLite is for one core, several need PostgreSQL (docs/operating.md)",
            config.data_dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::new(error).context(format!("{} cannot be locked", path.display())))
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(options: ServeOptions) -> anyhow::Result<()> {
    // Before anything else: whoever replaces a certificate while the core starts must not end it by saying so.
    let hangup = unix::signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let config = read_config(options.config.as_deref())?;
    let authority = Authority::load(&config.authority_dir)?;
    let certificate = ServerCertificate::open(&config.tls, &authority, Clock::system())?;
    let server_ca = server_certificate::server_ca(&config.tls, &authority)?;
    config.database.database(&config.data_dir)?;
    if options.check_config {
        output::line("the configuration is good")?;
        return Ok(());
    }
    let (http_tls, jobs_tls) = (certificate.http(), certificate.jobs());
    let store = open_store(&config).await?;
    let _alone = match (store.is_shared(), options.only) {
        (true, _) => None,
        (false, None) => Some(be_alone(&config)?),
        (false, Some(_)) => {
            anyhow::bail!("--only splits the core over PostgreSQL; SQLite is for one core that is whole")
        }
    };
    allow_many_files()?;
    let replica = replica::join(&store).await?;
    let (downloads, wishes) = Downloads::channel();
    let core = Core::new(&config, store, replica, authority, server_ca, downloads);
    image_file::sweep(&core, true).await.context("images' files could not be tidied up")?;
    let bind = |address| async move {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let (shutdown, end) = (CancellationToken::new(), CancellationToken::new());
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (for_certificate, certificate_shutdown) = (Arc::clone(&core), shutdown.clone());
    parts.spawn(async move {
        certificate.tend(for_certificate, hangup, certificate_shutdown).await;
        Ok(())
    });
    if options.only != Some(Part::Jobs) {
        let listener = bind(config.http.listen).await?;
        tracing::info!(http = %listener.local_addr()?, "the API is served");
        let (core, shutdown, http) = (Arc::clone(&core), shutdown.clone(), config.http.clone());
        parts.spawn(async move {
            http::serve(core, listener, http_tls, &http, shutdown).await;
            Ok(())
        });
    }
    if options.only != Some(Part::Http) {
        let listener = bind(config.jobs.listen).await?;
        tracing::info!(jobs = %listener.local_addr()?, "agents are served");
        parts.spawn(executor::run(Arc::clone(&core), shutdown.clone()));
        parts.spawn(job_server::serve(Arc::clone(&core), listener, jobs_tls, shutdown.clone()));
        let (core, shutdown) = (Arc::clone(&core), shutdown.clone());
        parts.spawn(async move {
            download::run(core, wishes, shutdown).await;
            Ok(())
        });
    }
    if let Some(metrics) = &config.metrics {
        let (listener, handle) = (bind(metrics.listen).await?, metric::install()?);
        tracing::info!(metrics = %listener.local_addr()?, "figures are served");
        let (measured, end_of_probe) = (Arc::clone(&core), shutdown.clone());
        parts.spawn(async move {
            metric::probe(measured, end_of_probe).await;
            Ok(())
        });
        let (core, shutdown) = (Arc::clone(&core), shutdown.clone());
        parts.spawn(async move {
            metric::serve(core, handle, listener, shutdown).await;
            Ok(())
        });
    }
    // These last until the parts have come to their end.
    let mut bonds = JoinSet::new();
    bonds.spawn(replica::run(Arc::clone(&core), end.clone()));
    bonds.spawn(signal::relay(Arc::clone(&core), end.clone()));
    tracing::info!(%replica, cluster = %core.store.installation().cluster, "the core serves");

    let (mut terminate, mut interrupt) =
        (unix::signal(SignalKind::terminate())?, unix::signal(SignalKind::interrupt())?);
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = parts.join_next() => ended,
    };
    core.draining.cancel();
    if ended.is_none() {
        tokio::time::sleep(config.http.drain.notice()).await;
    }
    shutdown.cancel();
    let first = ended.map_or(Ok(()), |joined| joined.context("a part of the core panicked").and_then(|result| result));
    // Requests have twice that long: to be answered, and to read the answer.
    let bound = config.http.drain.finish() * 2 + ENDING;
    if tokio::time::timeout(bound, join_all(&mut parts)).await.is_err() {
        tracing::warn!(
            seconds = bound.as_secs(),
            "parts of the core did not come to their end in time; they are cut off"
        );
        parts.shutdown().await;
    }
    match tokio::time::timeout(ENDING, replica::leave(&core)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %anyhow::Error::new(error), "the core could not say that it stops; others will notice");
        }
        Err(_) => tracing::warn!("the core could not say in time that it stops; others will notice"),
    }
    end.cancel();
    bonds.join_all().await;
    if tokio::time::timeout(ENDING, core.store.close()).await.is_err() {
        tracing::warn!("the database is left while something is at work in it; that is undone");
    }
    tracing::info!("the core has stopped");
    first
}

/// Waits for all parts, and tells how they failed at their end.
async fn join_all(parts: &mut JoinSet<anyhow::Result<()>>) {
    while let Some(joined) = parts.join_next().await {
        if let Err(error) = joined.context("a part of the core panicked").and_then(|result| result) {
            tracing::error!(error = format!("{error:#}"), "a part of the core failed at its end");
        }
    }
}

/// Every agent is a connection, and distributions allow a process a thousand files unless it asks for more.
fn allow_many_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit of open files cannot be raised")
}
