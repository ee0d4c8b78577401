//! The thread that reads how this device fares, beside the loop that talks: ubus may take its time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use fleet::drift::{Drift, drift};
use fleet::effective::Effective;
use fleet::status::{SectionResult, Status};
use fleet::{ChangeId, SectionPath};
use tokio::time::timeout;
use ubus::Local;

use crate::action::Actions;
use crate::apply::worker::Order;
use crate::apply::{Applier, Places, Wish};
use crate::device;
use crate::flash::Flash;

/// How long reading may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the thread is asked.
#[derive(Default)]
pub struct Question {
    /// What the device should have, if it has been applied: what differs is drift.
    pub applied: Option<Order>,
    /// The changes that ask for actions, by section.
    pub actions: BTreeMap<SectionPath, ChangeId>,
}

/// What it found.
#[derive(Debug, Default)]
pub struct Reading {
    /// How the device fares; what became of its sections is not known here.
    pub status: Status,
    /// Whether a policy wants drift to be taken back.
    pub reverts: bool,
    /// What actions came to that were begun.
    pub done: Vec<SectionResult>,
}

/// The thread.
pub struct Reader {
    questions: Sender<Question>,
    readings: Receiver<Reading>,
    is_busy: bool,
}

impl Reader {
    /// Starts it for the device whose files are under a root.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(root: PathBuf) -> std::io::Result<Self> {
        let (questions, asked) = mpsc::channel();
        let (told, readings) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            let device = Device::new(root);
            while let Ok(question) = asked.recv() {
                let reading = runtime.block_on(device.read(&question));
                if told.send(reading).is_err() {
                    return;
                }
                let done = runtime.block_on(device.act(&question));
                if !done.is_empty() && told.send(Reading { done, ..Reading::default() }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("status".to_owned()).spawn(work)?;
        Ok(Self { questions, readings, is_busy: false })
    }

    /// Asks, unless it is still busy with the question before.
    pub fn ask(&mut self, question: impl FnOnce() -> Question) {
        if !self.is_busy {
            self.is_busy = self.questions.send(question()).is_ok();
        }
    }

    /// What it has found since.
    pub fn take(&mut self) -> Option<Reading> {
        match self.readings.try_recv() {
            Ok(reading) => {
                // What actions came to is told beside the answer.
                self.is_busy &= !reading.done.is_empty();
                Some(reading)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}

/// The device, as this thread reaches it.
struct Device {
    root: PathBuf,
    applier: Applier,
    actions: Actions,
    ubus: PathBuf,
}

impl Device {
    fn new(root: PathBuf) -> Self {
        let places = Places::under(&root);
        let ubus = places.ubus();
        let applier = Applier::new(Arc::new(Local::new(&ubus).with_deadline(Duration::from_secs(5))), places);
        let actions = Actions::new(Flash::new(&root));
        Self { root, applier, actions, ubus }
    }

    async fn read(&self, question: &Question) -> Reading {
        let mut status = match self.ubus.exists() {
            true => match timeout(PATIENCE, device::status(self.applier.client(), &self.root)).await {
                Ok(Ok(status)) => status,
                Ok(Err(error)) => self.without_ubus(&format!("ubus does not answer: {error}")),
                Err(_) => self.without_ubus("ubus does not answer in time"),
            },
            false => device::host::status(&self.root),
        };
        let mut reverts = false;
        if let Some(order) = &question.applied {
            match timeout(PATIENCE, self.drift(order)).await {
                Ok(Ok((drifts, wants_revert))) => {
                    status.drift = drifts.iter().map(ToString::to_string).collect();
                    reverts = wants_revert && !drifts.is_empty();
                }
                Ok(Err(error)) => status.remarks.push(format!("drift cannot be looked for: {error:#}")),
                Err(_) => status.remarks.push("drift cannot be looked for: ubus does not answer in time".to_owned()),
            }
        }
        Reading { status, reverts, done: Vec::new() }
    }

    /// What is known all the same.
    fn without_ubus(&self, reason: &str) -> Status {
        Status { remarks: vec![reason.to_owned()], ..device::host::status(&self.root) }
    }

    async fn drift(&self, order: &Order) -> anyhow::Result<(Vec<Drift>, bool)> {
        let effective = self.effective(order).await?;
        let current = self.applier.current(&order.configuration.sections).await?;
        let reverts = effective.policy.drift == fleet::document::DriftMode::Revert;
        Ok((drift(&effective, &current), reverts))
    }

    async fn effective(&self, order: &Order) -> anyhow::Result<Effective> {
        let mut member = order.member.clone();
        member.facts = device::facts(self.applier.client(), &self.root).await?;
        let wish = Wish {
            change: &order.change,
            member: &member,
            sections: &order.configuration.sections,
            unreadable: &order.configuration.unreadable,
            opener: &*order.opener,
        };
        self.applier.effective(wish).await
    }

    /// Does what is asked for and was not begun yet.
    async fn act(&self, question: &Question) -> Vec<SectionResult> {
        let Some(order) = &question.applied else { return Vec::new() };
        let sections: Vec<SectionPath> = question.actions.keys().cloned().collect();
        let _ = self.actions.forget_others(&sections);
        if sections.is_empty() {
            return Vec::new();
        }
        let Ok(effective) = self.effective(order).await else { return Vec::new() };
        if effective.policy.frozen_by.is_some() {
            // They wait, like everything else.
            return Vec::new();
        }
        let mut done = Vec::new();
        for asked in &effective.actions {
            let section = &asked.origin.section;
            let Some(change) = question.actions.get(section) else { continue };
            let outcome = match self.actions.run_once(section, change, &asked.wanted, self.applier.client()).await {
                Ok(None) => continue,
                Ok(Some(Ok(said))) => format!("done: {}", said.trim()),
                Ok(Some(Err(reason))) => format!("failed: {reason}"),
                Err(error) => format!("failed: {error:#}"),
            };
            let change = change.to_string().chars().take(16).collect();
            done.push(SectionResult { section: section.to_string(), change, outcome });
        }
        done
    }
}
