//! `rhyzome admin agent`: who works routers and hypervisors.

use std::path::{Path, PathBuf};

use ::pki::{Authority, Roots};
use clap::{Subcommand, ValueEnum};
use jobs::Invitation;
use jobs::bundle::{self, Invited, InvitedKind};
use store::{Caller, NewInvitation};
use types::{AgentId, InvitationId, TenantName};

use super::consent::Consent;
use super::roster::{self, Form};
use super::{hand_over, random_text};
use crate::http::digest;
use crate::serve::{open_store, read_config};
use crate::server_certificate::server_ca;

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
    /// Make many invitations in one file, for rhyzome-sim.
    Bundle {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Whose targets they are.
        #[arg(long, default_value = "local")]
        tenant: TenantName,
        /// How many hypervisors: PREFIXhypervisor-1 and so on.
        #[arg(long, value_name = "N", default_value_t = 0)]
        hypervisors: u32,
        /// How many routers: PREFIXrouter-1 and so on.
        #[arg(long, value_name = "N", default_value_t = 0)]
        routers: u32,
        /// What their names begin with.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Where they go (mode 0600).
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make an agent whose certificate another CA makes; prints the URI that its subject's alternative names must hold.
    Register {
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
    },
    /// List all agents, revoked ones too.
    List {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How it is printed.
        #[arg(long, short = 'o', default_value = "table")]
        output: Form,
    },
    /// Cut an agent off: its session ends at once and its certificate is refused for good.
    Revoke {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        consent: Consent,
        /// The agent, as list shows it.
        agent: AgentId,
    },
    /// Remove the record of a revoked agent; its certificate stays refused.
    Forget {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        consent: Consent,
        /// The agent, as list shows it.
        agent: AgentId,
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

impl TargetKind {
    fn invited(self) -> InvitedKind {
        match self {
            Self::Router => InvitedKind::Router,
            Self::Hypervisor => InvitedKind::Hypervisor,
        }
    }
}

/// Does it.
pub async fn run(command: AgentCommand) -> anyhow::Result<()> {
    match command {
        AgentCommand::Invite { config, tenant, kind, name, output } => {
            let made = invite(config.as_deref(), &tenant, vec![(kind.invited(), name)]).await?;
            made.iter().try_for_each(|invited| hand_over(&invited.invitation, output.clone()))
        }
        AgentCommand::Bundle { config, tenant, hypervisors, routers, prefix, output } => {
            let named = |kind: InvitedKind, number| (kind, format!("{prefix}{}-{number}", kind.word()));
            let hypervisors = (1..=hypervisors).map(|number| named(InvitedKind::Hypervisor, number));
            let routers = (1..=routers).map(|number| named(InvitedKind::Router, number));
            let made = invite(config.as_deref(), &tenant, hypervisors.chain(routers).collect()).await?;
            Ok(bundle::write(&output, &made)?)
        }
        AgentCommand::Register { config, tenant, kind, name } => {
            roster::register(config.as_deref(), &tenant, kind.invited().word(), &name).await
        }
        AgentCommand::List { config, output } => roster::list(config.as_deref(), output).await,
        AgentCommand::Revoke { config, consent, agent } => roster::revoke(config.as_deref(), agent, consent).await,
        AgentCommand::Forget { config, consent, agent } => roster::forget(config.as_deref(), agent, consent).await,
    }
}

/// Makes an invitation for each target, and the targets where there are none, in one transaction.
async fn invite(
    config: Option<&Path>,
    tenant: &TenantName,
    targets: Vec<(InvitedKind, String)>,
) -> anyhow::Result<Vec<Invited>> {
    let config = read_config(config)?;
    let authority = Authority::load(&config.authority_dir)?;
    let ca = Roots::from_pem(&server_ca(&config.tls, &authority)?)?;
    let store = open_store(&config).await?;
    let made = store::transact!(store, async |session| -> anyhow::Result<Vec<Invited>> {
        let expires_at = session.now() + INVITATION_MS;
        let mut made = Vec::with_capacity(targets.len());
        // Each id has a millisecond of its own: by chance alone two of a thousand in the same one are too likely alike.
        for (at, (kind, name)) in (session.now_unsigned()..).zip(&targets) {
            let (id, secret) = (InvitationId::make(at)?, random_text()?);
            let target = session.ensure_target(&Caller::core(), tenant, kind.word(), name).await?;
            let new = NewInvitation { id, target, sha256: digest(secret.reveal()), expires_at };
            session.add_invitation(&Caller::core(), &new).await?;
            let invitation = Invitation { core: config.jobs.url.clone(), ca: ca.clone(), id, secret };
            made.push(Invited { kind: *kind, name: name.clone(), invitation: invitation.reveal() });
        }
        Ok(made)
    })
    .await?;
    store.close().await;
    Ok(made)
}
