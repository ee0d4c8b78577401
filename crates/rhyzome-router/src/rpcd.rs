//! rpcd, netifd's and procd's ubus objects as one state machine: a call and the time go in, an answer or a question to
//! the machine beneath comes out, and changed configs are told as events. It reads and writes the UCI files itself and
//! does no other input or output.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::account::Passwords;
use crate::acl::{self, Grants, Membership};
use crate::configs::Configs;
use crate::json::{Json, Members};
use crate::object;
use crate::object::apply::Pending;
use crate::object::shell::Staging;
use crate::question::Question;
use crate::session::{Moment, NOBODY, Session, Sessions};
use crate::signature;
use crate::status::{Answer, Status};

/// The argument in which a call over the local socket names its session.
const SID: &str = "ubus_rpc_session";
/// The session of calls over the local socket that name none. Nobody comes to it over HTTP.
const ROOT: &str = "";

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
    /// Whether nothing can be written.
    pub(crate) is_full: bool,
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
        let sessions = sessions(&folders.acl);
        Rpcd {
            configs: Configs::new(folders.config),
            acl_dir: folders.acl,
            passwords,
            sessions,
            pending: None,
            command_line: Staging::default(),
            is_full: false,
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
        self.sessions = sessions(&self.acl_dir);
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
        if sid == ROOT {
            return Err(Refusal::Denied);
        }
        let session = self.sessions.touch(sid, now).ok_or(Refusal::Denied)?;
        if !session.grants.allow("ubus", object, method) {
            return Err(Refusal::Denied);
        }
        if args.iter().any(|(name, _)| name == SID) {
            return Err(Refusal::Arguments);
        }
        Ok(self.invoke(object, method, &Call { sid, args, now }))
    }

    /// Makes a call that comes over the local socket: no session is needed, and the one that it names need not have the
    /// right to call the method.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn call_local(
        &mut self,
        object: &str,
        method: &str,
        mut args: Members,
        now: Moment,
    ) -> Result<Outcome, Refusal> {
        self.tick(now);
        if !self.has_object(object) {
            return Err(Refusal::NoObject);
        }
        let named = args.iter().position(|(name, _)| name == SID).map(|at| args.remove(at).1);
        let sid = match (&named, object) {
            (Some(Json::Text(sid)), _) => sid.as_str(),
            (_, "session") => NOBODY,
            _ => ROOT,
        };
        self.sessions.touch(sid, now);
        Ok(self.invoke(object, method, &Call { sid, args: &args, now }))
    }

    fn invoke(&mut self, object: &str, method: &str, call: &Call<'_>) -> Outcome {
        if !signature::has_method(object, method) {
            return Outcome::Answer(Err(Status::MethodNotFound));
        }
        match object {
            "session" => Outcome::Answer(object::session::call(self, method, call)),
            "uci" => Outcome::Answer(object::uci::call(self, method, call)),
            "file" => object::file::call(self, method, call),
            _ => object::machine::call(self, object, method, call),
        }
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

/// The sessions at the start: that of those who have not logged in, and that of programs on the router itself.
fn sessions(acl_dir: &Path) -> Sessions {
    let mut sessions = Sessions::new(acl::grants(acl_dir, &Membership::unauthenticated()), Moment::ZERO);
    let mut everything = Grants::default();
    for scope in ["ubus", "uci", "file"] {
        everything.grant(scope, "*", "*");
    }
    sessions.insert(ROOT.to_owned(), Session::new(0, everything, Moment::ZERO));
    sessions
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
