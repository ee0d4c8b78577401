//! One call of the target: jobs are kept on disk, applied, and forgotten where their objects are gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use types::Version;

use crate::cache::Cache;
use crate::{Context, Job, Object, Outcome, Report, Target, Want};

/// Longest time for a call. Targets have deadlines of their own; this one ends what hangs in spite of them.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Hands `jobs` to `target` after they were kept, and answers with a report each.
pub(super) async fn call(
    target: Arc<dyn Target>,
    cache: Arc<Cache>,
    context: Arc<Context>,
    jobs: Vec<Job>,
) -> Vec<Report> {
    let (jobs, mut reports) = on_disk(cache.clone(), move |cache| keep(cache, jobs)).await;
    if jobs.is_empty() {
        return reports;
    }
    let named: Vec<(Object, Version)> = jobs.iter().map(|job| (job.object, job.version)).collect();
    let leaving: Vec<Object> = jobs.iter().filter(|job| matches!(job.want, Want::Gone)).map(|job| job.object).collect();
    match timeout(LONGEST, target.apply(jobs, &context)).await {
        Ok(answer) => reports.extend(one_each(named, answer)),
        Err(_) => reports.extend(named.iter().map(|(object, version)| {
            let minutes = LONGEST.as_secs() / 60;
            retrying(*object, *version, &format!("the target did not come to an end in {minutes} minutes"))
        })),
    }
    let gone: Vec<Object> = reports
        .iter()
        .filter(|report| report.outcome == Outcome::Applied && leaving.contains(&report.object))
        .map(|report| report.object)
        .collect();
    if !gone.is_empty() {
        on_disk(cache, move |cache| forget(cache, &gone)).await;
    }
    reports
}

/// A report that `object` is tried again.
pub(super) fn retrying(object: Object, version: Version, reason: &str) -> Report {
    let reason = Some(reason.to_owned());
    Report { object, version, outcome: Outcome::Retrying, reason, entries: BTreeMap::new(), status: None }
}

/// The target's reports, and one for each job that it said nothing of.
fn one_each(named: Vec<(Object, Version)>, mut answer: Vec<Report>) -> Vec<Report> {
    let reports = named.into_iter().map(|(object, version)| {
        match answer.iter().position(|report| (report.object, report.version) == (object, version)) {
            Some(place) => answer.swap_remove(place),
            None => retrying(object, version, "the target gave no report"),
        }
    });
    reports.collect()
}

/// Keeps each job; those that cannot be are not applied, so that nothing is applied that a reboot would forget.
fn keep(cache: &Cache, jobs: Vec<Job>) -> (Vec<Job>, Vec<Report>) {
    let mut reports = Vec::new();
    let kept = jobs.into_iter().filter(|job| match cache.keep(job) {
        Ok(()) => true,
        Err(error) => {
            reports.push(retrying(job.object, job.version, &format!("the state cannot be kept: {error}")));
            false
        }
    });
    (kept.collect(), reports)
}

fn forget(cache: &Cache, gone: &[Object]) {
    for object in gone {
        if let Err(error) = cache.forget(*object) {
            tracing::error!(%object, %error, "an object that is gone is still in the cache");
        }
    }
}

/// Runs what touches the disk where it holds up nobody.
async fn on_disk<T: Send + 'static>(cache: Arc<Cache>, work: impl FnOnce(&Cache) -> T + Send + 'static) -> T {
    match spawn_blocking(move || work(&cache)).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
