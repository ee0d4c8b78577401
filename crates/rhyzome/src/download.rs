//! Fetching images by URL, some at a time. What a crash broke off is asked for again by its operation, and begun again;
//! what a connection broke off goes on where it was, if the server can, and else from the start.

mod transfer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode, Url};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::{ImageId, Sha256Digest};

use crate::core::Core;
use crate::image_file::{self, Arrival, Expected};
use crate::image_source;
use crate::refusal::Refusal;

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// How often a file that breaks off is begun.
const STARTS: u32 = 3;
/// Before it is begun the second time; longer each time after.
const PAUSE: Duration = Duration::from_secs(1);
/// Downloads that wait to be begun.
const BACKLOG: usize = 64;
/// Downloads at once.
const AT_ONCE: usize = 4;

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
            wanted = wishes.0.recv(), if tasks.len() < AT_ONCE => {
                let Some(wanted) = wanted else { break };
                tasks.spawn(settle(Arc::clone(&core), wanted));
            }
        }
    }
    tasks.shutdown().await;
}

/// Fetches one image and notes what came of it.
async fn settle(core: Arc<Core>, wanted: Wanted) {
    let failure = match fetch(&core, &wanted).await {
        Ok(Arrival::Kept) => None,
        // Nobody waits for it any more.
        Ok(Arrival::Unwanted(reason)) => {
            tracing::info!(resource = %wanted.id, reason, "an image is not fetched to its end");
            None
        }
        Err(error) => {
            let reason = format!("{error:#}");
            tracing::warn!(resource = %wanted.id, reason, "an image could not be fetched");
            Some(reason)
        }
    };
    core.downloads.done(wanted.id, failure);
    core.signals.look_again();
}

async fn fetch(core: &Core, wanted: &Wanted) -> anyhow::Result<Arrival> {
    let mut starts = 1;
    loop {
        match fetch_once(core, wanted).await? {
            Ok(arrival) => return Ok(arrival),
            Err(Refusal::Malformed(reason)) if starts < STARTS => {
                tracing::warn!(resource = %wanted.id, reason, starts, "a download is begun again");
                tokio::time::sleep(PAUSE * starts).await;
                starts += 1;
            }
            Err(refusal) => bail!("{}", refusal.into_problem()),
        }
    }
}

/// Fetches a file once; the inner error is about what came of it.
async fn fetch_once(core: &Core, wanted: &Wanted) -> anyhow::Result<Result<Arrival, Refusal>> {
    let mut url = Url::parse(&wanted.url).context("the URL cannot be read")?;
    for _ in 0..=REDIRECTS {
        let response = image_source::ask(&core.private_image_sources, &url, None).await?;
        if let Some(next) = redirected(&url, &response)? {
            url = next;
            continue;
        }
        if response.status() != StatusCode::OK {
            bail!("{} answered {}", image_source::shown(&url), response.status());
        }
        let length = response.content_length();
        let body = Box::pin(transfer::bytes(&core.private_image_sources, url, response));
        let expected = Expected { id: wanted.id, sha256: wanted.sha256, length, sender: None };
        return Ok(image_file::receive(core, expected, body).await);
    }
    bail!("{} was the end of {REDIRECTS} redirects and leads to another", image_source::shown(&url))
}

/// Where a response sends whoever asked.
fn redirected(from: &Url, response: &Response) -> anyhow::Result<Option<Url>> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.with_context(|| format!("{} redirects nowhere", image_source::shown(from)))?;
    let next = from.join(location).with_context(|| format!("{} redirects to no URL", image_source::shown(from)))?;
    if let Err(expected) = image_source::check(&next) {
        bail!("{} redirects to {}: {expected}", image_source::shown(from), image_source::shown(&next));
    }
    Ok(Some(next))
}
