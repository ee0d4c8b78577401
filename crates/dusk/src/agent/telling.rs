//! What this device tells of itself: vitals with every ask, and its status when it has become another one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet::status::{Said, SectionResult, Space, Status};
use fleet::{Flags, FleetId, LogIndex, Moment, NodeSecret, Vitals};

use super::reading::{Question, Reader, Reading};
use crate::store::Store;

/// How often the device is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// Who comes and goes is told this often at most.
const COMINGS: Duration = Duration::from_secs(300);
/// A status is told this often, whatever it says.
const AGAIN: Duration = Duration::from_secs(6 * 3600);
/// What actions came to is kept of so many.
const ACTIONS: usize = 16;
/// So much of what one said.
const SAID: usize = 600;
/// Less flash than this is a full one, in percent.
const FULL: u8 = 3;

/// What is known here of this device's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The checkpoint whose configuration was applied, or could not be.
    pub applied: LogIndex,
    /// What became of the sections.
    pub results: Vec<SectionResult>,
    /// What else should be known.
    pub remarks: Vec<String>,
    /// What others are told with every ask.
    pub flags: Flags,
}

/// What this device is to tell.
pub struct Telling {
    secret: Arc<NodeSecret>,
    fleet: FleetId,
    boots: u16,
    sequence: u64,
    reader: Reader,
    asked: Option<Moment>,
    found: Status,
    own: Own,
    actions: Vec<SectionResult>,
    told: Option<(Moment, Status)>,
}

impl Telling {
    /// Begins: this is another start of the agent.
    ///
    /// # Errors
    /// When the start cannot be counted, or there is no thread to be had.
    pub fn start(store: &Store, secret: Arc<NodeSecret>, fleet: FleetId, root: PathBuf) -> anyhow::Result<Self> {
        let before = store.read("boots")?.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse::<u16>().ok());
        let boots = before.unwrap_or(0).wrapping_add(1);
        store.write("boots", format!("{boots}\n").as_bytes())?;
        let kept = store.read("actions.told")?.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let action = |line: &str| {
            let (section, rest) = line.split_once(' ')?;
            let (change, outcome) = rest.split_once(' ')?;
            Some(result(section, change, outcome))
        };
        let actions = kept.lines().filter_map(action).collect();
        Ok(Self {
            secret,
            fleet,
            boots,
            sequence: 0,
            reader: Reader::start(root)?,
            asked: None,
            found: Status::default(),
            own: Own::default(),
            actions,
            told: None,
        })
    }

    /// Takes what is known of the device's configuration. Where that is something else, the device is looked at anew.
    pub fn note(&mut self, own: Own) {
        if self.own.results != own.results || self.own.applied != own.applied {
            self.asked = None;
        }
        self.own = own;
    }

    /// Looks at the device when it is time. Gives whether drift is to be taken back.
    ///
    /// # Errors
    /// When what actions came to cannot be written down.
    pub fn look(&mut self, store: &Store, now: Moment, question: impl FnOnce() -> Question) -> anyhow::Result<bool> {
        if self.asked.is_none_or(|asked| now.since(asked) >= LOOK) {
            self.asked = Some(now);
            self.reader.ask(question);
        }
        let mut reverts = false;
        while let Some(Reading { status, reverts: wants_revert, done }) = self.reader.take() {
            if done.is_empty() {
                (self.found, reverts) = (status, wants_revert);
            } else {
                self.note_actions(store, done)?;
            }
        }
        Ok(reverts)
    }

    /// How the device is, for every ask.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        let found = &self.found;
        let flash = percent(&found.flash);
        let more = [(!found.drift.is_empty(), Flags::DRIFTED), (found.flash.total > 0 && flash < FULL, Flags::FULL)];
        let flags = more.into_iter().filter(|(up, _)| *up).fold(self.own.flags, |all, (_, one)| all.with(one));
        let load = found.load.first().copied().unwrap_or(0);
        Vitals {
            boots: self.boots,
            uptime: u32::try_from(found.uptime / 60).unwrap_or(u32::MAX),
            load: u8::try_from(u64::from(load) * 16 / 100).unwrap_or(u8::MAX),
            memory: percent(&found.memory),
            flash,
            clients: u16::try_from(found.clients.len()).unwrap_or(u16::MAX),
            flags,
        }
    }

    /// The status, signed, if there is reason to tell it.
    pub fn news(&mut self, now: Moment) -> Option<Vec<u8>> {
        if self.found == Status::default() {
            return None;
        }
        let Own { applied, results, remarks, .. } = self.own.clone();
        let mut status = Status { applied, results, actions: self.actions.clone(), ..self.found.clone() };
        status.remarks.extend(remarks);
        let is_news = match &self.told {
            None => true,
            Some((at, told)) => {
                let since = now.since(*at);
                status.essence() != told.essence()
                    || since >= COMINGS && status.lasting() != told.lasting()
                    || since >= AGAIN
            }
        };
        if !is_news {
            return None;
        }
        self.sequence += 1;
        let encoded = fleet::cbor::Blob(status.encode());
        let said = Said { fleet: self.fleet, boots: self.boots, sequence: self.sequence, status: encoded };
        self.told = Some((now, status));
        Some(said.sign(&self.secret))
    }

    fn note_actions(&mut self, store: &Store, done: Vec<SectionResult>) -> anyhow::Result<()> {
        for SectionResult { section, change, outcome } in done {
            self.actions.retain(|known| known.section != section);
            let outcome: String = outcome.chars().take(SAID).map(|c| if c == '\n' { ';' } else { c }).collect();
            self.actions.push(SectionResult { section, change, outcome });
        }
        let surplus = self.actions.len().saturating_sub(ACTIONS);
        self.actions.drain(..surplus);
        let lines =
            self.actions.iter().map(|action| format!("{} {} {}\n", action.section, action.change, action.outcome));
        store.write("actions.told", lines.collect::<String>().as_bytes())
    }
}

fn result(section: &str, change: &str, outcome: &str) -> SectionResult {
    SectionResult { section: section.to_owned(), change: change.to_owned(), outcome: outcome.to_owned() }
}

fn percent(space: &Space) -> u8 {
    u8::try_from(space.free.saturating_mul(100) / space.total.max(1)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling() -> (tempfile::TempDir, Store, Telling) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (secret, fleet) = (Arc::new(NodeSecret::of([7; 32])), FleetId::of([1; 32]));
        let telling = Telling::start(&store, secret, fleet, dir.path().to_owned()).unwrap();
        (dir, store, telling)
    }

    fn said(bytes: &[u8]) -> Said {
        let key = NodeSecret::of([7; 32]).public().verify;
        Said::open(bytes, FleetId::of([1; 32]), &key).unwrap().unwrap()
    }

    #[test]
    fn a_status_is_told_when_it_says_something_else() {
        let (_dir, _store, mut telling) = telling();
        let at = |seconds: u64| Moment::from_millis(seconds * 1000);
        assert_eq!(telling.news(at(0)), None);
        telling.found.board.hostname = "attic".to_owned();
        assert_eq!(said(&telling.news(at(1)).unwrap()).sequence, 1);
        (telling.found.uptime, telling.found.load) = (99, vec![100]);
        assert_eq!(telling.news(at(2)), None);
        telling.found.leases.push(fleet::status::Lease::default());
        assert_eq!(telling.news(at(3)), None);
        assert_eq!(said(&telling.news(at(400)).unwrap()).sequence, 2);
        telling.note(Own { applied: 9, flags: Flags::PAUSED.with(Flags::REVERTED), ..Own::default() });
        let status = Status::decode(&said(&telling.news(at(401)).unwrap()).status.0).unwrap();
        assert_eq!((status.applied, status.uptime), (9, 99));
        let vitals = telling.vitals();
        assert!(vitals.flags.contains(Flags::PAUSED.with(Flags::REVERTED)));
        assert_eq!((vitals.load, vitals.boots), (16, 1));
    }

    #[test]
    fn every_start_is_counted_and_what_actions_came_to_is_remembered() {
        let (dir, store, mut telling) = telling();
        telling.note_actions(&store, vec![result("devices/x/actions/a", "00ff", "done: one\ntwo")]).unwrap();
        let again = Telling::start(&store, Arc::clone(&telling.secret), telling.fleet, dir.path().to_owned()).unwrap();
        assert_eq!((again.boots, again.actions), (2, vec![result("devices/x/actions/a", "00ff", "done: one;two")]));
        for number in 0..40 {
            telling.note_actions(&store, vec![result(&format!("s/{number}"), "00", "done: ")]).unwrap();
        }
        assert_eq!(telling.actions.len(), ACTIONS);
    }
}
