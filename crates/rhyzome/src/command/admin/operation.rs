//! `rhyzome admin operation`: what is under way, and a push where it does not go on.

use std::path::PathBuf;

use anyhow::ensure;
use api::Timestamp;
use clap::Subcommand;
use store::{Caller, OperationRow, Store};
use types::OperationId;

use crate::command::output;
use crate::executor;
use crate::serve::{open_store, read_config};

/// Operations that are looked at, at most.
const LIMIT: u32 = 10_000;

/// What can be done with operations.
#[derive(Clone, Debug, Subcommand)]
pub enum OperationCommand {
    /// List operations under way, the newest first.
    List {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Those that have ended too.
        #[arg(long)]
        all: bool,
    },
    /// Show an operation with its steps and what they wait for.
    Show {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The operation's id.
        operation: OperationId,
    },
    /// Have what an operation waits for sent to its targets once more, and give it another ten minutes.
    Retry {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The operation's id.
        operation: OperationId,
    },
    /// Give an operation up: a create is taken back, an update returns to the spec before it.
    Cancel {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The operation's id.
        operation: OperationId,
    },
}

/// Does it.
pub async fn run(command: OperationCommand) -> anyhow::Result<()> {
    match command {
        OperationCommand::List { config, all } => {
            let store = open_store(&read_config(config.as_deref())?).await?;
            list(&store, all).await?;
            store.close().await;
        }
        OperationCommand::Show { config, operation } => {
            let store = open_store(&read_config(config.as_deref())?).await?;
            show(&store.read().await?.operation(&Caller::core(), operation).await?)?;
            store.close().await;
        }
        OperationCommand::Retry { config, operation } => {
            let store = open_store(&read_config(config.as_deref())?).await?;
            retry(&store, operation).await?;
            store.close().await;
        }
        OperationCommand::Cancel { config, operation } => {
            let store = open_store(&read_config(config.as_deref())?).await?;
            cancel(&store, operation).await?;
            store.close().await;
        }
    }
    Ok(())
}

async fn list(store: &Store, all: bool) -> anyhow::Result<()> {
    let rows = store.read().await?.operations(&Caller::core(), None, LIMIT).await?;
    for row in rows.iter().filter(|row| all || row.is_under_way()) {
        output::line(format_args!(
            "{}  {:<9}  {:<18}  {}  {}",
            row.id,
            row.state,
            row.action,
            row.resource,
            row.reason.as_deref().unwrap_or("")
        ))?;
    }
    Ok(())
}

fn show(row: &OperationRow) -> anyhow::Result<()> {
    let mut lines = vec![
        ("operation", row.id.to_string()),
        ("tenant", row.tenant.to_string()),
        ("resource", row.resource.to_string()),
        ("action", row.action.clone()),
        ("state", row.state.clone()),
        ("asked at", at(row.created_at)),
        ("moved at", at(row.updated_at)),
    ];
    if row.is_under_way() {
        lines.push(("stuck from", at(row.deadline_at)));
    }
    lines.extend(row.finished_at.map(|time| ("ended at", at(time))));
    lines.extend(row.reason.clone().map(|reason| ("reason", reason)));
    lines.extend(row.cancel_reason.clone().map(|reason| ("to be given up", reason)));
    for (name, value) in lines {
        output::line(format_args!("{name:<15}{value}"))?;
    }
    for step in &row.steps {
        let reason = step.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        output::line(format_args!("step {:<10}{}{reason}", step.name, step.state))?;
    }
    Ok(())
}

async fn retry(store: &Store, id: OperationId) -> anyhow::Result<()> {
    let caller = Caller::core();
    let repeated = store::transact!(store, async |session| -> anyhow::Result<_> {
        let row = session.operation(&caller, id).await?;
        ensure!(row.is_under_way(), "{id} has {}: ask for the change again", row.state);
        let awaited = executor::awaited_objects(&row)?;
        for (target, object) in &awaited {
            session.repeat_job(*target, &object.to_string()).await?;
        }
        let deadline_at = session.now() + executor::DEADLINE_MS;
        session.prolong_operation(&caller, id, deadline_at).await?;
        Ok(awaited.len())
    })
    .await?;
    output::line(format_args!("{id} goes on; {repeated} jobs are sent again"))?;
    Ok(())
}

async fn cancel(store: &Store, id: OperationId) -> anyhow::Result<()> {
    let caller = Caller::core();
    store::transact!(store, async |session| -> anyhow::Result<()> {
        let row = session.operation(&caller, id).await?;
        ensure!(row.is_under_way(), "{id} has {} already", row.state);
        ensure!(
            !executor::is_enduring(&row.action),
            "{id} is a {}, which cannot be taken back: it ends when its targets have confirmed, or were declared lost",
            row.action
        );
        session.ask_to_cancel(&caller, id, "an administrator gave it up").await?;
        Ok(())
    })
    .await?;
    output::line(format_args!("{id} is given up as soon as a core looks at it, within seconds where one runs"))?;
    Ok(())
}

fn at(unix_ms: i64) -> String {
    Timestamp::from_unix_ms(unix_ms).to_string()
}
