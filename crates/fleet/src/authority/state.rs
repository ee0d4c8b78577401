//! What the authority chain says as of its head, and what it said before.

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::refusal::Refusal;
use crate::authority::statement::{Statement, Trust};
use crate::authority::timeline::Timeline;
use crate::hash::{EntryId, FleetId, Hash, Head, LogIndex};
use crate::join::JoinTerms;
use crate::key::{NodeKey, SealingKey, VerifyKey};
use crate::right::{Right, Verb, allowed};
use crate::signed::{Domain, KnownKey, SignatureError, Signed};
use crate::{DeviceId, DeviceName, GroupName, Role, Scope, SectionPath, UserName};

/// What holds.
#[derive(Clone, Debug)]
pub struct State {
    /// The fleet.
    pub fleet: FleetId,
    /// What people call it.
    pub name: String,
    /// The last entry.
    pub head: Head,
    /// Every key that ever was one.
    pub keys: BTreeMap<VerifyKey, KeyRecord>,
    /// Users, those without a key included.
    pub users: BTreeMap<UserName, User>,
    /// Devices, lost and removed ones included.
    pub devices: BTreeMap<DeviceId, Device>,
    /// Join keys by which somebody may ask.
    pub joins: BTreeMap<VerifyKey, OpenJoin>,
    /// Groups' keys.
    pub seals: BTreeMap<GroupName, SealOf>,
    /// Statements that need more than one.
    pub thresholds: BTreeMap<Verb, ThresholdOf>,
    /// What waits for others to agree.
    pub proposals: BTreeMap<EntryId, Proposal>,
    /// Branches that were chosen: (kept, dropped).
    pub resolved: Vec<(Hash, Hash)>,
    /// The key that may recover the fleet.
    pub recovery: VerifyKey,
    /// How often it was recovered.
    pub recoveries: u32,
    pub(super) voters: Timeline<Vec<(DeviceId, Role)>>,
}

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person's.
    User(UserName),
    /// A device's.
    Device(DeviceId),
    /// That of whoever may ask to join.
    Join,
    /// The recovery phrase's.
    Recovery,
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Whose it is.
    pub holder: Holder,
    /// The position of the entry that added it.
    pub added: u64,
    /// Who added it; itself in the genesis.
    pub by: VerifyKey,
    /// The position of the entry that ended it.
    pub ended: Option<u64>,
    /// What it wrote from here on in the log is void.
    pub void_from: LogIndex,
    pub(super) known: KnownKey,
}

impl KeyRecord {
    /// Whether it was a key right after the entry at `position`.
    pub fn lived(&self, position: u64) -> bool {
        self.added <= position && self.ended.is_none_or(|ended| position < ended)
    }

    /// Checks that it signed.
    pub fn verify(&self, domain: Domain, signed: &Signed) -> Result<(), SignatureError> {
        self.known.verify(domain, &signed.body, &signed.signature)
    }
}

/// A person.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// Their key; none after it was taken.
    pub key: Option<NodeKey>,
    pub(super) rights: Timeline<Vec<Right>>,
}

impl User {
    /// What they may do.
    pub fn rights(&self) -> &[Right] {
        self.rights.last().map_or(&[], Vec::as_slice)
    }
}

/// How a device stands to its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is part of it.
    Member,
    /// Its key was taken; the record waits for another.
    Lost,
    /// It is none of the fleet any more.
    Removed,
}

/// A device's record.
#[derive(Clone, Debug)]
pub struct Device {
    /// What people call it.
    pub name: DeviceName,
    /// How it stands.
    pub standing: Standing,
    /// What it is trusted with.
    pub trust: Trust,
    pub(super) keys: Timeline<NodeKey>,
    pub(super) groups: Timeline<Vec<GroupName>>,
}

impl Device {
    /// Its keys; of a lost device, those that it had.
    pub fn key(&self) -> &NodeKey {
        self.keys.last().expect("invariant: a device is made with a key")
    }

    /// Its groups, in their order.
    pub fn groups(&self) -> &[GroupName] {
        self.groups.last().map_or(&[], Vec::as_slice)
    }
}

/// A join key by which somebody may ask.
#[derive(Clone, Debug)]
pub struct OpenJoin {
    /// What it allows.
    pub terms: JoinTerms,
    /// How many came by it.
    pub used: u32,
}

/// A group's key.
#[derive(Clone, Debug)]
pub struct SealOf {
    /// Counts from 1.
    pub generation: u32,
    /// What secrets are sealed to.
    pub key: SealingKey,
    /// Whether somebody left since: a next one is due.
    pub due: bool,
}

/// How many of whom.
#[derive(Clone, Debug)]
pub struct ThresholdOf {
    /// How many are needed.
    pub needed: u8,
    /// Who is asked.
    pub users: Vec<UserName>,
}

/// What waits for others to agree.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Who proposed it.
    pub author: VerifyKey,
    /// What would hold.
    pub statement: Statement,
    /// Who agreed, the proposer among them if they are asked.
    pub agreed: BTreeSet<UserName>,
}

impl State {
    /// The key, if it was one right after the entry at `position` and is one still.
    pub fn live_key(&self, key: &VerifyKey, position: u64) -> Result<&KeyRecord, Refusal> {
        let record = self.keys.get(key).ok_or(Refusal::UnknownKey(*key))?;
        match record.ended {
            Some(since) => Err(Refusal::Revoked { key: *key, since }),
            None if record.lived(position) => Ok(record),
            None => Err(Refusal::UnknownKey(*key)),
        }
    }

    /// What the holder of a user's key might do right after the entry at `position`; nothing if it was none.
    pub fn rights_at(&self, key: &VerifyKey, position: u64) -> &[Right] {
        let Some(record) = self.keys.get(key).filter(|record| record.lived(position)) else { return &[] };
        let Holder::User(name) = &record.holder else { return &[] };
        self.users.get(name).and_then(|user| user.rights.at(position)).map_or(&[], Vec::as_slice)
    }

    /// Whether the key's holder might do this to a section right after the entry at `position`.
    pub fn might(&self, key: &VerifyKey, verb: Verb, section: &SectionPath, position: u64) -> bool {
        let groups = match section.scope() {
            Scope::Group(group) => vec![group],
            Scope::Device(device) => self.groups_at(device, position).to_vec(),
            Scope::User(_) | Scope::Policy(_) => Vec::new(),
        };
        allowed(self.rights_at(key, position), verb, section.as_str(), &groups)
    }

    /// The groups that a device had right after the entry at `position`.
    pub fn groups_at(&self, device: DeviceId, position: u64) -> &[GroupName] {
        let device = self.devices.get(&device);
        device.and_then(|device| device.groups.at(position)).map_or(&[], Vec::as_slice)
    }

    /// Who voted right after the entry at `position`, the first choice first.
    pub fn voters_at(&self, position: u64) -> &[(DeviceId, Role)] {
        self.voters.at(position).map_or(&[], Vec::as_slice)
    }

    /// Who votes.
    pub fn voters(&self) -> &[(DeviceId, Role)] {
        self.voters.last().map_or(&[], Vec::as_slice)
    }

    /// A number that rises whenever others vote, or the same ones with other keys; 0 before anybody does.
    pub fn configuration(&self) -> u32 {
        let keys = |(device, _): &(DeviceId, Role)| self.devices.get(device).and_then(|device| device.keys.since());
        let since = self.voters().iter().filter_map(keys).chain(self.voters.since()).max();
        // A recovery goes back in positions. A million of entries is more than a chain is held for.
        let since = u32::try_from(since.unwrap_or_default()).unwrap_or(u32::MAX).min((1 << 20) - 1);
        self.recoveries << 20 | since
    }

    /// A device's signing key right after the entry at `position`, if it was a member with a key then.
    pub fn device_key_at(&self, device: DeviceId, position: u64) -> Option<&KeyRecord> {
        let key = self.devices.get(&device)?.keys.at(position)?;
        self.keys.get(&key.verify).filter(|record| record.lived(position))
    }

    /// The device that a signing key is of, if it is one still.
    pub fn device_of(&self, key: &VerifyKey) -> Option<DeviceId> {
        match &self.keys.get(key).filter(|record| record.ended.is_none())?.holder {
            Holder::Device(device) => Some(*device),
            _ => None,
        }
    }

    /// The user that a signing key is of, if it is one still.
    pub fn user_of(&self, key: &VerifyKey) -> Option<&UserName> {
        match &self.keys.get(key).filter(|record| record.ended.is_none())?.holder {
            Holder::User(name) => Some(name),
            _ => None,
        }
    }

    /// The member that speaks Noise with this key.
    pub fn device_by_noise(&self, noise: &crate::NoiseKey) -> Option<(DeviceId, &Device)> {
        let mut members = self.members();
        members.find(|(_, device)| device.key().noise == *noise)
    }

    /// The member of this name.
    pub fn device_by_name(&self, name: &DeviceName) -> Option<(DeviceId, &Device)> {
        let mut devices = self.devices.iter().map(|(id, device)| (*id, device));
        devices.find(|(_, device)| device.standing != Standing::Removed && device.name == *name)
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = (DeviceId, &Device)> {
        let devices = self.devices.iter().map(|(id, device)| (*id, device));
        devices.filter(|(_, device)| device.standing == Standing::Member)
    }
}
