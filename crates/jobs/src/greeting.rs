//! What agent and core say to each other first.

use serde::{Deserialize, Serialize};
use types::{ClusterId, Epoch};

use crate::{Held, observed};

/// The first message of an agent: who it is and what its target holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The newest version of the protocol that the agent speaks.
    pub protocol: u32,
    /// The program's version, for people.
    pub software: String,
    /// What desired states may require.
    pub features: Vec<String>,
    /// The installation that the agent last worked for; none before its first session.
    pub cluster: Option<ClusterId>,
    /// The highest epoch that the agent has seen.
    pub epoch: Epoch,
    /// What was read of the target, or why nothing could be: unknown is not empty.
    pub reading: Result<Reading, String>,
}

/// What an agent read of its target before a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the target holds that bears our marks.
    pub held: Vec<Held>,
    /// What the target can take.
    pub capacity: observed::Capacity,
}

/// The core's answer: on whose behalf it will send jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The installation.
    pub cluster: ClusterId,
    /// The database's epoch.
    pub epoch: Epoch,
}
