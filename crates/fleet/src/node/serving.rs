//! What a node does for others: votes, keeps the archive, answers.

use crate::archive::Archive;
use crate::catch_up::{Book, Library};
use crate::cbor;
use crate::cycle::Answerer;
use crate::replica::Replica;
use crate::voter::{Output, Voter};
use crate::{LogIndex, Moment, NoiseKey};

use super::{Alarm, Effect, teach};

/// A voter's part of a node.
pub struct Serving {
    /// What it holds for all.
    pub archive: Archive,
    /// Its vote.
    pub voter: Voter,
    /// What it knows of devices.
    pub answerer: Answerer,
    /// How far the devices were hinted at.
    announced: LogIndex,
    /// What of its own reports has changed hands.
    reported: usize,
    refreshed: Moment,
    /// Why its own device did not take what it serves.
    refused: Option<String>,
}

/// What has to be done after something happened.
#[derive(Default)]
pub(super) struct Settled {
    pub writes: Vec<Vec<u8>>,
    pub votes: Vec<(NoiseKey, Vec<u8>)>,
    pub effects: Vec<Effect>,
    /// Whether the node's own replica has learned something.
    pub has_learned: bool,
}

impl Serving {
    /// Serves what `archive` holds.
    pub fn new(archive: Archive, voter: Voter, now: Moment) -> Self {
        let announced = Library::heads(&archive).index;
        Self { archive, voter, answerer: Answerer::default(), announced, reported: 0, refreshed: now, refused: None }
    }

    /// Whether the owner of this key votes, as far as is known.
    pub fn votes(&self, own: NoiseKey) -> bool {
        self.voter.electorate().voters.contains(&own)
    }

    pub(super) fn settle(&mut self, own: NoiseKey, replica: &mut Replica, now: Moment) -> Settled {
        let mut settled = Settled::default();
        if let Some(evidence) = self.archive.take_evidence() {
            // It is checked again, by what the device itself knows.
            let taken = cbor::from_bytes(&evidence, evidence.len()).map(|fork| replica.accuse(fork));
            settled.effects.extend(matches!(taken, Ok(Ok(()))).then_some(Effect::Alarm(Alarm::Fork)));
        }
        self.learn(own, replica, now, &mut settled);
        for submission in self.archive.take_pending() {
            // Whoever reported it says it again until it is decided.
            let _ = self.voter.propose(submission, &mut self.archive);
        }
        self.learn(own, replica, now, &mut settled);
        let Output { writes, messages } = self.voter.take_output();
        (settled.writes, settled.votes) = (writes, messages);
        let index = Library::heads(&self.archive).index;
        if index > self.announced {
            self.announced = index;
            self.answerer.start(index, now);
        }
        let statuses = self.archive.take_statuses();
        settled.effects.extend(statuses.into_iter().map(|(device, status)| Effect::Keep(device, status)));
        settled.effects.extend(self.archive.take_requests().into_iter().map(Effect::Request));
        settled
    }

    /// A voter's own device learns from what it serves, and reports to it.
    fn learn(&mut self, key: NoiseKey, replica: &mut Replica, now: Moment, settled: &mut Settled) {
        if !self.votes(key) {
            return;
        }
        let (before, reports) = (replica.heads(), replica.reports().len());
        let is_due = now.since(self.refreshed) >= super::HOUSEKEEPING && reports > 0;
        let own = Library::heads(&self.archive);
        // A voter that was alone for long has asked others, and knows more than it serves.
        if own.index < before.index {
            return;
        }
        if own == before && reports == self.reported && !is_due {
            return;
        }
        self.refreshed = now;
        let taught = teach(key, &mut self.archive, replica).err();
        // Said once: what is refused now is refused a moment later, too.
        let alarm = taught.clone().filter(|_| taught != self.refused);
        settled.effects.extend(alarm.map(|reason| Effect::Alarm(Alarm::Refused(reason))));
        self.refused = taught;
        self.reported = replica.reports().len();
        settled.has_learned |= replica.heads() != before;
    }
}
