//! `rhyzome-sim`: simulated hypervisors and routers for a real core.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use jobs::bundle::{self, Invited, InvitedKind};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rhyzome_sim::control;
use rhyzome_sim::fleet::Fleet;
use rhyzome_sim::order::{Answer, Order};
use rhyzome_sim::scenario::Scenario;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Simulated hypervisors and routers for a real core, with faults on demand.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// How much to log: error, warn, info, debug, trace, or a list such as warn,rhyzome_sim=info.
    #[arg(long, global = true, env = "RHYZOME_LOG", default_value = "error,rhyzome_sim=info")]
    log: Targets,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run simulated targets until SIGTERM or SIGINT.
    Serve(ServeOptions),
    /// Give an order to a running fleet, as in '{"targets": "hypervisor-*", "do": {"faults": {"delay_ms": 500}}}'.
    Tell {
        /// Where the fleet listens.
        #[arg(long, value_name = "SOCKET")]
        control: PathBuf,
        /// The order, in JSON.
        order: String,
    },
}

#[derive(Args)]
struct ServeOptions {
    /// The invitations: what `rhyzome admin agent bundle` made.
    #[arg(long, value_name = "FILE")]
    invitations: PathBuf,
    /// Where each member keeps its certificate and what is wanted of it.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// How many of the hypervisors that are invited; all, when left out.
    #[arg(long, value_name = "N")]
    hypervisors: Option<usize>,
    /// How many of the routers that are invited; all, when left out.
    #[arg(long, value_name = "N")]
    routers: Option<usize>,
    /// What happens to them when.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Where to take orders: a Unix socket for its owner alone.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Say what is wrong with the files, and do nothing else.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let log = match options.log.default_level() {
        Some(_) => options.log,
        None => options.log.with_default(LevelFilter::ERROR),
    };
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi))
        .with(log)
        .init();
    pki::install_provider();
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(options.command)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rhyzome-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => serve(options).await,
        Command::Tell { control, order } => {
            let order: Order = config::parse(&order, Path::new("order"))?;
            match control::tell(&control, &order).await? {
                Answer::Refused(reason) => bail!("{reason}"),
                answer => println!("{}", serde_json::to_string_pretty(&answer)?),
            }
            Ok(())
        }
    }
}

async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let scenario = options.scenario.as_deref().map(Scenario::load).transpose()?.unwrap_or_default();
    let invited = chosen(&options)?;
    if options.check_config {
        println!("{}: in order", options.invitations.display());
        return Ok(());
    }
    allow_many_files()?;
    let ready = Fleet::make(&invited, scenario.ways, &options.state_dir)?;
    drop(invited);
    let listener = options.control.as_deref().map(control::bind).transpose()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (fleet, shutdown) = (ready.fleet(), CancellationToken::new());
    let controlled = async {
        match listener {
            Some(listener) => control::serve(listener, fleet.clone()).await,
            None => std::future::pending().await,
        }
    };
    let played = async {
        scenario.play(&fleet).await;
        std::future::pending::<()>().await;
    };
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ready.work(shutdown.clone()) => {}
        () = controlled => {}
        () = played => {}
        () = told => {}
    }
    if let Some(control) = &options.control {
        config::file::remove(control)?;
    }
    Ok(())
}

/// As many of the invited as were asked for.
fn chosen(options: &ServeOptions) -> anyhow::Result<Vec<Invited>> {
    let mut invited = bundle::read(&options.invitations)?;
    for (kind, wanted) in [(InvitedKind::Hypervisor, options.hypervisors), (InvitedKind::Router, options.routers)] {
        let Some(wanted) = wanted else { continue };
        let mut taken = 0;
        invited.retain(|one| {
            taken += usize::from(one.kind == kind);
            one.kind != kind || taken <= wanted
        });
        if taken < wanted {
            bail!("{} invites {taken} {}s, not {wanted}", options.invitations.display(), kind.word());
        }
    }
    Ok(invited)
}

/// Every member has a connection and a lock of its own.
fn allow_many_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit of open files cannot be raised")
}
