//! When a program counts as up: it is asked, again and again, until it answers or its time is over.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pki::{Alpn, Roots};
use tokio::time::{Instant, sleep};

use super::layout::Layout;

/// How long a program may take to come up.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Waits until the core says that it is ready.
pub async fn core(layout: &Layout, listen: SocketAddr) -> Result<()> {
    let http = https(layout)?;
    let url = format!("https://{listen}/readyz");
    until("rhyzome", async || Ok(http.get(&url).send().await?.status().is_success())).await
}

/// Waits until the router's HTTPS server answers anything at all.
pub async fn router(layout: &Layout, listen: SocketAddr) -> Result<()> {
    let http = https(layout)?;
    let url = format!("https://{listen}/ubus");
    until("rhyzome-router", async || Ok(http.get(&url).send().await.map(|_| true)?)).await
}

/// Waits until something listens on libvirt's socket.
pub async fn libvirtd(socket: &Path) -> Result<()> {
    until("libvirtd", async || Ok(UnixStream::connect(socket).map(|_| true)?)).await
}

/// Waits until the agent of a target is connected.
pub async fn agent(client: &api::Client, target: &str, program: &str) -> Result<()> {
    until(program, async || {
        let agents = client.agents().await?;
        Ok(agents.items.iter().any(|agent| agent.name == target && agent.connected))
    })
    .await
}

/// Waits until so many agents are connected.
pub async fn agents(client: &api::Client, count: usize, program: &str) -> Result<()> {
    until(program, async || {
        let agents = client.agents().await?;
        Ok(agents.items.iter().filter(|agent| agent.connected).count() >= count)
    })
    .await
}

async fn until(program: &str, ask: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let why = answer.err().map_or_else(|| "it says no".to_owned(), |error| format!("{error:#}"));
            bail!("{program} is not up after {} s: {why}", DEADLINE.as_secs());
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
