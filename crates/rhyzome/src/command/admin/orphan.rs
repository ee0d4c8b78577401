//! `rhyzome admin orphans`: what targets hold and the database does not know. Nothing but a person decides on it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use api::Timestamp;
use clap::Subcommand;
use jobs::Object;
use store::{Caller, HeldRow, Session, StoreError, Write};
use types::TargetId;

use super::consent::Consent;
use super::open;
use crate::command::output;
use crate::render;
use crate::serve_config::ServeConfig;

/// What can be done with orphans.
#[derive(Clone, Debug, Subcommand)]
pub enum OrphanCommand {
    /// List what targets held, when they connected last, and no job is about.
    List {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Attach an orphan to the resource that it belongs to; its target is brought to what that resource says.
    Adopt {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The target's name or id.
        target: String,
        /// The object, as in instance/inst-….
        object: Object,
    },
    /// Have a target take an orphan away, with all that is on it.
    Delete {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        consent: Consent,
        /// The target's name or id.
        target: String,
        /// The object, as in instance/inst-….
        object: Object,
    },
}

/// Does it.
pub async fn run(command: OrphanCommand) -> anyhow::Result<()> {
    match command {
        OrphanCommand::List { config } => {
            let (_, store) = open(config.as_deref()).await?;
            for orphan in store.read().await?.orphans(&Caller::core()).await? {
                output::line(format_args!(
                    "{}  {:<16}  {}  {}  since {}, seen {}",
                    orphan.target,
                    orphan.name,
                    orphan.object,
                    orphan.version,
                    Timestamp::from_unix_ms(orphan.first_seen_at),
                    Timestamp::from_unix_ms(orphan.seen_at)
                ))?;
            }
            store.close().await;
        }
        OrphanCommand::Adopt { config, target, object } => {
            let (config, store) = open(config.as_deref()).await?;
            store::transact!(store, async |session| -> anyhow::Result<()> {
                let orphan = find(session, &target, object).await?;
                adopt(session, orphan.target, object, &config).await
            })
            .await?;
            store.close().await;
            output::line(format_args!("{object} belongs to its resource again"))?;
        }
        OrphanCommand::Delete { config, consent, target, object } => {
            let (_, store) = open(config.as_deref()).await?;
            let question = format!("take {object} away from {target}, with all that is on it");
            consent.ask(&question, "nothing was changed")?;
            store::transact!(store, async |session| -> anyhow::Result<()> {
                let orphan = find(session, &target, object).await?;
                Ok(session.bury_orphan(&orphan, object.resource()).await?)
            })
            .await?;
            store.close().await;
            output::line(format_args!("{target} is told to take {object} away"))?;
        }
    }
    Ok(())
}

async fn find(session: &mut Session<'_, Write>, target: &str, object: Object) -> anyhow::Result<HeldRow> {
    let object = object.to_string();
    let is_it =
        |orphan: &HeldRow| orphan.object == object && (orphan.name == target || orphan.target.to_string() == target);
    let mut found = session.orphans(&Caller::core()).await?.into_iter().filter(is_it);
    let orphan = found.next().with_context(|| {
        format!("{target} holds no orphan {object}: rhyzome admin orphans list tells which there are")
    })?;
    if found.next().is_some() {
        bail!("several targets are called {target}: give the id of one");
    }
    Ok(orphan)
}

/// Renders the object from its resource, where that is still the target's.
async fn adopt(
    session: &mut Session<'_, Write>,
    target: TargetId,
    object: Object,
    config: &ServeConfig,
) -> anyhow::Result<()> {
    let caller = Caller::core();
    let row = match session.resource(&caller, object.resource()).await {
        Ok(row) => row,
        Err(StoreError::NotFound { .. }) => {
            let made_at = i64::try_from(object.resource().made_at()).unwrap_or(i64::MAX);
            bail!(
                "the database has no {}, and what a target reports is not enough to make it again. It was made at {}: \
                 restore a backup that was taken after that, or save what is on it and delete the orphan",
                object.resource(),
                Timestamp::from_unix_ms(made_at)
            )
        }
        Err(error) => return Err(error.into()),
    };
    if matches!(row.state.as_str(), "deleting" | "failed") {
        bail!("{} {} is {}: delete the orphan instead", row.kind, row.name, row.state);
    }
    match object {
        Object::Network(id) => {
            let (router, _) = session.slot(&caller, id).await?;
            belongs(&row.name, target, router)?;
            render::network(session, &caller, id, config.wireguard_first_port, config.segments).await?;
        }
        Object::Instance(id) => {
            match session.placement(&caller, id).await? {
                Some(hypervisor) => belongs(&row.name, target, hypervisor)?,
                None => bail!("{} is placed nowhere: delete the orphan instead", row.name),
            }
            render::instance(session, &caller, target, id).await?;
        }
        Object::Segment(id) => {
            render::segment(session, &caller, target, id, config.segments).await?;
        }
        Object::Image(id) => {
            render::image(session, &caller, target, id).await?;
        }
    }
    Ok(())
}

fn belongs(name: impl std::fmt::Display, here: TargetId, placed: TargetId) -> anyhow::Result<()> {
    match here == placed {
        true => Ok(()),
        false => bail!("{name} belongs to {placed} by now, not to {here}: delete the orphan instead"),
    }
}
