//! One attempt to apply, step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Outcome, Report};
use crate::{Moment, SectionPath};

/// By how much the router's own rollback comes later than ours: it is for the case that we are gone.
const MARGIN: Duration = Duration::from_secs(30);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// The sections of the fleet that the change comes from.
    pub sections: Vec<SectionPath>,
    /// What became of sections that this attempt leaves out.
    pub settled: BTreeMap<SectionPath, Outcome>,
    /// How long the change may take to be confirmed.
    pub deadline: Duration,
    /// How long the daemons may take to act on it: an answer before that would come over the configuration that was.
    pub settle: Duration,
}

/// What to do next. Each is answered before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take the lock that all writers share, and stage the change of UCI in a session of its own.
    Stage {
        /// After this the router takes the change back by itself.
        rollback: Duration,
    },
    /// Keep space free for restoring.
    Reserve,
    /// Write the journal: to another name, flushed, renamed, its folder flushed.
    WriteJournal,
    /// Run the hooks before the change.
    RunBefore,
    /// Write the files that are no UCI, and the note of what was there before dusk.
    WriteFiles,
    /// Apply what is staged, with the router's rollback pending.
    ApplyUci,
    /// Look whether what policies ask for works.
    Probe,
    /// Ask master or backup over the new configuration. Nothing but their authenticated answer counts.
    Ask,
    /// Wait until then.
    Wait(Moment),
    /// Write the mark that makes the change stay.
    Keep,
    /// Confirm the change of UCI.
    ConfirmUci,
    /// Remove the mark.
    Unkeep,
    /// Write back the files that are no UCI.
    RestoreFiles,
    /// Take the change of UCI back.
    UndoUci,
    /// Remove the journal, its mark and the reserve, and let go of the lock.
    Forget,
    /// Run the hooks after the change.
    RunAfter,
    /// It is over.
    Finish(Report),
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It failed.
    Failed(String),
    /// It cannot work, however often it is tried.
    Impossible(String),
}

/// One attempt to apply.
#[derive(Clone, Debug)]
pub struct Applying {
    job: Job,
    asked: Option<Effect>,
    until: Option<Moment>,
    /// What the last look lacked.
    lack: String,
    failure: Option<Outcome>,
    remarks: Vec<String>,
    /// What has been done that an end must undo.
    is_staged: bool,
    are_files_written: bool,
    is_journal_written: bool,
}

impl Applying {
    /// An attempt that has not begun.
    #[must_use]
    pub fn new(job: Job) -> Self {
        let (lack, remarks) = ("nothing was looked at yet".to_owned(), Vec::new());
        Self {
            job,
            asked: None,
            until: None,
            lack,
            failure: None,
            remarks,
            is_staged: false,
            are_files_written: false,
            is_journal_written: false,
        }
    }

    /// Says what the change comes from, once that is known.
    pub fn concerns(&mut self, sections: Vec<SectionPath>, settled: BTreeMap<SectionPath, Outcome>) {
        (self.job.sections, self.job.settled) = (sections, settled);
    }

    /// What to do next, after what came of the last.
    pub fn next(&mut self, answer: Answer, now: Moment) -> Effect {
        let effect = self.decide(answer, now);
        self.asked = Some(effect.clone());
        effect
    }

    fn decide(&mut self, answer: Answer, now: Moment) -> Effect {
        let Some(asked) = self.asked.take() else {
            return Effect::Stage { rollback: self.job.deadline + MARGIN };
        };
        match (asked, answer) {
            (Effect::Stage { .. }, Answer::Done) => {
                self.is_staged = true;
                Effect::Reserve
            }
            (Effect::Reserve, Answer::Done) => {
                // A journal whose writing failed may be there all the same.
                self.is_journal_written = true;
                Effect::WriteJournal
            }
            (Effect::WriteJournal, Answer::Done) => Effect::RunBefore,
            (Effect::RunBefore, Answer::Done) => {
                self.are_files_written = true;
                Effect::WriteFiles
            }
            (Effect::WriteFiles, Answer::Done) => {
                self.until = Some(now + self.job.deadline);
                Effect::ApplyUci
            }
            (Effect::ApplyUci, Answer::Done) => Effect::Wait(now + self.job.settle),
            (Effect::Wait(_), Answer::Done) => Effect::Probe,
            (Effect::Probe, Answer::Done) => Effect::Ask,
            (Effect::Ask, Answer::Done) => Effect::Keep,
            (Effect::Probe | Effect::Ask, Answer::Failed(lack) | Answer::Impossible(lack)) => {
                self.lack = lack;
                match self.until {
                    Some(until) if now + PAUSE < until => Effect::Wait(now + PAUSE),
                    _ => {
                        let reason = format!("not confirmed within {} s: {}", self.job.deadline.as_secs(), self.lack);
                        self.fail(Outcome::Reverted(reason))
                    }
                }
            }
            (Effect::Keep, Answer::Done) => Effect::ConfirmUci,
            (Effect::ConfirmUci, Answer::Done) => Effect::Forget,
            (Effect::ConfirmUci | Effect::Keep, Answer::Failed(reason) | Answer::Impossible(reason)) => {
                self.failure = Some(Outcome::Reverted(reason));
                Effect::Unkeep
            }
            (Effect::Unkeep | Effect::RestoreFiles | Effect::UndoUci, answer) => {
                if let Answer::Failed(reason) | Answer::Impossible(reason) = answer {
                    self.remarks.push(reason);
                }
                self.go_back()
            }
            (Effect::Forget, answer) => {
                if let Answer::Failed(reason) | Answer::Impossible(reason) = answer {
                    self.remarks.push(reason);
                }
                match self.failure {
                    None => Effect::RunAfter,
                    Some(_) => self.finish(),
                }
            }
            (Effect::RunAfter, answer) => {
                if let Answer::Failed(reason) | Answer::Impossible(reason) = answer {
                    self.remarks.push(reason);
                }
                self.finish()
            }
            (Effect::Finish(report), _) => Effect::Finish(report),
            (_, Answer::Failed(reason)) => self.fail(Outcome::Reverted(reason)),
            (_, Answer::Impossible(reason)) => self.fail(Outcome::Rejected(reason)),
        }
    }

    fn fail(&mut self, outcome: Outcome) -> Effect {
        self.failure = Some(outcome);
        self.go_back()
    }

    /// Undoes in reverse. The journal goes last: whoever starts in between finds it, and undoes the same.
    fn go_back(&mut self) -> Effect {
        if std::mem::take(&mut self.are_files_written) {
            return Effect::RestoreFiles;
        }
        if std::mem::take(&mut self.is_staged) {
            return Effect::UndoUci;
        }
        if std::mem::take(&mut self.is_journal_written) && self.remarks.is_empty() {
            return Effect::Forget;
        }
        // What could not be taken back stays written down for the next start.
        self.finish()
    }

    fn finish(&mut self) -> Effect {
        let outcome = self.failure.clone().unwrap_or(Outcome::Applied);
        let attempt = Some(outcome.clone());
        let mut outcomes = self.job.settled.clone();
        for section in &self.job.sections {
            outcomes.entry(section.clone()).or_insert_with(|| outcome.clone());
        }
        Effect::Finish(Report { attempt, outcomes, remarks: std::mem::take(&mut self.remarks) })
    }
}

#[cfg(test)]
mod tests;
