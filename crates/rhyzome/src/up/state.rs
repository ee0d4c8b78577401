//! What a `rhyzome up` started and found, written down so that `rhyzome down` can undo it, whoever died meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::process::{Process, boot_id};
use super::settings::Settings;

/// What is known of an installation that is up, or was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The boot in which the processes are, or were.
    pub boot: String,
    /// The `rhyzome up`.
    pub supervisor: Process,
    /// Whether everything had come up.
    pub ready: bool,
    /// What it was told.
    pub settings: Settings,
    /// What it started, by name.
    pub programs: BTreeMap<String, Process>,
    /// What the machine's switches were before, by their path under /proc/sys.
    pub switches: BTreeMap<String, String>,
}

impl State {
    /// The state at a start.
    pub fn at_start(settings: Settings) -> Result<Self> {
        Ok(Self {
            boot: boot_id().context("cannot tell which boot this is")?,
            supervisor: Process::own().context("cannot tell when this process started")?,
            ready: false,
            settings,
            programs: BTreeMap::new(),
            switches: BTreeMap::new(),
        })
    }

    /// The processes that still run: the programs, not the supervisor.
    pub fn alive(&self) -> impl Iterator<Item = (&str, Process)> {
        let this_boot = boot_id().is_ok_and(|boot| boot == self.boot);
        let programs = self.programs.iter().filter(move |(_, process)| this_boot && process.is_alive());
        programs.map(|(name, process)| (name.as_str(), *process))
    }

    /// The supervisor, where it still runs.
    pub fn living_supervisor(&self) -> Option<Process> {
        let this_boot = boot_id().is_ok_and(|boot| boot == self.boot);
        Some(self.supervisor).filter(|process| this_boot && process.is_alive())
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self::at_start(Settings::default()).unwrap()
    }
}

/// The state and the file that always says the same.
pub struct StateFile {
    path: PathBuf,
    state: Mutex<State>,
}

impl StateFile {
    /// Writes the file for the first time, over what stood there.
    pub fn create(path: &Path, state: State) -> Result<Self> {
        write(path, &state)?;
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// What stands in the file, if there is one.
    pub fn read(path: &Path) -> Result<Option<State>> {
        let text = match config::file::read(path) {
            Err(error) if error.is_missing() => return Ok(None),
            read => read?,
        };
        Ok(Some(config::parse(&text, path)?))
    }

    /// Changes the state and the file.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut state = self.lock();
        let result = change(&mut state);
        write(&self.path, &state)?;
        Ok(result)
    }

    /// The state as it is.
    pub fn snapshot(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, state: &State) -> Result<()> {
    let mut text = serde_json::to_string_pretty(state)?;
    text.push('\n');
    Ok(config::file::write_private(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_the_state_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("up.json");
        assert_eq!(StateFile::read(&path).unwrap(), None);
        let file = StateFile::create(&path, State::for_tests()).unwrap();
        file.change(|state| state.ready = true).unwrap();
        assert_eq!(StateFile::read(&path).unwrap(), Some(file.snapshot()));
        assert!(file.snapshot().ready);
    }

    #[test]
    fn processes_of_another_boot_do_not_count() {
        let mut state = State::for_tests();
        state.programs.insert("core".to_owned(), state.supervisor);
        assert_eq!(state.alive().count(), 1);
        assert!(state.living_supervisor().is_some());
        state.boot = "another".to_owned();
        assert_eq!(state.alive().count(), 0);
        assert!(state.living_supervisor().is_none());
    }
}
