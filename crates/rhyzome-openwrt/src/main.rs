//! `rhyzome-openwrt`: reads its configuration, and works a router for the core until it is told to stop.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use rhyzome_openwrt::configuration::{Configuration, FILE_NAME};
use rhyzome_openwrt::target::RouterTarget;
use tracing::level_filters::LevelFilter;

/// The agent has little to do at a time, and memory is dear where it runs.
const WORKERS: usize = 2;

/// Rhyzome's router agent: brings networks to an OpenWrt router.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The configuration [default: rhyzome-openwrt.json here or in /etc/rhyzome]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration and the files that it names, and do nothing else
    #[arg(long)]
    check_config: bool,
    /// The least that is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "RHYZOME_LOG", default_value_t = LevelFilter::INFO)]
    log_level: LevelFilter,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(options.log_level)
        .init();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rhyzome-openwrt: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    pki::install_provider();
    let loaded = config::load::<Configuration>(options.config.as_deref(), FILE_NAME)?;
    let target = RouterTarget::configured(&loaded.value).with_context(|| loaded.path.display().to_string())?;
    if options.check_config {
        println!("{}: in order", loaded.path.display());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(serve(loaded.value, target))
}

async fn serve(configuration: Configuration, target: RouterTarget) -> anyhow::Result<()> {
    let software = concat!("rhyzome-openwrt ", env!("CARGO_PKG_VERSION"));
    jobs::agent::serve(&configuration.agent, software, Arc::new(target)).await?;
    Ok(())
}
