//! `rhyzomectl agent`.

use clap::Subcommand;

use crate::session::Session;
use crate::view::{AGENT_COLUMNS, agent_row};

/// What can be done with agents.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List routers and hypervisors and whether their agents are connected
    #[command(visible_alias = "ls")]
    List,
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::List => {
                let page = session.client.agents().await?;
                session.format.list(&page.items, AGENT_COLUMNS, agent_row)
            }
        }
    }
}
