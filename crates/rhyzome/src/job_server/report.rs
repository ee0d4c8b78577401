//! Keeping what a target says of a job.

use jobs::{Outcome, Report};
use store::{Caller, JobReport, Session, StoreError, Write};
use types::TargetId;

use super::observation;
use crate::core::Core;

/// Keeps a report and what was observed with it, unless it is about something that nobody asked for.
pub async fn keep(
    core: &Core,
    session: &mut Session<'_, Write>,
    target: TargetId,
    report: &Report,
) -> Result<(), StoreError> {
    let row = JobReport {
        object: report.object.to_string(),
        version: report.version,
        outcome: word(report.outcome),
        reason: report.reason.clone(),
        entries: report
            .entries
            .iter()
            .map(|(id, entry)| (id.to_string(), (word(entry.outcome).to_owned(), entry.reason.clone())))
            .collect(),
    };
    if !session.keep_report(&Caller::core(), target, &row).await? {
        return Ok(());
    }
    observation::note_outcome(session, target, report.object, &row).await?;
    if let Some(status) = &report.status {
        observation::note_status(session, core, target, report.object, status).await?;
    }
    Ok(())
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Retrying => "retrying",
        Outcome::Refused => "refused",
    }
}
