//! Running a transaction again when another got in its way.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use crate::{Result, Session, Store, StoreError, Write};

/// Runs of one transaction at most.
const MOST_RUNS: u32 = 16;
/// Runs of a transaction that a constraint refused: what broke it may have been committed after this one began, and the
/// next run sees that.
const RUNS_REFUSED: u32 = 2;
/// The longest pause before the second run; it doubles from run to run.
const PAUSE: Duration = Duration::from_millis(4);
/// The longest pause of all.
const LONGEST: Duration = Duration::from_millis(500);

/// What another transaction may be to blame for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This transaction cannot run as if it were alone.
    Contention,
    /// A constraint refused it.
    Constraint,
}

/// Runs what follows as one transaction and commits it, as in `transact!(store, async |session| …).await`. If another
/// transaction got in its way, all of it is undone and it is run again, so that it must do nothing but read and write in
/// its session. The error must be made from a [`StoreError`].
#[macro_export]
macro_rules! transact {
    ($store:expr, async |$session:ident| -> $result:ty $work:block) => {
        $crate::run_again!($crate::Urgency::Person, $store, $session, $result, $work)
    };
    ($store:expr, async |$session:ident| $work:expr) => {
        $crate::run_again!($crate::Urgency::Person, $store, $session, std::result::Result<_, _>, $work)
    };
}

/// [`transact`] for whoever nobody waits for: few of these run at once, so that people's requests do not wait for them.
#[macro_export]
macro_rules! transact_in_background {
    ($store:expr, async |$session:ident| -> $result:ty $work:block) => {
        $crate::run_again!($crate::Urgency::Background, $store, $session, $result, $work)
    };
    ($store:expr, async |$session:ident| $work:expr) => {
        $crate::run_again!($crate::Urgency::Background, $store, $session, std::result::Result<_, _>, $work)
    };
}

// An async closure in the place of this macro would do, could the compiler see that its future may change threads.
#[doc(hidden)]
#[macro_export]
macro_rules! run_again {
    ($urgency:expr, $store:expr, $session:ident, $result:ty, $work:expr) => {
        async {
            let mut runs = $crate::Runs::of(&$store, $urgency);
            loop {
                let mut session = match runs.begin().await {
                    Ok(session) => session,
                    Err(error) => break Err(error.into()),
                };
                let $session = &mut session;
                let done: $result = async { $work }.await;
                if let Some(done) = runs.end(session, done).await {
                    break done;
                }
            }
        }
    };
}

/// Who waits for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A person, with a request.
    Person,
    /// Nobody.
    Background,
}

/// The runs of one transaction, for [`transact`].
pub struct Runs<'store> {
    store: &'store Store,
    urgency: Urgency,
    run: u32,
    /// Held from the second run on, so that those who were in each other's way go on one after the other.
    turn: Option<SemaphorePermit<'store>>,
}

impl<'store> Runs<'store> {
    /// None yet.
    pub fn of(store: &'store Store, urgency: Urgency) -> Self {
        Self { store, urgency, run: 0, turn: None }
    }

    /// Begins the next run.
    pub async fn begin(&mut self) -> Result<Session<'store, Write>> {
        self.run += 1;
        match self.urgency {
            Urgency::Person => self.store.write().await,
            Urgency::Background => self.store.write_in_background().await,
        }
    }

    /// Commits what a run did, or undoes it; `None` if it is to be run again.
    pub async fn end<T, E: From<StoreError>>(
        &mut self,
        session: Session<'store, Write>,
        done: std::result::Result<T, E>,
    ) -> Option<std::result::Result<T, E>> {
        let (trouble, ended) = match done {
            Err(error) => {
                let trouble = session.trouble;
                // Whoever waits holds no connection.
                drop(session);
                (trouble, Err(error))
            }
            Ok(done) => match session.commit().await {
                Ok(()) => (None, Ok(done)),
                Err(error @ StoreError::Contended { .. }) => (Some(Trouble::Contention), Err(error.into())),
                Err(error) => (None, Err(error.into())),
            },
        };
        if ended.is_ok() || !goes_again(trouble, self.run) {
            return Some(ended);
        }
        if trouble == Some(Trouble::Contention) && self.turn.is_none() {
            self.turn = Some(self.store.crowd.acquire().await.expect("invariant: the semaphore is never closed"));
        }
        pause(self.run).await;
        None
    }
}

fn goes_again(trouble: Option<Trouble>, run: u32) -> bool {
    match trouble {
        Some(Trouble::Contention) => run < MOST_RUNS,
        Some(Trouble::Constraint) => run < RUNS_REFUSED,
        None => false,
    }
}

/// Waits a random while, so that those who met once do not meet again.
async fn pause(run: u32) {
    let longest = PAUSE.saturating_mul(1 << run.min(8)).min(LONGEST);
    let share = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    tokio::time::sleep(longest.mul_f64(share)).await;
}
