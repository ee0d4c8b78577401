//! The fleet of a scenario: who is in it, and what its admin and others say.

use fleet::authority::{Genesis, Statement, Trust};
use fleet::change::{Change, Content, Wish};
use fleet::log::{Log, Record};
use fleet::submission::Submission;
use fleet::{DeviceId, FleetId, NodeSecret, NoiseKey, Random, Role, SectionPath, Signed, bind};

/// Numbers that a seed gives again.
pub fn random(seed: u64) -> impl Random {
    let mut random = fuzz::Random::new(seed);
    move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = random.byte())
}

pub const ADMIN: u8 = 200;
const RECOVERY: u8 = 201;
/// Another author, whose key is taken away some day.
pub const EVE: u8 = 202;

/// Somebody by a number.
pub fn secret(number: u8) -> NodeSecret {
    NodeSecret::of([number; 32])
}

pub fn key(number: u8) -> NoiseKey {
    secret(number).public().noise
}

pub fn id(number: u8) -> DeviceId {
    DeviceId::first_known_by(&secret(number).public())
}

/// How a fleet began.
pub struct Founded {
    pub genesis: Signed,
    pub fleet: FleetId,
    /// What its founder decided, in order.
    pub records: Vec<Vec<u8>>,
    /// What holds afterwards.
    pub log: Log,
}

impl Founded {
    /// With so many nodes, of which the first vote.
    pub fn new(nodes: u8, voters: u8) -> Self {
        let founder = "ada".parse().unwrap();
        let genesis = Genesis::found("sim", founder, &secret(ADMIN), secret(RECOVERY).public().verify, &mut random(1));
        let fleet = Genesis::fleet(&genesis);
        let mut log = Log::new(genesis.clone()).unwrap();
        let mut records = Vec::new();
        let mut say = |statement: Statement| {
            let record = Record::Authority(log.authority().sign(&statement, &secret(ADMIN)));
            log.append(&record).unwrap();
            records.push(Submission { record, content: None }.to_bytes());
        };
        for number in 1..=nodes {
            say(Statement::Device {
                key: bind(Some(fleet), &secret(number)),
                name: format!("node{number}").parse().unwrap(),
                groups: vec![group(number).parse().unwrap()],
                trust: Trust::Configuration,
                request: None,
            });
        }
        say(Statement::User {
            name: "eve".parse().unwrap(),
            key: bind(Some(fleet), &secret(EVE)),
            rights: vec!["**:put".parse().unwrap()],
        });
        say(electorate(voters));
        Self { genesis, fleet, records, log }
    }
}

/// Who votes: the first nodes; the third of three serves nobody.
pub fn electorate(voters: u8) -> Statement {
    let role = |number| match number {
        1 => Role::Master,
        2 => Role::Backup,
        _ => Role::Witness,
    };
    Statement::Voters { voters: (1..=voters).map(|number| (id(number), role(number))).collect() }
}

/// Takes Eve's key away, with what she wrote from the end of this log on.
pub fn revocation(log: &Log) -> Submission {
    let statement = Statement::Revoke { key: secret(EVE).public().verify, since: log.len(), entries: 0 };
    Submission { record: Record::Authority(log.authority().sign(&statement, &secret(ADMIN))), content: None }
}

/// The group that a node is in.
pub fn group(number: u8) -> String {
    if number.is_multiple_of(2) { "even".into() } else { "odd".into() }
}

/// A change of what `log` says, signed by somebody.
pub fn change(log: &Log, author: u8, path: &str, text: String, salt: u64) -> Submission {
    let path: SectionPath = path.parse().unwrap();
    let content = Content::new(text.into_bytes(), &mut random(salt));
    let replaces = log.map().get(&path).map(|leaf| leaf.change);
    let wish = Wish { path, content: Some(content.hash()), replaces, execute: false, time: 0, note: String::new() };
    let signed = Change::sign(log.authority(), wish, &secret(author));
    Submission { record: Record::Change(signed), content: Some(content) }
}
