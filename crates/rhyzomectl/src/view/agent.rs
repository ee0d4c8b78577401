//! Agents and their targets.

use api::Agent;

use super::{known, moment};

/// The head of a list of agents.
pub const AGENT_COLUMNS: &[&str] =
    &["NAME", "KIND", "TARGET", "CONNECTED", "TAKES", "LAST SEEN", "PENDING", "SOFTWARE"];

/// One agent in a list.
pub fn agent_row(agent: &Agent) -> Vec<String> {
    vec![
        agent.name.clone(),
        agent.kind.as_str().to_owned(),
        agent.target.to_string(),
        match (&agent.trouble, agent.connected) {
            (Some(trouble), _) => format!("cannot read it: {trouble}"),
            (None, true) => "yes".to_owned(),
            (None, false) => "no".to_owned(),
        },
        agent.takes.as_str().to_owned(),
        agent.last_seen_at.map(moment).unwrap_or_default(),
        agent.pending_jobs.to_string(),
        known(agent.software.as_ref()),
    ]
}
