//! Keeps programs running: each in a task of its own that starts it again when it ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::log;
use super::process::Process;
use super::program::{Backoff, Program};
use super::state::StateFile;

/// A program that ended this often before it was up will not come up.
const ENOUGH: u32 = 4;
/// How much of its log is shown then.
const QUOTED_LINES: usize = 15;

/// The programs that are kept running. Dropping it leaves them running and unattended.
pub struct Supervisor {
    state: Arc<StateFile>,
    keepers: BTreeMap<&'static str, Keeper>,
}

/// The task that keeps one program; gone with it.
struct Keeper {
    task: JoinHandle<()>,
    log: PathBuf,
    /// How often the program has ended.
    ends: watch::Receiver<u32>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// One that keeps nothing yet and writes down in `state` what it starts.
    pub fn new(state: Arc<StateFile>) -> Self {
        Self { state, keepers: BTreeMap::new() }
    }

    /// Starts a program and keeps it running from then on. Fails where it cannot be started at all.
    pub fn keep(&mut self, program: Program) -> Result<()> {
        let (name, log) = (program.name, program.log.clone());
        let child = start(&program, &self.state)?;
        let (count, ends) = watch::channel(0);
        let task = tokio::spawn(keep(program, child, Arc::clone(&self.state), count));
        self.keepers.insert(name, Keeper { task, log, ends });
        Ok(())
    }

    /// Waits for `ready`, unless the program keeps ending meanwhile. Where it does not come up its log is quoted.
    pub async fn until_ready(&self, name: &str, ready: impl Future<Output = Result<()>>) -> Result<()> {
        let keeper = self.keepers.get(name).with_context(|| format!("{name} was never started"))?;
        let mut ends = keeper.ends.clone();
        let came_up = tokio::select! {
            result = ready => result,
            Ok(count) = ends.wait_for(|count| *count >= ENOUGH) => {
                Err(anyhow!("{name} does not stay up; it ended {} times", *count))
            }
        };
        came_up.map_err(|error| {
            let end = log::tail(&keeper.log, QUOTED_LINES);
            error.context(format!("{name} does not come up; its log {} ends with\n{end}\n", keeper.log.display()))
        })
    }

    /// Stops attending to the programs; they run on until somebody ends them.
    pub fn let_go(self) {
        drop(self.keepers);
    }
}

fn start(program: &Program, state: &StateFile) -> Result<Child> {
    let child = program.start()?;
    if let Some(process) = child.id().and_then(|pid| Process::of(pid as i32).ok()) {
        state.change(|state| state.programs.insert(program.name.to_owned(), process))?;
    }
    Ok(child)
}

async fn keep(program: Program, mut child: Child, state: Arc<StateFile>, ends: watch::Sender<u32>) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let ended = match child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        ends.send_modify(|count| *count = count.saturating_add(1));
        let mut wait = backoff.after(began.elapsed());
        tracing::warn!(program = program.name, ended, log = %program.log.display(), wait_ms = wait.as_millis() as u64,
            "a program ended; it is started again");
        child = loop {
            sleep(wait).await;
            match start(&program, &state) {
                Ok(child) => break child,
                Err(error) => {
                    tracing::error!(
                        program = program.name,
                        error = format!("{error:#}"),
                        "a program cannot be started"
                    );
                    wait = backoff.after(std::time::Duration::ZERO);
                }
            }
        };
        tracing::info!(program = program.name, pid = child.id(), "a program runs again");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::state::State;
    use super::*;

    fn sleeper(dir: &Path) -> Program {
        Program {
            name: "sleeper",
            executable: "sleep".into(),
            arguments: vec!["1000".to_owned()],
            log: dir.join("sleeper.log"),
        }
    }

    async fn running(state: &StateFile, not: Option<Process>) -> Process {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = state.snapshot().programs.get("sleeper").copied();
            if let Some(process) = found.filter(|process| Some(*process) != not && process.is_alive()) {
                return process;
            }
            assert!(Instant::now() < deadline, "the program does not run");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_killed_program_comes_back_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateFile::create(&dir.path().join("up.json"), State::for_tests()).unwrap());
        let mut supervisor = Supervisor::new(Arc::clone(&state));
        supervisor.keep(sleeper(dir.path())).unwrap();

        let first = running(&state, None).await;
        first.stop(Duration::from_secs(5)).await.unwrap();
        let second = running(&state, Some(first)).await;
        let written = StateFile::read(&dir.path().join("up.json")).unwrap().unwrap();
        assert_eq!(written.programs["sleeper"], second, "the state file knows the process that runs");

        supervisor.let_go();
        second.stop(Duration::from_secs(5)).await.unwrap();
        // Longer than the first wait of the backoff: nobody starts it again.
        sleep(Duration::from_millis(400)).await;
        assert_eq!(state.snapshot().programs["sleeper"], second);
    }

    #[tokio::test]
    async fn a_program_that_keeps_ending_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateFile::create(&dir.path().join("up.json"), State::for_tests()).unwrap());
        let mut supervisor = Supervisor::new(state);
        supervisor.keep(Program { executable: "false".into(), arguments: Vec::new(), ..sleeper(dir.path()) }).unwrap();
        let error = supervisor.until_ready("sleeper", std::future::pending()).await.unwrap_err();
        assert_eq!(error.root_cause().to_string(), "sleeper does not stay up; it ended 4 times");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateFile::create(&dir.path().join("up.json"), State::for_tests()).unwrap());
        let program = Program { executable: "/nowhere/sleeper".into(), ..sleeper(dir.path()) };
        let error = Supervisor::new(state).keep(program).unwrap_err().to_string();
        assert_eq!(error, "cannot start sleeper (/nowhere/sleeper)");
    }
}
