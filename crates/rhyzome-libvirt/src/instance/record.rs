//! What has been done for an instance, beside its disk. It is what keeps a disk from being made anew.

use serde::{Deserialize, Serialize};
use types::Sha256Digest;

use crate::storage::{InstanceFiles, read_json, write_json};
use crate::tap_filter::Admission;

/// The record of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The image that the disk is cloned from; written before it is fetched, so that the file is kept.
    pub image: Sha256Digest,
    /// Whether the disk was made.
    pub disk: DiskState,
    /// The digest of what the seed was made of.
    pub seed: Option<Sha256Digest>,
    /// How many restarts were done; the first desired state counts as done.
    pub restarts: u64,
    /// Whose frames its tap passes; none in records of a release that did not filter.
    #[serde(default)]
    pub admission: Option<Admission>,
}

/// Whether a disk was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// Not yet.
    Awaited,
    /// It was; if it is missing, it is lost.
    Made,
}

impl Record {
    /// Reads an instance's record, if it has one.
    pub fn read(files: &InstanceFiles) -> anyhow::Result<Option<Self>> {
        read_json(&files.record())
    }

    /// Writes it.
    pub fn write(&self, files: &InstanceFiles) -> anyhow::Result<()> {
        write_json(&files.record(), self)
    }
}
