//! Applying on this device: [`fleet::apply`] decides, this does it: journal, files, UCI through rpcd, hooks, probes.

mod attempt;
mod files;
mod software;
pub mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use fleet::apply::{Outcome, Report};
use fleet::document::{Document, DocumentError};
use fleet::effective::{Effective, Input};
use fleet::ground::Ground;
use fleet::layer::{self, Member, Placed};
use fleet::sealed::Opener;
use ubus::{Client, Local, Ubus};
use uci::{Config, PackageName};

use crate::flash::Flash;

/// Where the journal lies.
pub const JOURNAL: &str = "/etc/dusk/apply/journal";
/// Where the mark lies that makes a change stay.
pub const KEEP: &str = "/etc/dusk/apply/keep";
/// Where space is kept for restoring.
pub const RESERVE: &str = "/etc/dusk/apply/reserve";
/// Where a start leaves word of what it restored.
pub const RESTORED: &str = "/etc/dusk/apply/restored";
/// Where it is written down what was there before dusk.
pub const GROUND: &str = "/etc/dusk/ground";
/// Where the script lies that a start runs.
pub const RESTORE: &str = "/usr/libexec/dusk/restore";

/// What a reason begins with where a policy keeps the device as it is; the section follows.
pub const FROZEN: &str = "applying is frozen by";

/// Where a device's things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The root of its files, `/` but in tests.
    pub root: PathBuf,
    /// The lock that all our writers share.
    pub lock: PathBuf,
    /// The script that ends what a change left unfinished.
    pub restore: PathBuf,
}

/// The lock that all our writers share.
const LOCK: &str = "/run/rhyzome-router.lock";

impl Places {
    /// Those under a root.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        let place = |path: &str| root.join(path.trim_start_matches('/'));
        Self { root: root.to_owned(), lock: place(LOCK), restore: place(RESTORE) }
    }

    /// The socket of the device's ubus.
    #[must_use]
    pub fn ubus(&self) -> PathBuf {
        self.root.join(Local::SOCKET.trim_start_matches('/'))
    }

    /// Whether this is a device that is configured by UCI at all.
    #[must_use]
    pub fn has_uci(&self) -> bool {
        self.root.join("etc/config").is_dir()
    }
}

/// The answer of master or backup, authenticated, over the configuration that is to be confirmed.
#[async_trait]
pub trait Confirm: Send + Sync {
    /// Asks once.
    ///
    /// # Errors
    /// Says why there is no answer. It is asked again until the deadline.
    async fn confirm(&self) -> Result<(), String>;
}

/// What is to be applied.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// What the change is called, one word: mostly the index of its checkpoint.
    pub change: &'a str,
    /// This device.
    pub member: &'a Member,
    /// The fleet's sections about configuration.
    pub sections: &'a [Placed],
    /// Those that could not be read, with the reason.
    pub unreadable: &'a [DocumentError],
    /// Opens what is sealed to the device's groups.
    pub opener: &'a (dyn Opener + Sync),
}

/// Applies on this device.
pub struct Applier {
    client: Arc<Client>,
    places: Places,
    flash: Flash,
    settle: Duration,
}

/// How long the daemons of a device may take to act on a change: before that, an answer would come over the configuration
/// that was.
const SETTLE: Duration = Duration::from_secs(5);

impl Applier {
    /// On the device whose ubus this is, as root.
    #[must_use]
    pub fn new(ubus: Arc<dyn Ubus>, places: Places) -> Self {
        let flash = Flash::new(&places.root);
        Self { client: Arc::new(Client::of_root(ubus)), places, flash, settle: SETTLE }
    }

    /// The same, where daemons are known to act sooner.
    #[must_use]
    pub fn with_settle(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }

    /// The device's ubus.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Ends what an earlier run left unfinished; nothing where there was nothing. A boot has done so before.
    ///
    /// # Errors
    /// When the script fails; the journal stays then.
    pub async fn recover(&self) -> anyhow::Result<Option<String>> {
        if self.flash.read(JOURNAL)?.is_some() {
            let _lock = ubus::Lock::take(&self.places.lock, Duration::from_secs(60)).await?;
            let script = self.places.restore.to_string_lossy();
            let mut arguments = vec![&*script];
            let root = self.places.root.to_string_lossy();
            if self.places.root != Path::new("/") {
                arguments.push(&root);
            }
            let done = crate::shell::run("sh", &arguments, Duration::from_secs(120)).await;
            done.map_err(anyhow::Error::msg).context("what a change left unfinished could not be ended")?;
            // Daemons have what was taken back; they are told, as rpcd would tell them.
            if self.places.root == Path::new("/") {
                let _ = crate::shell::run("/sbin/reload_config", &[], Duration::from_secs(60)).await;
            }
        }
        let word = self.flash.read(RESTORED)?;
        self.flash.remove(RESTORED)?;
        Ok(word.map(|word| match word.first() {
            Some(b'1') => "a confirmed change was completed after an interruption".to_owned(),
            _ => "a change that was not confirmed was taken back after an interruption".to_owned(),
        }))
    }

    /// What was there before dusk came.
    ///
    /// # Errors
    /// When it cannot be read: nothing may be applied then, as it would be lost.
    pub fn ground(&self) -> anyhow::Result<Ground> {
        match self.flash.read(GROUND)? {
            None => Ok(Ground::default()),
            Some(bytes) => {
                let text = String::from_utf8(bytes).with_context(|| format!("{GROUND} is no text"))?;
                Ground::parse(&text).with_context(|| GROUND.to_owned())
            }
        }
    }

    /// The device's packages that configuration depends on, as they are.
    ///
    /// # Errors
    /// When the device does not tell.
    pub async fn current(&self, sections: &[Placed]) -> anyhow::Result<Config> {
        let packages = self.packages(sections, &self.ground()?);
        Ok(self.client.read(&self.there(&packages)).await?)
    }

    /// The configuration that this device should have, given what it has.
    ///
    /// # Errors
    /// When the device does not tell what it has.
    pub async fn effective(&self, wish: Wish<'_>) -> anyhow::Result<Effective> {
        let (ground, current) = (self.ground()?, self.current(wish.sections).await?);
        Ok(effective(wish, &current, &ground))
    }

    /// Brings the device to what is asked, or leaves it as it is.
    ///
    /// # Errors
    /// When it could not even begin.
    pub async fn apply(&self, wish: Wish<'_>, confirm: &dyn Confirm) -> anyhow::Result<Report> {
        let effective = self.effective(wish).await?;
        let mut report = match &effective.policy.frozen_by {
            Some(origin) => {
                let reason = Outcome::Reverted(format!("{FROZEN} {}", origin.section));
                let of_device = layer::of_device(wish.sections, wish.member).into_iter();
                let outcomes = of_device.map(|placed| (placed.origin.section.clone(), reason.clone())).collect();
                Report { outcomes, ..Report::default() }
            }
            None => attempt::Attempt::new(self, wish, confirm, &effective)?.run().await?,
        };
        report.outcomes.extend(self.lacking_software(&effective));
        Ok(report)
    }

    /// The packages that sections and the ground speak of, and those that tell what the hardware is like.
    fn packages(&self, sections: &[Placed], ground: &Ground) -> Vec<PackageName> {
        let of_sections = sections.iter().filter_map(|placed| match &placed.document {
            Document::Config(config) => Some(&config.package),
            _ => None,
        });
        let mut packages: Vec<PackageName> =
            of_sections.chain(ground.sections.keys().map(|(package, _)| package)).cloned().collect();
        packages.extend(PackageName::new("wireless"));
        packages.sort();
        packages.dedup();
        packages
    }

    /// Those of which there is a file.
    fn there(&self, packages: &[PackageName]) -> Vec<PackageName> {
        packages.iter().filter(|package| self.flash.place(&file_of(package)).exists()).cloned().collect()
    }
}

/// Where a package lies.
fn file_of(package: &PackageName) -> String {
    format!("/etc/config/{package}")
}

fn effective(wish: Wish<'_>, current: &Config, ground: &Ground) -> Effective {
    let Wish { member, sections, unreadable, opener, .. } = wish;
    Effective::of(Input { member, sections, unreadable, current, ground, opener })
}
