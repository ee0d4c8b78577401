//! Sources: where the wish to publish comes from. Each sends whole states; what it cannot read it calls unknown.

pub mod brake;
pub mod consul;
pub mod file;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::exposure::{PublicPort, Wanted};
use crate::settings::Source;

/// What a source says at a time.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What is wanted, as it was last known; nothing is known before the first good reading.
    pub wanted: Option<Arc<Wanted>>,
    /// Why the source cannot be read, or is not believed, at the moment.
    pub trouble: Option<String>,
}

impl Reading {
    /// This is wanted.
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted: Some(Arc::new(wanted)), trouble: None }
    }
}

/// Tells all who listen that `wanted` is wanted, if they do not know.
pub(crate) fn tell(readings: &watch::Sender<Reading>, wanted: Wanted) {
    readings.send_if_modified(|reading| {
        if reading.trouble.is_none() && reading.wanted.as_deref() == Some(&wanted) {
            return false;
        }
        tracing::info!(ports = wanted.ports.len(), refused = wanted.refused.len(), "the source says what is wanted");
        for refused in &wanted.refused {
            tracing::warn!(service = refused.service, cause = refused.cause, "not published");
        }
        *reading = Reading::of(wanted);
        true
    });
}

/// Tells all who listen what is wrong; what was wanted stays wanted.
pub(crate) fn doubt(readings: &watch::Sender<Reading>, trouble: String) {
    readings.send_if_modified(|reading| {
        if reading.trouble.as_deref() == Some(trouble.as_str()) {
            return false;
        }
        tracing::warn!(cause = trouble, "the source is not known; everything stays as it is");
        reading.trouble = Some(trouble);
        true
    });
}

/// Follows a source for ever, for a node.
pub async fn follow(source: Source, node: String, leave: BTreeSet<PublicPort>, readings: watch::Sender<Reading>) {
    match source {
        Source::File(path) => file::follow(path, leave, readings).await,
        Source::Consul(settings) => consul::follow(settings, node, leave, readings).await,
    }
}

/// Reads a source once, for a node.
pub async fn read(source: &Source, node: &str, leave: &BTreeSet<PublicPort>) -> anyhow::Result<Wanted> {
    match source {
        Source::File(path) => Ok(file::read(path, leave)?),
        Source::Consul(settings) => Ok(consul::read(settings, node, leave).await?),
    }
}
