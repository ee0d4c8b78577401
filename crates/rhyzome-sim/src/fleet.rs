//! All members of one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jobs::bundle::Invited;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::member::Member;
use crate::order::{Action, Answer, Away, Order};
use crate::ways::Ways;

/// How many members begin in a second: each costs the core two handshakes the first time.
const BEGINNINGS: u32 = 200;

/// The members, for whoever gives orders.
#[derive(Clone)]
pub struct Fleet {
    members: Arc<Vec<Member>>,
}

/// What the members' work needs besides themselves.
pub struct Ready {
    fleet: Fleet,
    absences: Vec<mpsc::Receiver<Away>>,
}

impl Fleet {
    /// Makes a member for each invitation, with those ways to the others, and with what it keeps in a directory of its
    /// own in `state_dir`.
    pub fn make(invited: &[Invited], ways: Ways, state_dir: &Path) -> anyhow::Result<Ready> {
        config::file::make_private_directory(state_dir)?;
        let members = invited.iter().enumerate();
        let make = |(place, one)| Member::make(one, ways.features(), ways.underlay(place), state_dir);
        let made = members.map(make).collect::<anyhow::Result<Vec<_>>>()?;
        let (members, absences) = made.into_iter().unzip();
        Ok(Ready { fleet: Self { members: Arc::new(members) }, absences })
    }

    /// Carries out an order.
    pub fn obey(&self, order: &Order) -> Answer {
        let named = self.members.iter().filter(|member| order.targets.matches(member.name()));
        match &order.action {
            Action::Faults(faults) => {
                Answer::Told(named.map(|member| member.target().set_faults(faults.clone())).count())
            }
            Action::Away(away) => Answer::Told(named.map(|member| member.send_away(*away)).count()),
            Action::Show => Answer::Members(named.map(|member| (member.name().to_owned(), member.holding())).collect()),
        }
    }
}

impl Ready {
    /// The fleet, for orders.
    pub fn fleet(&self) -> Fleet {
        self.fleet.clone()
    }

    /// Works all members until `shutdown`. One that cannot go on is named in the log; the others go on.
    pub async fn work(self, shutdown: CancellationToken) {
        let mut begin = interval(Duration::from_secs(1) / BEGINNINGS);
        begin.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut working = JoinSet::new();
        for (place, absences) in self.absences.into_iter().enumerate() {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = begin.tick() => {}
            }
            let (members, shutdown) = (self.fleet.members.clone(), shutdown.clone());
            working.spawn(async move {
                let member = &members[place];
                if let Err(error) = member.work(absences, shutdown).await {
                    tracing::error!(agent = member.name(), error = format!("{error:#}"), "a member ended");
                }
            });
        }
        tracing::info!(members = working.len(), "the members have begun");
        while working.join_next().await.is_some() {}
        shutdown.cancelled().await;
    }
}
