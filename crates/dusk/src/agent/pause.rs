//! A pause that ends by itself, counted in hours that this agent runs: no device goes by the calendar.

use std::time::Duration;

use fleet::document::{Document, Policy};
use fleet::replica::Replica;
use fleet::{ChangeId, Moment, Scope, SectionPath};

use crate::store::Store;

/// Where it is written down how much of it is over.
const FILE: &str = "pause";
/// How often that is.
const OFTEN: Duration = Duration::from_secs(600);

/// How much of a pause is over.
#[derive(Default)]
pub struct Pause {
    change: Option<String>,
    minutes: u64,
    since: Moment,
}

impl Pause {
    /// What was written down.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(store: &Store, now: Moment) -> anyhow::Result<Self> {
        let text = store.read(FILE)?.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let known =
            text.trim().split_once(' ').and_then(|(change, minutes)| Some((change.to_owned(), minutes.parse().ok()?)));
        let (change, minutes) = known.map_or((None, 0), |(change, minutes)| (Some(change), minutes));
        Ok(Self { change, minutes, since: now })
    }

    /// Counts on. The section whose pause is over by now, if there is one.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn look(&mut self, store: &Store, replica: &Replica, now: Moment) -> anyhow::Result<Option<SectionPath>> {
        let Some((path, change, hours)) = asked(replica) else {
            if self.change.take().is_some() {
                store.remove(FILE)?;
            }
            return Ok(None);
        };
        Ok(self.count(store, &change.to_string(), hours, now)?.then_some(path))
    }

    fn count(&mut self, store: &Store, change: &str, hours: u32, now: Moment) -> anyhow::Result<bool> {
        if self.change.as_deref() != Some(change) {
            *self = Self { change: Some(change.to_owned()), minutes: 0, since: now };
            store.write(FILE, format!("{change} 0\n").as_bytes())?;
        }
        let passed = now.since(self.since);
        let is_over = |minutes: u64| minutes >= u64::from(hours) * 60;
        let minutes = self.minutes + passed.as_secs() / 60;
        if passed >= OFTEN || is_over(minutes) && !is_over(self.minutes) {
            (self.minutes, self.since) = (minutes, now);
            store.write(FILE, format!("{change} {minutes}\n").as_bytes())?;
        }
        Ok(is_over(minutes))
    }
}

/// The device's own policy, where that freezes it for some hours.
fn asked(replica: &Replica) -> Option<(SectionPath, ChangeId, u32)> {
    let path = Scope::Device(replica.device()?).section("policy").ok()?;
    let section = replica.sections().get(&path)?;
    let Ok(Some(Document::Policy(policy))) = Document::parse(&path, &section.content.bytes.0) else { return None };
    let Policy { apply, .. } = *policy;
    Some((path, section.change.id, apply.hours.filter(|_| apply.is_frozen)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_counted_over_starts_and_begin_anew_with_another_change() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let at = |minutes: u64| Moment::from_millis(minutes * 60_000);
        let mut pause = Pause::open(&store, at(0)).unwrap();
        assert!(!pause.count(&store, "ab", 2, at(5)).unwrap());
        assert!(!pause.count(&store, "ab", 2, at(65)).unwrap());
        // Another start, whose clock begins again.
        let mut pause = Pause::open(&store, at(0)).unwrap();
        assert!(!pause.count(&store, "ab", 2, at(59)).unwrap());
        assert!(pause.count(&store, "ab", 2, at(60)).unwrap());
        let mut pause = Pause::open(&store, at(0)).unwrap();
        assert!(pause.count(&store, "ab", 2, at(0)).unwrap());
        assert!(!pause.count(&store, "cd", 2, at(1)).unwrap());
    }
}
