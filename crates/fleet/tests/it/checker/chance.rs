//! Statements and changes by chance: some rightful, some not, whole sequences of them.

use fleet::authority::{Entry, Statement, Trust};
use fleet::cbor::Blob;
use fleet::change::{Change, Wish};
use fleet::log::Record;
use fleet::{ContentHash, Hash, Head, JoinKey, JoinTerms, Request, Role, VERBS, Verb};
use fuzz::Random;

use crate::founded::{FOUNDER, Founded, RECOVERY, id, secret};

const RIGHTS: [&str; 8] = [
    "**:all",
    "**:all",
    "groups/ap/**:put+delete+execute",
    "devices/**:put+approve:ap",
    "users/**:grant",
    "groups/**:invite+approve:ap",
    "**:put+delete+approve+invite+grant",
    "policies/fleet/*:vote+grant",
];
const NAMES: [&str; 4] = ["ada", "bob", "eve", "zoe"];
const GROUPS: [&str; 2] = ["ap", "core"];

/// Somebody who draws.
pub struct Chance {
    random: Random,
    recovered: u8,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), recovered: 0 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    fn number(&mut self, from: u8, count: u8) -> u8 {
        from + u8::try_from(self.below(usize::from(count))).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A key of somebody who is a user, a device or nobody: mostly one that was used before.
    fn key(&mut self) -> u8 {
        match self.below(4) {
            0 => FOUNDER,
            1 => self.number(1, 8),
            _ => self.number(10, 30),
        }
    }

    fn groups(&mut self) -> Vec<fleet::GroupName> {
        let count = self.below(3);
        GROUPS[..count].iter().map(|group| group.parse().unwrap()).collect()
    }

    fn rights(&mut self) -> Vec<fleet::Right> {
        (0..=self.below(2)).map(|_| self.pick(&RIGHTS).parse().unwrap()).collect()
    }

    fn verb(&mut self) -> Verb {
        VERBS[self.below(VERBS.len())].0
    }

    fn trust(&mut self) -> Trust {
        self.pick(&[Trust::Configuration, Trust::Secrets])
    }

    fn since(&mut self, fleet: &Founded) -> u64 {
        let length = usize::try_from(fleet.log.len()).unwrap();
        self.pick(&[0, 4, length.saturating_sub(2), length]) as u64
    }

    fn join(fleet: &Founded, number: u8) -> JoinKey {
        JoinKey::new(fleet.log.authority().fleet(), [200 + number; 32], Vec::new())
    }

    fn request(&mut self, fleet: &Founded, device: u8) -> fleet::Signed {
        let join = Self::join(fleet, self.number(0, 4));
        let board = self.pick(&["x86", "toaster"]).to_owned();
        let request =
            Request { key: secret(device).public().verify, join: join.public(), board, mac: "m".into(), name: None };
        request.sign(&join, &secret(device))
    }

    fn statement(&mut self, fleet: &Founded) -> Statement {
        let name = self.pick(&NAMES).parse().unwrap();
        let device = id(self.number(3, 10));
        let proposals: Vec<_> = fleet.log.authority().state().proposals.keys().copied().collect();
        match self.below(24) {
            0 | 1 => Statement::User { name, key: fleet.bound(self.key()), rights: self.rights() },
            2 => Statement::Rights { name, rights: self.rights() },
            3 => Statement::Rotate { name, key: fleet.bound(self.key()) },
            4 => {
                let (key, since) = (secret(self.key()).public().verify, self.since(fleet));
                Statement::Revoke { key, since, entries: self.below(12) as u64 }
            }
            5..=8 => {
                let number = self.number(3, 10);
                let request = (self.below(2) == 0).then(|| self.request(fleet, number));
                let name = format!("d{}", self.below(6)).parse().unwrap();
                Statement::Device {
                    key: fleet.bound(number),
                    name,
                    groups: self.groups(),
                    trust: self.trust(),
                    request,
                }
            }
            9 => Statement::Rekey { device, key: fleet.bound(self.key()), trust: self.trust() },
            10 => {
                let name = format!("d{}", self.below(6)).parse().unwrap();
                Statement::Place { device, name, groups: self.groups(), trust: self.trust() }
            }
            11 => Statement::Lost { device, since: self.since(fleet) },
            12 => Statement::Remove { device },
            13 => {
                let role = |at: usize| [Role::Master, Role::Backup, Role::Witness][at.min(2)];
                let voters = (0..=self.below(3)).map(|at| (id(self.number(3, 6)), role(at))).collect();
                Statement::Voters { voters }
            }
            14 => {
                let key = Self::join(fleet, self.number(0, 4)).public();
                let group = (self.below(3) > 0).then(|| self.pick(&GROUPS).parse().unwrap());
                let hardware = if self.below(2) == 0 { vec!["x86".to_owned()] } else { Vec::new() };
                let (uses, automatic) = (u32::from(self.number(0, 3)), self.below(2) == 0);
                Statement::Join { terms: JoinTerms { key, group, uses, last_day: 9, hardware, automatic } }
            }
            15 => Statement::Unjoin { key: Self::join(fleet, self.number(0, 4)).public() },
            16 => {
                let key = secret(self.key()).public().sealing;
                Statement::Seal {
                    group: self.pick(&GROUPS).parse().unwrap(),
                    generation: u32::from(self.number(1, 3)),
                    key,
                }
            }
            17 | 18 => {
                let count = self.below(4);
                let users = NAMES[..count].iter().map(|name| name.parse().unwrap()).collect();
                let verb = if self.below(2) == 0 { Verb::Grant } else { self.verb() };
                Statement::Threshold { verb, needed: self.number(0, 3), users }
            }
            19 | 20 => {
                let inner = self.statement(fleet);
                Statement::Propose { kind: inner.kind(), payload: Blob(inner.payload()) }
            }
            21 if !proposals.is_empty() => Statement::Endorse { proposal: self.pick(&proposals) },
            22 if !proposals.is_empty() => Statement::Withdraw { proposal: self.pick(&proposals) },
            23 if self.below(4) == 0 => {
                let recovery = secret(100 + self.recovered + 1).public().verify;
                let (generation, key) = (u32::from(self.recovered) + 1, fleet.bound(self.key()));
                Statement::Recover { generation, recovery, name, key, since: self.since(fleet) }
            }
            _ => Statement::Resolve { kept: Hash::of([self.number(0, 2); 32]), dropped: Hash::of([1; 32]) },
        }
    }

    /// Any key that may say something: users and devices that live, mostly.
    fn author(&mut self, fleet: &Founded) -> u8 {
        let state = fleet.log.authority().state();
        let numbers = 1..=120_u8;
        let live: Vec<_> = numbers
            .filter(|number| {
                let key = secret(*number).public().verify;
                state.user_of(&key).is_some() || state.device_of(&key).is_some() && number.is_multiple_of(2)
            })
            .collect();
        if live.is_empty() || self.below(10) == 0 { self.key() } else { self.pick(&live) }
    }

    fn change(&mut self, fleet: &Founded) -> fleet::Signed {
        let path = match self.below(4) {
            0 => format!("devices/{}/config/network", id(self.number(3, 10))),
            1 => "policies/all/config/system".into(),
            at => format!("groups/{}/config/network", GROUPS[at % 2]),
        };
        let path = path.parse().unwrap();
        let standing = fleet.log.map().get(&path).map(|leaf| leaf.change);
        let replaces = if self.below(8) == 0 { None } else { standing };
        let content = (self.below(3) > 0).then(|| ContentHash::of([self.number(0, 9); 32]));
        let wish = Wish { path, content, replaces, execute: self.below(4) == 0, time: 0, note: String::new() };
        Change::sign(fleet.log.authority(), wish, &secret(self.author(fleet)))
    }

    /// The next record, which may be any.
    pub fn record(&mut self, fleet: &Founded) -> Record {
        if self.below(3) == 0 {
            return Record::Change(self.change(fleet));
        }
        let (statement, authority) = (self.statement(fleet), fleet.log.authority());
        if !matches!(statement, Statement::Recover { .. }) {
            return Record::Authority(authority.sign(&statement, &secret(self.author(fleet))));
        }
        let position = self.below(usize::try_from(authority.head().position).unwrap() + 1) as u64;
        let known = authority.entries(position).first().filter(|_| position > 0).map(Entry::head);
        let entry = fleet::EntryId::of(*authority.fleet().bytes());
        let by = if self.recovered == 0 { RECOVERY } else { 100 + self.recovered };
        Record::Authority(Entry::sign(
            authority.fleet(),
            known.unwrap_or(Head { position: 0, entry }),
            &statement,
            &secret(by),
        ))
    }

    /// Notes what was taken.
    pub fn note(&mut self, fleet: &Founded) {
        self.recovered = u8::try_from(fleet.log.authority().state().recoveries).unwrap();
    }
}
