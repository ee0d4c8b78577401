//! The right that a statement needs, and how many have to agree.

use crate::authority::refusal::Refusal;
use crate::authority::state::{Holder, State, ThresholdOf, User};
use crate::authority::statement::Statement;
use crate::join::keys_of;
use crate::key::VerifyKey;
use crate::right::{Right, Verb, allowed, covered};
use crate::{DeviceId, GroupName, Hash, UserName};

/// The right that a statement needs.
pub(super) struct Need {
    pub(super) verb: Verb,
    pub(super) path: String,
    /// Each of them must be allowed; if there is none, the right must be for any group.
    groups: Vec<GroupName>,
}

impl State {
    /// The threshold that a statement stands under. One that changes a threshold stands under that itself.
    pub(super) fn threshold(&self, author: &VerifyKey, statement: &Statement) -> Option<&ThresholdOf> {
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

    /// What a statement needs.
    pub(super) fn need(&self, statement: &Statement) -> Need {
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
    pub(super) fn check_right(&self, author: &VerifyKey, statement: &Statement) -> Result<(), Refusal> {
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
}
