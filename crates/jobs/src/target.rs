//! What an agent has to bring: a target that can say what it holds and bring objects to their desired states.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use types::Sha256Digest;

use crate::{Held, Job, Object, Report, observed};

/// How jobs are handed to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// All that is pending at once, one call at a time (a router: one transaction).
    Together,
    /// One job a call, up to so many calls at once, never two for one object (a hypervisor).
    Each(usize),
}

/// A router or a hypervisor, as its agent works it.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// What desired states may require of this target.
    fn features(&self) -> &'static [&'static str];

    /// How jobs are to be handed over.
    fn batching(&self) -> Batching;

    /// What the target can take.
    async fn capacity(&self) -> observed::Capacity;

    /// Everything on the target that bears our marks, read from the target itself.
    async fn held(&self) -> anyhow::Result<Vec<Held>>;

    /// Brings each job's object to its desired state, and answers with one report a job. It is called again with a job
    /// that was reported as retrying, and may be called with one that is applied already. It must not trust that an
    /// earlier call came to its end.
    async fn apply(&self, jobs: Vec<Job>, context: &Context) -> Vec<Report>;

    /// Watches the target for as long as the agent lives, and tells the observer what changes by itself.
    async fn watch(&self, observer: Observer);
}

/// What a target may use while it applies jobs.
pub struct Context {
    /// Where images come from.
    pub images: Arc<dyn ImageSource>,
}

/// Where a hypervisor gets the bytes of images from.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Writes the image of that digest to `sink`; the caller checks the digest.
    async fn fetch(&self, sha256: Sha256Digest, sink: &mut (dyn AsyncWrite + Send + Unpin)) -> anyhow::Result<()>;
}

/// What a target observes between jobs.
#[derive(Debug)]
pub enum Observation {
    /// How an object fares, one of [`crate::observed`]'s types; the newest of an object counts.
    Status(Object, serde_json::Value),
    /// Everything on the target that bears our marks, as [`Target::held`] tells it. What is not as it was made last is
    /// made so again.
    Held(Vec<Held>),
}

impl Observation {
    /// The object and how it fares, where that is what was observed.
    pub fn into_status(self) -> Option<(Object, serde_json::Value)> {
        match self {
            Self::Status(object, status) => Some((object, status)),
            Self::Held(_) => None,
        }
    }
}

/// Takes what a target observes between jobs to the agent, and on to the core.
#[derive(Clone)]
pub struct Observer {
    sender: mpsc::Sender<Observation>,
}

impl Observer {
    /// An observer and the end that its observations arrive at.
    pub fn channel(bound: usize) -> (Self, mpsc::Receiver<Observation>) {
        let (sender, receiver) = mpsc::channel(bound);
        (Self { sender }, receiver)
    }

    /// Hands over what was observed of `object`, one of [`crate::observed`]'s types.
    pub async fn observe(&self, object: Object, status: &impl serde::Serialize) {
        if let Ok(status) = serde_json::to_value(status) {
            // The receiver is gone only when the agent is going down.
            let _ = self.sender.send(Observation::Status(object, status)).await;
        }
    }

    /// Hands over what the target holds, read while nothing was being applied.
    pub async fn found(&self, held: Vec<Held>) {
        let _ = self.sender.send(Observation::Held(held)).await;
    }
}
