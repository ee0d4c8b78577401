//! `rhyzome-openwrt`: reads its configuration, and works a router for the core until it is told to stop. Its commands
//! look at a router, and take a fresh one into service.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Parser, Subcommand};
use rhyzome_openwrt::bootstrap;
use rhyzome_openwrt::configuration::{Configuration, FILE_NAME};
use rhyzome_openwrt::examination::examine;
use rhyzome_openwrt::router::Router;
use rhyzome_openwrt::target::RouterTarget;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The agent has little to do at a time, and memory is dear where it runs.
const WORKERS: usize = 2;

/// Rhyzome's router agent: brings networks to an OpenWrt router.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The configuration [default: rhyzome-openwrt.json here or in /etc/rhyzome]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration and the files that it names, and do nothing else
    #[arg(long)]
    check_config: bool,
    /// How much to log: error, warn, info, debug, trace, or a list such as info,rhyzome_openwrt=debug
    #[arg(long, value_name = "LEVEL", env = "RHYZOME_LOG", default_value = "info", global = true)]
    log_level: Targets,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the configured router would do, and what it lacks; changes nothing
    Check,
    /// Take a fresh router into service: a certificate of our CA, and a login that may do just what the agent needs
    Bootstrap(bootstrap::command::Arguments),
}

fn main() -> ExitCode {
    let options = Options::parse();
    log(options.log_level.clone());
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rhyzome-openwrt: {error:#}");
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

fn run(options: Options) -> anyhow::Result<ExitCode> {
    pki::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    if let Some(Command::Bootstrap(arguments)) = options.command {
        runtime.block_on(bootstrap::command::execute(arguments))?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = config::load::<Configuration>(options.config.as_deref(), FILE_NAME)?;
    let in_file = || loaded.path.display().to_string();
    match options.command {
        Some(Command::Check) => {
            let router = Router::configured(&loaded.value.router).with_context(in_file)?;
            runtime.block_on(check(&router, &loaded.value))
        }
        _ => {
            let target = RouterTarget::configured(&loaded.value).with_context(in_file)?;
            if options.check_config {
                println!("{}: in order", loaded.path.display());
                return Ok(ExitCode::SUCCESS);
            }
            runtime.block_on(serve(loaded.value, target))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn serve(configuration: Configuration, target: RouterTarget) -> anyhow::Result<()> {
    let software = concat!("rhyzome-openwrt ", env!("CARGO_PKG_VERSION"));
    jobs::agent::serve(&configuration.agent, software, Arc::new(target)).await?;
    Ok(())
}

async fn check(router: &Router, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
    let findings = examine(router, configuration, now).await?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(match findings.iter().all(|finding| finding.is_good) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
