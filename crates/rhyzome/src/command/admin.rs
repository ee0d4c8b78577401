//! `rhyzome admin`: work on the database directly, also while the core serves.

mod agent;
mod backup;
mod consent;
mod doctor;
mod operation;
mod orphan;
mod restore;
mod resume;
mod roster;
mod target;
mod token;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use data_encoding::BASE64URL_NOPAD;
use types::SecretText;

use super::output;
use crate::serve::{open_store, read_config};
use crate::serve_config::ServeConfig;
use agent::AgentCommand;
use operation::OperationCommand;
use orphan::OrphanCommand;
use target::TargetCommand;
use token::TokenCommand;

/// What can be done with the database.
#[derive(Clone, Debug, Subcommand)]
pub enum AdminCommand {
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Agents.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Routers and hypervisors.
    #[command(subcommand)]
    Target(TargetCommand),
    /// Operations.
    #[command(subcommand)]
    Operation(OperationCommand),
    /// What targets hold and the database does not know.
    #[command(subcommand)]
    Orphans(OrphanCommand),
    /// Look for what is wrong; 1 if anything is.
    Doctor(doctor::DoctorOptions),
    /// Copy the database, also while the core serves.
    Backup(backup::BackupOptions),
    /// Put a backup in the place of the database; no core may serve.
    Restore(restore::RestoreOptions),
    /// Let a restored installation go on, after a look at what would change.
    Resume(resume::ResumeOptions),
}

/// Does it.
pub async fn run(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::Token(command) => token::run(command).await,
        AdminCommand::Agent(command) => agent::run(command).await,
        AdminCommand::Target(command) => target::run(command).await,
        AdminCommand::Operation(command) => operation::run(command).await,
        AdminCommand::Orphans(command) => orphan::run(command).await,
        AdminCommand::Doctor(options) => doctor::run(options).await,
        AdminCommand::Backup(options) => backup::run(options).await,
        AdminCommand::Restore(options) => restore::run(options).await,
        AdminCommand::Resume(options) => resume::run(options).await,
    }
}

/// The configuration and the database that it names.
async fn open(config: Option<&Path>) -> anyhow::Result<(ServeConfig, store::Store)> {
    let config = read_config(config)?;
    let store = open_store(&config).await?;
    Ok((config, store))
}

/// 256 random bits as text.
fn random_text() -> anyhow::Result<SecretText> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("no randomness")?;
    Ok(SecretText::new(BASE64URL_NOPAD.encode(&bytes)))
}

fn hand_over(secret: &SecretText, output: Option<PathBuf>) -> anyhow::Result<()> {
    match output {
        Some(path) => config::file::write_private(&path, format!("{}\n", secret.reveal()).as_bytes())?,
        None => output::line(secret.reveal())?,
    }
    Ok(())
}
