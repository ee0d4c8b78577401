//! The rules: who may say what, and what makes sense.

use std::collections::BTreeSet;

use crate::authority::entry::Entry;
use crate::authority::need::Need;
use crate::authority::refusal::Refusal;
use crate::authority::state::{Holder, Proposal, Standing, State};
use crate::authority::statement::{Statement, Trust};
use crate::hash::EntryId;
use crate::join::{JoinTerms, Request, bound};
use crate::key::{NodeKey, VerifyKey};
use crate::right::Verb;
use crate::signed::{KnownKey, Signed};
use crate::{DeviceId, DeviceName, Role, UserName};

const MOST_RIGHTS: usize = 64;
const MOST_GROUPS: usize = 16;
const MOST_VOTERS: usize = 7;
const MOST_JOINS: usize = 256;
const MOST_HARDWARE: usize = 64;
const MOST_PROPOSALS: usize = 64;
const MOST_ASKED: usize = 32;

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
    pub(super) fn enough(&self, proposal: &Proposal, name: &UserName) -> bool {
        let Some(threshold) = self.threshold(&proposal.author, &proposal.statement) else { return true };
        let agreed = proposal.agreed.iter().chain([name]).filter(|name| {
            let key = self.users.get(*name).and_then(|user| user.key);
            let allowed = key.is_some_and(|key| self.check_right(&key.verify, &proposal.statement).is_ok());
            allowed && threshold.users.contains(name)
        });
        agreed.count() >= usize::from(threshold.needed)
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
            Statement::Threshold { verb, needed, users } => {
                few("users", users.len(), MOST_ASKED)?;
                let distinct: BTreeSet<_> = users.iter().collect();
                if distinct.len() < usize::from(*needed)
                    || distinct.len() != users.len()
                    || (*needed == 0 && !users.is_empty())
                {
                    return Err(Refusal::Unreachable { needed: *needed, given: distinct.len() });
                }
                // Whoever could give keys alone could agree as anybody.
                let others = self.thresholds.keys().any(|other| *other != Verb::Grant);
                let is_guarded = match (verb, needed) {
                    (Verb::Grant, 0) => !others,
                    (Verb::Grant, _) | (_, 0) => true,
                    _ => self.thresholds.contains_key(&Verb::Grant),
                };
                if !is_guarded {
                    return Err(Refusal::Unguarded);
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
}

fn few(what: &'static str, is: usize, limit: usize) -> Result<(), Refusal> {
    (is <= limit).then_some(()).ok_or(Refusal::TooMany { what, is, limit })
}
