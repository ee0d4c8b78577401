//! What a running step waits for: that targets confirm renderings, or entries of them.

use jobs::Object;
use serde::{Deserialize, Serialize};
use store::{Availability, Caller, Session, StoreError};
use types::{ResourceId, TargetId, Version};

use crate::render::Rendered;

/// One rendering that a target has to confirm.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Await {
    /// The target.
    pub target: TargetId,
    /// The object.
    object: ObjectText,
    /// The rendering, or any after it.
    version: Version,
    /// The entry that counts; without one the whole object does.
    entry: Option<ResourceId>,
}

/// An object as text.
#[derive(Clone, Copy, Debug)]
struct ObjectText(Object);

impl Serialize for ObjectText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ObjectText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Await {
    /// Waits for the whole object.
    pub fn whole(rendered: Rendered) -> Self {
        Self { target: rendered.target, object: ObjectText(rendered.object), version: rendered.version, entry: None }
    }

    /// The object that is waited for.
    pub fn object(&self) -> Object {
        self.object.0
    }

    /// Whether it is for that object of that target.
    pub fn is_for(&self, target: TargetId, object: Object) -> bool {
        self.target == target && self.object.0 == object
    }

    /// Waits for one entry of the object; its siblings may fail.
    pub fn entry(rendered: Rendered, entry: impl Into<ResourceId>) -> Self {
        Self { entry: Some(entry.into()), ..Self::whole(rendered) }
    }
}

/// What became of all that a step waits for.
pub enum Finding {
    /// All of it was confirmed.
    Satisfied,
    /// Something has not been, for this reason.
    Waiting(String),
    /// A target cannot do it, for this reason.
    Refused(String),
}

/// Reads what [`write`] wrote.
pub fn read(value: &serde_json::Value) -> Result<Vec<Await>, StoreError> {
    serde_json::from_value(value.clone())
        .map_err(|error| StoreError::Corrupt { column: "step.awaits", detail: error.to_string() })
}

/// The form in which the step's row keeps them.
pub fn write(awaits: &[Await]) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(awaits)
        .map_err(|error| StoreError::Corrupt { column: "step.awaits", detail: error.to_string() })
}

/// The targets that are waited for.
pub fn targets(awaits: &[Await]) -> Vec<TargetId> {
    awaits.iter().map(|awaited| awaited.target).collect()
}

/// Holds what is waited for against what targets reported.
pub async fn check<Mode>(session: &mut Session<'_, Mode>, awaits: &[Await]) -> Result<Finding, StoreError> {
    let mut waiting = None;
    for awaited in awaits {
        match check_one(session, awaited).await? {
            Finding::Satisfied => {}
            Finding::Refused(reason) => return Ok(Finding::Refused(reason)),
            Finding::Waiting(reason) => waiting = waiting.or(Some(reason)),
        }
    }
    Ok(waiting.map_or(Finding::Satisfied, Finding::Waiting))
}

async fn check_one<Mode>(session: &mut Session<'_, Mode>, awaited: &Await) -> Result<Finding, StoreError> {
    let object = awaited.object.0;
    let job = session.job(&Caller::core(), awaited.target, &object.to_string()).await?;
    // A row that is gone was a tombstone that was confirmed.
    let Some(job) = job else { return Ok(Finding::Satisfied) };
    let told = |reason: Option<&String>| reason.cloned().unwrap_or_else(|| "no reason was given".to_owned());
    if job.reported >= awaited.version {
        let entry = awaited.entry.and_then(|entry| job.entries.get(&entry.to_string()));
        let (outcome, reason) = match entry {
            Some((outcome, reason)) => (Some(outcome.as_str()), reason.as_ref()),
            None => (job.outcome.as_deref(), job.reason.as_ref()),
        };
        match outcome {
            Some("applied") => return Ok(Finding::Satisfied),
            Some("refused") => return Ok(Finding::Refused(format!("{object} was refused: {}", told(reason)))),
            _ => return Ok(Finding::Waiting(format!("{object} is tried again: {}", told(reason)))),
        }
    }
    if job.desired.is_none() && session.availability(awaited.target).await? == Availability::Lost {
        return Ok(Finding::Satisfied);
    }
    if let Some(idle) = session.idle_target(awaited.target).await? {
        return Ok(Finding::Waiting(idle.to_string()));
    }
    let target = session.target_words(awaited.target).await?;
    Ok(Finding::Waiting(format!("waits for {target} to bring about {object}")))
}
