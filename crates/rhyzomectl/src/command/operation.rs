//! `rhyzomectl operation`.

use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use types::OperationId;

use crate::progress;
use crate::session::Session;
use crate::value::duration;
use crate::view::{OPERATION_COLUMNS, operation_facts, operation_row};

/// What can be done with operations.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the newest operations
    #[command(visible_alias = "ls")]
    List {
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show an operation and its steps
    #[command(visible_alias = "get")]
    Show {
        /// Its id
        operation: OperationId,
    },
    /// Wait until an operation has ended; fails if the operation does
    Wait {
        /// Its id
        operation: OperationId,
        /// How long to wait
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
        timeout: Duration,
    },
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::List { limit } => {
                let page = session.client.operations(limit).await?;
                session.format.list(&page.items, OPERATION_COLUMNS, operation_row)
            }
            Self::Show { operation } => {
                let found = session.client.operation(operation).await;
                let found = found.with_context(|| format!("operation {operation}"))?;
                session.format.one(&found, || operation_facts(&found))
            }
            Self::Wait { operation, timeout } => {
                let ended = progress::follow(&session.client, operation, timeout).await?;
                session.format.one(&ended, || operation_facts(&ended))
            }
        }
    }
}
