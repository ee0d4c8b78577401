//! `dusk undo`: puts back what changes replaced, by changes that name them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context, bail};
use fleet::change::{Change, Content};
use fleet::log::Record;
use fleet::rollout::is_about_rollouts;
use fleet::submission::Submission;
use fleet::{ChangeId, LogIndex, SectionPath};

use super::history::who;
use super::{Given, print};
use crate::draft::{Draft, commit};
use crate::seat::Seat;

/// Puts back what changes replaced, and what was signed together with them.
///
/// # Errors
/// When there is no such change, or others came later.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let history = History::of(&seat);
    let mut meant = BTreeSet::new();
    for text in given.many("change") {
        let id = history.find(text)?;
        meant.insert(id);
        if !given.has("only") {
            meant.extend(history.signed_with(id));
        }
    }
    let mut drafts = Vec::new();
    for path in history.paths(&meant) {
        let after = history.before(&seat, &path, &meant)?;
        let after = after.map(|content| String::from_utf8(content.bytes.0.clone())).transpose();
        drafts.push(Draft::new(&seat, path.clone(), after.with_context(|| format!("{path} was no text"))?)?);
    }
    print(&commit(&mut seat, given, drafts)?)
}

/// All changes of the log.
struct History {
    changes: BTreeMap<ChangeId, Past>,
}

struct Past {
    index: LogIndex,
    change: Change,
    content: Option<Content>,
}

impl History {
    fn of(seat: &Seat) -> Self {
        let past = |(index, submission): (LogIndex, Submission)| {
            let Record::Change(signed) = submission.record else { return None };
            // What a rollout brought is undone like any change; the rollout itself is halted or taken back.
            let change = Change::read(signed, seat.fleet()).ok().filter(|change| !is_about_rollouts(&change.path))?;
            Some((change.id, Past { index, change, content: submission.content }))
        };
        Self { changes: (0..).zip(seat.archive.records()).filter_map(past).collect() }
    }

    /// The change that a text names: the number of its record, or as much of its id as makes it the only one.
    fn find(&self, text: &str) -> anyhow::Result<ChangeId> {
        let is_number = |past: &Past| text.parse() == Ok(past.index);
        if let Some((id, _)) = self.changes.iter().find(|(_, past)| is_number(past)) {
            return Ok(*id);
        }
        let found: Vec<_> = self.changes.keys().filter(|id| id.to_string().starts_with(text)).collect();
        match found.as_slice() {
            [id] => Ok(**id),
            [] => {
                bail!("{text:?} is no change: expected the number of a record that `dusk log` lists as put or delete")
            }
            several => bail!("{} changes begin with {text:?}: say more of the id", several.len()),
        }
    }

    /// What its author signed at one time with one note.
    fn signed_with(&self, id: ChangeId) -> Vec<ChangeId> {
        let Some(Past { change, .. }) = self.changes.get(&id) else { return Vec::new() };
        let mark = |change: &Change| (change.author, change.time, change.note.clone());
        let alike = self.changes.iter().filter(|(_, past)| mark(&past.change) == mark(change));
        alike.map(|(id, _)| *id).collect()
    }

    fn paths(&self, changes: &BTreeSet<ChangeId>) -> BTreeSet<SectionPath> {
        changes.iter().filter_map(|id| Some(self.changes.get(id)?.change.path.clone())).collect()
    }

    /// What a section said before these changes, if none came after them.
    fn before(&self, seat: &Seat, path: &SectionPath, meant: &BTreeSet<ChangeId>) -> anyhow::Result<Option<&Content>> {
        let mut left =
            meant.iter().filter(|id| self.changes.get(id).is_some_and(|past| past.change.path == *path)).count();
        let mut standing = seat.archive.log().map().get(path).map(|leaf| leaf.change);
        while left > 0 {
            let past = standing.and_then(|id| self.changes.get(&id)).context("the log lacks a change")?;
            if !meant.contains(&past.change.id) {
                let (index, author) = (past.index, who(seat, &past.change.author));
                bail!(
                    "{path} was changed since, in record {index} by {author}: undo that too, or `dusk edit` the section"
                );
            }
            (left, standing) = (left - 1, past.change.replaces);
        }
        Ok(standing.and_then(|id| self.changes.get(&id)).and_then(|past| past.content.as_ref()))
    }
}
