//! `rhyzomectl`.

use std::process::ExitCode;

use clap::Parser;
use rhyzomectl::cli::Cli;
use rhyzomectl::failure::report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}
