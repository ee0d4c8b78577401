//! `rhyzome admin`: work on the database directly, also while the core serves.

use std::path::PathBuf;

use ::pki::Authority;
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use data_encoding::BASE64URL_NOPAD;
use jobs::Invitation;
use store::{Caller, NewInvitation, TokenRow};
use types::{InvitationId, Scope, Scopes, SecretText, TenantName, TokenId};

use super::output;
use crate::http::{TOKEN_PREFIX, digest};
use crate::serve::{open_store, read_config};

/// How long an invitation can be used, in milliseconds.
const INVITATION_MS: i64 = 24 * 60 * 60 * 1000;

/// What can be done with the database.
#[derive(Clone, Debug, Subcommand)]
pub enum AdminCommand {
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Agents.
    #[command(subcommand)]
    Agent(AgentCommand),
}

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once and kept as a digest alone.
    Create {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Whose token it is.
        #[arg(long)]
        tenant: TenantName,
        /// What to call it.
        #[arg(long)]
        name: String,
        /// What it allows, as in network:read or *:*; may be given more than once.
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// Where the token goes (mode 0600) instead of to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// What can be done with agents.
#[derive(Clone, Debug, Subcommand)]
pub enum AgentCommand {
    /// Make an invitation, good for one enrolment within a day.
    Invite {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Whose target it is.
        #[arg(long, default_value = "local")]
        tenant: TenantName,
        /// What the agent works.
        #[arg(long)]
        kind: TargetKind,
        /// The target's name; the same name again is the same target.
        #[arg(long)]
        name: String,
        /// Where the invitation goes (mode 0600) instead of to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// What an agent works.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TargetKind {
    /// A router.
    Router,
    /// A hypervisor.
    Hypervisor,
}

/// Does it.
pub async fn run(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::Token(TokenCommand::Create { config, tenant, name, scopes, output }) => {
            let store = open_store(&read_config(config.as_deref())?).await?;
            let token = SecretText::new(format!("{TOKEN_PREFIX}{}", random_text()?.reveal()));
            let mut session = store.write().await?;
            let id = TokenId::make(session.now_unsigned())?;
            let row = TokenRow { id, tenant, name, scopes: Scopes(scopes.into_iter().collect()) };
            session.add_token(&Caller::core(), &row, digest(token.reveal())).await?;
            session.commit().await?;
            store.close().await;
            hand_over(&token, output)
        }
        AdminCommand::Agent(AgentCommand::Invite { config, tenant, kind, name, output }) => {
            let config = read_config(config.as_deref())?;
            let authority = Authority::load(&config.authority_dir)?;
            let store = open_store(&config).await?;
            let secret = random_text()?;
            let mut session = store.write().await?;
            let id = InvitationId::make(session.now_unsigned())?;
            let kind = match kind {
                TargetKind::Router => "router",
                TargetKind::Hypervisor => "hypervisor",
            };
            let target = session.ensure_target(&Caller::core(), &tenant, kind, &name).await?;
            let expires_at = session.now() + INVITATION_MS;
            let new = NewInvitation { id, target, sha256: digest(secret.reveal()), expires_at };
            session.add_invitation(&Caller::core(), &new).await?;
            session.commit().await?;
            store.close().await;
            let invitation = Invitation { core: config.jobs.url, ca: authority.roots()?, id, secret };
            hand_over(&invitation.reveal(), output)
        }
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
