//! Fetching images by URL: https only, every address looked at before it is connected to, redirects looked at again.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::{ImageId, Sha256Digest};

use crate::core::Core;
use crate::image_file;

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// How long connecting may take, and how long a server may say nothing.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(60);
/// Downloads that wait to be begun.
const BACKLOG: usize = 64;

/// One image to be fetched.
struct Wanted {
    id: ImageId,
    url: String,
    sha256: Sha256Digest,
}

/// The images that are being fetched, and why others could not be.
pub struct Downloads {
    sender: mpsc::Sender<Wanted>,
    state: Mutex<HashMap<ImageId, Option<String>>>,
}

/// The end that [`run`] takes.
pub struct Wishes(mpsc::Receiver<Wanted>);

impl Downloads {
    /// The downloads and the wishes that [`run`] fulfils.
    pub fn channel() -> (Self, Wishes) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Self { sender, state: Mutex::default() }, Wishes(receiver))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, HashMap<ImageId, Option<String>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for an image; once is enough. A full backlog is asked again later.
    pub fn want(&self, id: ImageId, url: &str, sha256: Sha256Digest) {
        let mut state = self.state();
        if !state.contains_key(&id) && self.sender.try_send(Wanted { id, url: url.to_owned(), sha256 }).is_ok() {
            state.insert(id, None);
        }
    }

    /// Why an image could not be fetched; told once.
    pub fn failure(&self, id: ImageId) -> Option<String> {
        let mut state = self.state();
        match state.get(&id) {
            Some(Some(_)) => state.remove(&id).flatten(),
            _ => None,
        }
    }

    fn done(&self, id: ImageId, failure: Option<String>) {
        let mut state = self.state();
        match failure {
            Some(reason) => state.insert(id, Some(reason)),
            None => state.remove(&id),
        };
    }
}

/// Fetches what is wished for until `shutdown`.
pub async fn run(core: Arc<Core>, mut wishes: Wishes, shutdown: CancellationToken) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = tasks.join_next() => {}
            wanted = wishes.0.recv() => {
                let Some(wanted) = wanted else { break };
                let core = Arc::clone(&core);
                tasks.spawn(async move {
                    let failure = fetch(&core, &wanted).await.err().map(|error| format!("{error:#}"));
                    if let Some(reason) = &failure {
                        tracing::warn!(resource = %wanted.id, reason, "an image could not be fetched");
                    }
                    core.downloads.done(wanted.id, failure);
                    core.signals.look_again();
                });
            }
        }
    }
    tasks.shutdown().await;
}

async fn fetch(core: &Core, wanted: &Wanted) -> anyhow::Result<()> {
    let mut url = Url::parse(&wanted.url).context("the URL cannot be read")?;
    for _ in 0..=REDIRECTS {
        let response = ask(core, &url).await?;
        if response.status().is_redirection() {
            let location = response.headers().get(reqwest::header::LOCATION).and_then(|value| value.to_str().ok());
            url = url.join(location.context("a redirect goes nowhere")?).context("a redirect cannot be read")?;
            continue;
        }
        if response.status() != StatusCode::OK {
            bail!("{url} answered {}", response.status());
        }
        let received = image_file::receive(core, wanted.id, wanted.sha256, response.bytes_stream()).await;
        return received.map_err(|refusal| anyhow::anyhow!("{}", refusal.into_problem()));
    }
    bail!("more than {REDIRECTS} redirects")
}

/// Asks one server, at the one address that was looked at.
async fn ask(core: &Core, url: &Url) -> anyhow::Result<reqwest::Response> {
    if url.scheme() != "https" {
        bail!("{url} is not https");
    }
    let host = url.host_str().context("the URL names no host")?;
    let port = url.port_or_known_default().unwrap_or(443);
    let mut addresses = tokio::time::timeout(CONNECT_DEADLINE, tokio::net::lookup_host((host, port)))
        .await
        .with_context(|| format!("looking up {host} took too long"))?
        .with_context(|| format!("{host} cannot be looked up"))?;
    let address: SocketAddr = addresses.next().with_context(|| format!("{host} has no address"))?;
    if !core.allow_private_image_sources && !is_public(address.ip()) {
        bail!("{host} has the address {}, which is not public", address.ip());
    }
    let client = reqwest::Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_DEADLINE)
        .read_timeout(SILENCE)
        .resolve(host, address)
        .build()
        .context("no HTTPS client")?;
    client.get(url.clone()).send().await.with_context(|| format!("{url} does not answer"))
}

/// Whether an address is on the public internet (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmark = a == 198 && (18..20).contains(&b);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_multicast()
                || shared
                || benchmark
                || a == 0
                || a >= 240)
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public(mapped.into()),
            None => address.segments()[0] & 0xe000 == 0x2000,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.20.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        assert!(is_public("9.9.9.9".parse().unwrap()));
        assert!(is_public("2620:fe::fe".parse().unwrap()));
    }
}
