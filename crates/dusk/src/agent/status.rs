//! What devices say of themselves, as a master keeps it: the newest word of each, on flash as it was signed, in memory the
//! little of it that the overview shows.

use std::collections::BTreeMap;

use fleet::authority::State;
use fleet::status::{Said, Status};
use fleet::{DeviceId, LogIndex};

use crate::store::Store;

/// So much of a reason is kept in memory.
const REASON: usize = 160;

/// What the overview shows of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The firmware.
    pub firmware: String,
    /// The checkpoint that was applied last, or could not be.
    pub applied: LogIndex,
    /// What was reverted, or else rejected.
    pub trouble: Option<String>,
    /// What is not as asked.
    pub drift: Option<String>,
}

/// All of them.
#[derive(Default)]
pub struct Statuses {
    told: BTreeMap<DeviceId, (u16, u64, Told)>,
}

impl Statuses {
    /// Those that are kept, of members; others are removed.
    ///
    /// # Errors
    /// As the files.
    pub fn open(store: &Store, state: &State) -> anyhow::Result<Self> {
        let mut statuses = Self::default();
        for name in store.list("status")? {
            let id = name.parse::<DeviceId>().ok().filter(|id| state.members().any(|(member, _)| member == *id));
            let kept = match id {
                Some(id) => store
                    .read(&format!("status/{name}"))?
                    .and_then(|bytes| open(state, id, &bytes))
                    .map(|said| (id, said)),
                None => None,
            };
            match kept {
                Some((id, said)) => statuses.note(id, &said),
                None => store.remove(&format!("status/{name}"))?,
            }
        }
        Ok(statuses)
    }

    /// Keeps a status, if its device signed it and none that came later is here.
    ///
    /// # Errors
    /// As writing the file.
    pub fn keep(&mut self, store: &Store, state: &State, device: DeviceId, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(said) = open(state, device, bytes) else {
            eprintln!("device {device} sent a status that it did not sign");
            return Ok(());
        };
        let is_later = self.told.get(&device).is_none_or(|(boots, sequence, _)| {
            said.follows(&Said { boots: *boots, sequence: *sequence, fleet: said.fleet, status: Default::default() })
        });
        if is_later {
            store.write(&format!("status/{device}"), bytes)?;
            self.note(device, &said);
        }
        Ok(())
    }

    /// What is known of a device.
    pub fn told(&self, device: DeviceId) -> Option<&Told> {
        self.told.get(&device).map(|(_, _, told)| told)
    }

    fn note(&mut self, device: DeviceId, said: &Said) {
        let status = Status::decode(&said.status.0).unwrap_or_default();
        self.told.insert(device, (said.boots, said.sequence, gist(&status)));
    }
}

/// What a device said, if it signed it.
pub fn open(state: &State, device: DeviceId, bytes: &[u8]) -> Option<Said> {
    let key = state.devices.get(&device)?.key().verify;
    Said::open(bytes, state.fleet, &key).ok().flatten()
}

/// What a device said last, if that is kept.
///
/// # Errors
/// When the file cannot be read.
pub fn read(store: &Store, state: &State, device: DeviceId) -> anyhow::Result<Option<Status>> {
    let said = store.read(&format!("status/{device}"))?.and_then(|bytes| open(state, device, &bytes));
    Ok(said.and_then(|said| Status::decode(&said.status.0).ok()))
}

fn gist(status: &Status) -> Told {
    let find = |word: &str| status.results.iter().find(|result| result.outcome.starts_with(word));
    let trouble = find("reverted").or_else(|| find("rejected"));
    let trouble = trouble.map(|result| short(&format!("{} ({})", result.outcome, result.section)));
    let more = status.drift.len().saturating_sub(1);
    let drift = status.drift.first().map(|first| match more {
        0 => short(first),
        more => format!("{} and {more} more", short(first)),
    });
    Told { firmware: short(&status.board.release), applied: status.applied, trouble, drift }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fleet::status::{Board, SectionResult};

    use super::*;

    #[test]
    fn the_gist_is_short_and_names_what_is_wrong_first() {
        let result = |section: &str, outcome: &str| SectionResult {
            section: section.into(),
            change: String::new(),
            outcome: outcome.into(),
        };
        let status = Status {
            board: Board { release: "x".repeat(5000), ..Board::default() },
            results: vec![result("a", "applied"), result("b", "rejected: no"), result("c", "reverted: late")],
            drift: vec!["one".to_owned(), "two".to_owned()],
            ..Status::default()
        };
        let gist = gist(&status);
        assert_eq!(gist.trouble.as_deref(), Some("reverted: late (c)"));
        assert_eq!(gist.drift.as_deref(), Some("one and 1 more"));
        assert!(gist.firmware.len() < 200);
    }
}
