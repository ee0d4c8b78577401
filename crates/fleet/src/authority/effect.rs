//! What holds once something is said.

use crate::authority::entry::Entry;
use crate::authority::state::{Device, Holder, KeyRecord, OpenJoin, Proposal, SealOf, Standing, State, ThresholdOf};
use crate::authority::statement::{Statement, Trust};
use crate::hash::{EntryId, LogIndex};
use crate::join::{Request, keys_of};
use crate::key::{NodeKey, VerifyKey};
use crate::right::Right;
use crate::signed::{KnownKey, Signed};
use crate::{DeviceId, GroupName, UserName};

impl State {
    /// Takes an entry that was checked.
    pub(super) fn take(&mut self, entry: &Entry) {
        self.head = entry.head();
        self.hold(entry.id, entry.author, entry.statement.clone());
    }

    fn hold(&mut self, id: EntryId, author: VerifyKey, statement: Statement) {
        let position = self.head.position;
        match statement {
            Statement::User { name, key, rights } => {
                let key = self.add(&key, Holder::User(name.clone()), author);
                let user = self.users.entry(name).or_default();
                user.key = Some(key);
                user.rights.set(position, rights);
            }
            Statement::Rights { name, rights } => {
                if let Some(user) = self.users.get_mut(&name) {
                    user.rights.set(position, rights);
                }
            }
            Statement::Rotate { name, key } => {
                if let Some(old) = self.users.get(&name).and_then(|user| user.key) {
                    self.end(old.verify, LogIndex::MAX);
                }
                let key = self.add(&key, Holder::User(name.clone()), author);
                self.users.entry(name).or_default().key = Some(key);
            }
            Statement::Revoke { key, since, entries } => self.revoke(key, since, entries),
            Statement::Device { key, name, groups, trust, request } => {
                if let Some(request) = request.and_then(|request| Request::open(&request, self.fleet).ok())
                    && let Some(join) = self.joins.get_mut(&request.join)
                {
                    join.used += 1;
                }
                let Ok(node) = keys_of(&key) else { return };
                let device = DeviceId::first_known_by(&node);
                self.add(&key, Holder::Device(device), author);
                let mut record =
                    Device { name, standing: Standing::Member, trust, keys: <_>::default(), groups: <_>::default() };
                record.keys.set(position, node);
                record.groups.set(position, groups);
                self.devices.insert(device, record);
            }
            Statement::Rekey { device, key, trust } => {
                self.leave(device, &[]);
                if let Some(old) = self.devices.get(&device).map(|device| device.key().verify) {
                    self.end(old, LogIndex::MAX);
                }
                let key = self.add(&key, Holder::Device(device), author);
                if let Some(record) = self.devices.get_mut(&device) {
                    record.keys.set(position, key);
                    (record.standing, record.trust) = (Standing::Member, trust);
                }
            }
            Statement::Place { device, name, groups, trust } => {
                let kept = if trust == Trust::Secrets { groups.clone() } else { Vec::new() };
                self.leave(device, &kept);
                if let Some(record) = self.devices.get_mut(&device) {
                    record.groups.set(position, groups);
                    (record.name, record.trust) = (name, trust);
                }
            }
            Statement::Lost { device, since } => self.lose(device, Standing::Lost, since),
            Statement::Remove { device } => self.lose(device, Standing::Removed, LogIndex::MAX),
            Statement::Voters { voters } => self.voters.set(position, voters),
            Statement::Join { terms } => {
                self.add_key(terms.key, Holder::Join, author);
                self.joins.insert(terms.key, OpenJoin { terms, used: 0 });
            }
            Statement::Unjoin { key } => self.end(key, LogIndex::MAX),
            Statement::Seal { group, generation, key } => {
                self.seals.insert(group, SealOf { generation, key, due: false });
            }
            Statement::Threshold { verb, needed: 0, .. } => drop(self.thresholds.remove(&verb)),
            Statement::Threshold { verb, needed, users } => {
                self.thresholds.insert(verb, ThresholdOf { needed, users });
            }
            Statement::Propose { kind, payload } => {
                let Ok(statement) = Statement::read(kind, &payload.0) else { return };
                let asked = self.threshold(&author, &statement).map_or(&[][..], |threshold| &threshold.users);
                let agreed = self.user_of(&author).filter(|name| asked.contains(name)).cloned().into_iter().collect();
                self.proposals.insert(id, Proposal { author, statement, agreed });
            }
            Statement::Endorse { proposal } => {
                let Some(name) = self.user_of(&author).cloned() else { return };
                let Some(found) = self.proposals.get(&proposal) else { return };
                if self.enough(found, &name) {
                    let Some(Proposal { author, statement, .. }) = self.proposals.remove(&proposal) else { return };
                    self.hold(id, author, statement);
                } else if let Some(found) = self.proposals.get_mut(&proposal) {
                    found.agreed.insert(name);
                }
            }
            Statement::Withdraw { proposal } => drop(self.proposals.remove(&proposal)),
            Statement::Resolve { kept, dropped } => self.resolved.push((kept, dropped)),
            Statement::Recover { generation, recovery, name, key, since } => {
                self.recover(author, recovery, generation, name, &key, since);
            }
            Statement::Unknown { .. } => {}
        }
    }

    fn recover(
        &mut self,
        author: VerifyKey,
        next: VerifyKey,
        generation: u32,
        name: UserName,
        key: &Signed,
        since: LogIndex,
    ) {
        let position = self.head.position;
        let users: Vec<_> = self.users.values().filter_map(|user| user.key).collect();
        let joins: Vec<_> = self.joins.keys().copied().collect();
        users.iter().for_each(|key| self.end(key.verify, since));
        joins.iter().for_each(|key| self.end(*key, LogIndex::MAX));
        self.end(author, LogIndex::MAX);
        self.thresholds.clear();
        self.proposals.clear();
        self.add_key(next, Holder::Recovery, author);
        (self.recovery, self.recoveries) = (next, generation);
        let key = self.add(key, Holder::User(name.clone()), author);
        let user = self.users.entry(name).or_default();
        user.key = Some(key);
        user.rights.set(position, vec![Right::all()]);
    }

    fn add(&mut self, key: &Signed, holder: Holder, by: VerifyKey) -> NodeKey {
        let key = keys_of(key).expect("invariant: checked before");
        self.add_key(key.verify, holder, by);
        key
    }

    /// Adds a key that was checked.
    pub(super) fn add_key(&mut self, key: VerifyKey, holder: Holder, by: VerifyKey) {
        let known = KnownKey::new(key).expect("invariant: checked before");
        // People sign much; of devices there are many.
        let known = if matches!(holder, Holder::User(_)) { known } else { known.compact() };
        let added = self.head.position;
        self.keys.insert(key, KeyRecord { holder, added, by, ended: None, void_from: LogIndex::MAX, known });
    }

    /// Ends a key: what it may do, what is of it alone.
    fn end(&mut self, key: VerifyKey, void_from: LogIndex) {
        let position = self.head.position;
        let Some(record) = self.keys.get_mut(&key) else { return };
        record.ended = record.ended.or(Some(position));
        record.void_from = record.void_from.min(void_from);
        self.joins.remove(&key);
        self.proposals.retain(|_, proposal| proposal.author != key);
        for user in self.users.values_mut() {
            user.key = user.key.filter(|own| own.verify != key);
        }
    }

    /// Ends a key and those that it added, and those that they added.
    fn revoke(&mut self, key: VerifyKey, since: LogIndex, entries: u64) {
        let mut going = vec![key];
        while let Some(key) = going.pop() {
            if let Some(Holder::Device(device)) = self.keys.get(&key).map(|record| record.holder.clone()) {
                self.lose(device, Standing::Lost, since);
            }
            self.end(key, since);
            let added = self.keys.iter().filter(|(_, record)| record.by == key && record.added >= entries);
            going.extend(added.filter(|(_, record)| record.ended.is_none()).map(|(key, _)| *key));
        }
    }

    fn lose(&mut self, device: DeviceId, standing: Standing, since: LogIndex) {
        self.leave(device, &[]);
        let Some(record) = self.devices.get_mut(&device) else { return };
        record.standing = standing;
        let key = record.key().verify;
        self.end(key, since);
    }

    /// Groups whose key a device knew, and that it is not in any more, need another.
    fn leave(&mut self, device: DeviceId, kept: &[GroupName]) {
        let Some(device) = self.devices.get(&device).filter(|device| device.trust == Trust::Secrets) else { return };
        for group in device.groups().iter().filter(|group| !kept.contains(group)) {
            if let Some(seal) = self.seals.get_mut(group) {
                seal.due = true;
            }
        }
    }
}
