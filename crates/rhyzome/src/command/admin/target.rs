//! `rhyzome admin target`: what may be placed where.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use jobs::observed::Capacity;
use store::{AgentRow, Availability, Caller, HypervisorRow, Session, Store};
use types::{InstanceId, TargetId};

use super::consent::Consent;
use crate::command::{output, table};
use crate::loss;
use crate::serve::{open_store, read_config};

/// What can be done with targets.
#[derive(Clone, Debug, Subcommand)]
pub enum TargetCommand {
    /// List routers and hypervisors, and what is taken of hypervisors.
    List {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Place nothing more on a target; what is there stays.
    Drain(Which),
    /// Place on a target again; one that was lost must have let go of what it held.
    Undrain(Which),
    /// Declare that a target does not come back with what it held. Its instances start elsewhere, on new disks made from
    /// their images: what was on the old disks is lost.
    Lost {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        consent: Consent,
    },
}

/// One target.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// Its name or id.
    #[arg(value_name = "TARGET")]
    target: String,
    /// The core's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does it.
pub async fn run(command: TargetCommand) -> anyhow::Result<()> {
    match command {
        TargetCommand::List { config } => list(config.as_deref()).await,
        TargetCommand::Drain(which) => {
            let store = open(&which).await?;
            let (row, left) = store::transact!(store, async |session| -> anyhow::Result<_> {
                let row = find(session, &which.target).await?;
                ensure!(row.target.availability != Availability::Lost, "{} was declared lost", which.target);
                session.set_availability(row.target.id, Availability::Drained).await?;
                let left = names(session, row.target.id).await?;
                Ok((row, left))
            })
            .await?;
            store.close().await;
            match left.is_empty() {
                true => output::line(format_args!("{} is drained and holds no instance", row.target.name))?,
                false => output::line(format_args!(
                    "{} is drained; still there: {} (delete them, or declare the target lost)",
                    row.target.name,
                    left.join(", ")
                ))?,
            }
            Ok(())
        }
        TargetCommand::Undrain(which) => {
            let store = open(&which).await?;
            let row = store::transact!(store, async |session| -> anyhow::Result<_> {
                let row = find(session, &which.target).await?;
                if row.target.availability == Availability::Lost {
                    let open = session.unanswered_jobs(&Caller::core(), row.target.id).await?;
                    ensure!(
                        open.is_empty(),
                        "{} has not confirmed yet that {} is gone: start its agent and try again",
                        row.target.name,
                        open.iter().map(|job| job.object.as_str()).collect::<Vec<_>>().join(", ")
                    );
                }
                session.set_availability(row.target.id, Availability::Open).await?;
                Ok(row)
            })
            .await?;
            store.close().await;
            Ok(output::line(format_args!("{} takes instances again", row.target.name))?)
        }
        TargetCommand::Lost { which, consent } => lose(&which, consent).await,
    }
}

async fn lose(which: &Which, consent: Consent) -> anyhow::Result<()> {
    let store = open(which).await?;
    let (row, left) = {
        let mut session = store.read().await?;
        let row = find(&mut session, &which.target).await?;
        let left = names(&mut session, row.target.id).await?;
        (row, left)
    };
    let name = &row.target.name;
    ensure!(row.target.availability != Availability::Lost, "{name} was declared lost already");
    let mut said = format!("{name} is declared lost: nothing waits for it any more");
    if !left.is_empty() {
        said += &format!(
            ". These start elsewhere, on new disks made from their images, and what was on their old disks is lost: {}",
            left.join(", ")
        );
    }
    if row.target.connected {
        said += ". Its agent is connected at this moment and is told to remove all of it";
    }
    eprintln!("{said}.");
    consent.ask(&format!("Declare {name} lost"), "nothing was changed")?;
    let moved = store::transact!(store, async |session| loss::declare(session, row.target.id).await).await?;
    store.close().await;
    Ok(output::line(format_args!("{name} is lost; {} instances start elsewhere", moved.len()))?)
}

async fn list(config: Option<&Path>) -> anyhow::Result<()> {
    let store = open_store(&read_config(config)?).await?;
    let (targets, hypervisors) = {
        let mut session = store.read().await?;
        (session.targets(&Caller::core(), None).await?, session.hypervisors(&Caller::core()).await?)
    };
    store.close().await;
    let mut lines = vec![
        ["NAME", "KIND", "TARGET", "CONNECTED", "TAKES", "INSTANCES", "VCPUS", "MEMORY", "DISK"].map(str::to_owned),
    ];
    for row in targets {
        let taken = hypervisors.iter().find(|hypervisor| hypervisor.id == row.target.id);
        lines.push(columns(&row, taken));
    }
    Ok(output::whole(table::aligned(&lines))?)
}

fn columns(row: &AgentRow, hypervisor: Option<&HypervisorRow>) -> [String; 9] {
    let target = &row.target;
    let takes = match target.availability {
        Availability::Open => "all",
        Availability::Drained => "nothing (drained)",
        Availability::Lost => "nothing (lost)",
    };
    let connected = if target.connected { "yes" } else { "no" };
    let [instances, vcpus, memory, disk] = hypervisor.map(usage).unwrap_or_default();
    let known = [target.name.clone(), target.kind.clone(), target.id.to_string(), connected.to_owned()];
    let [name, kind, id, connected] = known;
    [name, kind, id, connected, takes.to_owned(), instances, vcpus, memory, disk]
}

/// What is taken of a hypervisor, and of how much.
fn usage(row: &HypervisorRow) -> [String; 4] {
    let capacity: Capacity = serde_json::from_value(row.capacity.clone()).unwrap_or_default();
    let of = |taken: u64, all: Option<u64>, unit: &str| match all {
        Some(all) => format!("{taken}/{all}{unit}"),
        None => format!("{taken}{unit}"),
    };
    let memory = capacity.memory.and_then(|memory| u64::try_from(i64::from(memory)).ok());
    [
        row.instances.to_string(),
        of(row.taken.vcpus, capacity.vcpus.map(u64::from), ""),
        of(row.taken.memory_mib, memory, " MiB"),
        of(row.taken.disk_bytes >> 30, capacity.disk_bytes.map(|bytes| bytes >> 30), " GiB"),
    ]
}

async fn open(which: &Which) -> anyhow::Result<Store> {
    open_store(&read_config(which.config.as_deref())?).await
}

/// The one target of that id or name.
async fn find<Mode>(session: &mut Session<'_, Mode>, wanted: &str) -> anyhow::Result<AgentRow> {
    let rows = session.targets(&Caller::core(), None).await?;
    let id = wanted.parse::<TargetId>().ok();
    let mut found: Vec<AgentRow> =
        rows.into_iter().filter(|row| Some(row.target.id) == id || row.target.name == wanted).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("there is no target {wanted}: `rhyzome admin target list` shows all"),
        _ => bail!("several targets are called {wanted}: name one by its id, as `rhyzome admin target list` shows it"),
    }
}

/// The instances on a target, as people call them.
async fn names<Mode>(session: &mut Session<'_, Mode>, target: TargetId) -> anyhow::Result<Vec<String>> {
    let placed: Vec<InstanceId> = session.placed_on(&Caller::core(), target).await?;
    let mut names = Vec::with_capacity(placed.len());
    for id in placed {
        let row = session.resource(&Caller::core(), id.into()).await?;
        names.push(format!("{}/{}", row.tenant, row.name));
    }
    Ok(names)
}
