//! One attempt to apply, on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context;
use fleet::apply::{Answer, Applying, Effect, FileEntry, Job, Journal, Outcome, Report, Sections, restore};
use fleet::document::When;
use fleet::effective::Effective;
use fleet::ground::FileBefore;
use fleet::layer;
use fleet::placement::{CRON, placements};
use fleet::plan::{Plan, PlanError, plan};
use fleet::{Moment, SectionPath};
use ubus::{Settings, Staged, Transaction, TransactionError};
use uci::{Change, Config, Identity, Package, PackageName, Section, SectionName};

use super::files::{Changing, changing};
use super::{Applier, Confirm, GROUND, JOURNAL, KEEP, RESERVE, Wish, effective, file_of};
use crate::flash::{Ownership, own_group, own_user};
use crate::{probe, shell};

/// What restoring needs beside what files hold: names, folders, the last block of each.
const ROOM: usize = 32 * 1024;

pub(super) struct Attempt<'a> {
    applier: &'a Applier,
    wish: Wish<'a>,
    confirm: &'a dyn Confirm,
    /// As it was before the lock was taken; policies do not depend on what the device has.
    effective: &'a Effective,
    machine: Applying,
    began: Instant,
    /// Packages of which an empty file was made.
    made: Vec<PackageName>,
    staged: Option<Staged>,
    journal: Journal,
    changing: Vec<Changing>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        applier: &'a Applier,
        wish: Wish<'a>,
        confirm: &'a dyn Confirm,
        effective: &'a Effective,
    ) -> anyhow::Result<Self> {
        let is_word = !wish.change.is_empty() && wish.change.bytes().all(|byte| byte.is_ascii_alphanumeric());
        anyhow::ensure!(is_word, "{:?} names no change: expected letters and digits", wish.change);
        let deadline = Duration::from_secs(effective.policy.deadline.into());
        let job = Job { deadline, settle: applier.settle, ..Job::default() };
        Ok(Self {
            applier,
            wish,
            confirm,
            effective,
            machine: Applying::new(job),
            began: Instant::now(),
            made: Vec::new(),
            staged: None,
            journal: Journal { change: wish.change.to_owned(), files: Vec::new() },
            changing: Vec::new(),
        })
    }

    pub(super) async fn run(mut self) -> anyhow::Result<Report> {
        let mut answer = Answer::Done;
        loop {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let effect = self.machine.next(answer, Moment::from_millis(now));
            if let Effect::Finish(report) = effect {
                return Ok(report);
            }
            answer = match self.carry_out(&effect).await {
                Ok(()) => Answer::Done,
                Err(Failure::Impossible(reason)) => Answer::Impossible(reason),
                Err(Failure::Other(error)) => Answer::Failed(format!("{error:#}")),
            };
            let is_idle =
                matches!(effect, Effect::Stage { .. }) && answer == Answer::Done && self.journal.files.is_empty();
            if is_idle {
                return self.finish_idle().await;
            }
        }
    }

    async fn carry_out(&mut self, effect: &Effect) -> Result<(), Failure> {
        let flash = &self.applier.flash;
        match effect {
            Effect::Stage { rollback } => self.stage(*rollback).await?,
            Effect::Reserve => flash.reserve(RESERVE, self.journal.reserve() + ROOM)?,
            Effect::WriteJournal => flash.write(JOURNAL, &self.journal.encode(), private())?,
            Effect::RunBefore => self.hooks(When::Before).await?,
            Effect::WriteFiles => self.write_files()?,
            Effect::ApplyUci => {
                if let Some(staged) = &mut self.staged {
                    staged.apply().await.map_err(Failure::of)?;
                }
            }
            Effect::Probe => {
                for sourced in &self.effective.policy.probes {
                    let found = probe::look(&sourced.wanted, &self.applier.client).await;
                    found.map_err(anyhow::Error::msg)?;
                }
            }
            Effect::Ask => self.confirm.confirm().await.map_err(anyhow::Error::msg)?,
            Effect::Wait(until) => {
                let until = Duration::from_millis(until.as_millis());
                tokio::time::sleep(until.saturating_sub(self.began.elapsed())).await;
            }
            Effect::Keep => {
                let bytes = self.journal.encode();
                let checksum = Journal::checksum(&bytes).unwrap_or_default();
                flash.write(KEEP, checksum.as_bytes(), private())?;
            }
            Effect::ConfirmUci => {
                if let Some(staged) = &mut self.staged {
                    staged.confirm().await.map_err(Failure::of)?;
                }
            }
            Effect::Unkeep => flash.remove(KEEP)?,
            Effect::RestoreFiles => self.restore_files()?,
            Effect::UndoUci => {
                if let Some(staged) = self.staged.take() {
                    staged.undo().await.map_err(|error| chain(&error))?;
                }
                self.unmake()?;
            }
            Effect::Forget => {
                flash.remove(JOURNAL)?;
                flash.remove(KEEP)?;
                flash.remove(RESERVE)?;
                if let Some(staged) = self.staged.take() {
                    staged.end().await;
                }
            }
            Effect::RunAfter => {
                if self.changing.iter().any(|file| file.entry.path == CRON) {
                    self.restart_cron().await;
                }
                self.hooks(When::After).await?;
            }
            Effect::Finish(_) => {}
        }
        Ok(())
    }

    /// Stages the change of UCI, and finds out what files change.
    async fn stage(&mut self, rollback: Duration) -> Result<(), Failure> {
        let ground = self.applier.ground()?;
        let current = self.applier.current(self.wish.sections).await?;
        let ahead = plan(&effective(self.wish, &current, &ground), &current, &ground).map_err(impossible)?;
        for package in ahead.missing {
            self.applier.flash.write(&file_of(&package), b"", private())?;
            self.made.push(package);
        }
        let settings =
            Settings { rollback, verify: Duration::from_secs(1), ..Settings::new(&self.applier.places.lock) };
        let transaction = Transaction::new(std::sync::Arc::clone(&self.applier.client), settings);
        let transaction = transaction.context("the deadline of the policy")?;
        let packages = self.applier.packages(self.wish.sections, &ground);
        let packages = self.applier.there(&packages);
        let planned: OnceLock<(Effective, Plan)> = OnceLock::new();
        let staged = transaction.stage(&packages, |config| -> Result<_, PlanError> {
            let effective = effective(self.wish, config, &ground);
            let plan = plan(&effective, config, &ground)?;
            let changes = plan.changes.clone();
            let _ = planned.set((effective, plan));
            Ok(changes)
        });
        let staged = match staged.await {
            Ok(staged) => staged,
            Err(error) => {
                self.unmake()?;
                return Err(Failure::of(error));
            }
        };
        let (effective, plan) = planned.into_inner().context("invariant: a transaction that is staged was planned")?;
        let prepared = self.prepare(&effective, &plan, &staged);
        self.staged = Some(staged);
        if let Err(error) = prepared {
            if let Some(staged) = self.staged.take() {
                staged.undo().await.map_err(|error| chain(&error))?;
            }
            self.unmake()?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Writes the journal's entries, and tells the machine what the change comes from.
    fn prepare(&mut self, effective: &Effective, plan: &Plan, staged: &Staged) -> anyhow::Result<()> {
        let flash = &self.applier.flash;
        let packages: BTreeSet<&PackageName> = plan.changes.iter().map(|change| &change.config).collect();
        for package in packages {
            let path = file_of(package);
            let found = flash.look(&path)?;
            let old = found.as_ref().map(|found| found.content.clone());
            self.journal.files.push(FileEntry {
                path,
                owner: found.as_ref().map_or(own_user(), |found| found.owner),
                group: found.as_ref().map_or(own_group(), |found| found.group),
                mode: found.as_ref().map_or(0o600, |found| found.mode),
                old: old.filter(|_| !self.made.contains(package)),
                new: Some(predicted(&found, plan, staged.target(), package).into_bytes()),
                sections: Some(sections(effective, plan, staged.before(), package)),
            });
        }
        let look = |path: &str| flash.look(path).ok().flatten();
        let ground = self.applier.ground()?;
        let (placements, files) = placements(effective, &ground, look);
        let (changing, refused) = changing(flash, placements)?;
        self.changing = changing;
        self.changing.retain(|file| file.origin.as_ref().is_none_or(|origin| !refused.contains_key(origin)));
        let ground = fleet::ground::Ground { files, ..plan.ground.clone() };
        self.note_ground(&ground)?;
        self.journal.files.extend(self.changing.iter().map(|file| file.entry.clone()));
        let mut touched: BTreeSet<SectionPath> = plan.touched.values().flatten().cloned().collect();
        touched.extend(self.changing.iter().filter_map(|file| file.origin.clone()));
        let mut settled: BTreeMap<SectionPath, Outcome> = BTreeMap::new();
        for placed in layer::of_device(self.wish.sections, self.wish.member) {
            let section = &placed.origin.section;
            if !touched.contains(section) {
                settled.insert(section.clone(), Outcome::Applied);
            }
        }
        for error in &effective.rejected {
            settled.insert(error.path.clone(), Outcome::Rejected(error.to_string()));
        }
        settled.extend(refused.into_iter().map(|(section, reason)| (section, Outcome::Rejected(reason))));
        self.machine.concerns(touched.into_iter().collect(), settled);
        Ok(())
    }

    /// What was there before dusk is written down with the change, as one of its files.
    fn note_ground(&mut self, ground: &fleet::ground::Ground) -> anyhow::Result<()> {
        let text = ground.print().into_bytes();
        let found = self.applier.flash.look(GROUND)?;
        if found.as_ref().is_some_and(|found| found.content == text)
            || (found.is_none() && *ground == Default::default())
        {
            return Ok(());
        }
        let entry = FileEntry {
            path: GROUND.to_owned(),
            owner: own_user(),
            group: own_group(),
            mode: 0o600,
            old: found.map(|found| found.content),
            new: Some(text),
            sections: None,
        };
        self.changing.push(Changing { entry, ownership: private(), origin: None });
        Ok(())
    }

    fn write_files(&self) -> anyhow::Result<()> {
        for file in &self.changing {
            match &file.entry.new {
                Some(content) => self.applier.flash.write(&file.entry.path, content, file.ownership)?,
                None => self.applier.flash.remove(&file.entry.path)?,
            }
        }
        Ok(())
    }

    fn restore_files(&self) -> anyhow::Result<()> {
        let files: Vec<FileEntry> = self.changing.iter().map(|file| file.entry.clone()).collect();
        let journal = Journal { files, ..Journal::default() };
        let read = |path: &str| self.applier.flash.read(path).ok().flatten();
        for write in restore(&journal, false, read) {
            let entry = journal.files.iter().find(|entry| entry.path == write.path);
            let (Some(content), Some(entry)) = (&write.content, entry) else {
                self.applier.flash.remove(&write.path)?;
                continue;
            };
            let FileEntry { owner, group, mode, .. } = *entry;
            self.applier.flash.write(&write.path, content, Ownership { owner, group, mode })?;
        }
        Ok(())
    }

    /// Removes the files of packages that were made for this change and are still empty.
    fn unmake(&mut self) -> anyhow::Result<()> {
        for package in std::mem::take(&mut self.made) {
            let path = file_of(&package);
            let found = self.applier.flash.read(&path)?.unwrap_or_default();
            if found.iter().all(u8::is_ascii_whitespace) {
                self.applier.flash.remove(&path)?;
            }
        }
        Ok(())
    }

    async fn hooks(&self, when: When) -> anyhow::Result<()> {
        for sourced in self.effective.policy.hooks.iter().filter(|sourced| sourced.wanted.when == when) {
            let hook = &sourced.wanted;
            let done = shell::line(&hook.command, Duration::from_secs(hook.seconds.into())).await;
            let named = || format!("hook {:?} of {}", hook.command, sourced.origin.section);
            done.map_err(anyhow::Error::msg).with_context(named)?;
        }
        Ok(())
    }

    /// crond runs only where there were jobs when it was started.
    async fn restart_cron(&self) {
        let script = self.applier.flash.place("/etc/init.d/cron");
        if script.exists() {
            let _ = shell::run(&script.to_string_lossy(), &["restart"], Duration::from_secs(30)).await;
        }
    }

    /// There was nothing to do.
    async fn finish_idle(mut self) -> anyhow::Result<Report> {
        if let Some(staged) = self.staged.take() {
            staged.end().await;
        }
        self.unmake()?;
        let of_device = layer::of_device(self.wish.sections, self.wish.member).into_iter();
        let mut outcomes: BTreeMap<_, _> =
            of_device.map(|placed| (placed.origin.section.clone(), Outcome::Applied)).collect();
        let rejected = self.effective.rejected.iter();
        outcomes.extend(rejected.map(|error| (error.path.clone(), Outcome::Rejected(error.to_string()))));
        Ok(Report { outcomes, ..Report::default() })
    }
}

/// The UCI sections of a package that the change is about, and what they were, under the names that they have after it.
fn sections(effective: &Effective, plan: &Plan, before: &Config, package: &PackageName) -> Sections {
    let names: Vec<&SectionName> = plan.touched.keys().filter(|(of, _)| of == package).map(|(_, name)| name).collect();
    let old = names.iter().filter_map(|name| {
        let wanted = effective.sections.get(&(package.clone(), (*name).clone()));
        let id = wanted.and_then(|wanted| wanted.found_as.as_ref()).unwrap_or(name);
        let section = before.get(package.as_str())?.section(id.as_str())?;
        let options = section.options().map(|(name, value)| (name.clone(), value.clone()));
        Some(Section::from_parts(section.kind().clone(), Identity::Named((*name).clone()), options))
    });
    let old = Package::from_sections(package.clone(), old).map(|package| package.canonical()).unwrap_or_default();
    Sections { names: names.into_iter().map(ToString::to_string).collect(), old: old.into_bytes() }
}

/// What rpcd will write, so that a start knows it again: it keeps the order of a file, which its answers do not tell.
fn predicted(found: &Option<FileBefore>, plan: &Plan, target: &Config, package: &PackageName) -> String {
    let text = found.as_ref().and_then(|found| str::from_utf8(&found.content).ok()).unwrap_or("");
    let changes: Vec<Change> = plan.changes.iter().filter(|change| change.config == *package).cloned().collect();
    if let Ok(mut written) = Package::parse(package.clone(), text)
        && uci::apply(&mut written, &changes).is_ok()
    {
        return written.canonical();
    }
    // Known by its sections then.
    target.get(package.as_str()).map(Package::canonical).unwrap_or_default()
}

fn private() -> Ownership {
    Ownership { owner: own_user(), group: own_group(), mode: 0o600 }
}

/// Why a step failed.
enum Failure {
    /// No other try would come to anything else.
    Impossible(String),
    Other(anyhow::Error),
}

impl Failure {
    fn of(error: TransactionError) -> Self {
        match error.may_succeed_later() {
            true => Self::Other(chain(&error)),
            false => Self::Impossible(format!("{:#}", chain(&error))),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn impossible(error: PlanError) -> Failure {
    Failure::Impossible(format!("{:#}", chain(&error)))
}

/// An error with its causes, as text: some causes are not for other threads.
fn chain(error: &dyn std::error::Error) -> anyhow::Error {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let texts: Vec<String> = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    anyhow::Error::msg(texts.join(": "))
}
