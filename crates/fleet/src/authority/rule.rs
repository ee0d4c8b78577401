//! The rules: who may say what, and what holds once it is said.

use std::collections::BTreeSet;

use crate::authority::entry::Entry;
use crate::authority::refusal::Refusal;
use crate::authority::state::{
    Device, Holder, KeyRecord, OpenJoin, Proposal, SealOf, Standing, State, ThresholdOf, User,
};
use crate::authority::statement::{Statement, Trust};
use crate::hash::{EntryId, LogIndex};
use crate::join::{JoinTerms, Request, bound, keys_of};
use crate::key::{NodeKey, VerifyKey};
use crate::right::{Right, Verb, allowed, covered};
use crate::signed::{KnownKey, Signed};
use crate::{DeviceId, DeviceName, GroupName, Hash, Role, UserName};

const MOST_RIGHTS: usize = 64;
const MOST_GROUPS: usize = 16;
const MOST_VOTERS: usize = 7;
const MOST_JOINS: usize = 256;
const MOST_HARDWARE: usize = 64;
const MOST_PROPOSALS: usize = 64;
const MOST_ASKED: usize = 32;

/// The right that a statement needs.
struct Need {
    verb: Verb,
    path: String,
    /// Each of them must be allowed; if there is none, the right must be for any group.
    groups: Vec<GroupName>,
}

impl State {
    /// Whether the author may say this, and it makes sense. The signature was checked before.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), Refusal> {
        if matches!(entry.statement, Statement::Recover { .. }) || entry.author == self.recovery {
            return self.check_recovery(entry);
        }
        let record = self.live_key(&entry.author, self.head.position)?;
        match (&entry.statement, &record.holder) {
            (Statement::Unknown { kind, .. }, _) if entry.critical => Err(Refusal::Upgrade(*kind)),
            (Statement::Unknown { .. }, Holder::User(_)) => Ok(()),
            (Statement::Propose { kind, payload }, Holder::User(_)) => {
                self.check_proposal(&entry.author, &Statement::read(*kind, &payload.0)?)
            }
            (Statement::Endorse { proposal }, Holder::User(name)) => {
                self.check_endorsement(&entry.author, name, proposal)
            }
            (Statement::Withdraw { proposal }, Holder::User(name)) => {
                let found = self.proposals.get(proposal).ok_or(Refusal::NoProposal(*proposal))?;
                match found.author == entry.author {
                    true => Ok(()),
                    false => self.check_asked(&entry.author, name, &found.statement),
                }
            }
            (statement, Holder::User(name)) => {
                self.check_statement(&entry.author, statement)?;
                self.check_alone(&entry.author, name, statement)
            }
            (statement, Holder::Device(device)) => self.check_device(&entry.author, *device, statement),
            (_, Holder::Join | Holder::Recovery) => Err(Refusal::UnknownKey(entry.author)),
        }
    }

    fn check_recovery(&self, entry: &Entry) -> Result<(), Refusal> {
        let Statement::Recover { generation, recovery, key, .. } = &entry.statement else {
            return Err(Refusal::NotRecovery);
        };
        if entry.author != self.recovery {
            return Err(Refusal::NotRecovery);
        }
        let next = self.recoveries + 1;
        if *generation != next {
            return Err(Refusal::Recovery { given: *generation, next });
        }
        self.check_fresh(*recovery)?;
        let key = self.check_bound(key)?;
        match key.verify == *recovery {
            true => Err(Refusal::KeyUsed(*recovery)),
            false => Ok(()),
        }
    }

    /// Whether nobody else need agree.
    fn check_alone(&self, author: &VerifyKey, name: &UserName, statement: &Statement) -> Result<(), Refusal> {
        let Some(threshold) = self.threshold(author, statement) else { return Ok(()) };
        match threshold.needed <= 1 && threshold.users.contains(name) {
            true => Ok(()),
            false => {
                let verb = match statement {
                    Statement::Threshold { verb, .. } if self.thresholds.contains_key(verb) => *verb,
                    _ => self.need(statement).verb,
                };
                Err(Refusal::Threshold { verb, needed: threshold.needed })
            }
        }
    }

    fn check_proposal(&self, author: &VerifyKey, statement: &Statement) -> Result<(), Refusal> {
        if matches!(
            statement,
            Statement::Propose { .. }
                | Statement::Endorse { .. }
                | Statement::Withdraw { .. }
                | Statement::Recover { .. }
                | Statement::Unknown { .. }
        ) {
            return Err(Refusal::Nested);
        }
        self.check_statement(author, statement)?;
        if self.threshold(author, statement).is_none() {
            return Err(Refusal::NoThreshold);
        }
        few("open proposals", self.proposals.len() + 1, MOST_PROPOSALS)
    }

    fn check_endorsement(&self, author: &VerifyKey, name: &UserName, proposal: &EntryId) -> Result<(), Refusal> {
        let found = self.proposals.get(proposal).ok_or(Refusal::NoProposal(*proposal))?;
        if found.agreed.contains(name) {
            return Err(Refusal::Agreed(name.clone()));
        }
        self.check_asked(author, name, &found.statement)?;
        match self.enough(found, name) {
            true => self.check_statement(&found.author, &found.statement),
            false => Ok(()),
        }
    }

    fn check_asked(&self, author: &VerifyKey, name: &UserName, statement: &Statement) -> Result<(), Refusal> {
        self.check_right(author, statement)?;
        match self.threshold(author, statement) {
            Some(threshold) if !threshold.users.contains(name) => Err(Refusal::NotAsked(name.clone())),
            _ => Ok(()),
        }
    }

    /// Whether a proposal holds once `name` agrees too. Who agreed must be asked still, live and allowed it.
    fn enough(&self, proposal: &Proposal, name: &UserName) -> bool {
        let Some(threshold) = self.threshold(&proposal.author, &proposal.statement) else { return true };
        let agreed = proposal.agreed.iter().chain([name]).filter(|name| {
            let key = self.users.get(*name).and_then(|user| user.key);
            let allowed = key.is_some_and(|key| self.check_right(&key.verify, &proposal.statement).is_ok());
            allowed && threshold.users.contains(name)
        });
        agreed.count() >= usize::from(threshold.needed)
    }

    /// The threshold that a statement stands under. One that changes a threshold stands under that itself.
    fn threshold(&self, author: &VerifyKey, statement: &Statement) -> Option<&ThresholdOf> {
        let own = match statement {
            Statement::Rotate { name, .. } => self.user_of(author) == Some(name),
            Statement::Revoke { key, .. } => key == author,
            Statement::Threshold { verb, .. } => {
                return self.thresholds.get(verb).or_else(|| self.thresholds.get(&Verb::Grant));
            }
            _ => false,
        };
        self.thresholds.get(&self.need(statement).verb).filter(|_| !own)
    }

    /// Whether a key may end a fork.
    pub(super) fn may_resolve(&self, author: &VerifyKey) -> bool {
        let nothing = Hash::of([0; 32]);
        let live = self.live_key(author, self.head.position).is_ok();
        live && self.check_right(author, &Statement::Resolve { kept: nothing, dropped: nothing }).is_ok()
    }

    fn need(&self, statement: &Statement) -> Need {
        let groups_of =
            |device: &DeviceId| self.devices.get(device).map_or(Vec::new(), |device| device.groups().to_vec());
        let device =
            |device: &DeviceId, groups| Need { verb: Verb::Approve, path: format!("devices/{device}/record"), groups };
        let user = |name: &str| Need { verb: Verb::Grant, path: format!("users/{name}/record"), groups: Vec::new() };
        let fleet = |verb, what: &str| Need { verb, path: format!("policies/fleet/{what}"), groups: Vec::new() };
        let join = |group: &Option<GroupName>| match group {
            Some(group) => {
                Need { verb: Verb::Invite, path: format!("groups/{group}/join"), groups: vec![group.clone()] }
            }
            None => fleet(Verb::Invite, "join"),
        };
        match statement {
            Statement::User { name, .. } | Statement::Rights { name, .. } | Statement::Rotate { name, .. } => {
                user(name.as_str())
            }
            Statement::Revoke { key, .. } => match self.keys.get(key).map(|record| &record.holder) {
                Some(Holder::User(name)) => user(name.as_str()),
                _ => user("nobody"),
            },
            Statement::Device { key, groups, .. } => {
                let id = keys_of(key).map(|key| DeviceId::first_known_by(&key));
                device(&id.unwrap_or(DeviceId::of([0; 10])), groups.clone())
            }
            Statement::Rekey { device: id, .. }
            | Statement::Lost { device: id, .. }
            | Statement::Remove { device: id } => device(id, groups_of(id)),
            Statement::Place { device: id, groups, .. } => device(id, [groups_of(id), groups.clone()].concat()),
            Statement::Voters { .. } | Statement::Resolve { .. } => fleet(Verb::Vote, "voters"),
            Statement::Join { terms } => join(&terms.group),
            Statement::Unjoin { key } => join(&self.joins.get(key).and_then(|join| join.terms.group.clone())),
            Statement::Seal { group, .. } => {
                Need { verb: Verb::Approve, path: format!("groups/{group}/key"), groups: vec![group.clone()] }
            }
            Statement::Threshold { .. } => fleet(Verb::Grant, "threshold"),
            Statement::Propose { .. }
            | Statement::Endorse { .. }
            | Statement::Withdraw { .. }
            | Statement::Recover { .. }
            | Statement::Unknown { .. } => fleet(Verb::Grant, "statement"),
        }
    }

    /// Whether a user's key has the right that a statement needs.
    fn check_right(&self, author: &VerifyKey, statement: &Statement) -> Result<(), Refusal> {
        let own = match statement {
            Statement::Rotate { name, .. } => self.user_of(author) == Some(name),
            Statement::Revoke { key, .. } => key == author,
            _ => false,
        };
        if own {
            return Ok(());
        }
        let Need { verb, path, groups } = self.need(statement);
        let rights = self.rights_at(author, self.head.position);
        let has = |groups: &[GroupName]| allowed(rights, verb, &path, groups);
        let good =
            if groups.is_empty() { has(&[]) } else { groups.iter().all(|group| has(std::slice::from_ref(group))) };
        if !good {
            return Err(Refusal::Right { author: *author, verb, path });
        }
        // Nobody gives, changes or takes more than they have.
        let theirs = |name: &UserName| self.users.get(name).map_or(&[][..], User::rights);
        let (before, after): (&[Right], &[Right]) = match statement {
            Statement::User { rights, .. } => (&[], rights),
            Statement::Rights { name, rights } => (theirs(name), rights),
            Statement::Rotate { name, .. } => (theirs(name), &[]),
            Statement::Revoke { key, .. } => (self.user_of(key).map_or(&[][..], theirs), &[]),
            _ => (&[], &[]),
        };
        match covered(rights, before) && covered(rights, after) {
            true => Ok(()),
            false => Err(Refusal::Beyond { author: *author }),
        }
    }

    /// Whether a user may say this, as far as rights go, and it makes sense.
    fn check_statement(&self, author: &VerifyKey, statement: &Statement) -> Result<(), Refusal> {
        self.check_right(author, statement)?;
        match statement {
            Statement::User { name, key, rights } => {
                few("rights", rights.len(), MOST_RIGHTS)?;
                self.check_bound(key)?;
                match self.users.get(name).is_some_and(|user| user.key.is_some()) {
                    true => Err(Refusal::UserExists(name.clone())),
                    false => Ok(()),
                }
            }
            Statement::Rights { name, rights } => {
                few("rights", rights.len(), MOST_RIGHTS)?;
                self.live_user(name)
            }
            Statement::Rotate { name, key } => {
                self.live_user(name)?;
                self.check_bound(key).map(drop)
            }
            Statement::Revoke { key, .. } => match &self.live_key(key, self.head.position)?.holder {
                Holder::User(_) => Ok(()),
                _ => Err(Refusal::UnknownKey(*key)),
            },
            Statement::Device { key, name, groups, request, .. } => {
                few("groups", groups.len(), MOST_GROUPS)?;
                let key = self.check_newcomer(key, name)?;
                let Some(request) = request else { return Ok(()) };
                self.check_request(request, &key).map(drop)
            }
            Statement::Rekey { device, key, .. } => {
                self.standing(device)?;
                self.check_bound(key).map(drop)
            }
            Statement::Place { device, name, groups, .. } => {
                few("groups", groups.len(), MOST_GROUPS)?;
                self.member(device)?;
                self.check_name(name, Some(device))
            }
            Statement::Lost { device, .. } => self.member(device),
            Statement::Remove { device } => self.standing(device).map(drop),
            Statement::Voters { voters } => self.check_voters(voters),
            Statement::Join { terms } => {
                few("hardware", terms.hardware.len(), MOST_HARDWARE)?;
                few("join keys", self.joins.len() + 1, MOST_JOINS)?;
                self.check_fresh(terms.key)
            }
            Statement::Unjoin { key } => self.joins.get(key).map(drop).ok_or(Refusal::NoJoin(*key)),
            Statement::Seal { group, generation, .. } => {
                let is = self.seals.get(group).map_or(0, |seal| seal.generation);
                match *generation == is + 1 {
                    true => Ok(()),
                    false => Err(Refusal::Generation { group: group.clone(), is }),
                }
            }
            Statement::Threshold { needed, users, .. } => {
                few("users", users.len(), MOST_ASKED)?;
                let distinct: BTreeSet<_> = users.iter().collect();
                if distinct.len() < usize::from(*needed)
                    || distinct.len() != users.len()
                    || (*needed == 0 && !users.is_empty())
                {
                    return Err(Refusal::Unreachable { needed: *needed, given: distinct.len() });
                }
                users.iter().try_for_each(|name| self.live_user(name))
            }
            Statement::Resolve { kept, dropped } => match kept == dropped {
                true => Err(Refusal::NoChoice(*kept)),
                false => Ok(()),
            },
            Statement::Propose { .. }
            | Statement::Endorse { .. }
            | Statement::Withdraw { .. }
            | Statement::Recover { .. }
            | Statement::Unknown { .. } => Err(Refusal::Nested),
        }
    }

    /// What a device may say: that it has another key, and, as a voter, who came by an automatic join key.
    fn check_device(&self, author: &VerifyKey, device: DeviceId, statement: &Statement) -> Result<(), Refusal> {
        match statement {
            Statement::Rekey { device: other, key, trust } if *other == device => {
                self.member(&device)?;
                let is = self.devices.get(&device).map_or(Trust::Configuration, |device| device.trust);
                match *trust <= is {
                    true => self.check_bound(key).map(drop),
                    false => Err(Refusal::Beyond { author: *author }),
                }
            }
            Statement::Device { key, name, groups, trust: Trust::Configuration, request: Some(request) } => {
                let newcomer = self.check_newcomer(key, name)?;
                let terms = self.check_request(request, &newcomer)?;
                let voter = self.voters().iter().any(|(voter, _)| *voter == device);
                let into = terms.group.as_slice() == groups.as_slice();
                match voter && terms.automatic && into && !self.thresholds.contains_key(&Verb::Approve) {
                    true => Ok(()),
                    false => Err(Refusal::NotAutomatic),
                }
            }
            Statement::Device { .. } => Err(Refusal::NotAutomatic),
            statement => {
                let Need { verb, path, .. } = self.need(statement);
                Err(Refusal::Right { author: *author, verb, path })
            }
        }
    }

    fn check_newcomer(&self, key: &Signed, name: &DeviceName) -> Result<NodeKey, Refusal> {
        let key = self.check_bound(key)?;
        let id = DeviceId::first_known_by(&key);
        if self.devices.contains_key(&id) {
            return Err(Refusal::DeviceExists(id));
        }
        self.check_name(name, None)?;
        Ok(key)
    }

    fn check_request(&self, request: &Signed, key: &NodeKey) -> Result<&JoinTerms, Refusal> {
        let request = Request::open(request, self.fleet)?;
        if request.key != key.verify {
            return Err(Refusal::OtherRequest);
        }
        let join = self.joins.get(&request.join).ok_or(Refusal::NoJoin(request.join))?;
        if join.used >= join.terms.uses {
            return Err(Refusal::JoinSpent(join.terms.uses));
        }
        match join.terms.admits(&request.board, &request.mac) {
            true => Ok(&join.terms),
            false => Err(Refusal::Hardware { board: request.board, mac: request.mac }),
        }
    }

    fn check_voters(&self, voters: &[(DeviceId, Role)]) -> Result<(), Refusal> {
        let distinct: BTreeSet<_> = voters.iter().map(|(device, _)| device).collect();
        let masters = voters.iter().filter(|(_, role)| *role == Role::Master).count();
        if distinct.len() != voters.len() || voters.len() > MOST_VOTERS || masters != 1 {
            return Err(Refusal::Voters);
        }
        voters.iter().try_for_each(|(device, _)| self.member(device))
    }

    fn check_bound(&self, key: &Signed) -> Result<NodeKey, Refusal> {
        let key = bound(key, Some(self.fleet))?;
        self.check_fresh(key.verify)?;
        Ok(key)
    }

    fn check_fresh(&self, key: VerifyKey) -> Result<(), Refusal> {
        KnownKey::new(key)?;
        match self.keys.contains_key(&key) {
            true => Err(Refusal::KeyUsed(key)),
            false => Ok(()),
        }
    }

    fn check_name(&self, name: &DeviceName, except: Option<&DeviceId>) -> Result<(), Refusal> {
        match self.device_by_name(name) {
            Some((id, _)) if Some(&id) != except => Err(Refusal::NameTaken(name.clone())),
            _ => Ok(()),
        }
    }

    fn live_user(&self, name: &UserName) -> Result<(), Refusal> {
        let live = self.users.get(name).is_some_and(|user| user.key.is_some());
        live.then_some(()).ok_or_else(|| Refusal::NoUser(name.clone()))
    }

    fn standing(&self, device: &DeviceId) -> Result<Standing, Refusal> {
        match self.devices.get(device).ok_or(Refusal::NoDevice(*device))?.standing {
            Standing::Removed => Err(Refusal::Removed(*device)),
            standing => Ok(standing),
        }
    }

    fn member(&self, device: &DeviceId) -> Result<(), Refusal> {
        match self.standing(device)? {
            Standing::Member => Ok(()),
            _ => Err(Refusal::Lost(*device)),
        }
    }

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

fn few(what: &'static str, is: usize, limit: usize) -> Result<(), Refusal> {
    (is <= limit).then_some(()).ok_or(Refusal::TooMany { what, is, limit })
}
