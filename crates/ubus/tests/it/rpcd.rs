//! rpcd as far as a transaction sees it: sessions, staging, apply with rollback; and faults on demand.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;
use ubus::{RpcCode, SessionId, Status, Ubus, UbusError};
use uci::{Change, Config, Edit, Package, PackageName, Record, Values};

pub const PASSWORD: &str = "owrt-secret";

/// What happens to one call instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request does not arrive.
    RequestLost,
    /// The call is carried out, its answer does not arrive.
    ReplyLost,
    /// The call is carried out, its answer is not what it should be.
    Garbled,
    /// rpcd refuses for a reason of its own.
    Refused,
    /// The session has expired.
    Expired,
}

/// Something that happens on the router just before a call.
pub type Event = Box<dyn FnOnce(&mut State) + Send>;

pub struct Rpcd {
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// What lies in /etc/config.
    pub committed: Config,
    pub sessions: BTreeMap<String, BTreeMap<PackageName, Staging>>,
    pub pending: Option<Pending>,
    /// The methods called so far.
    pub log: Vec<String>,
    /// What the next login may do.
    pub acls: Value,
    faults: BTreeMap<usize, Fault>,
    events: Vec<(String, Event)>,
    last_session: u64,
}

#[derive(Clone, Default)]
pub struct Staging {
    changes: Vec<Change>,
    records: Vec<Value>,
}

pub struct Pending {
    session: String,
    before: Config,
    staging: BTreeMap<PackageName, Staging>,
    until: Instant,
}

impl Rpcd {
    pub fn new(committed: Config) -> Self {
        let acls = json!({"ubus": {"*": ["*"]}, "uci": {"*": ["read", "write"]}});
        Self { state: Mutex::new(State { committed, acls, ..State::default() }) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has a fault happen to the call of that number, from 0.
    pub fn fail(&self, call: usize, fault: Fault) {
        self.state().faults.insert(call, fault);
    }

    /// Has something happen just before the next call of a method; what is said later, before the call after it.
    pub fn before(&self, method: &str, event: impl FnOnce(&mut State) + Send + 'static) {
        self.state().events.push((method.to_owned(), Box::new(event)));
    }
}

impl State {
    /// Commits a change as somebody else would.
    pub fn commit(&mut self, change: &Change) {
        let package = self.committed.get_mut(change.config.as_str()).unwrap();
        uci::apply(package, std::slice::from_ref(change)).unwrap();
    }

    /// Makes somebody's change pending.
    pub fn pend(&mut self, session: &str, timeout: Duration) {
        let before = self.committed.clone();
        let (session, staging) = (session.to_owned(), BTreeMap::new());
        self.pending = Some(Pending { session, before, staging, until: Instant::now() + timeout });
    }

    /// Takes a pending change back, as its timeout does.
    pub fn roll_back(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        self.committed = pending.before;
        if let Some(staged) = self.sessions.get_mut(&pending.session) {
            staged.extend(pending.staging);
        }
    }

    /// Takes back what should have been by now.
    pub fn settle_due(&mut self) {
        if self.pending.as_ref().is_some_and(|pending| Instant::now() >= pending.until) {
            self.roll_back();
        }
    }

    /// Stages a change in a session as another holder of it would.
    pub fn stage(&mut self, session: &str, change: Change) {
        let mut view = self.committed.get(change.config.as_str()).unwrap().clone();
        let records = uci::apply(&mut view, std::slice::from_ref(&change)).unwrap();
        let staging = self.sessions.get_mut(session).unwrap().entry(change.config.clone()).or_default();
        staging.changes.push(change);
        staging.records.extend(records.iter().map(record));
    }

    /// Whether anything is staged in any session.
    pub fn is_anything_staged(&self) -> bool {
        self.sessions.values().flat_map(BTreeMap::values).any(|staging| !staging.records.is_empty())
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> usize {
        self.log.iter().filter(|call| *call == method).count()
    }

    fn dispatch(&mut self, session: &str, object: &str, method: &str, args: &Value) -> Result<Option<Value>, i64> {
        self.settle_due();
        if (object, method) == ("session", "login") {
            return self.login(args);
        }
        if !self.sessions.contains_key(session) {
            return Err(-32002);
        }
        match (object, method) {
            ("session", "destroy") => {
                self.sessions.remove(session);
                Ok(None)
            }
            ("uci", "apply") => self.apply(session, args),
            ("uci", "confirm" | "rollback") => self.settle(session, method),
            ("uci", "changes") if args.get("config").is_none() => Ok(Some(json!({"changes": self.staged(session)}))),
            ("uci", _) => self.uci(session, method, args),
            _ => Err(3),
        }
    }

    fn login(&mut self, args: &Value) -> Result<Option<Value>, i64> {
        if args["password"] != PASSWORD {
            return Err(6);
        }
        let pending = self.pending.as_ref().map(|pending| pending.session.clone());
        let session = pending.filter(|pending| self.sessions.contains_key(pending)).unwrap_or_else(|| {
            self.last_session += 1;
            format!("{:032x}", self.last_session)
        });
        self.sessions.entry(session.clone()).or_default();
        let timeout = args.get("timeout").cloned().unwrap_or(json!(300));
        Ok(Some(json!({"ubus_rpc_session": session, "timeout": timeout, "expires": timeout, "acls": self.acls})))
    }

    fn staged(&self, session: &str) -> Value {
        let staged = self.sessions[session].iter().filter(|(_, staging)| !staging.records.is_empty());
        staged.map(|(package, staging)| (package.to_string(), json!(staging.records))).collect()
    }

    fn uci(&mut self, session: &str, method: &str, args: &Value) -> Result<Option<Value>, i64> {
        let name = PackageName::new(args["config"].as_str().ok_or(2)?).map_err(|_| 2)?;
        let mut view = self.committed.get(name.as_str()).ok_or(4)?.clone();
        let staging = self.sessions.get_mut(session).unwrap().entry(name.clone()).or_default();
        for change in &staging.changes {
            let _stale = uci::apply(&mut view, std::slice::from_ref(change));
        }
        match method {
            "get" => Ok(Some(json!({"values": told(&view)}))),
            "changes" => Ok(Some(json!({"changes": staging.records}))),
            "revert" if self.pending.is_some() => Err(6),
            "revert" => {
                *staging = Staging::default();
                Ok(None)
            }
            _ => {
                let change = Change { config: name, edit: edit(method, args).ok_or(2)? };
                let records = uci::apply(&mut view, std::slice::from_ref(&change)).map_err(|error| match error {
                    uci::ApplyError::NotFound { .. } => 4,
                    _ => 2,
                })?;
                staging.changes.push(change);
                staging.records.extend(records.iter().map(record));
                Ok((method == "add").then(|| json!({"section": args["name"]})))
            }
        }
    }

    fn apply(&mut self, session: &str, args: &Value) -> Result<Option<Value>, i64> {
        if self.pending.is_some() {
            return Err(6);
        }
        let staging = std::mem::take(self.sessions.get_mut(session).unwrap());
        if staging.values().all(|staging| staging.records.is_empty()) {
            return Err(5);
        }
        let before = self.committed.clone();
        for change in staging.values().flat_map(|staging| &staging.changes) {
            let package = self.committed.get_mut(change.config.as_str()).unwrap();
            let _stale = uci::apply(package, std::slice::from_ref(change));
        }
        assert_eq!(args["rollback"], json!(true), "a change is never applied for good");
        let until = Instant::now() + Duration::from_secs(args["timeout"].as_u64().unwrap());
        self.pending = Some(Pending { session: session.to_owned(), before, staging, until });
        Ok(None)
    }

    fn settle(&mut self, session: &str, method: &str) -> Result<Option<Value>, i64> {
        match &self.pending {
            None => return Err(5),
            Some(pending) if pending.session != session => return Err(6),
            Some(_) if method == "confirm" => self.pending = None,
            Some(_) => self.roll_back(),
        }
        Ok(None)
    }
}

#[async_trait]
impl Ubus for Rpcd {
    async fn call(
        &self,
        session: &SessionId,
        object: &str,
        method: &str,
        args: Value,
    ) -> Result<Option<Value>, UbusError> {
        let mut state = self.state();
        let number = state.log.len();
        let name = method.to_owned();
        state.log.push(name.clone());
        if let Some(at) = state.events.iter().position(|(method, _)| *method == name) {
            let (_, event) = state.events.remove(at);
            event(&mut state);
        }
        let (object_name, method_name) = (object.to_owned(), method.to_owned());
        let lost = || UbusError::Deadline {
            object: object_name.clone(),
            method: method_name.clone(),
            deadline: Duration::from_secs(1),
        };
        let fault = state.faults.get(&number).copied();
        match fault {
            Some(Fault::RequestLost) => return Err(lost()),
            Some(Fault::Refused) => return Err(error(object, method, 9)),
            Some(Fault::Expired) => drop(state.sessions.remove(session.reveal())),
            Some(Fault::ReplyLost | Fault::Garbled) | None => {}
        }
        let answer = state.dispatch(session.reveal(), object, method, &args);
        match fault {
            Some(Fault::ReplyLost) => Err(lost()),
            Some(Fault::Garbled) => {
                Err(UbusError::Malformed { object: object_name, method: method_name, expected: "JSON".to_owned() })
            }
            _ => answer.map_err(|code| error(object, method, code)),
        }
    }
}

fn error(object: &str, method: &str, code: i64) -> UbusError {
    let (object, method) = (object.to_owned(), method.to_owned());
    if code < 0 {
        let code = RpcCode::from_code(code);
        return UbusError::Rpc { object, method, code, message: "Access denied".to_owned() };
    }
    UbusError::Status { object, method, status: Status::from_code(code).unwrap() }
}

fn told(package: &Package) -> Value {
    let value = |value: &uci::Value| match value {
        uci::Value::Scalar(text) => json!(text),
        uci::Value::List(items) => json!(items),
    };
    let sections = package.sections().enumerate().map(|(index, section)| {
        let mut told = json!({
            ".anonymous": section.is_anonymous(), ".type": section.kind().as_str(),
            ".name": section.name().as_str(), ".index": index,
        });
        for (option, set) in section.options() {
            told[option.as_str()] = value(set);
        }
        (section.name().to_string(), told)
    });
    sections.collect()
}

fn edit(method: &str, args: &Value) -> Option<Edit> {
    let text = |key: &str| args.get(key).and_then(Value::as_str);
    let section = || text("section")?.parse().ok();
    match method {
        "add" => Some(Edit::Add {
            kind: text("type")?.parse().ok()?,
            name: text("name")?.parse().ok()?,
            values: values(args),
        }),
        "set" => Some(Edit::Set { section: section()?, values: values(args) }),
        "delete" => match args.get("options").and_then(Value::as_array) {
            None => Some(Edit::DeleteSection { section: section()? }),
            Some(options) => {
                let options = options.iter().map(|option| option.as_str()?.parse().ok());
                Some(Edit::DeleteOptions { section: section()?, options: options.collect::<Option<_>>()? })
            }
        },
        _ => None,
    }
}

fn values(args: &Value) -> Values {
    let value = |value: &Value| match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        text => uci::Value::from(text.as_str().unwrap()),
    };
    let values = args["values"].as_object().unwrap().iter();
    values.map(|(option, told)| (option.parse().unwrap(), value(told))).collect()
}

fn record(record: &Record) -> Value {
    match record {
        Record::Section { section, kind } => json!(["set", section.as_str(), kind.as_str()]),
        Record::Option { section, option, text } => json!(["set", section.as_str(), option.as_str(), text]),
        Record::Item { section, option, item } => json!(["list-add", section.as_str(), option.as_str(), item]),
        Record::RemovedSection { section } => json!(["remove", section.as_str()]),
        Record::RemovedOption { section, option } => json!(["remove", section.as_str(), option.as_str()]),
        other => unreachable!("no test makes {other:?}"),
    }
}
