//! The command line: `run`, `plan` and `status`.

mod plan;
mod status;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::daemon::Daemon;
use crate::settings::Settings;

/// Publishes services through the router in front of this host and through its firewall.
#[derive(Debug, Parser)]
#[command(name = "diplonat", version)]
struct Options {
    /// The settings [default: diplonat.json here or in /etc/rhyzome, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The least that is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "DIPLONAT_LOG", default_value_t = LevelFilter::INFO, global = true)]
    log_level: LevelFilter,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish what is wanted, and keep it so
    Run {
        #[command(flatten)]
        wish: Wish,
        /// Publish what is wanted once, say how it went, and end; mappings stay for their lease
        #[arg(long)]
        once: bool,
    },
    /// Show what is there and what would be done, and change nothing
    Plan {
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        form: Form,
    },
    /// Show how it stands with each port
    Status {
        /// Where diplonat serves its status [default: the setting "listen", or else 127.0.0.1:9780]
        #[arg(long, value_name = "ADDRESS")]
        at: Option<SocketAddr>,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Debug, Args)]
struct Wish {
    /// A file of services, in the place of the source in the settings
    #[arg(long, value_name = "FILE")]
    services: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Form {
    /// How it is written
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Takes the command line apart and runs the command that it names.
pub fn execute() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(options.log_level)
        .init();
    pki::install_provider();
    // One thread is enough for what mostly waits, and memory is dear where it runs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(options)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("diplonat: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(options.config.as_deref(), |name| std::env::var(name).ok())?;
    match options.command {
        Command::Run { wish, once } => {
            wish.apply(&mut settings);
            let daemon = Daemon::of(settings)?;
            if once {
                let status = daemon.once().await?;
                say(&status.text())?;
                return Ok(code(status.is_ready()));
            }
            daemon.run().await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan { wish, form } => {
            wish.apply(&mut settings);
            let plan = plan::make(&settings).await?;
            form.say(&plan, plan::Plan::text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { at, form } => {
            let (json, status) = status::fetch(at.unwrap_or_else(|| settings.listen())).await?;
            match form.output {
                Output::Json => say(&json)?,
                Output::Text => say(&status.text())?,
            }
            Ok(code(status.is_ready()))
        }
    }
}

impl Wish {
    fn apply(self, settings: &mut Settings) {
        if let Some(services) = self.services {
            settings.services = Some(services);
            settings.consul = None;
        }
    }
}

impl Form {
    fn say<T: serde::Serialize>(&self, what: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
        match self.output {
            Output::Text => say(&text(what)),
            Output::Json => say(&(serde_json::to_string_pretty(what)? + "\n")),
        }
    }
}

/// Writes to where data goes; whoever has stopped reading has read enough.
fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
