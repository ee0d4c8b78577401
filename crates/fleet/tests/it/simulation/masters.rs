//! Masters that are lost for good, and others that come back from a backup.

use std::collections::{BTreeMap, BTreeSet};

use fleet::authority::Statement;
use fleet::catch_up::Library;
use fleet::change::Change;
use fleet::log::{Log, Record};
use fleet::submission::Submission;
use fleet::voter::Ledger;
use fleet::{ChangeId, Hash, LogIndex, Role};

use super::fleet_of::{ADMIN, Founded, change, group, id, secret};
use super::host::Host;
use super::world::World;

/// All is well again after so long at the latest, in milliseconds.
const PEACE: u64 = 600_000;

/// What happens to a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost for good, with half of the voters.
    Lost,
    /// It is put back to what it was some time ago.
    Restored,
}

pub struct Masters {
    world: World,
    nodes: u8,
    voters: u8,
    rightful: BTreeSet<ChangeId>,
    kept: Vec<(u8, Submission)>,
    checkpoints: BTreeMap<LogIndex, Hash>,
}

impl Masters {
    pub fn of(seed: u64, fate: Fate) -> Self {
        let mut chance = fuzz::Random::new(seed);
        let voters = if fate == Fate::Lost { 2 } else { 2 + chance.byte() % 2 };
        let nodes = voters + 1 + chance.byte() % 3;
        let mut world = World::new(Founded::new(nodes, voters), chance);
        world.directory = (1..=voters).collect();
        world.loss = world.chance.next() % 15;
        world.delay = 5 + world.chance.next() % 300;
        for number in 1..=nodes {
            let mut host = Host::new(number, number <= voters);
            if number == 1 {
                host.found(&world.founded);
            }
            world.hosts.insert(number, host);
        }
        let (rightful, kept, checkpoints) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self { world, nodes, voters, rightful, kept, checkpoints }
    }

    pub fn run(mut self, fate: Fate) {
        (1..=self.nodes).for_each(|number| self.world.start(number));
        self.settle();
        let victim = if fate == Fate::Lost { 1 } else { 1 + self.world.chance.byte() % self.voters };
        let backup = self.world.hosts[&victim].back_up();
        self.trouble();
        self.world.crash(victim);
        let known = match fate {
            Fate::Lost => {
                self.world.hosts.remove(&victim);
                self.trouble();
                self.promote(2)
            }
            Fate::Restored => {
                let host = self.world.hosts.get_mut(&victim).unwrap();
                host.bring_back(backup);
                self.trouble();
                None
            }
        };
        self.world.apart.clear();
        (self.world.loss, self.world.delay) = (0, 20);
        self.settle();
        self.check(victim, known);
    }

    /// People change things at any node, while some of them are apart.
    fn trouble(&mut self) {
        for _ in 0..2 + self.world.chance.below(8) {
            let number = 1 + self.world.chance.byte() % self.nodes;
            match self.world.chance.below(5) {
                0 => {
                    self.world.apart = (1..=self.nodes).filter(|_| self.world.chance.next().is_multiple_of(3)).collect()
                }
                1 => self.world.apart.clear(),
                _ => self.submit(number),
            }
            let next = self.world.now + 200 + self.world.chance.next() % 6_000;
            self.world.run_until(next);
            self.check_safety();
        }
    }

    fn log(&self) -> Option<Log> {
        let serving = |number: u8| self.world.node(number)?.serving().map(|serving| serving.archive.log().clone());
        (1..=self.voters).filter_map(serving).max_by_key(Log::len)
    }

    fn submit(&mut self, number: u8) {
        let Some(log) = self.log() else { return };
        let target = 1 + self.world.chance.byte() % self.nodes;
        let path = format!("groups/{}/config/network", group(target));
        let salt = self.world.chance.next();
        let submission = change(&log, ADMIN, &path, format!("text {salt}"), salt);
        if let Record::Change(signed) = &submission.record {
            self.rightful.insert(Change::read(signed.clone(), self.world.founded.fleet).unwrap().id);
        }
        let bytes = submission.to_bytes();
        if self.world.with_node(number, |node, circumstances| node.submit(bytes, circumstances)) {
            self.kept.push((number, submission));
        }
    }

    /// An admin names the voter that is left; what it had agreed to before is told.
    fn promote(&mut self, number: u8) -> Option<LogIndex> {
        let log = self.world.node(number)?.serving()?.archive.log().clone();
        let statement = Statement::Voters { voters: vec![(id(number), Role::Master)] };
        let record = Record::Authority(log.authority().sign(&statement, &secret(ADMIN)));
        let bytes = Submission { record, content: None }.to_bytes();
        self.world.with_node(number, |node, circumstances| node.promote(bytes, circumstances));
        Some(log.len())
    }

    fn settle(&mut self) {
        let deadline = self.world.now + PEACE;
        while !self.is_settled() {
            assert!(self.world.now < deadline, "the nodes agree within {} s", PEACE / 1_000);
            let next = self.world.now + 2_000;
            self.world.run_until(next);
            self.check_safety();
        }
    }

    fn is_settled(&self) -> bool {
        let nodes: Vec<_> = self.world.hosts.keys().map(|number| self.world.node(*number)).collect();
        let heads = |node: &Option<&fleet::node::Node>| node.map(|node| fleet::catch_up::Book::heads(node.replica()));
        let first = heads(&nodes[0]);
        first.is_some_and(|first| first.index > 0)
            && nodes.iter().all(|node| heads(node) == first)
            && nodes.iter().flatten().all(|node| fleet::catch_up::Book::reports(node.replica()).is_empty())
            && nodes.iter().flatten().filter_map(|node| node.serving()).all(|serving| {
                let archive = &serving.archive;
                !serving.voter.follows()
                    && archive.certified() == archive.length()
                    && serving.voter.waiting().next().is_none()
                    && Some(Library::heads(archive)) == first
            })
    }

    /// No node has anything in force that was not rightly signed, and no two follow different logs.
    fn check_safety(&mut self) {
        for number in 1..=self.nodes {
            let Some(node) = self.world.node(number) else { continue };
            for (path, section) in node.replica().sections() {
                assert!(self.rightful.contains(&section.change.id), "node {number} has a forged {path}");
            }
            if let Some(summary) = node.replica().summary() {
                let known = *self.checkpoints.entry(summary.index).or_insert(summary.history);
                assert_eq!(known, summary.history, "node {number} follows another log at {}", summary.index);
            }
            assert!(node.replica().fork().is_none(), "node {number} believes in a fork");
        }
    }

    /// Whatever a node has kept that is still there was decided or refused, and what was agreed on stands.
    fn check(&self, victim: u8, known: Option<LogIndex>) {
        let archives: Vec<_> = self
            .world
            .hosts
            .keys()
            .filter_map(|number| self.world.node(*number)?.serving().map(|serving| &serving.archive))
            .collect();
        for (_, submission) in self.kept.iter().filter(|(number, _)| *number != victim) {
            let told = |(_, alarm): &(u8, fleet::node::Alarm)| matches!(alarm, fleet::node::Alarm::Refused(_));
            let is_known = archives.iter().all(|archive| archive.outcome(submission).is_some());
            assert!(is_known || self.world.alarms.iter().any(told), "{submission:?} is lost");
        }
        assert!(known.is_none_or(|known| archives.iter().all(|archive| archive.log().len() > known)));
    }
}
