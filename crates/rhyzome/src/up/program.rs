//! A program that `rhyzome up` keeps running.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use super::layout::Layout;
use super::log;

/// How long a program may take to remove what it made.
const TIDYING: Duration = Duration::from_secs(60);

/// The order in which programs are stopped: the agents while the core can still hear them, libvirt when its domains are
/// gone.
pub const STOPPING_ORDER: [&str; 6] =
    ["rhyzome-sim", "rhyzome-openwrt", "rhyzome-libvirt", "rhyzome", "rhyzome-router", "libvirtd"];

/// What to run, and how to tell how it fares.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name, in messages and the state file.
    pub name: &'static str,
    /// The executable.
    pub executable: PathBuf,
    /// What it is given. Secrets are in files, never here.
    pub arguments: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Program {
    /// Starts it, in a process group of its own so that Ctrl-C at the supervisor is the supervisor's alone to handle.
    pub fn start(&self) -> Result<Child> {
        let output = log::open(&self.log).with_context(|| format!("cannot open {}", self.log.display()))?;
        let errors = output.try_clone()?;
        Command::new(&self.executable)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {} ({})", self.name, self.executable.display()))
    }
}

/// Lets a program that was stopped remove what it made on the machine.
pub async fn tidy(name: &str, layout: &Layout) -> Result<()> {
    if !matches!(name, "rhyzome-libvirt" | "rhyzome-router") {
        return Ok(());
    }
    let configuration = layout.configuration(name);
    if !configuration.exists() {
        return Ok(());
    }
    let output = Command::new(executable(name)?).arg("cleanup").arg("--config").arg(&configuration).output();
    let output = tokio::time::timeout(TIDYING, output).await.with_context(|| format!("{name} cleanup hangs"))??;
    if !output.status.success() {
        bail!("{name} cleanup failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The executable of one of our programs: it lies beside this one.
pub fn executable(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    if !path.is_file() {
        bail!("{} is missing: it belongs beside {}", path.display(), own.display());
    }
    Ok(path)
}

/// How long to wait before a program that ended is started again: longer each time, unless it had run well.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(10);
    /// A program that ran for this long had come up.
    const WELL: Duration = Duration::from_secs(10);

    /// The wait after a run of that length.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= Self::WELL {
            self.failures = 0;
        }
        let wait = Self::FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_bound_and_a_good_run_forgives() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(Duration::from_secs(10)), Duration::from_millis(200));
        assert_eq!(backoff.after(Duration::ZERO), Duration::from_millis(400));
    }
}
