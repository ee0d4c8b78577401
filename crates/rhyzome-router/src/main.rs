//! The program `rhyzome-router`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use config::Loaded;
use rhyzome_router::certificate::Certificate;
use rhyzome_router::fault::{Faults, Rule};
use rhyzome_router::local_socket::LocalSocket;
use rhyzome_router::machine::{NamespaceMachine, Surroundings};
use rhyzome_router::namespace::Namespace;
use rhyzome_router::router::Router;
use rhyzome_router::rpcd::{Folders, Rpcd};
use rhyzome_router::server::Server;
use rhyzome_router::settings::{FILE, Ready, Settings};
use rhyzome_router::state::State;
use tokio::signal::unix::{SignalKind, signal};

/// A router in a network namespace that is configured like OpenWrt.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the router until it is told to end, then remove what it made on the machine.
    Serve {
        #[command(flatten)]
        file: SettingsFile,
        /// Only say what is wrong with the configuration.
        #[arg(long)]
        check_config: bool,
        /// Misbehave, as in uci.apply#2=hang; the file `faults` in the data folder says more and may change. For tests.
        #[arg(long, value_name = "CALL[#NUMBER]=FAULT", value_delimiter = ',')]
        fault: Vec<Rule>,
    },
    /// Remove what a router that was killed has left on the machine. Its data stays.
    Cleanup {
        #[command(flatten)]
        file: SettingsFile,
    },
}

#[derive(Args)]
struct SettingsFile {
    /// The configuration file; otherwise rhyzome-router.json here or in /etc/rhyzome.
    #[arg(long)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(ansi).with_max_level(tracing::Level::INFO).init();
    let done = match Arguments::parse().command {
        Command::Serve { file, check_config: true, .. } => check(&file),
        Command::Serve { file, check_config: false, fault } => serve(&file, fault),
        Command::Cleanup { file } => cleanup(&file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

impl SettingsFile {
    fn load(&self) -> Result<Loaded<Settings>> {
        Ok(config::load(self.config.as_deref(), FILE)?)
    }
}

fn check(file: &SettingsFile) -> Result<()> {
    let Loaded { value: settings, path } = file.load()?;
    settings.check(&path)?;
    tracing::info!(file = %path.display(), "the configuration is good");
    Ok(())
}

fn serve(file: &SettingsFile, faults: Vec<Rule>) -> Result<()> {
    let Loaded { value: settings, path } = file.load()?;
    let ready = settings.check(&path)?;
    need_root()?;
    let state = State::open(&settings.data_dir)?;
    let served = run(&settings, &state, ready, Faults::new(faults, &state.faults()));
    // Also after a failure: what was made so far must not stay.
    tear_down(&settings, &state);
    served
}

fn run(settings: &Settings, state: &State, ready: Ready, faults: Faults) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Before anything is made, so that whoever ends the program early leaves nothing.
    let mut signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    state.prepare(settings)?;
    let namespace = Namespace::new(&settings.netns);
    if !namespace.exists() {
        // First the note, so that a crash in between leaves nothing that nobody removes.
        config::file::write_private(&state.namespace_note(), b"")?;
        namespace.make()?;
    }
    // Programs of an earlier run that did not die with it.
    namespace.kill(|name| matches!(name, "dnsmasq" | "wireguard-go"));
    if let Some(uplink) = &settings.uplink {
        uplink.up(&namespace).context("cannot make the uplink")?;
    }
    let surroundings =
        Surroundings { namespace, root: state.root(), run: state.run(), release: settings.release.clone() };
    let (machine, broken) = NamespaceMachine::start(surroundings)?;

    runtime.block_on(async {
        let folders = Folders { config: state.root().config, acl: state.acl() };
        let rpcd = Rpcd::new(folders, ready.passwords, random);
        let router = Arc::new(Router::new(rpcd, machine));
        let certificate = match ready.tls {
            Some(tls) => Certificate::fixed(tls),
            None => Certificate::configured(state.root()),
        };
        let server = Server::bind(settings.listen, certificate);
        let server = server.await.with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = server.address()?;
        let socket = state.socket();
        let local = LocalSocket::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
        config::file::write_public(&state.address(), format!("{address}\n").as_bytes())?;
        tracing::info!(%address, netns = settings.netns, "the router is up");
        let mut ended = Ok(());
        let stop = async {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
                _ = broken => ended = Err(anyhow::anyhow!("the thread inside the namespace ended")),
            }
        };
        tokio::select! {
            () = server.with_faults(faults).serve(Arc::clone(&router), stop) => {}
            () = local.serve(router) => {}
        }
        ended
    })
}

fn cleanup(file: &SettingsFile) -> Result<()> {
    let Loaded { value: settings, .. } = file.load()?;
    need_root()?;
    let state = State::open(&settings.data_dir)?;
    tear_down(&settings, &state);
    tracing::info!(netns = settings.netns, "nothing is left of the router on this machine but its data");
    Ok(())
}

/// Removes from the machine what the router made. What is not there is fine.
fn tear_down(settings: &Settings, state: &State) {
    let namespace = Namespace::new(&settings.netns);
    namespace.kill(|name| matches!(name, "dnsmasq" | "wireguard-go"));
    if let Some(uplink) = &settings.uplink {
        uplink.down(&namespace);
    }
    if state.namespace_note().exists() {
        if namespace.exists()
            && let Err(error) = namespace.remove()
        {
            tracing::warn!(%error, "cannot remove the namespace");
        }
        if !namespace.exists()
            && let Err(error) = config::file::remove(&state.namespace_note())
        {
            tracing::warn!(%error, "cannot remove the note of the namespace");
        }
    }
    if let Err(error) = config::file::remove(&state.address()) {
        tracing::warn!(%error, "cannot remove the file with the address");
    }
}

fn need_root() -> Result<()> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "a router makes namespaces and devices: run it as root");
    Ok(())
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("invariant: the kernel gives random bytes");
    bytes
}
