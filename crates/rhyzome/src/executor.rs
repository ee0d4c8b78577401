//! The executor: claims operations and works them, step by step, until what was asked for is there.
//!
//! Everything that decides is in the database: a restarted core claims what was left and goes on where it stood. Every
//! write is conditional on the claim's attempt, so that a delete or another executor ends this one's work at once.

mod awaited;
mod conclusion;
mod place;
mod step;
#[cfg(test)]
mod suite;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use jobs::Object;
use store::{Caller, Claim, NewEvent, OperationRow, Session, StoreError, Write};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::{ResourceId, TargetId};

use crate::core::Core;
use crate::signal::Progress;
use crate::{image_file, metric};
use awaited::{Await, Finding};
use conclusion::Ended;
use step::Begun;
pub use step::Step;

/// How often operations are looked for, and at, without a hint, unless very many wait.
const BEAT: Duration = Duration::from_secs(5);
/// Beats between two rounds of upkeep.
const UPKEEP: u64 = 12;
/// Beats between two tries of an operation that meets an error inside, at most.
const PATIENCE: u32 = 12;
/// How long an operation may make no progress before it counts as stuck, in milliseconds.
pub const DEADLINE_MS: i64 = 10 * 60 * 1000;
/// Operations under way at once; most of them wait.
const AT_ONCE: usize = 4096;
/// Between two looks without a hint, whoever takes them: where thousands wait, each looks more seldom than at every beat.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// How long giving up claims may take at the end. Whoever notices that this core is gone takes them anyway.
const FAREWELL: Duration = Duration::from_secs(3);

/// Works operations until `shutdown`, then gives its claims up.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) -> anyhow::Result<()> {
    // Whatever it is at: a claim may stand behind thousands of transactions.
    shutdown.run_until_cancelled(work_all(&core)).await;
    let give_up = store::transact_in_background!(core.store, async |session| {
        session.give_up_operations(&Caller::core(), core.replica).await
    });
    let given_up: Result<Result<(), StoreError>, _> = tokio::time::timeout(FAREWELL, give_up).await;
    match given_up {
        Ok(given_up) => Ok(given_up?),
        Err(_) => anyhow::bail!("operations could not be given up within {} s", FAREWELL.as_secs()),
    }
}

/// Claims operations and has them worked, each by a task that ends with this one.
async fn work_all(core: &Arc<Core>) {
    let mut tasks = JoinSet::new();
    let crowd = Crowd::default();
    let mut beat = tokio::time::interval(BEAT);
    let mut beats = 0_u64;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                if beats.is_multiple_of(UPKEEP) && let Err(error) = upkeep::run(core).await {
                    tracing::warn!(error = %anyhow::Error::new(error), "the upkeep was left for later");
                }
                beats += 1;
            }
            () = core.signals.operation_recorded() => {}
            Some(_) = tasks.join_next() => {}
        }
        while tasks.len() < AT_ONCE {
            match claim(core).await {
                Ok(Some(claim)) => {
                    let (core, crowd) = (Arc::clone(core), crowd.clone());
                    tasks.spawn(async move { work(&core, claim, &crowd).await });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = %anyhow::Error::new(error), "no operation could be claimed");
                    break;
                }
            }
        }
    }
}

/// All tasks that work an operation: each holds a share.
#[derive(Clone, Default)]
struct Crowd(Arc<()>);

impl Crowd {
    /// How long one of them leaves an operation alone of which it hears nothing.
    fn patience(&self) -> Duration {
        let tasks = u32::try_from(Arc::strong_count(&self.0)).unwrap_or(u32::MAX);
        BEAT.max(BETWEEN_LOOKS.saturating_mul(tasks))
    }
}

async fn claim(core: &Core) -> Result<Option<Claim>, StoreError> {
    store::transact_in_background!(core.store, async |session| session
        .claim_operation(&Caller::core(), core.replica)
        .await)
    .await
}

/// Works one operation to its end, or until the claim is lost. An error inside ends nothing: it is noted and the
/// operation tried again, ever more seldom.
async fn work(core: &Core, claim: Claim, crowd: &Crowd) {
    let _counted = metric::ExecutorTask::begin();
    let mut progress = core.signals.hear_progress();
    let (mut waits, mut errors) = (false, 0);
    loop {
        match advance(core, claim, waits).await {
            Ok(Stage::Ended(_)) | Err(StoreError::Fenced) => return,
            Ok(Stage::Waiting(awaits)) => {
                errors = 0;
                wait_for_progress(&mut progress, &awaits, crowd.patience()).await;
            }
            Err(error) => {
                errors += 1;
                let error = anyhow::Error::new(error);
                tracing::error!(operation = %claim.operation, error = format!("{error:#}"), "an operation could not go on; it is tried again");
                match note_error(core, claim, &format!("an error in the core: {error:#}")).await {
                    Err(StoreError::Fenced) => return,
                    Ok(()) | Err(_) => tokio::time::sleep(BEAT * errors.min(PATIENCE)).await,
                }
            }
        }
        waits = true;
    }
}

/// Tells the people who look at an operation what keeps it.
async fn note_error(core: &Core, claim: Claim, reason: &str) -> Result<(), StoreError> {
    store::transact_in_background!(core.store, async |session| -> Result<(), StoreError> {
        session.guard(claim).await?;
        session.set_operation_reason(claim, Some(reason)).await
    })
    .await
}

/// Returns when there is news of what is waited for, or after a while in any case. Where no target is waited for,
/// reports on jobs are none: there may be thousands a second, and thousands who wait.
async fn wait_for_progress(progress: &mut broadcast::Receiver<Progress>, awaits: &[Await], patience: Duration) {
    let is_news = |news: Progress| match news {
        Progress::Report(target, object) => awaits.iter().any(|awaited| awaited.is_for(target, object)),
        Progress::Came(target) => awaits.is_empty() || awaits.iter().any(|awaited| awaited.target == target),
        Progress::Left(target) => awaits.iter().any(|awaited| awaited.target == target),
        Progress::Other => true,
    };
    let heard = async {
        loop {
            match progress.recv().await {
                Ok(news) if !is_news(news) => {}
                Ok(_) | Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(patience, heard).await;
}

/// Where an operation stands after it was advanced.
enum Stage {
    /// Nothing more will come of it.
    Ended(Ended),
    /// It goes on when there is news of these.
    Waiting(Vec<Await>),
}

/// What one look at an operation found, and what it leaves to be told when the transaction is through.
struct Look {
    stage: Stage,
    rendered: Vec<TargetId>,
}

/// Takes an operation as far as it comes without waiting, in one transaction. One that waited is looked at first.
async fn advance(core: &Core, claim: Claim, waits: bool) -> Result<Stage, StoreError> {
    if waits && let Some(awaits) = still_waiting(core, claim).await? {
        return Ok(Stage::Waiting(awaits));
    }
    let (operation, look) = store::transact_in_background!(core.store, async |session| -> Result<_, StoreError> {
        session.guard(claim).await?;
        let operation = session.operation(&Caller::core(), claim.operation).await?;
        let look = take_steps(core, session, claim, &operation).await?;
        Ok((operation, look))
    })
    .await?;
    for target in look.rendered {
        core.signals.jobs(target);
    }
    core.signals.event();
    if let Stage::Ended(ended) = &look.stage {
        metric::operation(&operation.action, ended.state, ended.took);
        if ended.state == "failed" {
            // What takes it back waits to be claimed.
            core.signals.operation();
        }
        if matches!(operation.resource, ResourceId::Image(_))
            && let Err(error) = image_file::sweep(core, false).await
        {
            tracing::warn!(error = format!("{error:#}"), "images' files could not be tidied up");
        }
    }
    Ok(look.stage)
}

/// A cheap look: whether the running step waits as before, for the reason it gave before.
async fn still_waiting(core: &Core, claim: Claim) -> Result<Option<Vec<Await>>, StoreError> {
    let mut session = core.store.read().await?;
    let operation = session.operation(&Caller::core(), claim.operation).await?;
    let late = session.now() > operation.deadline_at;
    if operation.cancel_reason.is_some() || late && !is_stuck(&mut session, operation.resource).await? {
        return Ok(None);
    }
    let Some(row) = operation.steps.iter().find(|step| step.state != "done") else { return Ok(None) };
    if row.state != "running" {
        return Ok(None);
    }
    let awaits = awaited::read(&row.awaits)?;
    match awaited::check(&mut session, &awaits).await? {
        Finding::Waiting(reason) if Some(&reason) == row.reason.as_ref() => Ok(Some(awaits)),
        _ => Ok(None),
    }
}

async fn is_stuck<Mode>(session: &mut Session<'_, Mode>, resource: ResourceId) -> Result<bool, StoreError> {
    let conditions = session.resource(&Caller::core(), resource).await?.conditions;
    Ok(conditions.iter().any(|condition| condition.name == "stuck" && condition.holds))
}

async fn take_steps(
    core: &Core,
    session: &mut Session<'_, Write>,
    claim: Claim,
    operation: &OperationRow,
) -> Result<Look, StoreError> {
    let caller = Caller::core();
    let mut rendered = Vec::new();
    let enduring = is_enduring(&operation.action);
    if let Some(reason) = operation.cancel_reason.as_ref().filter(|_| !enduring) {
        let ended = conclusion::fail(core, session, claim, operation, reason, &mut rendered).await?;
        return Ok(Look { stage: Stage::Ended(ended), rendered });
    }
    for row in operation.steps.iter().filter(|step| step.state != "done") {
        let step = Step::named(&row.name)?;
        let awaits: Vec<Await> = match row.state.as_str() {
            "running" => awaited::read(&row.awaits)?,
            _ => match step.begin(core, session, operation.resource).await? {
                Begun::Awaiting(awaits) => {
                    rendered.extend(awaits.iter().map(|awaited| awaited.target));
                    let noted = awaited::write(&awaits)?;
                    session.set_step(claim, row.position, "running", None, Some(&noted)).await?;
                    awaits
                }
                Begun::NotYet(reason) => {
                    wait(session, claim, operation, row.position, "pending", &reason).await?;
                    return Ok(Look { stage: Stage::Waiting(Vec::new()), rendered });
                }
                Begun::Impossible(reason) if enduring => {
                    wait(session, claim, operation, row.position, "pending", &reason).await?;
                    return Ok(Look { stage: Stage::Waiting(Vec::new()), rendered });
                }
                Begun::Impossible(reason) => {
                    let ended = conclusion::fail(core, session, claim, operation, &reason, &mut rendered).await?;
                    return Ok(Look { stage: Stage::Ended(ended), rendered });
                }
            },
        };
        match awaited::check(session, &awaits).await? {
            Finding::Satisfied => {
                step.settle(session, operation.resource).await?;
                session.set_step(claim, row.position, "done", None, None).await?;
                go_on(session, claim, operation).await?;
            }
            Finding::Refused(reason) if !enduring => {
                let ended = conclusion::fail(core, session, claim, operation, &reason, &mut rendered).await?;
                return Ok(Look { stage: Stage::Ended(ended), rendered });
            }
            Finding::Waiting(reason) | Finding::Refused(reason) => {
                wait(session, claim, operation, row.position, "running", &reason).await?;
                return Ok(Look { stage: Stage::Waiting(awaits), rendered });
            }
        }
        let event = NewEvent {
            resource: operation.resource,
            change: "progressed",
            operation: Some(operation.id),
            message: Some(&row.name),
        };
        session.add_event(&caller, &event).await?;
    }
    let ended = conclusion::succeed(session, claim, operation).await?;
    Ok(Look { stage: Stage::Ended(ended), rendered })
}

/// Neither a delete nor what takes a failed operation back can fail: there is nothing to return to.
pub fn is_enduring(action: &str) -> bool {
    action.ends_with(".delete") || action.ends_with(conclusion::WITHDRAW)
}

/// What the running step of an operation waits for.
pub fn awaited_objects(operation: &OperationRow) -> Result<Vec<(TargetId, Object)>, StoreError> {
    let mut objects = Vec::new();
    for row in operation.steps.iter().filter(|row| row.state == "running") {
        objects.extend(awaited::read(&row.awaits)?.iter().map(|awaited| (awaited.target, awaited.object())));
    }
    Ok(objects)
}

/// Notes why an operation waits, and that it is stuck once its deadline has passed.
async fn wait(
    session: &mut Session<'_, Write>,
    claim: Claim,
    operation: &OperationRow,
    position: u32,
    state: &str,
    reason: &str,
) -> Result<(), StoreError> {
    session.set_step(claim, position, state, Some(reason), None).await?;
    session.set_operation_reason(claim, Some(reason)).await?;
    if session.now() <= operation.deadline_at {
        return Ok(());
    }
    let told = is_stuck(session, operation.resource).await?;
    let caller = Caller::core();
    session.set_condition(&caller, operation.resource, "stuck", true, Some(reason)).await?;
    if !told {
        let message = format!("stuck: {reason}");
        let event = NewEvent {
            resource: operation.resource,
            change: "progressed",
            operation: Some(operation.id),
            message: Some(&message),
        };
        session.add_event(&caller, &event).await?;
        tracing::warn!(operation = %operation.id, resource = %operation.resource, action = operation.action, reason, "an operation is stuck");
    }
    Ok(())
}

/// A step is done: what was stuck is not any more, and the time for the next step begins.
async fn go_on(session: &mut Session<'_, Write>, claim: Claim, operation: &OperationRow) -> Result<(), StoreError> {
    session.set_operation_reason(claim, None).await?;
    if session.now() > operation.deadline_at {
        session.set_operation_deadline(claim, session.now() + DEADLINE_MS).await?;
        session.set_condition(&Caller::core(), operation.resource, "stuck", false, None).await?;
    }
    Ok(())
}
