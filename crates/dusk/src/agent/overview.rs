//! The fleet as this node sees it: the board that is handed out, the rings on flash, and what is the matter with whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet::alert::{Condition, Notice, Sight, Watch};
use fleet::authority::State;
use fleet::catch_up::{Book, Library};
use fleet::cycle::Seen;
use fleet::node::Node;
use fleet::ring::Rings;
use fleet::{DeviceId, Flags, LogIndex, Moment, NoiseKey, Role, Vitals};

use super::status::{Statuses, Told};
use crate::board::{self, Row};
use crate::seat::now as unix_seconds;
use crate::store::Store;

/// The board, as others see it.
pub type Shared = Arc<Mutex<Vec<Row>>>;

/// The steps of the rings, and how often the board is written down.
const STEP: Duration = Duration::from_secs(300);
/// So many rings are written in a turn.
const RINGS: usize = 100;
/// One thing of one device is told at most so often.
const PAUSE: Duration = Duration::from_secs(900);
/// Whoever was heard of before this start has so long to be heard of again.
const GRACE: Duration = Duration::from_secs(400);
/// A voter that is silent for so long is away.
const SILENCE: Duration = Duration::from_secs(60);
/// A key was seen twice within this time.
const TWICE: Duration = Duration::from_secs(3600);
/// Where the board is written down.
pub const FILE: &str = "board";

/// What this node sees.
pub struct Overview {
    shared: Shared,
    statuses: Statuses,
    begun: Moment,
    refreshed: Option<Moment>,
    stepped: Option<Moment>,
    to_record: VecDeque<DeviceId>,
    clones: BTreeMap<NoiseKey, Moment>,
    watch: Watch,
}

impl Overview {
    /// Begins with what was written down.
    ///
    /// # Errors
    /// As the files.
    pub fn open(store: &Store, state: Option<&State>, now: Moment) -> anyhow::Result<Self> {
        let text = store.read(FILE)?.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let mut rows = board::parse(&text);
        rows.iter_mut().for_each(|row| row.is_online = false);
        let statuses = state.map_or_else(|| Ok(Statuses::default()), |state| Statuses::open(store, state))?;
        Ok(Self {
            shared: Arc::new(Mutex::new(rows)),
            statuses,
            begun: now,
            refreshed: None,
            stepped: None,
            to_record: VecDeque::new(),
            clones: BTreeMap::new(),
            watch: Watch::default(),
        })
    }

    /// The board.
    pub fn shared(&self) -> Shared {
        Arc::clone(&self.shared)
    }

    /// The board as JSON.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        self.rows().iter().map(Row::to_json).collect()
    }

    /// Keeps what a device said of itself.
    ///
    /// # Errors
    /// As writing the file.
    pub fn keep(&mut self, store: &Store, state: &State, device: DeviceId, status: &[u8]) -> anyhow::Result<()> {
        self.statuses.keep(store, state, device, status)?;
        self.refreshed = None;
        Ok(())
    }

    /// A key was seen twice.
    pub fn cloned(&mut self, key: NoiseKey, now: Moment) {
        self.clones.insert(key, now);
    }

    /// Looks at everything when it is time, and says what there is to tell.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn look(&mut self, store: &Store, node: &Node, own: Vitals, now: Moment) -> anyhow::Result<Vec<Notice>> {
        self.record(store)?;
        let count = self.rows().len() as u64;
        let is_due = self.refreshed.is_none_or(|before| now.since(before) >= Duration::from_secs(2 + count / 1000));
        if !is_due {
            return Ok(Vec::new());
        }
        self.refreshed = Some(now);
        let serving = node.serving();
        let Some(state) = serving
            .map(|serving| serving.archive.log().authority().state())
            .or(node.replica().authority().map(fleet::authority::Authority::state))
        else {
            return Ok(Vec::new());
        };
        let before: BTreeMap<DeviceId, Row> = self.rows().drain(..).map(|row| (row.id, row)).collect();
        let latest =
            serving.map_or_else(|| node.replica().heads().index, |serving| Library::heads(&serving.archive).index);
        let offline: BTreeSet<NoiseKey> =
            serving.map(|serving| serving.answerer.offline(now).copied().collect()).unwrap_or_default();
        self.clones.retain(|_, at| now.since(*at) < TWICE);
        let unix = unix_seconds();
        let (mut rows, mut sights) = (Vec::new(), Vec::new());
        for (id, device) in state.members() {
            let key = device.key().noise;
            let last = before.get(&id);
            let told = self.statuses.told(id);
            let role = state.voters().iter().find(|(voter, _)| *voter == id).map(|(_, role)| *role);
            let mut row = Row {
                id,
                name: device.name.clone(),
                groups: device.groups().to_vec(),
                role: role.map_or("", word),
                address: last.and_then(|last| last.address.clone()),
                seen: last.and_then(|last| last.seen),
                is_online: false,
                index: last.map_or(0, |last| last.index),
                vitals: last.and_then(|last| last.vitals),
                firmware: told.map_or_else(String::new, |told| told.firmware.clone()),
                outcome: String::new(),
            };
            // A voter asks nobody, and is heard by its votes.
            let silence = role.filter(|_| serving.is_some()).and_then(|_| node.endpoint().silence(key, now));
            if node.replica().device() == Some(id) {
                (row.index, row.vitals) = (node.replica().heads().index, Some(own));
                (row.seen, row.is_online, row.address) = (Some(unix), true, None);
            } else if let Some(silence) = silence {
                row.vitals = None;
                (row.seen, row.is_online) = (Some(unix.saturating_sub(silence.as_secs())), silence < SILENCE);
                row.address = node.endpoint().address(key).map(|address| address.to_string()).or(row.address);
            } else if let Some(Seen { at, index, vitals, .. }) = serving.and_then(|serving| serving.answerer.seen(key))
            {
                (row.index, row.vitals) = (*index, Some(*vitals));
                (row.seen, row.is_online) =
                    (Some(unix.saturating_sub(now.since(*at).as_secs())), !offline.contains(&key));
                row.address = node.endpoint().address(key).map(|address| address.to_string()).or(row.address);
            }
            row.outcome = outcome(latest, &row, told);
            let is_missed = offline.contains(&key) || now.since(self.begun) >= GRACE;
            let is_twice = self.clones.contains_key(&key);
            sights.push(Sight { id, name: row.name.clone(), matters: matters(&row, told, is_missed, is_twice, unix) });
            rows.push(row);
        }
        *self.rows() = rows;
        self.watch.retain(|id| state.devices.contains_key(id));
        // Every device sees but itself, and a backup those alone who cannot reach the master: who leads tells.
        let leads = serving.is_some_and(|serving| serving.voter.leads());
        let notices = if leads { self.watch.look(&sights, PAUSE, now) } else { Vec::new() };
        // Before it has learned from itself who it is, a master has seen nobody.
        let has_seen = serving.is_some() && self.rows().iter().any(|row| row.is_online);
        if has_seen && self.stepped.is_none_or(|stepped| now.since(stepped) >= STEP) {
            self.stepped = Some(now);
            let rows = self.rows();
            let text = board::print(&rows);
            let online: Vec<DeviceId> = rows.iter().filter(|row| row.is_online).map(|row| row.id).collect();
            drop(rows);
            store.write(FILE, text.as_bytes())?;
            self.to_record.extend(online);
        }
        Ok(notices)
    }

    /// Writes some of the rings whose step has come.
    fn record(&mut self, store: &Store) -> anyhow::Result<()> {
        let minute = unix_seconds() / 60;
        for _ in 0..RINGS {
            let Some(id) = self.to_record.pop_front() else { break };
            let vitals = self.rows().iter().find(|row| row.id == id).and_then(|row| row.vitals);
            if let Some(vitals) = vitals {
                record(store, id, minute, &vitals)?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Vec<Row>> {
        // Whoever panicked with it only read it.
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Adds a reading to the rings of a device. A power cut in between costs this one reading.
fn record(store: &Store, id: DeviceId, minute: u64, vitals: &Vitals) -> anyhow::Result<()> {
    let name = format!("rings/{id}");
    let kept = store.read(&name)?;
    let is_whole = kept.as_ref().is_some_and(|bytes| bytes.len() == Rings::LENGTH);
    let mut rings = Rings::parse(kept.unwrap_or_default());
    let changed = rings.record(minute, vitals);
    if !is_whole {
        return store.write(&name, rings.bytes());
    }
    let file = OpenOptions::new().write(true).open(store.path(&name))?;
    for range in changed {
        file.write_all_at(&rings.bytes()[range.clone()], range.start as u64)?;
    }
    Ok(())
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Backup => "backup",
        Role::Witness => "witness",
    }
}

/// What became of the newest change on a device.
fn outcome(latest: LogIndex, row: &Row, told: Option<&Told>) -> String {
    let Some(vitals) = row.vitals else {
        // Voters tell nobody but themselves how they are.
        return if row.role.is_empty() { "waiting" } else { "votes" }.to_owned();
    };
    let applied = told.map_or(0, |told| told.applied);
    match told.and_then(|told| told.trouble.as_deref()) {
        _ if row.index < latest => "waiting".to_owned(),
        _ if vitals.flags.contains(Flags::FORK) => "frozen: there is proof of a fork".to_owned(),
        _ if vitals.flags.contains(Flags::PAUSED) => "paused".to_owned(),
        _ if vitals.flags.contains(Flags::APPLYING) => "applying".to_owned(),
        Some(trouble) => trouble.to_owned(),
        None if applied >= row.index => "applied".to_owned(),
        None => "waiting".to_owned(),
    }
}

/// What is the matter with a device.
fn matters(row: &Row, told: Option<&Told>, is_missed: bool, is_twice: bool, unix: u64) -> BTreeMap<Condition, String> {
    let mut matters = BTreeMap::new();
    if let Some(seen) = row.seen.filter(|_| !row.is_online && is_missed) {
        matters.insert(Condition::Offline, format!("last heard of {} minutes ago", unix.saturating_sub(seen) / 60));
    }
    if is_twice {
        matters.insert(Condition::Clone, "its key was seen twice".to_owned());
    }
    let flags = row.vitals.map(|vitals| vitals.flags).unwrap_or_default();
    let trouble = told.and_then(|told| told.trouble.clone()).unwrap_or_default();
    let drift = told.and_then(|told| told.drift.clone()).unwrap_or_default();
    if flags.contains(Flags::REVERTED) {
        matters.insert(Condition::Reverted, trouble);
    } else if trouble.starts_with("rejected") {
        matters.insert(Condition::Rejected, trouble);
    }
    if flags.contains(Flags::DRIFTED) {
        matters.insert(Condition::Drift, drift);
    }
    if flags.contains(Flags::FORK) {
        matters.insert(Condition::Fork, "two majorities disagree about the history".to_owned());
    }
    if flags.contains(Flags::FULL) {
        matters.insert(Condition::Full, "there is next to no room on its flash".to_owned());
    }
    matters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: LogIndex, flags: Flags) -> Row {
        Row {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            groups: Vec::new(),
            role: "",
            address: None,
            seen: Some(1000),
            is_online: true,
            index,
            vitals: Some(Vitals { flags, ..Vitals::default() }),
            firmware: String::new(),
            outcome: String::new(),
        }
    }

    #[test]
    fn the_outcome_of_the_newest_change_is_told_as_far_as_it_is_known() {
        let told =
            |applied, trouble: Option<&str>| Told { applied, trouble: trouble.map(str::to_owned), ..Told::default() };
        let none = Flags::default();
        assert_eq!(outcome(5, &row(4, none), Some(&told(4, None))), "waiting");
        assert_eq!(outcome(5, &row(5, none), Some(&told(4, None))), "waiting");
        assert_eq!(outcome(5, &row(5, Flags::APPLYING), Some(&told(4, Some("reverted: x")))), "applying");
        assert_eq!(outcome(5, &row(5, none), Some(&told(5, None))), "applied");
        assert_eq!(outcome(5, &row(5, none), Some(&told(5, Some("reverted: x")))), "reverted: x");
        let unknown = Row { vitals: None, ..row(5, none) };
        assert_eq!(outcome(5, &unknown, None), "waiting");
        assert_eq!(outcome(5, &Row { role: "backup", ..unknown }, None), "votes");
    }

    #[test]
    fn what_is_the_matter_follows_from_what_was_said_and_from_silence() {
        let told = Told { drift: Some("lan".to_owned()), ..Told::default() };
        let drifted = row(1, Flags::DRIFTED);
        let found = matters(&drifted, Some(&told), false, true, 2000);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [Condition::Drift, Condition::Clone]);
        let silent = Row { is_online: false, ..row(1, Flags::default()) };
        assert_eq!(matters(&silent, None, false, false, 2000).len(), 0);
        assert_eq!(matters(&silent, None, true, false, 2000)[&Condition::Offline], "last heard of 16 minutes ago");
    }

    #[test]
    fn rings_on_flash_never_grow_and_survive_a_file_that_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id: DeviceId = "00112233445566778899".parse().unwrap();
        let vitals = Vitals { load: 16, memory: 50, ..Vitals::default() };
        for minute in (1000..5000).step_by(5) {
            record(&store, id, minute, &vitals).unwrap();
        }
        let bytes = store.read(&format!("rings/{id}")).unwrap().unwrap();
        assert_eq!(bytes.len(), Rings::LENGTH);
        assert_eq!(Rings::parse(bytes).fine(4995).len(), 288);
        store.write(&format!("rings/{id}"), &[1, 2, 3]).unwrap();
        record(&store, id, 5000, &vitals).unwrap();
        assert_eq!(Rings::parse(store.read(&format!("rings/{id}")).unwrap().unwrap()).fine(5000).len(), 1);
    }
}
