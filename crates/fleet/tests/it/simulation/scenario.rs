//! What happens to a fleet, by a seed, and what must be true of it then.

use std::collections::{BTreeMap, BTreeSet};

use fleet::catch_up::{Book, Library};
use fleet::node::Alarm;
use fleet::submission::Submission;
use fleet::voter::Ledger;
use fleet::{ChangeId, Hash, LogIndex};

use super::fleet_of::{ADMIN, EVE, Founded, change, group, id, key, revocation, secret};
use super::host::{Host, address};
use super::liar::Liar;
use super::world::World;

/// Bad things happen for so long at least and as long again at most, in milliseconds.
const TROUBLE: u64 = 45_000;
/// And so long afterwards all is well again, at the latest: five cycles of two minutes.
const PEACE: u64 = 600_000;

pub struct Scenario {
    world: World,
    nodes: u8,
    voters: u8,
    /// What was rightly signed: changes that may be in force somewhere.
    rightful: BTreeSet<ChangeId>,
    /// What a node has kept, and so must not be lost.
    kept: Vec<(u8, Submission)>,
    /// A backup of the first voter.
    backup: Option<Vec<Vec<u8>>>,
    /// Whether it was brought back from that.
    is_restored: bool,
    is_revoked: bool,
    by_eve: Vec<ChangeId>,
    lies: bool,
    /// The branch that the liar would like to be believed.
    branch: Vec<Vec<u8>>,
    checkpoints: BTreeMap<LogIndex, Hash>,
}

impl Scenario {
    pub fn of(seed: u64) -> Self {
        let mut chance = fuzz::Random::new(seed);
        let voters = 1 + chance.next() as u8 % 3;
        let nodes = voters + 1 + chance.next() as u8 % 3;
        let founded = Founded::new(nodes, voters);
        let mut world = World::new(founded, chance);
        world.directory = (1..=voters).collect();
        (world.loss, world.doubled) = (world.chance.next() % 25, world.chance.next() % 8);
        world.delay = 5 + world.chance.next() % 800;
        for number in 1..=nodes {
            let mut host = Host::new(number, number <= voters);
            host.rate = 950 + world.chance.next() % 100;
            host.blocks_udp = number > voters && world.chance.next().is_multiple_of(6);
            if number == 1 {
                host.found(&world.founded);
            }
            world.hosts.insert(number, host);
        }
        let (rightful, kept, branch) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self {
            world,
            nodes,
            voters,
            rightful,
            kept,
            backup: None,
            is_restored: false,
            is_revoked: false,
            by_eve: Vec::new(),
            lies: false,
            branch,
            checkpoints: BTreeMap::new(),
        }
    }

    pub fn run(mut self) {
        (1..=self.nodes).for_each(|number| self.world.start(number));
        let calm = 2_000 + self.world.chance.next() % 15_000;
        self.world.run_until(calm);
        // With three voters there is a majority without the first.
        let lies = self.voters == 3 && self.world.chance.next().is_multiple_of(3);
        self.lies = lies;
        if lies {
            self.wait_for_the_founding();
            self.corrupt();
        }
        let trouble = self.world.now + TROUBLE + self.world.chance.next() % TROUBLE;
        while self.world.now < trouble {
            self.mischief();
            let next = self.world.now + 200 + self.world.chance.next() % 4_000;
            self.world.run_until(next);
            self.check_safety();
        }
        self.make_peace(lies);
        let deadline = self.world.now + PEACE;
        while self.world.now < deadline && !self.is_settled(lies) {
            let next = self.world.now + 5_000;
            self.world.run_until(next);
            self.check_safety();
        }
        self.check_agreement(lies);
        self.check_nothing_is_lost();
        self.check_bounds();
    }

    /// What nobody but the first voter ever had, it can take along.
    fn wait_for_the_founding(&mut self) {
        let founded = Ledger::length(&self.world.node(1).unwrap().serving().unwrap().archive);
        let deadline = self.world.now + PEACE;
        let holds = |world: &World, voter| world.node(voter)?.serving().map(|serving| serving.archive.certified());
        while !(1..=self.voters).all(|voter| holds(&self.world, voter) == Some(founded)) {
            assert!(self.world.now < deadline, "all voters hold the founding");
            let next = self.world.now + 1_000;
            self.world.run_until(next);
        }
    }

    fn corrupt(&mut self) {
        for salt in 0..2 {
            let path = format!("groups/{}/config/wireless", group(salt + 1));
            let branch = change(&self.world.founded.log, ADMIN, &path, "a branch".into(), u64::from(salt) + 900_000);
            self.note(&branch);
            self.branch.push(branch.to_bytes());
        }
        let liar = Liar::new(1, &self.world.founded, &self.branch, self.world.now);
        self.world.corrupt(liar);
    }

    fn mischief(&mut self) {
        let (pick, number) = (self.world.chance.below(15), 1 + self.world.chance.byte() % self.nodes);
        match pick {
            0..=3 => self.submit(number),
            4 => self.submit_wrongly(number),
            5 | 6 => {
                let writes = self.world.chance.next() % 12;
                let host = self.world.hosts.get_mut(&number).unwrap();
                host.dies_at = Some(host.writes + 1 + writes);
            }
            7 => self.world.crash_if_up(number),
            8 => {
                let apart = (1..=self.nodes).filter(|_| self.world.chance.next().is_multiple_of(2));
                self.world.apart = apart.collect();
            }
            9 => self.world.apart.clear(),
            10 => self.flood(number),
            11 => {
                let host = self.world.hosts.get_mut(&number).unwrap();
                host.is_full = !host.is_full;
            }
            12 => self.revoke(number),
            13 => self.back_up_or_restore(),
            _ => {}
        }
    }

    /// Somebody changes something, at any node, going by what that node knows.
    fn submit(&mut self, number: u8) {
        let Some(log) = self.known_log(number) else { return };
        let target = 1 + self.world.chance.byte() % self.nodes;
        let path = match self.world.chance.below(3) {
            0 => format!("groups/{}/config/network", group(target)),
            1 => format!("devices/{}/config/system", id(target)),
            _ => "policies/all/config/dhcp".to_owned(),
        };
        let salt = self.world.chance.next();
        let author = if salt.is_multiple_of(4) { EVE } else { ADMIN };
        let submission = change(&log, author, &path, format!("text {salt}"), salt);
        self.hand_in(number, submission);
    }

    fn hand_in(&mut self, number: u8, submission: Submission) {
        self.note(&submission);
        let bytes = submission.to_bytes();
        if self.world.with_node(number, |node, circumstances| node.submit(bytes, circumstances)) {
            self.kept.push((number, submission));
        }
    }

    /// Eve's key is taken away; what she signs from there on is for nothing.
    fn revoke(&mut self, number: u8) {
        let Some(log) = self.known_log(number).filter(|_| !self.is_revoked) else { return };
        self.is_revoked = true;
        self.hand_in(number, revocation(&log));
    }

    /// The first voter is backed up, and restored from that once. Alone it would lose what nobody else has.
    fn back_up_or_restore(&mut self) {
        if self.voters == 1 || self.lies || self.is_restored {
            return;
        }
        let host = self.world.hosts.get_mut(&1).unwrap();
        match self.backup.take() {
            None => self.backup = Some(host.back_up()),
            Some(backup) => {
                host.bring_back(backup);
                self.is_restored = true;
                self.world.crash_if_up(1);
                // What was handed in there, and nobody had heard of, is gone with its flash.
                self.kept.retain(|(number, _)| *number != 1);
            }
        }
    }

    /// A device signs what only the admin may, and hands it in.
    fn submit_wrongly(&mut self, number: u8) {
        let Some(log) = self.known_log(number) else { return };
        let path = format!("devices/{}/config/network", id(1 + self.world.chance.byte() % self.nodes));
        let salt = self.world.chance.next();
        let mut submission = change(&log, number, &path, "mine".into(), salt);
        if salt.is_multiple_of(3) {
            // Rightly signed, but not these bytes.
            submission = change(&log, ADMIN, &path, "mine".into(), salt);
            if let fleet::log::Record::Change(signed) = &mut submission.record {
                signed.signature[5] ^= 1;
            }
        }
        let bytes = submission.to_bytes();
        self.world.with_node(number, |node, circumstances| node.submit(bytes, circumstances));
    }

    fn flood(&mut self, number: u8) {
        for _ in 0..50 {
            let mut bytes = vec![0; 20 + self.world.chance.below(200)];
            bytes.iter_mut().for_each(|byte| *byte = self.world.chance.byte());
            bytes[0] = 0x11 + bytes[0] % 4;
            self.world.inject(address(250), number, bytes);
        }
    }

    fn note(&mut self, submission: &Submission) {
        if let fleet::log::Record::Change(signed) = &submission.record {
            let change = fleet::change::Change::read(signed.clone(), self.world.founded.fleet).unwrap();
            if change.author == secret(EVE).public().verify {
                self.by_eve.push(change.id);
            }
            self.rightful.insert(change.id);
        }
    }

    /// The log as the best of the voters that can be asked at a node has it.
    fn known_log(&self, number: u8) -> Option<fleet::log::Log> {
        let own = self.world.node(number)?.serving().map(|serving| serving.archive.log().clone());
        own.or_else(|| {
            let voter = (1..=self.voters).find_map(|voter| self.world.node(voter)?.serving());
            voter.map(|serving| serving.archive.log().clone())
        })
    }

    fn make_peace(&mut self, lies: bool) {
        self.world.apart.clear();
        (self.world.loss, self.world.doubled) = (0, 0);
        self.world.delay = 20;
        self.world.hosts.values_mut().for_each(|host| (host.dies_at, host.is_full) = (None, false));
        if lies {
            // The liar is found out and switched off.
            self.world.liar = None;
            self.world.hosts.get_mut(&1).unwrap().node = None;
        }
    }

    fn honest(&self, lies: bool) -> Vec<u8> {
        (1..=self.nodes).filter(|number| !(lies && *number == 1)).collect()
    }

    fn is_settled(&self, lies: bool) -> bool {
        let honest = self.honest(lies);
        let heads = |number: &u8| self.world.node(*number).map(|node| node.replica().heads());
        let first = heads(&honest[0]);
        let voters = honest.iter().filter(|number| **number <= self.voters);
        let same_length = voters.filter_map(|number| self.world.node(*number)?.serving()).all(|serving| {
            let archive = &serving.archive;
            archive.certified() == archive.length()
                && serving.voter.waiting().next().is_none()
                && Some(Library::heads(archive)) == first
        });
        let silent =
            honest.iter().filter_map(|number| self.world.node(*number)).all(|node| node.replica().reports().is_empty());
        first.is_some() && same_length && silent && honest.iter().all(|number| heads(number) == first)
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

    fn check_agreement(&self, lies: bool) {
        let honest = self.honest(lies);
        for number in &honest {
            let Some(node) = self.world.node(*number) else { panic!("node {number} is down") };
            let reports = node.replica().reports().len();
            let voter = node.serving().map(|serving| {
                let archive = &serving.archive;
                let waiting = serving.voter.waiting().count();
                (archive.length(), archive.certified(), waiting, serving.voter.leads(), Library::heads(archive))
            });
            println!("node {number}: {:?}, {reports} reports, {voter:?}", node.replica().heads());
        }
        assert!(self.is_settled(lies), "the nodes agree after {} s", self.world.now / 1_000);
        let log = self.known_log(honest[0]).unwrap();
        for number in &honest {
            let replica = self.world.node(*number).unwrap().replica();
            let prefixes = fleet::replica::prefixes(log.authority().state(), id(*number));
            let eve = log.authority().state().keys.get(&secret(EVE).public().verify);
            let since = eve.map_or(LogIndex::MAX, |eve| eve.void_from);
            let hers: BTreeSet<_> = self.by_eve.iter().collect();
            let stands = |leaf: &&fleet::map::Leaf| leaf.index < since || !hers.contains(&leaf.change);
            let expected = prefixes.iter().flat_map(|prefix| log.map().under(prefix)).filter(stands);
            let expected: Vec<_> = expected.collect();
            let held: BTreeSet<_> = replica.sections().values().map(|section| section.change.id).collect();
            assert_eq!(held, expected.iter().map(|leaf| leaf.change).collect(), "node {number} has its sections");
        }
    }

    /// Whatever a node had kept is in the log, or is named as a conflict, or its author was told.
    fn check_nothing_is_lost(&self) {
        let honest = self.honest(self.voters == 3);
        let archive = honest.iter().find_map(|number| Some(&self.world.node(*number)?.serving()?.archive));
        let Some(archive) = archive else { return };
        for (_, submission) in &self.kept {
            let told = |(_, alarm): &(u8, Alarm)| matches!(alarm, Alarm::Refused(_));
            let is_known = archive.outcome(submission).is_some() || self.world.alarms.iter().any(told);
            assert!(is_known, "{submission:?} is lost");
        }
    }

    fn check_bounds(&self) {
        for number in 1..=self.nodes {
            let Some(node) = self.world.node(number) else { continue };
            assert!(node.endpoint().sessions() <= 400, "node {number} has {} sessions", node.endpoint().sessions());
            assert!(node.connections() <= 320, "node {number} has {} connections", node.connections());
            assert!(node.endpoint().address(key(number)).is_none());
        }
    }
}
