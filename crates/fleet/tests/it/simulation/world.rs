//! What lies between the hosts: datagrams that are lost, doubled and late, connections, partitions; and time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;

use fleet::node::{Alarm, Circumstances, Effect, Node};

use super::fleet_of::{Founded, random};
use super::host::{Host, address};
use super::liar::Liar;

/// A connection's end: a host and what it calls the connection.
type End = (u8, u64);

enum Event {
    Wake(u8, u64),
    Start(u8),
    Datagram(SocketAddr, u8, Vec<u8>),
    Open(End, u8),
    Bytes(End, u64, Vec<u8>),
    Drained(End, u64),
    Close(End, u64),
}

pub struct World {
    pub now: u64,
    pub chance: fuzz::Random,
    pub founded: Founded,
    pub hosts: BTreeMap<u8, Host>,
    pub directory: Vec<u8>,
    /// Lost datagrams, in hundredths.
    pub loss: u64,
    pub doubled: u64,
    /// The longest that anything takes, in milliseconds.
    pub delay: u64,
    /// Hosts on the other side of a partition.
    pub apart: BTreeSet<u8>,
    pub alarms: Vec<(u8, Alarm)>,
    pub applied: BTreeSet<u8>,
    /// What lies in place of the master's honest answers, if it lies.
    pub liar: Option<Liar>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    waiting: BTreeMap<u64, Event>,
    sequence: u64,
    links: BTreeMap<End, End>,
    /// When the last bytes of a direction arrive: they keep their order.
    arrivals: BTreeMap<End, u64>,
    /// What was said before the other side was there.
    unsent: BTreeMap<End, Vec<u8>>,
}

impl World {
    pub fn new(founded: Founded, chance: fuzz::Random) -> Self {
        Self {
            now: 0,
            chance,
            founded,
            hosts: BTreeMap::new(),
            directory: Vec::new(),
            loss: 0,
            doubled: 0,
            delay: 20,
            apart: BTreeSet::new(),
            alarms: Vec::new(),
            applied: BTreeSet::new(),
            liar: None,
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            sequence: 0,
            links: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            unsent: BTreeMap::new(),
        }
    }

    pub fn start(&mut self, number: u8) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        host.start(&self.founded, &self.directory, self.now, &mut self.chance);
        host.woken = u64::MAX;
        self.arm(number);
    }

    /// Power is gone; what was not written is, too.
    pub fn crash(&mut self, number: u8) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        host.node = None;
        host.dies_at = None;
        let ends: Vec<_> = self.links.keys().filter(|(host, _)| *host == number).copied().collect();
        ends.into_iter().for_each(|end| self.hang_up(end));
        let after = 1_000 + self.chance.next() % 30_000;
        self.push(self.now + after, Event::Start(number));
    }

    /// The same, of a host that is up.
    pub fn crash_if_up(&mut self, number: u8) {
        if self.node(number).is_some() {
            self.crash(number);
        }
    }

    /// Lets things happen until a moment.
    pub fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, sequence))) = self.events.peek().copied() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = self.now.max(at);
            if let Some(event) = self.waiting.remove(&sequence) {
                self.take(event);
            }
        }
        self.now = until;
    }

    /// Has a node do something.
    pub fn with_node(
        &mut self,
        number: u8,
        act: impl FnOnce(&mut Node, &mut Circumstances<'_>) -> Vec<Effect>,
    ) -> bool {
        let Some(host) = self.hosts.get_mut(&number) else { return false };
        let local = host.clock(self.now);
        let mut random = random(self.chance.next());
        let Some(node) = &mut host.node else { return false };
        let effects = act(node, &mut Circumstances { now: local, random: &mut random });
        let lived = self.perform(number, effects);
        self.arm(number);
        lived
    }

    pub fn node(&self, number: u8) -> Option<&Node> {
        self.hosts.get(&number)?.node.as_ref()
    }

    /// A datagram from anywhere.
    pub fn inject(&mut self, from: SocketAddr, to: u8, bytes: Vec<u8>) {
        self.push(self.now + 1, Event::Datagram(from, to, bytes));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Wake(number, due) => {
                if self.hosts.get(&number).is_some_and(|host| host.woken == due) {
                    self.hosts.get_mut(&number).unwrap().woken = u64::MAX;
                    self.with_node(number, |node, circumstances| node.poll(circumstances));
                }
            }
            Event::Start(number) if self.liar.as_ref().is_some_and(|liar| liar.number == number) => {}
            Event::Start(number) => self.start(number),
            Event::Datagram(from, to, bytes) => {
                if let Some(liar) = self.liar.as_mut().filter(|liar| liar.number == to)
                    && let Some(answer) = liar.datagram(from, &bytes, self.now, &mut self.chance)
                {
                    self.send(address(to), from, answer);
                }
                self.with_node(to, |node, circumstances| node.datagram(from, &bytes, circumstances));
            }
            Event::Open(from, to) => self.open(from, to),
            Event::Bytes(end, boots, bytes) => {
                if self.is_boot(end.0, boots) {
                    if self.lies(end) {
                        return self.lie(end, &bytes);
                    }
                    self.with_node(end.0, |node, circumstances| node.read(end.1, &bytes, circumstances));
                }
            }
            Event::Drained(end, boots) => {
                if self.is_boot(end.0, boots) {
                    self.with_node(end.0, |node, circumstances| node.drained(end.1, circumstances));
                }
            }
            Event::Close(end, boots) => {
                self.links.remove(&end);
                if self.is_boot(end.0, boots) {
                    self.with_node(end.0, |node, circumstances| node.closed(end.1, circumstances));
                }
            }
        }
    }

    /// Does what a node wants done; says whether it lived through it.
    fn perform(&mut self, number: u8, effects: Vec<Effect>) -> bool {
        for effect in effects {
            match effect {
                Effect::Write(flash, bytes) => {
                    let landed = self.chance.next().is_multiple_of(2);
                    if !self.hosts.get_mut(&number).unwrap().write(flash, bytes, landed) {
                        self.crash(number);
                        return false;
                    }
                }
                Effect::Send(to, datagram) => self.send(address(number), to, datagram),
                Effect::Connect(connection, to) => {
                    let at = self.now + self.latency();
                    self.push(at, Event::Open((number, connection), last_byte(to)));
                }
                Effect::Say(connection, bytes) => self.say((number, connection), bytes),
                Effect::Close(connection) => self.hang_up((number, connection)),
                Effect::Apply => drop(self.applied.insert(number)),
                Effect::Alarm(alarm) => self.alarms.push((number, alarm)),
                Effect::Reached(_) | Effect::Keep(..) | Effect::Request(_) => {}
            }
        }
        true
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        assert!(datagram.len() <= fleet::wire::LONGEST);
        let (sender, receiver) = (last_byte(from), last_byte(to));
        let blocked = |number| self.hosts.get(&number).is_some_and(|host| host.blocks_udp);
        if self.is_cut(sender, receiver) || blocked(sender) || blocked(receiver) {
            return;
        }
        let copies = 1 + u64::from(self.chance.next() % 100 < self.doubled);
        for _ in 0..copies {
            if self.chance.next() % 100 >= self.loss {
                let at = self.now + self.latency();
                self.push(at, Event::Datagram(from, receiver, datagram.clone()));
            }
        }
    }

    fn open(&mut self, from: End, to: u8) {
        let boots = self.boots(from.0);
        let local = self.hosts.get(&to).map(|host| host.clock(self.now));
        let node = self.hosts.get_mut(&to).and_then(|host| host.node.as_mut());
        let accepted = match (&mut self.liar, node, local) {
            (Some(liar), ..) if liar.number == to => Some((liar.accept(), Vec::new())),
            (_, Some(node), Some(local)) => Some(node.accepted(address(from.0), local)),
            _ => None,
        };
        let is_there = self.node(from.0).is_some() && !self.is_cut(from.0, to);
        let Some((number, effects)) = accepted.filter(|_| is_there) else {
            return self.push(self.now + 100, Event::Close(from, boots));
        };
        let end = (to, number);
        self.links.insert(from, end);
        self.links.insert(end, from);
        self.perform(to, effects);
        // What was said before there was a link waits in the driver.
        if let Some(bytes) = self.unsent.remove(&from) {
            self.say(from, bytes);
        }
    }

    fn say(&mut self, from: End, bytes: Vec<u8>) {
        let Some(to) = self.links.get(&from).copied() else {
            self.unsent.entry(from).or_default().extend(bytes);
            return;
        };
        if self.is_cut(from.0, to.0) {
            return self.hang_up(from);
        }
        let latency = self.latency();
        let arrival = self.arrivals.entry(to).or_default();
        *arrival = (self.now + latency).max(*arrival);
        let at = *arrival;
        let (there, here) = (self.boots(to.0), self.boots(from.0));
        // The stream is cut anywhere.
        let cut = self.chance.below(bytes.len() + 1);
        let (first, second) = bytes.split_at(cut);
        for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
            self.push(at, Event::Bytes(to, there, part.to_vec()));
        }
        self.push(at, Event::Drained(from, here));
    }

    fn hang_up(&mut self, end: End) {
        self.unsent.remove(&end);
        if let Some(other) = self.links.remove(&end) {
            let at = self.arrivals.get(&other).copied().unwrap_or_default().max(self.now + 1);
            let boots = self.boots(other.0);
            self.push(at, Event::Close(other, boots));
        }
    }

    /// The host of a number lies from here on; its own node is gone.
    pub fn corrupt(&mut self, liar: Liar) {
        let number = liar.number;
        self.hosts.get_mut(&number).unwrap().node = None;
        let ends: Vec<_> = self.links.keys().filter(|(host, _)| *host == number).copied().collect();
        ends.into_iter().for_each(|end| self.hang_up(end));
        self.liar = Some(liar);
    }

    fn lies(&self, end: End) -> bool {
        self.liar.as_ref().is_some_and(|liar| liar.number == end.0)
    }

    fn lie(&mut self, end: End, bytes: &[u8]) {
        let Some(liar) = &mut self.liar else { return };
        match liar.read(end.1, bytes, &mut self.chance) {
            Some(answer) if !answer.is_empty() => self.say(end, answer),
            Some(_) => {}
            None => self.hang_up(end),
        }
    }

    /// Wakes a node when it wants to be.
    fn arm(&mut self, number: u8) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        let Some(node) = &host.node else { return };
        let due = host.true_time(node.due()).max(self.now + 1);
        if due < host.woken {
            host.woken = due;
            self.push(due, Event::Wake(number, due));
        }
    }

    fn is_cut(&self, one: u8, other: u8) -> bool {
        self.apart.contains(&one) != self.apart.contains(&other)
    }

    fn boots(&self, number: u8) -> u64 {
        self.hosts.get(&number).map_or(0, |host| host.boots)
    }

    fn is_boot(&self, number: u8, boots: u64) -> bool {
        self.boots(number) == boots
    }

    fn latency(&mut self) -> u64 {
        1 + self.chance.next() % self.delay
    }

    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence)));
        self.waiting.insert(self.sequence, event);
    }
}

fn last_byte(address: SocketAddr) -> u8 {
    match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    }
}
