//! `rhyzome-libvirt`: reads its configuration, and works this host's machines for the core until it is told to stop.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use config::Loaded;
use rhyzome_libvirt::cleanup::{self, Disks};
use rhyzome_libvirt::configuration::{Configuration, FILE_NAME};
use rhyzome_libvirt::hypervisor::Hypervisor;
use rhyzome_libvirt::libvirtd;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Guests do the work; the agent waits most of the time.
const WORKERS: usize = 2;

/// Rhyzome's hypervisor agent: runs machines by libvirt.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    agent: AgentOptions,
    /// How much to log: error, warn, info, debug, trace, or a list such as info,rhyzome_libvirt=debug
    #[arg(long, global = true, value_name = "LEVEL", env = "RHYZOME_LOG", default_value = "info")]
    log_level: Targets,
}

#[derive(Debug, Args)]
struct AgentOptions {
    /// The configuration [default: rhyzome-libvirt.json here or in /etc/rhyzome]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and do nothing else
    #[arg(long)]
    check_config: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a libvirtd that keeps everything in one directory, for a host where none runs
    Libvirtd {
        /// The directory; the socket is run/libvirt-sock in it
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Remove all machines and bridges of ours from this host; disks stay
    Cleanup {
        /// The configuration [default: rhyzome-libvirt.json here or in /etc/rhyzome]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Remove disks and images too
        #[arg(long)]
        purge: bool,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    log(options.log_level.clone());
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rhyzome-libvirt: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error. A list that the core is told in the same variable says nothing of the rest.
fn log(wanted: Targets) {
    let wanted = match wanted.default_level() {
        Some(_) => wanted,
        None => wanted.with_default(LevelFilter::INFO),
    };
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi))
        .with(wanted)
        .init();
}

fn run(options: Options) -> anyhow::Result<()> {
    match options.command {
        Some(Action::Libvirtd { dir }) => match libvirtd::become_libvirtd(&dir)? {},
        Some(Action::Cleanup { config, purge }) => {
            let loaded = load(config.as_deref())?;
            let disks = if purge { Disks::Remove } else { Disks::Keep };
            on_runtime(async move { cleanup::remove_all(&loaded.value, disks).await })
        }
        None => {
            let loaded = load(options.agent.config.as_deref())?;
            if options.agent.check_config {
                println!("{}: in order", loaded.path.display());
                return Ok(());
            }
            pki::install_provider();
            on_runtime(serve(loaded.value))
        }
    }
}

fn load(path: Option<&Path>) -> anyhow::Result<Loaded<Configuration>> {
    let loaded = config::load::<Configuration>(path, FILE_NAME)?;
    loaded.value.check().with_context(|| loaded.path.display().to_string())?;
    Ok(loaded)
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let done = runtime.block_on(work);
    // A call of a libvirtd that hangs must not hold the end up.
    runtime.shutdown_background();
    done
}

async fn serve(configuration: Configuration) -> anyhow::Result<()> {
    let software = concat!("rhyzome-libvirt ", env!("CARGO_PKG_VERSION"));
    let target = Hypervisor::open(&configuration)?;
    jobs::agent::serve(&configuration.agent, software, Arc::new(target)).await?;
    Ok(())
}
