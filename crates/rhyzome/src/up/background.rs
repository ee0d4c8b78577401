//! `rhyzome up --background`: starts another `rhyzome up`, shows what it says, and returns when that one is ready.

use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use super::layout::Layout;
use super::state::StateFile;
use super::{UpOptions, log};

/// How long everything may take to come up.
const DEADLINE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

pub async fn launch(layout: &Layout, options: &UpOptions) -> Result<()> {
    if let Some(state) = StateFile::read(&layout.state())?.filter(|state| state.living_supervisor().is_some()) {
        if !state.ready {
            bail!("another `rhyzome up` is starting (process {})", state.supervisor.pid);
        }
        eprintln!("everything is up already (process {})", state.supervisor.pid);
        return Ok(());
    }
    let log_file = layout.log("rhyzome-up");
    let output = log::open(&log_file)?;
    let mut said = std::fs::File::open(&log_file)?;
    said.seek(SeekFrom::End(0))?;

    let mut command = Command::new(std::env::current_exe()?);
    command.arg("up").arg("--data-dir").arg(layout.data());
    if let Some(config) = &options.config {
        command.arg("--config").arg(config);
    }
    if options.simulate {
        command.arg("--simulate");
    }
    let errors = output.try_clone()?;
    let mut child =
        command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().context("cannot start `rhyzome up`")?;

    let deadline = Instant::now() + DEADLINE;
    loop {
        let ended = child.try_wait()?;
        let state = StateFile::read(&layout.state())?;
        let ready = state.is_some_and(|state| state.ready && u32::try_from(state.supervisor.pid) == Ok(child.id()));
        // After the looks above, so that nothing it said before them is missed.
        let mut text = Vec::new();
        said.read_to_end(&mut text)?;
        std::io::stderr().write_all(&text)?;
        match ended {
            Some(status) => bail!("`rhyzome up` ended ({status}); its log is {}", log_file.display()),
            None if ready => return Ok(()),
            None if Instant::now() >= deadline => {
                bail!("`rhyzome up` is not ready after {} s; its log is {}", DEADLINE.as_secs(), log_file.display())
            }
            None => sleep(LOOK).await,
        }
    }
}
