//! What this device does with its own configuration: orders it applied, hears what became of it, tries again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet::apply::{Outcome, Report};
use fleet::catch_up::Book;
use fleet::configuration::Configuration;
use fleet::facts::Facts;
use fleet::keyring::Keyring;
use fleet::layer::Member;
use fleet::replica::Replica;
use fleet::status::SectionResult;
use fleet::{ChangeId, DeviceName, GroupName, LogIndex, NodeSecret, Scope, SectionPath};
use ubus::Local;

use super::reading::Question;
use crate::apply::worker::{Order, Word, Worker};
use crate::apply::{Applier, FROZEN, Places};
use crate::port::Waker;

/// What was taken back is tried again after this, and then after twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// The longest pause between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// Drift is taken back at most this often.
const TIDYING: Duration = Duration::from_secs(300);

/// This device's own configuration.
pub struct Applying {
    worker: Option<Worker>,
    /// What was ordered last, so that a change that does not concern this device costs it nothing.
    ordered: Option<Wanted>,
    is_busy: bool,
    retry: Option<Instant>,
    pause: Duration,
    /// What was ordered and not reported yet: the changes of sections, by what the order is called.
    orders: BTreeMap<String, BTreeMap<SectionPath, ChangeId>>,
    /// The changes that the outcomes are about.
    changes: BTreeMap<SectionPath, ChangeId>,
    outcomes: BTreeMap<SectionPath, Outcome>,
    remarks: Vec<String>,
    attempt: Option<Outcome>,
    over: Option<SectionPath>,
    /// When drift was taken back the last time.
    tidied: Option<Instant>,
}

/// What decides what a device should have.
#[derive(PartialEq, Eq)]
struct Wanted {
    name: DeviceName,
    groups: Vec<GroupName>,
    sections: BTreeMap<SectionPath, ChangeId>,
    /// The section whose pause is over: it is as if it were not there.
    over: Option<SectionPath>,
}

/// What the loop has to do for whoever applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An answer of master or backup, at once.
    Answer,
    /// That the device's status is told: something is known that was not.
    Telling,
}

/// What the fleet wants this device to have; nothing where it is no member, or nothing may be applied.
fn wanted(replica: &Replica, over: Option<&SectionPath>) -> Option<Wanted> {
    let (authority, id, None) = (replica.authority()?, replica.device()?, replica.fork()) else { return None };
    let device = authority.state().devices.get(&id)?;
    let changes = replica.sections().iter().map(|(path, section)| (path.clone(), section.change.id));
    Some(Wanted {
        name: device.name.clone(),
        groups: device.groups().to_vec(),
        sections: changes.collect(),
        over: over.cloned(),
    })
}

fn order(replica: &Replica, secret: &NodeSecret, over: Option<&SectionPath>) -> Option<Order> {
    let (authority, id, summary) = (replica.authority()?, replica.device()?, replica.summary()?);
    let (state, sections) = (authority.state(), replica.sections());
    let Wanted { name, groups, .. } = wanted(replica, over)?;
    let told = sections.iter().filter(|(path, _)| Some(*path) != over);
    let told = told.map(|(path, section)| (path, &section.change, &section.content));
    let contents = sections.iter().map(|(path, section)| (path, &section.content));
    Some(Order {
        change: summary.index.to_string(),
        member: Member { id, name, groups, facts: Facts::default() },
        configuration: Configuration::of(authority, told),
        opener: Box::new(Keyring::of(state, &Scope::Device(id).prefix(), secret, contents)),
    })
}

impl Applying {
    /// Ends what an earlier run left unfinished, and is ready to apply where there is anything to apply to.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(places: Places, waker: Waker) -> std::io::Result<Self> {
        let worker = if places.has_uci() {
            if let Some(folder) = places.lock.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let applier = Applier::new(Arc::new(Local::new(&places.ubus())), places);
            Some(Worker::start(applier, move || waker.wake())?)
        } else {
            eprintln!("{} has no etc/config: this node applies nothing to itself", places.root.display());
            None
        };
        Ok(Self {
            worker,
            ordered: None,
            is_busy: false,
            retry: None,
            pause: FIRST_RETRY,
            orders: BTreeMap::new(),
            changes: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            remarks: Vec::new(),
            attempt: None,
            over: None,
            tidied: None,
        })
    }

    /// Orders what the fleet wants this device to have, if that is not what was ordered last. Where two majorities
    /// disagree nothing is applied until somebody has chosen.
    pub fn order(&mut self, replica: &Replica, secret: &NodeSecret) {
        let Some(worker) = &self.worker else { return };
        let Some(wanted) = wanted(replica, self.over.as_ref()) else { return };
        if self.ordered.as_ref() == Some(&wanted) && self.retry.is_none_or(|at| at > Instant::now()) {
            return;
        }
        if self.ordered.as_ref() != Some(&wanted) {
            self.pause = FIRST_RETRY;
        }
        let Some(order) = order(replica, secret, self.over.as_ref()) else { return };
        self.orders.insert(order.change.clone(), wanted.sections.clone());
        worker.order(order);
        (self.ordered, self.is_busy, self.retry) = (Some(wanted), true, None);
    }

    /// What the device is to be compared with: what it should have, once that has been applied.
    pub fn question(&self, replica: &Replica, secret: &NodeSecret) -> Question {
        if self.is_busy
            || self.retry.is_some()
            || self.ordered.is_none()
            || self.ordered != wanted(replica, self.over.as_ref())
        {
            return Question::default();
        }
        let sections = replica.sections().iter();
        let is_action = |path: &SectionPath| path.rest().starts_with("actions/");
        let actions =
            sections.filter(|(path, _)| is_action(path)).map(|(path, section)| (path.clone(), section.change.id));
        Question { applied: order(replica, secret, self.over.as_ref()), actions: actions.collect() }
    }

    /// Which section's pause is over; gives whether that is news.
    pub fn end_pause(&mut self, over: Option<SectionPath>) -> bool {
        let is_news = self.over != over;
        self.over = over;
        is_news
    }

    /// Whether some policy keeps the device as it is.
    pub fn is_paused(&self) -> bool {
        let is_frozen = |outcome: &Outcome| matches!(outcome, Outcome::Reverted(reason) if reason.starts_with(FROZEN));
        self.attempt.is_none() && self.outcomes.values().any(is_frozen)
    }

    /// Applies what was applied once more, as the device has something else. Where somebody else writes it over and over,
    /// that is not answered each time.
    pub fn again(&mut self) {
        if self.tidied.is_none_or(|at| at.elapsed() >= TIDYING) {
            self.tidied = Some(Instant::now());
            self.retry.get_or_insert(Instant::now());
        }
    }

    /// How far the configuration reaches that was applied, or could not be; `index` is how far the replica does.
    pub fn reaches(&self, replica: &Replica) -> LogIndex {
        let index = replica.heads().index;
        match self.worker.is_none()
            || !self.is_busy && self.ordered.is_some() && self.ordered == wanted(replica, self.over.as_ref())
        {
            true => index,
            false => 0,
        }
    }

    /// Master or backup has answered.
    pub fn answered(&self) {
        self.worker.iter().for_each(Worker::answered);
    }

    /// Takes what there is to be heard.
    pub fn hear(&mut self) -> Vec<Need> {
        let words: Vec<Word> = self.worker.iter().flat_map(Worker::words).collect();
        words.into_iter().map(|word| self.take(word)).collect()
    }

    /// Forgets orders that came to nothing, as a later one took their place.
    fn forget_before(&mut self, change: &str) {
        let number = |name: &str| name.parse::<u64>().unwrap_or_default();
        self.orders.retain(|name, _| number(name) >= number(change));
    }

    fn take(&mut self, word: Word) -> Need {
        match word {
            Word::Ask => return Need::Answer,
            Word::Reported(change, report) => self.reported(&change, report),
            Word::Failed(change, reason) => {
                eprintln!("change {change} is not applied: {reason}");
                self.forget_before(&change);
                self.remarks = vec![format!("not applied: {reason}")];
                self.try_again();
            }
            Word::Recovered(told) => {
                eprintln!("{told}");
                self.remarks.push(told);
            }
        }
        Need::Telling
    }

    fn reported(&mut self, change: &str, report: Report) {
        let Report { attempt, outcomes, remarks } = report;
        self.is_busy = false;
        self.forget_before(change);
        if let Some(changes) = self.orders.remove(change) {
            self.changes = changes;
        }
        if let Some(outcome) = &attempt {
            eprintln!("change {change} is {outcome}");
        }
        for (section, outcome) in outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Rejected(_))) {
            eprintln!("{section} is {outcome}");
        }
        let is_again = matches!(attempt, Some(Outcome::Reverted(_)));
        (self.attempt, self.outcomes, self.remarks) = (attempt, outcomes, remarks);
        match is_again {
            true => self.try_again(),
            false => self.pause = FIRST_RETRY,
        }
    }

    fn try_again(&mut self) {
        self.is_busy = false;
        self.retry = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_RETRY);
    }

    /// When [`Applying::order`] is to be called again, if at all.
    pub fn due(&self) -> Option<Instant> {
        self.retry
    }

    /// Whether a change is being applied.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Whether the last change was taken back.
    pub fn is_reverted(&self) -> bool {
        matches!(self.attempt, Some(Outcome::Reverted(_)))
    }

    /// What became of the sections, for the device's status.
    pub fn results(&self) -> Vec<SectionResult> {
        let result = |(section, outcome): (&SectionPath, &Outcome)| SectionResult {
            section: section.to_string(),
            change: self.changes.get(section).map_or(String::new(), |change| change.to_string()[..16].to_owned()),
            outcome: outcome.to_string(),
        };
        self.outcomes.iter().map(result).collect()
    }

    /// What else should be known.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}
