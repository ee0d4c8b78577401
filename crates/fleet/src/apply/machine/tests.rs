//! A device that loses power, or its agent, at every step of every attempt.

use std::collections::BTreeMap;

use super::*;
use crate::apply::{FileEntry, Journal, Sections, Write, restore};

const UCI: &str = "/etc/config/network";
const FILE: &str = "/etc/banner";
const OLD_UCI: &str = "config interface 'lan'\n\toption mtu '1500'\n";
const NEW_UCI: &str = "\nconfig interface 'lan'\n\toption mtu '1400'\n\n";
const DEADLINE: Duration = Duration::from_secs(90);

/// What outlives a power cut.
#[derive(Clone, Debug, Default, PartialEq)]
struct Flash {
    files: BTreeMap<String, Vec<u8>>,
    journal: Option<Vec<u8>>,
    mark: Option<String>,
}

/// rpcd: what a boot forgets.
#[derive(Clone, Debug, Default)]
struct Rpcd {
    is_staged: bool,
    pending: Option<(Moment, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Device {
    flash: Flash,
    rpcd: Rpcd,
    now: Moment,
    /// Whether master answers over the new configuration.
    master: bool,
    confirmed: bool,
    fails: Option<usize>,
    steps: usize,
}

/// What ends with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// The power: rpcd forgets.
    Power,
    /// The agent: rpcd goes on.
    Agent,
}

fn journal() -> Journal {
    let uci = FileEntry {
        path: UCI.to_owned(),
        owner: 0,
        group: 0,
        mode: 0o600,
        old: Some(OLD_UCI.into()),
        new: Some(NEW_UCI.into()),
        sections: Some(Sections { names: vec!["lan".to_owned()], old: OLD_UCI.into() }),
    };
    let file = FileEntry { path: FILE.to_owned(), old: None, new: Some(b"hi".to_vec()), sections: None, ..uci.clone() };
    Journal { change: "1".to_owned(), files: vec![uci, file] }
}

impl Device {
    fn new(master: bool) -> Self {
        let flash = Flash { files: [(UCI.to_owned(), OLD_UCI.into())].into(), ..Flash::default() };
        let rpcd = Rpcd::default();
        Self { flash, rpcd, now: Moment::from_millis(0), master, confirmed: false, fails: None, steps: 0 }
    }

    fn write(&mut self, write: Write) {
        match write.content {
            Some(content) => drop(self.flash.files.insert(write.path, content)),
            None => drop(self.flash.files.remove(&write.path)),
        }
    }

    /// Does one effect. `crash_in` counts writes: at 0, the power goes before the write.
    fn carry_out(&mut self, effect: &Effect, crash_in: &mut Option<usize>) -> Result<Answer, ()> {
        let mut write = |device: &mut Self, doing: &mut dyn FnMut(&mut Self)| match crash_in {
            Some(0) => Err(()),
            _ => {
                if let Some(count) = crash_in.as_mut() {
                    *count -= 1;
                }
                doing(device);
                Ok(())
            }
        };
        self.steps += 1;
        if self.fails == Some(self.steps) {
            return Ok(Answer::Failed("flash is full".to_owned()));
        }
        match effect {
            Effect::Stage { .. } => self.rpcd.is_staged = true,
            Effect::Reserve | Effect::RunBefore | Effect::RunAfter => {}
            Effect::WriteJournal => write(self, &mut |device| device.flash.journal = Some(journal().encode()))?,
            Effect::WriteFiles => write(self, &mut |device| {
                device.write(Write { path: FILE.to_owned(), content: Some(b"hi".to_vec()) });
            })?,
            Effect::ApplyUci => write(self, &mut |device| {
                let before = device.flash.files.insert(UCI.to_owned(), NEW_UCI.into()).unwrap();
                device.rpcd.pending = Some((device.now + DEADLINE + MARGIN, before));
            })?,
            Effect::Probe => {}
            Effect::Ask => {
                if !self.master {
                    return Ok(Answer::Failed("no answer".to_owned()));
                }
                self.confirmed = true;
            }
            Effect::Wait(until) => self.now = *until,
            Effect::Keep => write(self, &mut |device| {
                let journal = device.flash.journal.as_deref().unwrap();
                device.flash.mark = Journal::checksum(journal).map(str::to_owned);
            })?,
            Effect::ConfirmUci => write(self, &mut |device| device.rpcd.pending = None)?,
            Effect::Unkeep => write(self, &mut |device| device.flash.mark = None)?,
            Effect::RestoreFiles => {
                for file in journal().files.iter().filter(|file| file.sections.is_none()) {
                    let (path, content) = (file.path.clone(), file.old.clone());
                    write(self, &mut |device| device.write(Write { path: path.clone(), content: content.clone() }))?;
                }
            }
            Effect::UndoUci => write(self, &mut |device| {
                device.rpcd.is_staged = false;
                if let Some((_, before)) = device.rpcd.pending.take() {
                    device.flash.files.insert(UCI.to_owned(), before);
                }
            })?,
            Effect::Forget => {
                // The journal first: a mark without one means nothing.
                write(self, &mut |device| device.flash.journal = None)?;
                write(self, &mut |device| device.flash.mark = None)?;
            }
            Effect::Finish(_) => {}
        }
        Ok(Answer::Done)
    }

    /// What a start does.
    fn start(&mut self) {
        if let Some(bytes) = self.flash.journal.clone() {
            let journal = Journal::decode(&bytes).unwrap();
            let is_kept = self.flash.mark.as_deref() == Journal::checksum(&bytes);
            let files = self.flash.files.clone();
            for write in restore(&journal, is_kept, |path| files.get(path).cloned()) {
                self.write(write);
            }
        }
        (self.flash.journal, self.flash.mark) = (None, None);
    }

    fn crash(&mut self, crash: Crash) {
        if crash == Crash::Power {
            self.rpcd = Rpcd::default();
        }
        self.start();
        // Time passes: what is pending is taken back.
        if let Some((at, before)) = self.rpcd.pending.take() {
            self.now = at;
            self.flash.files.insert(UCI.to_owned(), before);
        }
    }

    fn has(&self, uci: &str, file: bool) -> bool {
        self.flash.files[UCI] == uci.as_bytes() && self.flash.files.contains_key(FILE) == file
    }
}

fn attempt(device: &mut Device, mut crash_in: Option<usize>) -> Result<Report, ()> {
    let section = "groups/ap/config/network".parse().unwrap();
    let job = Job { sections: vec![section], deadline: DEADLINE, settle: Duration::from_secs(5), ..Job::default() };
    let mut applying = Applying::new(job);
    let mut answer = Answer::Done;
    for _ in 0..10_000 {
        let effect = applying.next(answer, device.now);
        if let Effect::Finish(report) = effect {
            return Ok(report);
        }
        answer = device.carry_out(&effect, &mut crash_in)?;
    }
    panic!("it does not end");
}

#[test]
fn a_change_that_is_confirmed_stays_and_leaves_nothing_behind() {
    let mut device = Device::new(true);
    let report = attempt(&mut device, None).unwrap();
    assert!(report.outcomes.values().all(|outcome| *outcome == Outcome::Applied), "{report:?}");
    assert!(device.has(NEW_UCI, true) && device.flash.journal.is_none() && device.flash.mark.is_none());
}

#[test]
fn a_change_that_cuts_a_device_off_is_taken_back_in_time() {
    let mut device = Device::new(false);
    let report = attempt(&mut device, None).unwrap();
    assert_eq!(report.outcomes.values().next().unwrap().to_string(), "reverted: not confirmed within 90 s: no answer");
    assert!(device.has(OLD_UCI, false) && device.flash.journal.is_none());
    assert!(device.now <= Moment::from_millis(90_000), "{:?}", device.now);
}

#[test]
fn a_crash_at_any_write_leaves_the_old_or_the_new_and_the_next_attempt_works() {
    for master in [true, false] {
        for crash in [Crash::Power, Crash::Agent] {
            let mut writes = 0;
            loop {
                let mut device = Device::new(master);
                let crashed = attempt(&mut device, Some(writes)).is_err();
                let told = format!("master {master}, {crash:?} at write {writes}");
                if !crashed {
                    break;
                }
                device.crash(crash);
                assert!(device.flash.journal.is_none() && device.flash.mark.is_none(), "{told}");
                let is_old = device.has(OLD_UCI, false);
                let is_new = device.has(NEW_UCI, true);
                // The agent alone may die between the mark and the confirmation: the router takes UCI back, and the agent
                // finds a difference and applies again.
                let is_half = crash == Crash::Agent && device.confirmed && device.has(OLD_UCI, true);
                assert!(is_old || is_new || is_half, "{told}: {:?}", device.flash);
                assert!(!is_new || device.confirmed, "{told}: new without an answer from master");
                device.master = true;
                attempt(&mut device, None).unwrap();
                assert!(device.has(NEW_UCI, true), "{told}: the next attempt");
                writes += 1;
            }
            assert!(writes >= 6, "{writes} writes");
        }
    }
}

#[test]
fn whatever_fails_is_taken_back_and_told() {
    for step in 1..=11 {
        let mut device = Device::new(true);
        device.fails = Some(step);
        let report = attempt(&mut device, None).unwrap();
        let outcome = report.outcomes.values().next().unwrap();
        let is_new = device.has(NEW_UCI, true);
        assert_eq!(is_new, *outcome == Outcome::Applied, "step {step}: {report:?}");
        assert!(is_new || device.has(OLD_UCI, false), "step {step}: {:?}", device.flash);
        assert_eq!(device.flash.journal, None, "step {step}");
    }
}

#[test]
fn where_others_wrote_since_only_our_sections_go_back() {
    let found = format!("{NEW_UCI}\nconfig interface 'guest'\n\toption proto 'none'\n");
    let writes = restore(&journal(), false, |path| (path == UCI).then(|| found.clone().into_bytes()));
    let [Write { content: Some(content), .. }] = &writes[..] else { panic!("{writes:?}") };
    let text = str::from_utf8(content).unwrap();
    assert!(text.contains("'1500'") && text.contains("'guest'") && !text.contains("'1400'"), "{text}");
}
