//! `rhyzome admin resume`: after a restore, what would change on targets, and then that it may.

use std::collections::BTreeMap;
use std::path::PathBuf;

use store::{Caller, HeldRow, JobRow, Read, Session, StoreError};

use super::consent::Consent;
use super::open;
use crate::command::output;

/// What resuming is told.
#[derive(Clone, Debug, clap::Args)]
pub struct ResumeOptions {
    /// The core's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
}

/// Shows the differences, asks, and lets the installation go on.
pub async fn run(options: ResumeOptions) -> anyhow::Result<()> {
    let (_, store) = open(options.config.as_deref()).await?;
    let mut session = store.read().await?;
    let Some(reason) = session.paused().await? else {
        output::line("the installation is not paused")?;
        return Ok(());
    };
    output::line(format_args!("paused: {reason}"))?;
    for line in differences(&mut session).await? {
        output::line(line)?;
    }
    drop(session);
    options.consent.ask("let the installation go on", "it stays paused")?;
    let resumed: Result<(), StoreError> = store::transact!(store, async |session| session.resume().await).await;
    resumed?;
    store.close().await;
    output::line("the installation goes on; cores take it up within seconds")?;
    Ok(())
}

/// What would change: on each target, and by operations that go on.
async fn differences(session: &mut Session<'_, Read>) -> anyhow::Result<Vec<String>> {
    let caller = Caller::core();
    let inventory = session.inventory(&caller).await?;
    let mut lines = Vec::new();
    for row in session.targets(&caller, None).await? {
        let target = row.target;
        if let Some(idle) = session.idle_target(target.id).await? {
            lines.push(format!("{}: {idle}, so that nothing is known of what it holds", target.name));
            continue;
        }
        let of_target = inventory.iter().filter(|held| held.target == target.id);
        let held: BTreeMap<&str, &HeldRow> = of_target.map(|held| (held.object.as_str(), held)).collect();
        let jobs = session.jobs_of_target(&caller, target.id).await?;
        let mut same = 0;
        for job in &jobs {
            match difference(job, held.get(job.object.as_str()).copied()) {
                Some(what) => lines.push(format!("{}: {}: {what}", target.name, job.object)),
                None => same += 1,
            }
        }
        for object in held.keys().filter(|object| !jobs.iter().any(|job| job.object == ***object)) {
            lines.push(format!("{}: {object}: not in the backup; stays as it is (rhyzome admin orphans)", target.name));
        }
        lines.push(format!("{}: {same} objects as the backup has them", target.name));
    }
    for row in session.operations(&caller, None, 10_000).await? {
        if row.is_under_way() {
            lines.push(format!("{}: {} of {} goes on", row.id, row.action, row.resource));
        }
    }
    Ok(lines)
}

fn difference(job: &JobRow, held: Option<&HeldRow>) -> Option<&'static str> {
    match (&job.desired, held) {
        (None, Some(_)) => Some("WILL BE TAKEN AWAY: the backup had its end under way"),
        (None, None) => None,
        (Some(_), None) => Some("will be made: the target does not hold it"),
        (Some(_), Some(held)) if held.version.revision > job.version.revision => {
            Some("will be set back: the target has a later state than the backup")
        }
        (Some(_), Some(held)) if held.version.revision < job.version.revision => Some("will be brought up to date"),
        (Some(_), Some(_)) => None,
    }
}
