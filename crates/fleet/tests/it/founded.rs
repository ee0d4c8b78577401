//! A fleet with a founder, a master, a backup and an access point, and its log as an export.

use std::collections::BTreeMap;

use fleet::authority::{Authority, Genesis, Statement, Trust};
use fleet::cbor;
use fleet::change::{Change, Content, Wish};
use fleet::checkpoint::Checkpoint;
use fleet::export::Item;
use fleet::log::{Log, Record, RecordRefusal};
use fleet::{DeviceId, Domain, LogIndex, NodeSecret, Random, Right, Role, SectionPath, Signed, bind};

/// Numbers that a seed gives again.
pub fn random(seed: u64) -> impl Random {
    let mut random = fuzz::Random::new(seed);
    move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = random.byte())
}

/// Somebody by a number.
pub fn secret(number: u8) -> NodeSecret {
    NodeSecret::of([number; 32])
}

pub const FOUNDER: u8 = 1;
pub const RECOVERY: u8 = 2;
pub const MASTER: u8 = 3;
pub const BACKUP: u8 = 4;
pub const AP: u8 = 5;

pub struct Founded {
    pub log: Log,
    pub export: Vec<u8>,
}

impl Founded {
    /// Nothing but a genesis.
    pub fn alone() -> Self {
        let founder = "ada".parse().unwrap();
        let recovery = secret(RECOVERY).public().verify;
        let genesis = Genesis::found("home", founder, &secret(FOUNDER), recovery, &mut random(1));
        let log = Log::new(genesis.clone()).unwrap();
        Self { log, export: Item::Genesis(genesis).to_bytes() }
    }

    /// With three devices, two of which vote.
    pub fn new() -> Self {
        let mut fleet = Self::alone();
        for (number, name, groups) in
            [(MASTER, "master", &["core"][..]), (BACKUP, "backup", &["core"]), (AP, "ap1", &["ap"])]
        {
            fleet.say(FOUNDER, &fleet.device(number, name, groups)).unwrap();
        }
        let voters = vec![(id(MASTER), Role::Master), (id(BACKUP), Role::Backup)];
        fleet.say(FOUNDER, &Statement::Voters { voters }).unwrap();
        fleet
    }

    pub fn bound(&self, number: u8) -> Signed {
        bind(Some(self.log.authority().fleet()), &secret(number))
    }

    pub fn device(&self, number: u8, name: &str, groups: &[&str]) -> Statement {
        let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
        Statement::Device {
            key: self.bound(number),
            name: name.parse().unwrap(),
            groups,
            trust: Trust::Secrets,
            request: None,
        }
    }

    pub fn user(&self, number: u8, name: &str, rights: &[&str]) -> Statement {
        let rights = rights.iter().map(|right| right.parse::<Right>().unwrap()).collect();
        Statement::User { name: name.parse().unwrap(), key: self.bound(number), rights }
    }

    /// Appends what somebody says.
    pub fn say(&mut self, author: u8, statement: &Statement) -> Result<LogIndex, RecordRefusal> {
        let signed = self.log.authority().sign(statement, &secret(author));
        self.append(Record::Authority(signed))
    }

    pub fn append(&mut self, record: Record) -> Result<LogIndex, RecordRefusal> {
        let before = self.log.summary();
        let result = self.log.append(&record);
        match result {
            Ok(_) => self.export.extend(Item::Record(record).to_bytes()),
            Err(_) => assert_eq!(self.log.summary(), before, "a refused record changed something"),
        }
        result
    }

    /// A change of what stands, signed.
    pub fn change(&self, author: u8, path: &str, content: Option<&Content>) -> Signed {
        let path: SectionPath = path.parse().unwrap();
        let replaces = self.log.map().get(&path).map(|leaf| leaf.change);
        let content = content.map(Content::hash);
        let wish = Wish { path, content, replaces, execute: false, time: 1_790_000_000, note: String::new() };
        Change::sign(self.log.authority(), wish, &secret(author))
    }

    /// Puts a section.
    pub fn put(&mut self, author: u8, path: &str, text: &str) -> Result<LogIndex, RecordRefusal> {
        let content = Content::new(text.into(), &mut random(text.len() as u64));
        let index = self.append(Record::Change(self.change(author, path, Some(&content))))?;
        self.export.extend(Item::Content(content).to_bytes());
        Ok(index)
    }

    /// The change that was appended as the record of that index.
    pub fn change_at(&self, index: LogIndex) -> Signed {
        let records = fleet::export::read(&self.export).filter_map(|item| match item.unwrap() {
            Item::Record(record) => Some(record),
            _ => None,
        });
        match records.enumerate().find(|(at, _)| *at as u64 == index) {
            Some((_, Record::Change(signed))) => signed,
            other => panic!("a change is expected at {index}: {other:?}"),
        }
    }

    /// A checkpoint, signed by these.
    pub fn checkpoint(&self, voters: &[u8]) -> Checkpoint {
        let summary = self.log.summary();
        let signatures: BTreeMap<_, _> =
            voters.iter().map(|number| (id(*number), summary.sign(&secret(*number)))).collect();
        Checkpoint::new(&summary, signatures)
    }

    /// Adds one to the export.
    pub fn seal(&mut self, voters: &[u8]) {
        let checkpoint = self.checkpoint(voters);
        checkpoint.open(self.log.authority()).unwrap();
        self.export.extend(Item::Checkpoint(checkpoint).to_bytes());
    }
}

pub fn id(number: u8) -> DeviceId {
    DeviceId::first_known_by(&secret(number).public())
}

/// An entry that is marked critical, which this version never writes.
pub fn critical(authority: &Authority, statement: &Statement, secret: &NodeSecret) -> Signed {
    let signed = authority.sign(statement, secret);
    let mut body = signed.body.clone();
    // [format, fleet, position, previous, critical, …]: after the head, 1, 34 bytes, the position and 34 bytes.
    let at = 2 + 34 + cbor::to_bytes(&(authority.head().position + 1)).len() + 34;
    assert_eq!(body[at], 0xf4);
    body[at] = 0xf5;
    let signature = fleet::sign(Domain::Entry, &body, secret);
    Signed { body, signature }
}
