//! `rhyzome admin`: work on the database directly, also while the core serves.

mod agent;
mod target;
mod token;

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use data_encoding::BASE64URL_NOPAD;
use types::SecretText;

use super::output;
use agent::AgentCommand;
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
}

/// Does it.
pub async fn run(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::Token(command) => token::run(command).await,
        AdminCommand::Agent(command) => agent::run(command).await,
        AdminCommand::Target(command) => target::run(command).await,
    }
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
