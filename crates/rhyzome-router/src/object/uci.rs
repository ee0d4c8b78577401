//! The object `uci` (rpcd's uci.c): reading, and what is staged. [`super::stage`] stages, [`super::apply`] applies.

use super::{apply, stage};
use crate::json::{Json, Members};
use crate::rpcd::{Call, Rpcd};
use crate::status::{Answer, DONE, Status, data};
use crate::tree::{Change, Effect, Missing, Section, Tree};

pub(crate) fn call(rpcd: &mut Rpcd, method: &str, call: &Call<'_>) -> Answer {
    match method {
        "configs" => data("configs", rpcd.configs.names()),
        "get" | "state" => get(rpcd, call),
        "changes" => changes(rpcd, call),
        "add" => stage::add(rpcd, call),
        "set" => stage::set(rpcd, call),
        "delete" => stage::delete(rpcd, call),
        "rename" => stage::rename(rpcd, call),
        "order" => stage::order(rpcd, call),
        "revert" => apply::revert(rpcd, call),
        "commit" => apply::commit(rpcd, call),
        "apply" => apply::apply(rpcd, call),
        "confirm" => apply::confirm(rpcd, call),
        "rollback" => apply::rollback(rpcd, call),
        "reload_config" => {
            for config in rpcd.configs.names() {
                rpcd.note_changed(&config);
            }
            DONE
        }
        _ => Err(Status::MethodNotFound),
    }
}

/// A config with a session's own changes on top, and the steps that a call adds to them.
pub(crate) struct Draft {
    config: String,
    pub(crate) tree: Tree,
    steps: Vec<Change>,
}

impl Draft {
    /// The config of the call as its session sees it, which it must be allowed to `function` ("read" or "write").
    pub(crate) fn open(rpcd: &Rpcd, call: &Call<'_>, function: &str) -> Result<Self, Status> {
        let config = call.text("config").ok_or(Status::InvalidArgument)?;
        if !rpcd.may(call.sid, function, config) {
            return Err(Status::PermissionDenied);
        }
        let mut tree = rpcd.configs.load(config)?;
        let staged = rpcd.sessions.get(call.sid).and_then(|session| session.staged.get(config));
        replay(&mut tree, staged.map_or(&[], Vec::as_slice));
        Ok(Draft { config: config.to_owned(), tree, steps: Vec::new() })
    }

    /// Takes a step, which is recorded if it changes anything.
    pub(crate) fn step(&mut self, change: Change) -> Result<(), Missing> {
        if self.tree.apply(&change)? == Effect::Changed {
            self.steps.push(change);
        }
        Ok(())
    }

    /// Adds the steps to what the session has staged.
    pub(crate) fn save(self, rpcd: &mut Rpcd, call: &Call<'_>) {
        if self.steps.is_empty() {
            return;
        }
        if let Some(session) = rpcd.sessions.get_mut(call.sid) {
            session.staged.entry(self.config).or_default().extend(self.steps);
        }
    }
}

/// Takes all steps that can be taken and tells how many those were.
pub(crate) fn replay(tree: &mut Tree, steps: &[Change]) -> usize {
    steps.iter().filter(|step| tree.apply(step).is_ok()).count()
}

fn get(rpcd: &Rpcd, call: &Call<'_>) -> Answer {
    let draft = Draft::open(rpcd, call, "read")?;
    if let Some(name) = call.text("section") {
        let Some(section) = draft.tree.lookup(name) else { return DONE };
        return match call.text("option") {
            None => data("values", section.to_json(None)),
            Some(option) => section.get(option).map_or(DONE, |item| data("value", item.to_json())),
        };
    }
    let filter = Filter::of(call);
    let sections = draft.tree.sections().iter().enumerate().filter(|(_, section)| filter.accepts(section));
    let values: Members =
        sections.map(|(index, section)| (section.name.clone(), section.to_json(Some(index)))).collect();
    data("values", Json::Object(values))
}

fn changes(rpcd: &Rpcd, call: &Call<'_>) -> Answer {
    let session = rpcd.sessions.get(call.sid).ok_or(Status::NotFound)?;
    let shown = |steps: &Vec<Change>| Json::Array(steps.iter().map(Change::to_json).collect());
    if let Some(config) = call.text("config") {
        Draft::open(rpcd, call, "read")?;
        return data("changes", session.staged.get(config).map_or(Json::Array(Vec::new()), shown));
    }
    let readable = session.staged.iter().filter(|(config, _)| rpcd.may(call.sid, "read", config));
    data("changes", Json::Object(readable.map(|(config, steps)| (config.clone(), shown(steps))).collect()))
}

/// Which sections a call is about, where it does not name one: those of a type, those that match.
pub(crate) struct Filter<'a> {
    kind: Option<&'a str>,
    matches: Option<Vec<(&'a str, String)>>,
}

impl<'a> Filter<'a> {
    /// The filter in the arguments `type` and `match`. Values that are no text, number or boolean are left out, so that
    /// a match of nothing else accepts every section.
    pub(crate) fn of(call: &'a Call<'_>) -> Self {
        let matches = call.members("match").map(|members| {
            members.iter().filter_map(|(name, value)| Some((name.as_str(), stage::format(value)?))).collect()
        });
        Filter { kind: call.text("type"), matches }
    }

    /// Whether the call has neither a type nor a match.
    pub(crate) fn is_absent(&self) -> bool {
        self.kind.is_none() && self.matches.is_none()
    }

    /// Whether a section is meant. As in rpcd, an option that the section lacks refutes only until another has matched.
    pub(crate) fn accepts(&self, section: &Section) -> bool {
        if self.kind.is_some_and(|kind| kind != section.kind) {
            return false;
        }
        let mut matched = false;
        for (name, value) in self.matches.iter().flatten() {
            match section.get(name) {
                Some(item) if item.holds(value) => matched = true,
                Some(_) => return false,
                None if matched => {}
                None => return false,
            }
        }
        true
    }
}
