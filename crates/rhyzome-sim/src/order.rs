//! What can be done to members of a fleet, from a scenario or by somebody at the control socket.

use std::collections::BTreeMap;

use jobs::Object;
use jobs::bundle::InvitedKind;
use jobs::simulated::{Faults, Pattern};
use serde::{Deserialize, Serialize};
use types::Version;

/// One order: to whom, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The members' names.
    pub targets: Pattern,
    /// What they are to do.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What members can be made to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Behave with these faults from then on; `{}` makes them healthy.
    Faults(Faults),
    /// Go away at once, as if killed, and come back.
    Away(Away),
    /// Say what they hold.
    Show,
}

/// An absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Away {
    /// How long, in milliseconds.
    pub for_ms: u64,
    /// What is lost meanwhile.
    pub loses: Loss,
}

/// What a member loses while it is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Nothing: the agent was started again.
    #[default]
    Nothing,
    /// The target loses what it held; the agent remembers what was wanted.
    Target,
    /// The agent forgets what was wanted; the target holds what it held.
    Agent,
    /// Both: a new machine under the old name and certificate.
    Everything,
}

/// What an order came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// So many members were told.
    Told(usize),
    /// What members hold, by name.
    Members(BTreeMap<String, Holding>),
    /// The order was not understood.
    Refused(String),
}

/// What one member holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// What it is.
    pub kind: InvitedKind,
    /// Its objects.
    pub objects: BTreeMap<Object, Version>,
}
