//! The program `rhyzome`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rhyzome::command::{admin, output, pki as certificates};
use rhyzome::{serve, up};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A collective's own small cloud: the core.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    /// How much to log: error, warn, info, debug, trace, or a list such as info,rhyzome=debug.
    #[arg(long, global = true, env = "RHYZOME_LOG", default_value = "info")]
    log: Targets,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the HTTP API and the agents.
    Serve(serve::ServeOptions),
    /// Bring everything up on this machine.
    Up(up::UpOptions),
    /// Take everything down that `up` brought up.
    Down(up::DownOptions),
    /// The CA and the certificates of servers.
    #[command(subcommand)]
    Pki(certificates::PkiCommand),
    /// Work on the database directly.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Print the OpenAPI document.
    Openapi,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A list such as rhyzome=debug says nothing of the rest.
    let log = match arguments.log.default_level() {
        Some(_) => arguments.log,
        None => arguments.log.with_default(LevelFilter::INFO),
    };
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi))
        .with(log)
        .init();
    pki::install_provider();
    let done = match tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(arguments.command)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rhyzome: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => serve::run(options).await,
        Command::Up(options) => up::run(options).await,
        Command::Down(options) => up::down(options).await,
        Command::Pki(command) => certificates::run(command),
        Command::Admin(command) => admin::run(command).await,
        Command::Openapi => Ok(output::whole(rhyzome::openapi()?)?),
    }
}
