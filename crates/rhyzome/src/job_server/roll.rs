//! The sessions of this process, by target: a newer one ends the older, and that of a revoked agent ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs::Refusal;
use pki::AgentIdentity;
use store::StoreError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;
use types::{AgentId, TargetId};

use crate::core::Core;

/// How often the database is asked who was revoked.
const LOOK: Duration = Duration::from_secs(1);
/// How far back it is asked: longer than a look may be late, so that none is missed.
const OVERLAP_MS: i64 = 60_000;

/// Why a session ended before its agent ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The same agent, or another one of its target, began another one.
    #[error("a newer session of the same target began")]
    Superseded,
    /// The agent was revoked.
    #[error("the agent was revoked")]
    Revoked,
    /// The certificate that it was opened with came to its end.
    #[error("the agent's certificate expired")]
    Expired,
}

impl Ended {
    /// What the agent is told.
    pub fn status(self) -> Status {
        match self {
            Self::Superseded => Status::aborted(self.to_string()),
            Self::Revoked => Refusal::Revoked.status(self),
            Self::Expired => Refusal::Expired.status(self),
        }
    }
}

/// All sessions of this process.
#[derive(Default)]
pub struct Roll {
    sessions: Mutex<BTreeMap<TargetId, Entry>>,
}

struct Entry {
    agent: AgentId,
    number: i64,
    end: watch::Sender<Option<Ended>>,
}

/// One session's place on the roll, given up when it is dropped.
pub struct Place {
    roll: Arc<Roll>,
    target: TargetId,
    number: i64,
    end: watch::Receiver<Option<Ended>>,
}

impl Roll {
    /// Enters a session, whose number the database gave. The older of two of one target ends.
    pub fn enter(self: &Arc<Self>, identity: &AgentIdentity, number: i64) -> Place {
        let AgentIdentity { agent, target, .. } = *identity;
        let (end, ended) = watch::channel(None);
        let mut sessions = self.sessions();
        match sessions.get(&target) {
            Some(other) if other.number > number => {
                end.send_replace(Some(Ended::Superseded));
            }
            _ => {
                if let Some(older) = sessions.insert(target, Entry { agent, number, end }) {
                    older.end.send_replace(Some(Ended::Superseded));
                }
            }
        }
        Place { roll: Arc::clone(self), target, number, end: ended }
    }

    /// Ends the session of an agent.
    fn strike(&self, agent: AgentId, why: Ended) {
        if let Some(entry) = self.sessions().values().find(|entry| entry.agent == agent) {
            entry.end.send_replace(Some(why));
        }
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<TargetId, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for somebody to end the session.
    pub fn ended(&self) -> impl Future<Output = Ended> + use<> {
        let mut end = self.end.clone();
        async move {
            let said = end.wait_for(Option::is_some).await.ok().and_then(|why| *why);
            // An entry goes without a word only when a newer one takes its place.
            said.unwrap_or(Ended::Superseded)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sessions = self.roll.sessions();
        if sessions.get(&self.target).is_some_and(|entry| entry.number == self.number) {
            sessions.remove(&self.target);
        }
    }
}

/// Ends the sessions of agents as they are revoked, which anybody with the database can do.
pub async fn strike_revoked(core: Arc<Core>, roll: Arc<Roll>) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = 0;
    loop {
        tick.tick().await;
        match revoked(&core, since).await {
            Ok((agents, now)) => {
                agents.into_iter().for_each(|agent| roll.strike(agent, Ended::Revoked));
                since = now - OVERLAP_MS;
            }
            // Whoever was revoked gets no jobs in any case; the next look ends the session.
            Err(error) => tracing::debug!(%error, "the database does not say who was revoked"),
        }
    }
}

async fn revoked(core: &Core, since: i64) -> Result<(Vec<AgentId>, i64), StoreError> {
    let mut session = core.store.read().await?;
    Ok((session.revoked_since(since).await?, session.now()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use types::ClusterId;

    use super::*;

    fn agent(number: u64) -> AgentId {
        AgentId::from_bits(number)
    }

    fn of(agent: u64, target: u64) -> AgentIdentity {
        let (agent, target) = (AgentId::from_bits(agent), TargetId::from_bits(target));
        AgentIdentity { cluster: ClusterId::from_bits(1), agent, target }
    }

    #[test]
    fn the_newer_session_of_a_target_ends_the_older_whichever_comes_first() {
        let roll = Arc::new(Roll::default());
        let (first, other) = (roll.enter(&of(1, 1), 1), roll.enter(&of(2, 2), 1));
        assert_eq!(first.ended().now_or_never(), None);
        let third = roll.enter(&of(3, 1), 3);
        let second = roll.enter(&of(1, 1), 2);
        assert_eq!(first.ended().now_or_never(), Some(Ended::Superseded));
        assert_eq!(second.ended().now_or_never(), Some(Ended::Superseded));
        drop((first, second));
        assert_eq!((third.ended().now_or_never(), other.ended().now_or_never()), (None, None));
    }

    #[test]
    fn a_revoked_agent_s_session_ends_and_others_go_on() {
        let roll = Arc::new(Roll::default());
        let (first, other) = (roll.enter(&of(1, 1), 1), roll.enter(&of(2, 2), 1));
        roll.strike(agent(1), Ended::Revoked);
        roll.strike(agent(3), Ended::Revoked);
        assert_eq!(first.ended().now_or_never(), Some(Ended::Revoked));
        assert_eq!(other.ended().now_or_never(), None);
        drop(first);
        assert_eq!(roll.sessions().len(), 1);
    }
}
