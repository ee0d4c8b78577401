//! A fleet to play with, on this machine: every node in a network namespace of its own, with a router that behaves like
//! OpenWrt beside it, all on one bridge. Needs root, `ip` and `rhyzome-router`, and leaves nothing.

mod machine;
mod play;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::signal::unix::{Signal, SignalKind, signal};

use machine::Machine;
use play::Play;

/// Where the lab's files lie.
pub const DIRECTORY: &str = "/tmp/dusk-lab";
/// The least nodes: a master, a backup and a device.
const FEWEST: u8 = 3;
/// The most.
const MOST: u8 = 20;
/// What takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(180);

/// A lab that is up.
pub struct Lab {
    dir: PathBuf,
    machines: Vec<Machine>,
}

impl Lab {
    /// Brings up so many nodes: a master, a backup and devices, joined and approved.
    ///
    /// # Errors
    /// Says what could not be made. What was made by then is gone.
    pub fn up(dir: &Path, nodes: u8) -> anyhow::Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "a lab needs root: it makes network namespaces");
        ensure!((FEWEST..=MOST).contains(&nodes), "{nodes} nodes do not do: expected {FEWEST} to {MOST}");
        let router = machine::router()?;
        if dir.exists() || !machine::namespaces()?.is_empty() {
            bail!("there is a lab already, or one was killed: `dusk lab --remove` takes it away");
        }
        std::fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut lab = Self { dir: dir.to_owned(), machines: Vec::new() };
        machine::hub()?;
        for number in 1..=nodes {
            lab.machines.push(Machine::start(dir, number, &router)?);
        }
        Play::on(&mut lab.machines).found_and_join()?;
        Ok(lab)
    }

    /// What to type to look around.
    #[must_use]
    pub fn introduction(&self) -> String {
        let mut text =
            String::from("\nThe fleet is up. Its user is ada, her password \"correct horse\": for play only.\n\n");
        for machine in &self.machines {
            let address = machine.address();
            text.push_str(&format!("  {:<8} {address:<12} ip netns exec {} sh\n", machine.name, machine.namespace()));
        }
        let dir = self.machines[0].dusk_dir();
        let dir = dir.display();
        text.push_str(&format!(
            "\nAt the master, in another terminal:\n  dusk device list --dir {dir}\n  \
             dusk set group/ap system.@system[0].hostname='${{device_name}}' --dir {dir}\n  dusk log --dir {dir}\n\n\
             What each node says is in {}/NAME/log. Ctrl-C ends the lab and leaves nothing.\n",
            self.dir.display()
        ));
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.machines.clear();
        if let Err(error) = remove(&self.dir) {
            eprintln!("{error:#}");
        }
    }
}

/// What ends a lab: signals, that are heard from here on. They end nothing before the lab is up.
pub struct End {
    runtime: tokio::runtime::Runtime,
    signals: [Signal; 3],
}

impl End {
    /// Begins to hear.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let signals =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        drop(inside);
        Ok(Self { runtime, signals })
    }

    /// Waits until somebody wants the lab to end.
    pub fn wait(mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
    }
}

/// Takes away whatever there is of a lab.
///
/// # Errors
/// When something stays.
pub fn remove(dir: &Path) -> anyhow::Result<()> {
    for namespace in machine::namespaces()? {
        machine::remove(&namespace)?;
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < PATIENCE, "{what}: waited {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
