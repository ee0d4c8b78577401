//! `rhyzome serve`: database, executor, HTTP API and job server in one process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use config::file;
use pki::{Alpn, Authority, ClientAuth, KeyedCertificate, Roots};
use store::{SecretKey, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::SecretText;

use crate::command::output;
use crate::core::Core;
use crate::download::{self, Downloads};
use crate::serve_config::{FILE_NAME, ServeConfig};
use crate::{executor, http, image_file, job_server, metric};

/// What `rhyzome serve` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeOptions {
    /// The configuration; rhyzome.json in the working directory or /etc/rhyzome when left out.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and do nothing else.
    #[arg(long)]
    check_config: bool,
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
    let key = secret_key(config)?;
    Store::open(&config.database(), key)
        .await
        .with_context(|| format!("the database {} cannot be used", config.database().display()))
}

fn secret_key(config: &ServeConfig) -> anyhow::Result<SecretKey> {
    let path = config.secret_key();
    if !path.exists() {
        if config.database().exists() {
            anyhow::bail!("the key file {} is missing: the secrets of the database need it", path.display());
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let text = SecretText::new(data_encoding::BASE64.encode(&bytes));
        file::write_private(&path, text.reveal().as_bytes())?;
    }
    let text = file::read_secret(&path)?;
    let bytes = data_encoding::BASE64.decode(text.reveal().trim().as_bytes()).ok();
    let bytes: [u8; 32] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .with_context(|| format!("{}: expected 32 bytes in base64", path.display()))?;
    Ok(SecretKey::new(bytes))
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(options: ServeOptions) -> anyhow::Result<()> {
    let config = read_config(options.config.as_deref())?;
    let own = || KeyedCertificate::load(&config.tls);
    let authority = Authority::load(&config.authority_dir)?;
    own()?;
    if options.check_config {
        output::line("the configuration is good")?;
        return Ok(());
    }
    let agents = agent_roots(&config, &authority)?;
    let http_tls = pki::server_config(own()?, &ClientAuth::None, Alpn::Http1)?;
    let jobs_tls = pki::server_config(own()?, &ClientAuth::Optional { ca: agents }, Alpn::Http2)?;
    let store = open_store(&config).await?;
    let mut session = store.write().await?;
    session.disconnect_all().await?;
    session.commit().await?;
    let (downloads, wishes) = Downloads::channel();
    let core = Core::new(&config, store, authority, downloads);
    image_file::sweep(&core, true).await.context("images' files could not be tidied up")?;
    let bind = |address| async move {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let (http, jobs) = (bind(config.http.listen).await?, bind(config.jobs.listen).await?);
    let figures = match &config.metrics {
        Some(metrics) => Some((bind(metrics.listen).await?, metric::install()?)),
        None => None,
    };
    let shutdown = CancellationToken::new();
    tracing::info!(http = %http.local_addr()?, jobs = %jobs.local_addr()?, cluster = %core.store.installation().cluster, "the core serves");

    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    tasks.spawn(executor::run(Arc::clone(&core), shutdown.clone()));
    tasks.spawn(job_server::serve(Arc::clone(&core), jobs, jobs_tls, shutdown.clone()));
    let (for_http, for_downloads) = (Arc::clone(&core), Arc::clone(&core));
    let (http_shutdown, download_shutdown) = (shutdown.clone(), shutdown.clone());
    let http_config = config.http.clone();
    tasks.spawn(async move {
        http::serve(for_http, http, http_tls, &http_config, http_shutdown).await;
        Ok(())
    });
    if let Some((listener, handle)) = figures {
        tracing::info!(metrics = %listener.local_addr()?, "figures are served");
        let (core, shutdown) = (Arc::clone(&core), shutdown.clone());
        tasks.spawn(async move {
            metric::serve(core, handle, listener, shutdown).await;
            Ok(())
        });
    }
    tasks.spawn(async move {
        download::run(for_downloads, wishes, download_shutdown).await;
        Ok(())
    });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = tasks.join_next() => ended,
    };
    core.draining.cancel();
    if ended.is_none() {
        tokio::time::sleep(config.http.drain.notice()).await;
    }
    shutdown.cancel();
    let first = ended.map_or(Ok(()), |joined| joined.context("a part of the core panicked").and_then(|result| result));
    while let Some(joined) = tasks.join_next().await {
        if let Err(error) = joined.context("a part of the core panicked").and_then(|result| result) {
            tracing::error!(error = format!("{error:#}"), "a part of the core failed at its end");
        }
    }
    core.store.close().await;
    tracing::info!("the core has stopped");
    first
}

/// Whose certificates agents may show: our CA's, and the configured one's.
fn agent_roots(config: &ServeConfig, authority: &Authority) -> anyhow::Result<Roots> {
    let mut pem = authority.certificate_pem().to_owned();
    if let Some(ca) = &config.tls.ca {
        let configured = file::read(ca)?;
        if configured.trim() != pem.trim() {
            pem = format!("{pem}\n{configured}");
        }
    }
    Ok(Roots::from_pem(&pem)?)
}
