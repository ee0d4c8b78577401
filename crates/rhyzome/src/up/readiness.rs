//! When a program counts as up: it is asked, again and again, until it answers or its time is over.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pki::{Alpn, Roots};
use tokio::time::{Instant, sleep};

use super::layout::Layout;
use super::log;

/// How long a program may take to come up.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);
/// How much of its log is shown when a program does not come up.
const QUOTED_LINES: usize = 15;

/// Waits until the core says that it is ready.
pub async fn core(layout: &Layout, listen: SocketAddr) -> Result<()> {
    let http = https(layout)?;
    let url = format!("https://{listen}/readyz");
    until(layout, "rhyzome", async || Ok(http.get(&url).send().await?.status().is_success())).await
}

/// Waits until the router's HTTPS server answers anything at all.
pub async fn router(layout: &Layout, listen: SocketAddr) -> Result<()> {
    let http = https(layout)?;
    let url = format!("https://{listen}/ubus");
    until(layout, "rhyzome-router", async || Ok(http.get(&url).send().await.map(|_| true)?)).await
}

/// Waits until something listens on libvirt's socket.
pub async fn libvirtd(layout: &Layout, socket: &Path) -> Result<()> {
    until(layout, "libvirtd", async || Ok(UnixStream::connect(socket).map(|_| true)?)).await
}

/// Waits until an agent of each target is connected.
pub async fn agents(layout: &Layout, client: &api::Client, targets: &[(&str, &str)]) -> Result<()> {
    for (target, program) in targets {
        until(layout, program, async || {
            let agents = client.agents().await?;
            Ok(agents.items.iter().any(|agent| agent.name == *target && agent.connected))
        })
        .await?;
    }
    Ok(())
}

async fn until(layout: &Layout, program: &str, ask: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let log = layout.log(program);
            let why = answer.err().map_or_else(|| "it says no".to_owned(), |error| format!("{error:#}"));
            bail!(
                "{program} is not up after {} s: {why}\nits log {} ends so:\n{}",
                DEADLINE.as_secs(),
                log.display(),
                log::tail(&log, QUOTED_LINES)
            );
        }
        sleep(LOOK).await;
    }
}

fn https(layout: &Layout) -> Result<reqwest::Client> {
    let roots = Roots::from_pem(&config::file::read(&layout.authority_certificate())?)?;
    let tls = pki::client_config(&roots, None, Alpn::Http1)?;
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(QUESTION).build();
    client.context("cannot make an HTTPS client")
}
