//! The envelope: one job for one object, and the report that answers it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use types::{ImageId, InstanceId, NetworkId, ParseError, ResourceId, Version};

/// What a job is about, on its target. Written as `network/net-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A network on its router ([`crate::desired::Network`]).
    Network(NetworkId),
    /// A network's layer 2 on a hypervisor ([`crate::desired::SegmentLink`]).
    Segment(NetworkId),
    /// An image in a hypervisor's cache ([`crate::desired::Image`]).
    Image(ImageId),
    /// A machine on a hypervisor ([`crate::desired::Instance`]).
    Instance(InstanceId),
}

impl Object {
    /// The resource that the object serves.
    pub fn resource(self) -> ResourceId {
        match self {
            Self::Network(id) | Self::Segment(id) => id.into(),
            Self::Image(id) => id.into(),
            Self::Instance(id) => id.into(),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(id) => write!(out, "network/{id}"),
            Self::Segment(id) => write!(out, "segment/{id}"),
            Self::Image(id) => write!(out, "image/{id}"),
            Self::Instance(id) => write!(out, "instance/{id}"),
        }
    }
}

impl FromStr for Object {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once('/') {
            Some(("network", id)) => id.parse().map(Self::Network),
            Some(("segment", id)) => id.parse().map(Self::Segment),
            Some(("image", id)) => id.parse().map(Self::Image),
            Some(("instance", id)) => id.parse().map(Self::Instance),
            _ => Err(ParseError::new(text, "an object (network|segment|image|instance, a slash, an id)")),
        }
    }
}

/// As its text.
impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One thing to do: bring `object` to a state, or leave nothing of it.
pub struct Job {
    /// What it is about.
    pub object: Object,
    /// Which rendering of the desired state this is; older ones are refused.
    pub version: Version,
    /// Features without which the target must refuse.
    pub requires: Vec<String>,
    /// The state.
    pub want: Want,
}

/// What should become of an object.
pub enum Want {
    /// The whole desired state as JSON, one of [`crate::desired`]'s types, secrets resolved.
    Desired(String),
    /// Nothing of it is to be left.
    Gone,
}

/// How far a target came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The state was brought about and seen.
    Applied,
    /// It was not, and is tried again.
    Retrying,
    /// It cannot be; trying again would not help.
    Refused,
}

/// What became of one entry of a state: a lease, a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReport {
    /// How far it came.
    pub outcome: Outcome,
    /// Why it was not applied.
    pub reason: Option<String>,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The job's object.
    pub object: Object,
    /// The job's version.
    pub version: Version,
    /// How far it came.
    pub outcome: Outcome,
    /// Why it was not applied: a sentence for a person.
    pub reason: Option<String>,
    /// Entries with an outcome of their own; the others share the object's.
    pub entries: BTreeMap<ResourceId, EntryReport>,
    /// What was observed of the object, one of [`crate::observed`]'s types as JSON.
    pub status: Option<serde_json::Value>,
}

impl Report {
    /// A report that `job` was applied, with nothing else to say.
    pub fn applied(job: &Job) -> Self {
        Self::about(job, Outcome::Applied, None)
    }

    /// A report that `job` cannot be done.
    pub fn refused(job: &Job, reason: impl Into<String>) -> Self {
        Self::about(job, Outcome::Refused, Some(reason.into()))
    }

    /// A report that `job` was not done yet and is tried again.
    pub fn retrying(job: &Job, reason: impl Into<String>) -> Self {
        Self::about(job, Outcome::Retrying, Some(reason.into()))
    }

    fn about(job: &Job, outcome: Outcome, reason: Option<String>) -> Self {
        Self { object: job.object, version: job.version, outcome, reason, entries: BTreeMap::new(), status: None }
    }

    /// The same report with what was observed.
    pub fn with_status(mut self, status: &impl Serialize) -> Self {
        self.status = serde_json::to_value(status).ok();
        self
    }
}

/// Something on a target that bears our marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it is.
    pub object: Object,
    /// The desired state it was brought to last.
    pub version: Version,
}
