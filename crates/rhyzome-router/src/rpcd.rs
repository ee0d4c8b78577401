//! rpcd, netifd's and procd's ubus objects as one state machine: a call and the time go in, an answer or a question to
//! the machine beneath comes out, and changed configs are told as events. It reads and writes the UCI files itself and
//! does no other input or output.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::account::Passwords;
use crate::acl::{self, Membership};
use crate::configs::Configs;
use crate::json::{Json, Members};
use crate::object;
use crate::object::apply::Pending;
use crate::object::shell::Staging;
use crate::question::Question;
use crate::session::{Moment, Sessions};
use crate::signature;
use crate::status::{Answer, Status};

/// What a call comes to.
#[derive(Debug)]
pub enum Outcome {
    /// The answer is known.
    Answer(Answer),
    /// The machine beneath knows the answer.
    Ask(Question),
    /// The same, by a command: the answer is that of `file exec`.
    Run(Question),
}

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such object.
    NoObject,
    /// No such session, or it may not.
    Denied,
    /// The arguments hold what only uhttpd may add.
    Arguments,
}

/// Where the state machine finds its files.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The UCI files.
    pub config: PathBuf,
    /// The ACL groups.
    pub acl: PathBuf,
}

/// The state machine.
pub struct Rpcd {
    pub(crate) configs: Configs,
    pub(crate) acl_dir: PathBuf,
    pub(crate) passwords: Passwords,
    pub(crate) sessions: Sessions,
    pub(crate) pending: Option<Pending>,
    /// What the `uci` command has staged, beside all sessions.
    pub(crate) command_line: Staging,
    pub(crate) new_id: Box<dyn FnMut() -> [u8; 16] + Send>,
    interfaces: Vec<String>,
    changed: BTreeSet<String>,
}

/// A call that may be made: who calls, with what, and when.
pub(crate) struct Call<'a> {
    pub(crate) sid: &'a str,
    pub(crate) args: &'a Members,
    pub(crate) now: Moment,
}

impl Rpcd {
    /// The state machine over these files. `new_id` gives the random bytes of a session id.
    pub fn new(folders: Folders, passwords: Passwords, new_id: impl FnMut() -> [u8; 16] + Send + 'static) -> Self {
        let grants = acl::grants(&folders.acl, &Membership::unauthenticated());
        Rpcd {
            configs: Configs::new(folders.config),
            acl_dir: folders.acl,
            passwords,
            sessions: Sessions::new(grants, Moment::ZERO),
            pending: None,
            command_line: Staging::default(),
            new_id: Box::new(new_id),
            interfaces: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Which interfaces there are: each has an object of its own.
    pub fn set_interfaces(&mut self, interfaces: Vec<String>) {
        self.interfaces = interfaces;
    }

    /// The configs that were committed or rolled back since this was last asked: their daemons have to follow.
    pub fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// Lets time pass: idle sessions end, an apply that nobody confirmed is rolled back.
    pub fn tick(&mut self, now: Moment) {
        self.sessions.expire(now);
        object::apply::expire(self, now);
    }

    /// Starts anew: sessions, what is staged in them and a pending apply are forgotten. What was applied stays.
    pub fn restart(&mut self) {
        let grants = acl::grants(&self.acl_dir, &Membership::unauthenticated());
        self.sessions = Sessions::new(grants, Moment::ZERO);
        self.pending = None;
    }

    /// When a rollback is due, if one is pending.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.pending.as_ref().map(Pending::deadline)
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When it is not made at all.
    pub fn call(
        &mut self,
        sid: &str,
        object: &str,
        method: &str,
        args: &Members,
        now: Moment,
    ) -> Result<Outcome, Refusal> {
        self.tick(now);
        if !self.has_object(object) {
            return Err(Refusal::NoObject);
        }
        let session = self.sessions.touch(sid, now).ok_or(Refusal::Denied)?;
        if !session.grants.allow("ubus", object, method) {
            return Err(Refusal::Denied);
        }
        if args.iter().any(|(name, _)| name == "ubus_rpc_session") {
            return Err(Refusal::Arguments);
        }
        if !signature::has_method(object, method) {
            return Ok(Outcome::Answer(Err(Status::MethodNotFound)));
        }
        let call = Call { sid, args, now };
        let outcome = match object {
            "session" => Outcome::Answer(object::session::call(self, method, &call)),
            "uci" => Outcome::Answer(object::uci::call(self, method, &call)),
            "file" => object::file::call(self, method, &call),
            _ => object::machine::call(self, object, method, &call),
        };
        Ok(outcome)
    }

    /// The names of all objects.
    #[must_use]
    pub fn object_names(&self) -> Vec<String> {
        signature::names(&self.interfaces)
    }

    /// The objects that one of `patterns` names (a name, or a prefix and `*`) with their methods.
    #[must_use]
    pub fn list(&self, patterns: &[&str]) -> Json {
        let named = |name: &str| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => *pattern == name,
            })
        };
        let objects = self.object_names().into_iter().filter(|name| named(name));
        Json::Object(objects.map(|name| (name.clone(), signature::describe(&name))).collect())
    }

    /// Notes that a config changed on disk.
    pub(crate) fn note_changed(&mut self, config: &str) {
        self.changed.insert(config.to_owned());
    }

    /// Whether the session may do `function` ("read" or "write") with a config.
    pub(crate) fn may(&self, sid: &str, function: &str, config: &str) -> bool {
        self.allows(sid, "uci", config, function)
    }

    /// Whether the session may do `function` on `object` in a scope of its ACL.
    pub(crate) fn allows(&self, sid: &str, scope: &str, object: &str, function: &str) -> bool {
        self.sessions.get(sid).is_some_and(|session| session.grants.allow(scope, object, function))
    }

    fn has_object(&self, object: &str) -> bool {
        match object.strip_prefix(signature::INTERFACE_PREFIX) {
            Some(interface) => self.interfaces.iter().any(|known| known == interface),
            None => signature::has_object(object),
        }
    }
}

impl Call<'_> {
    /// A string among the arguments; one of another type counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        crate::json::member(self.args, name)?.as_text()
    }

    /// A boolean among the arguments.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match crate::json::member(self.args, name)? {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An integer of 32 bits among the arguments.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        match crate::json::member(self.args, name)? {
            Json::Int(value) => i32::try_from(*value).ok(),
            _ => None,
        }
    }

    /// An array among the arguments.
    pub(crate) fn array(&self, name: &str) -> Option<&[Json]> {
        match crate::json::member(self.args, name)? {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    /// An object among the arguments.
    pub(crate) fn members(&self, name: &str) -> Option<&Members> {
        match crate::json::member(self.args, name)? {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }
}
