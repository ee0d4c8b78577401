//! `rhyzome up`: everything on one machine with nothing configured, and `rhyzome down`, which takes it away again.
//!
//! `up` generates what is missing in its data directory, starts the programs as processes, keeps them running, and takes
//! everything down again when it is asked to end. `down` asks it to, or does the same in its place when it was killed.
//! What either has to know of the other is in one file, [`state::State`].

mod background;
mod certificate;
mod configuration;
mod layout;
mod leftover;
mod log;
mod machine;
mod process;
mod program;
mod readiness;
mod settings;
mod simulation;
mod start;
mod state;
mod supervisor;
mod teardown;

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use layout::Layout;
use leftover::Leftover;
use settings::Settings;
use state::{State, StateFile};
use supervisor::Supervisor;

/// How long `down` waits for an `up` that was asked to end.
const ORDERLY: Duration = Duration::from_secs(90);
/// Where everything is kept that is not simulated.
const DATA_DIR: &str = "/var/lib/rhyzome";

/// What `rhyzome up` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct UpOptions {
    /// Where everything is kept [default: /var/lib/rhyzome; with --simulate, a directory of the user's own]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Simulate routers and hypervisors: the API without machines. Needs no root and touches nothing else.
    #[arg(long)]
    pub simulate: bool,
    /// Settings in JSON: addresses, ports, names. Without it the ones of the last start, or the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Return when everything is up, and leave it running.
    #[arg(long)]
    pub background: bool,
}

/// What `rhyzome down` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct DownOptions {
    /// Where everything is kept [default: as for `up`]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Take down what `up --simulate` brought up.
    #[arg(long)]
    pub simulate: bool,
    /// Remove the data too: instances' disks, images, keys, the database.
    #[arg(long)]
    pub purge: bool,
}

/// Brings everything up and keeps it so until SIGTERM or SIGINT comes; then takes it down.
pub async fn run(options: UpOptions) -> Result<()> {
    let layout = layout_of(&data_dir(options.data_dir.as_ref(), options.simulate)?, options.simulate)?;
    if options.background {
        return background::launch(&layout, &options).await;
    }
    // A background start is to outlive its terminal. Where this process leads a group already, it has none to lose.
    let _ = nix::unistd::setsid();
    let Some(_lock) = lock(&layout)? else { bail!("{}", already_running(&layout)) };
    let state = Arc::new(begin(&layout, &options).await?);
    let mut supervisor = Supervisor::new(Arc::clone(&state));
    let mut asked_to_end = std::pin::pin!(asked_to_end()?);

    let started = tokio::select! {
        started = start::start(&layout, &state, &mut supervisor) => started,
        () = &mut asked_to_end => Err(anyhow::anyhow!("asked to end while starting")),
    };
    if started.is_ok() {
        state.change(|state| state.ready = true)?;
        eprintln!("everything is up; logs are in {}", layout.logs().display());
        if options.simulate {
            simulation::invite_to_try(&layout);
        }
        asked_to_end.await;
        eprintln!("ending");
    }
    supervisor.let_go();
    let taken_down = take_down(&layout, &state.snapshot()).await;
    started.and(taken_down)
}

/// Takes down what an `up` with that data directory brought up, whether it lives or was killed.
pub async fn down(options: DownOptions) -> Result<()> {
    let data_dir = data_dir(options.data_dir.as_ref(), options.simulate)?;
    if !data_dir.exists() {
        eprintln!("nothing is up: there is no {}", data_dir.display());
        return Ok(());
    }
    let layout = layout_of(&data_dir, options.simulate)?;
    let mut state = StateFile::read(&layout.state())?;
    if let Some(supervisor) = state.as_ref().and_then(State::living_supervisor) {
        supervisor.stop(ORDERLY).await.context("the running `rhyzome up` does not end")?;
        state = StateFile::read(&layout.state())?;
    }
    let Some(_lock) = lock(&layout)? else { bail!("{}", already_running(&layout)) };
    let state = match state {
        Some(state) => state,
        None => State::at_start(Settings::simulated_if(options.simulate))?,
    };
    take_down(&layout, &state).await?;
    if options.purge {
        std::fs::remove_dir_all(layout.data()).with_context(|| format!("cannot remove {}", layout.data().display()))?;
    }
    Ok(())
}

async fn take_down(layout: &Layout, state: &State) -> Result<()> {
    let left = teardown::teardown(layout, state).await?;
    if !left.is_empty() {
        bail!("this is left on the machine: {}", left.iter().map(Leftover::to_string).collect::<Vec<_>>().join(", "));
    }
    config::file::remove(&layout.state())?;
    Ok(())
}

/// Makes the state of a start. What a killed predecessor left running is stopped first; what the machine's switches were
/// before that one is still what they were.
async fn begin(layout: &Layout, options: &UpOptions) -> Result<StateFile> {
    let before = StateFile::read(&layout.state())?;
    let mut settings = match &options.config {
        Some(file) => config::load::<Settings>(Some(file), "rhyzome-up.json")?.value,
        None => before.as_ref().map(|state| state.settings.clone()).unwrap_or_default(),
    };
    if options.simulate {
        settings.simulate.get_or_insert_default();
    } else if settings.simulate.is_some() {
        bail!("the settings are those of a simulated installation: say --simulate");
    }
    let mut state = State::at_start(settings)?;
    if let Some(before) = before {
        for (name, process) in before.alive() {
            eprintln!("stopping {name} (process {}), whose supervisor was killed", process.pid);
            process.stop(ORDERLY).await?;
        }
        if before.boot == state.boot {
            state.switches = before.switches;
        }
    }
    StateFile::create(&layout.state(), state)
}

fn data_dir(said: Option<&PathBuf>, simulated: bool) -> Result<PathBuf> {
    match said {
        Some(said) => Ok(said.clone()),
        None if simulated => simulation::default_data_dir(),
        None => Ok(DATA_DIR.into()),
    }
}

fn layout_of(data: &std::path::Path, simulated: bool) -> Result<Layout> {
    if !simulated && !nix::unistd::Uid::effective().is_root() {
        bail!(
            "rhyzome up and down must run as root: they make network namespaces, bridges and virtual machines \
             (not with --simulate, which makes none)"
        );
    }
    std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let layout = Layout::new(data.canonicalize()?);
    simulation::check_sort(&layout, simulated)?;
    for folder in [layout.logs(), layout.folder("tls"), layout.folder("secrets")] {
        config::file::make_private_directory(&folder)?;
    }
    Ok(layout)
}

/// The lock of the data directory, unless somebody has it.
fn lock(layout: &Layout) -> Result<Option<File>> {
    let file = File::options().create(true).append(true).open(layout.lock())?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", layout.lock().display()))
        }
    }
}

fn already_running(layout: &Layout) -> String {
    let pid = StateFile::read(&layout.state()).ok().flatten().and_then(|state| state.living_supervisor());
    match pid {
        Some(process) => {
            format!("a `rhyzome up` runs already in {} (process {})", layout.data().display(), process.pid)
        }
        None => format!("another `rhyzome up` or `rhyzome down` is at work in {}", layout.data().display()),
    }
}

/// Ends when SIGTERM or SIGINT comes.
fn asked_to_end() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
