//! A machine: its flash, its clock, and the node that runs on it unless it is down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use fleet::Moment;
use fleet::archive::Archive;
use fleet::node::{Circumstances, Flash, Node, Serving};
use fleet::replica::Replica;
use fleet::voter::Voter;

use super::fleet_of::{Founded, key, random, secret};

pub struct Host {
    pub number: u8,
    pub votes: bool,
    pub node: Option<Node>,
    journal: Vec<Vec<u8>>,
    replica: Vec<Vec<u8>>,
    /// How fast its clock is, in thousandths.
    pub rate: u64,
    /// What its clock showed when it started, and when that was.
    offset: u64,
    started: u64,
    /// The write that it does not survive.
    pub dies_at: Option<u64>,
    pub writes: u64,
    /// Whether its flash takes nothing more.
    pub is_full: bool,
    pub boots: u64,
    pub blocks_udp: bool,
    pub woken: u64,
    /// Whether its journal is a backup's, and it follows before it votes.
    has_forgotten: bool,
}

pub fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7_000))
}

impl Host {
    pub fn new(number: u8, votes: bool) -> Self {
        Self {
            number,
            votes,
            node: None,
            journal: Vec::new(),
            replica: Vec::new(),
            rate: 1_000,
            offset: 0,
            started: 0,
            dies_at: None,
            writes: 0,
            is_full: false,
            boots: 0,
            blocks_udp: false,
            woken: u64::MAX,
            has_forgotten: false,
        }
    }

    /// What the founder leaves on the first master.
    pub fn found(&mut self, founded: &Founded) {
        let records: Vec<_> = founded.records.iter().cloned().map(Into::into).collect();
        self.journal = Voter::found(&records);
    }

    /// What a backup of it would hold.
    pub fn back_up(&self) -> Vec<Vec<u8>> {
        self.journal.clone()
    }

    /// Puts a backup in the place of all that it held.
    pub fn bring_back(&mut self, journal: Vec<Vec<u8>>) {
        (self.journal, self.replica, self.has_forgotten) = (journal, Vec::new(), true);
    }

    pub fn start(&mut self, founded: &Founded, directory: &[u8], now: u64, chance: &mut fuzz::Random) {
        self.boots += 1;
        (self.started, self.offset) = (now, chance.next() % (1 << 40));
        let local = self.clock(now);
        let mut random = random(chance.next());
        let own = secret(self.number);
        let writes = self.replica.iter().map(Vec::as_slice);
        let replica = Replica::restore(founded.fleet, key(self.number), writes);
        let serving = self.votes.then(|| {
            let mut archive = Archive::new(founded.genesis.clone(), Arc::new(secret(self.number))).unwrap();
            let journal = self.journal.iter().map(Vec::as_slice);
            let voter = Voter::restore(key(self.number), journal, self.has_forgotten, &mut archive, local);
            Serving::new(archive, voter, local)
        });
        let others = directory.iter().filter(|number| **number != self.number);
        let directory: BTreeMap<_, _> = others.map(|number| (key(*number), vec![address(*number)])).collect();
        let mut circumstances = Circumstances { now: local, random: &mut random };
        self.node = Some(Node::new(&own, replica, serving, directory, &mut circumstances));
    }

    /// What its clock shows.
    pub fn clock(&self, now: u64) -> Moment {
        Moment::from_millis(self.offset + (now - self.started) * self.rate / 1_000)
    }

    /// When its clock shows that.
    pub fn true_time(&self, local: Moment) -> u64 {
        let elapsed = local.as_millis().saturating_sub(self.offset);
        self.started + elapsed * 1_000 / self.rate + 1
    }

    /// Writes; says whether it lived through it. What it was writing may be there or not.
    pub fn write(&mut self, flash: Flash, bytes: Vec<u8>, landed: bool) -> bool {
        self.writes += 1;
        // Whoever cannot write stops: nothing that follows from the write may leave the house.
        let dies = self.is_full || self.dies_at == Some(self.writes);
        if !dies || landed && !self.is_full {
            match flash {
                Flash::Journal => self.journal.push(bytes),
                Flash::Replica => self.replica.push(bytes),
            }
        }
        !dies
    }
}
