//! `rhyzome admin agent`: who works routers and hypervisors.

use std::path::PathBuf;

use ::pki::Authority;
use clap::{Subcommand, ValueEnum};
use jobs::Invitation;
use store::{Caller, NewInvitation};
use types::{InvitationId, TenantName};

use super::{hand_over, random_text};
use crate::http::digest;
use crate::serve::{open_store, read_config};

/// How long an invitation can be used, in milliseconds.
const INVITATION_MS: i64 = 24 * 60 * 60 * 1000;

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
pub async fn run(command: AgentCommand) -> anyhow::Result<()> {
    match command {
        AgentCommand::Invite { config, tenant, kind, name, output } => {
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
