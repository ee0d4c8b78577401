//! The router as the agent's target: jobs in, reports out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use jobs::{Batching, Context, EntryReport, Held, Job, Object, Observer, Outcome, Report, Target, observed};
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use types::Slot;
use ubus::{Step, TransactionError, UbusError};
use uci::{Change, Config, Edit, SectionName};

use crate::configuration::Configuration;
use crate::diary::{DRIFTED, Diary, Sight};
use crate::effect::Dump;
use crate::live_peers::{Live, Wanted, show_peers, show_routes};
use crate::mark::{self, Mark};
use crate::names::Names;
use crate::plan::{Decision, Found, Placement, plan};
use crate::render::Settings;
use crate::router::Router;
use crate::verification::Verification;

/// How often the router is looked at between jobs.
const WATCH: Duration = Duration::from_secs(30);

/// A router that networks are brought to.
pub struct RouterTarget {
    router: Router,
    settings: Settings,
    endpoint: Endpoint,
    /// Whoever changes the router has it: a look that began before a change must not act after it.
    turn: Mutex<()>,
    /// Whether the router's release is one that we work.
    is_fit: AtomicBool,
}

/// Where peers reach the router.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What was configured.
    pub host: Option<String>,
    /// The interface whose address counts otherwise.
    pub wan_interface: String,
}

impl RouterTarget {
    /// The target that `configuration` describes. Reads the files it names and connects to nothing.
    pub fn configured(configuration: &Configuration) -> anyhow::Result<Self> {
        let settings = Settings { segments: configuration.segments.clone(), wan_zone: configuration.wan_zone.clone() };
        let endpoint =
            Endpoint { host: configuration.endpoint_host.clone(), wan_interface: configuration.wan_interface.clone() };
        Ok(Self::new(Router::configured(&configuration.router)?, settings, endpoint))
    }

    /// A target on `router`.
    pub fn new(router: Router, settings: Settings, endpoint: Endpoint) -> Self {
        Self { router, settings, endpoint, turn: Mutex::new(()), is_fit: AtomicBool::new(false) }
    }

    /// Refuses a router that we do not work; looks again only when the router is read.
    async fn check_board(&self) -> anyhow::Result<()> {
        if !self.is_fit.load(Ordering::Relaxed) {
            self.router.board().await?.check()?;
            self.is_fit.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Brings all of `jobs` about in one transaction.
    async fn together(&self, jobs: &[Job]) -> Result<Vec<Report>, Failure> {
        self.check_board().await.map_err(Failure::Router)?;
        let dump = self.router.dump().await.map_err(Failure::Router)?;
        let name_servers = self.router.name_servers().await;
        let decided = OnceLock::new();
        let began = Instant::now();
        let outcome = self
            .router
            .change(
                |config| {
                    let found = Found { config: config.clone(), addresses: dump.addresses() };
                    let decisions = plan(jobs, &found, &self.settings);
                    let mut changes = Vec::new();
                    for placement in placements(&decisions) {
                        changes.extend(placement.changes(config)?);
                    }
                    tracing::debug!(jobs = jobs.len(), changes = changes.len(), "planned");
                    let restarting = slots_in("dhcp", &changes);
                    let _ = decided.set(Decided { decisions, restarting });
                    Ok(changes)
                },
                || async {
                    let Some(Decided { decisions, restarting }) = decided.get() else {
                        return Ok(());
                    };
                    let verification = Verification {
                        router: &self.router,
                        placements: placements(decisions).collect(),
                        name_servers: name_servers.as_ref(),
                        restarting,
                        began,
                    };
                    Ok(verification.look().await?)
                },
            )
            .await
            .map_err(Failure::Transaction)?;
        tracing::info!(jobs = jobs.len(), ?outcome, duration_ms = millis(began), "router is as asked");
        let decisions = decided.into_inner().map(|decided| decided.decisions).unwrap_or_default();
        // What was not changed was not looked at either.
        let dump = match outcome {
            ubus::Outcome::Confirmed => None,
            ubus::Outcome::Unchanged => Some(dump),
        };
        let mut reports = Vec::with_capacity(jobs.len());
        for (job, decision) in jobs.iter().zip(&decisions) {
            reports.push(self.finish(job, decision, dump.as_ref()).await);
        }
        Ok(reports)
    }

    /// What UCI does not do: the running WireGuard. Then the report.
    async fn finish(&self, job: &Job, decision: &Decision, dump: Option<&Dump>) -> Report {
        let placement = match decision {
            Decision::Refuse(reason) => return Report::refused(job, reason),
            Decision::Wait(reason) => return Report::retrying(job, reason),
            Decision::Place(placement) => placement,
        };
        if let Some(lack) = dump.and_then(|dump| dump.lacks(placement)) {
            return Report::retrying(job, lack);
        }
        let Some(network) = &placement.network else {
            return Report::applied(job);
        };
        if let Err(error) = self.steer(network.network.slot, &placement.sections).await {
            return Report::retrying(job, format!("{error:#}"));
        }
        let refuse = |reason: &String| EntryReport { outcome: Outcome::Refused, reason: Some(reason.clone()) };
        let entries: BTreeMap<_, _> = network.refused.iter().map(|(id, reason)| (*id, refuse(reason))).collect();
        let endpoint_host = self.endpoint_host().await;
        Report { entries, ..Report::applied(job) }.with_status(&observed::Network { endpoint_host, unreachable: None })
    }

    /// Makes the running peers in `slot` those of `sections`.
    async fn steer(&self, slot: Slot, sections: &Config) -> anyhow::Result<()> {
        let names = Names::of(slot);
        let peers = self.router.run(&show_peers(names)).await?;
        if peers.code != 0 {
            bail!("WireGuard {} does not answer: {}", names.wireguard(), peers.stderr.trim());
        }
        // A table without routes is an error to some versions of ip.
        let routes = self.router.run(&show_routes(names)).await?;
        for command in Live::read(&peers.stdout, &routes.stdout).towards(names, &Wanted::of(sections, names)) {
            let output = self.router.run(&command).await?;
            if output.code != 0 {
                bail!("{command} failed on the router: {}", output.stderr.trim());
            }
            tracing::info!(%command, "steered a running interface");
        }
        Ok(())
    }

    async fn endpoint_host(&self) -> Option<String> {
        if self.endpoint.host.is_some() {
            return self.endpoint.host.clone();
        }
        let dump = self.router.dump().await.ok()?;
        let address = dump.addresses().into_iter().find(|address| address.interface == self.endpoint.wan_interface)?;
        Some(address.address.to_string())
    }

    /// One look at the router between jobs: what it holds, where peers reach it, and its running peers set right.
    async fn look(&self) -> anyhow::Result<Sight> {
        let _turn = self.turn.lock().await;
        let config = self.router.config().await?;
        let mut sight = Ok(Sight { held: held(&config), endpoint_host: self.endpoint_host().await });
        for mark in marks(&config) {
            let steered = self.steer(mark.slot, &config).await.with_context(|| format!("the peers of {}", mark.id));
            // The peers of one network are not to wait for those of another.
            if let (Err(error), true) = (steered, sight.is_ok()) {
                sight = Err(error);
            }
        }
        sight
    }
}

#[async_trait]
impl Target for RouterTarget {
    fn features(&self) -> &'static [&'static str] {
        self.settings.segments.features()
    }

    fn batching(&self) -> Batching {
        Batching::Together
    }

    async fn capacity(&self) -> observed::Capacity {
        // What it does not tell is not needed for its work.
        let note = match (self.router.board().await, self.router.info().await) {
            (Ok(board), Ok(info)) => Some(format!("{board}, {info}")),
            (Ok(board), Err(_)) => Some(board.to_string()),
            (Err(_), _) => None,
        };
        observed::Capacity { note, underlay: self.settings.segments.underlay(), ..observed::Capacity::default() }
    }

    async fn held(&self) -> anyhow::Result<Vec<Held>> {
        self.is_fit.store(false, Ordering::Relaxed);
        self.check_board().await?;
        Ok(held(&self.router.config().await?))
    }

    async fn apply(&self, jobs: Vec<Job>, _context: &Context) -> Vec<Report> {
        let _turn = self.turn.lock().await;
        let failure = match self.together(&jobs).await {
            Ok(reports) => return reports,
            Err(failure) => failure,
        };
        failure.log(jobs.len());
        if jobs.len() == 1 || !failure.may_lie_with_one() {
            return jobs.iter().map(|job| failure.report(job)).collect();
        }
        let mut reports = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.together(std::slice::from_ref(&job)).await {
                Ok(report) => reports.extend(report),
                Err(failure) => {
                    failure.log(1);
                    reports.push(failure.report(&job));
                }
            }
        }
        reports
    }

    async fn watch(&self, observer: Observer) {
        let mut ticks = interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut diary = Diary::default();
        loop {
            ticks.tick().await;
            let look = self.look().await;
            let held = look.as_ref().ok().map(|sight| sight.held.clone());
            for (object, seen) in diary.enter(look) {
                observer.observe(object, &seen).await;
            }
            if let Some(held) = held {
                observer.found(held).await;
            }
        }
    }
}

/// Why a batch was not brought about.
enum Failure {
    Router(anyhow::Error),
    Transaction(TransactionError),
}

impl Failure {
    /// Whether the same batch without one of its jobs may succeed.
    fn may_lie_with_one(&self) -> bool {
        use TransactionError as E;
        match self {
            Self::Router(_) => false,
            Self::Transaction(E::Call { step, source }) => {
                matches!(step, Step::Stage | Step::ReadBack | Step::Apply)
                    && !source.is_lost()
                    && !source.is_access_denied()
            }
            Self::Transaction(E::Plan { .. } | E::NotAsAsked { .. } | E::Unverified { .. } | E::Conflict { .. }) => {
                true
            }
            Self::Transaction(
                E::Lock(_) | E::Busy | E::Denied { .. } | E::Unread { .. } | E::TakenBack | E::NotUndone { .. },
            ) => false,
        }
    }

    fn report(&self, job: &Job) -> Report {
        use TransactionError as E;
        match self {
            // No other try brings other records, or another plan.
            Self::Transaction(E::Plan { .. } | E::NotAsAsked { .. }) => Report::refused(job, self.chain()),
            Self::Transaction(_) | Self::Router(_) => {
                let report = Report::retrying(job, self.chain());
                match self.is_unreachable() {
                    true => report.with_status(&observed::Network::unreachable(self.chain())),
                    false => report,
                }
            }
        }
    }

    /// Whether the router cannot be worked at all.
    fn is_unreachable(&self) -> bool {
        match self {
            Self::Router(error) => error.downcast_ref().is_some_and(UbusError::is_unreachable),
            Self::Transaction(TransactionError::Call { source, .. }) => source.is_unreachable(),
            Self::Transaction(_) => false,
        }
    }

    fn log(&self, jobs: usize) {
        let reason = self.chain();
        match self {
            Self::Transaction(TransactionError::Denied { .. } | TransactionError::NotUndone { .. }) => {
                tracing::error!(jobs, reason, "the router was not changed");
            }
            Self::Transaction(_) | Self::Router(_) => tracing::warn!(jobs, reason, "the router was not changed"),
        }
    }

    fn chain(&self) -> String {
        match self {
            Self::Router(error) => format!("{error:#}"),
            Self::Transaction(error) => {
                let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
                std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
            }
        }
    }
}

/// What was decided on a batch, for the look at its effect.
struct Decided {
    decisions: Vec<Decision>,
    /// The slots whose name servers have to start anew.
    restarting: BTreeSet<Slot>,
}

/// The slots whose sections of `package` are changed.
fn slots_in(package: &str, changes: &[Change]) -> BTreeSet<Slot> {
    let here = changes.iter().filter(|change| change.config.as_str() == package);
    here.filter_map(|change| Names::owner(section(&change.edit)?.as_str())).collect()
}

/// The section that an edit of ours is about.
fn section(edit: &Edit) -> Option<&SectionName> {
    match edit {
        Edit::Add { name: section, .. }
        | Edit::Set { section, .. }
        | Edit::DeleteSection { section }
        | Edit::DeleteOptions { section, .. } => Some(section),
        Edit::RenameSection { .. } | Edit::RenameOption { .. } | Edit::Order { .. } => None,
    }
}

fn placements(decisions: &[Decision]) -> impl Iterator<Item = &Placement> {
    decisions.iter().filter_map(|decision| match decision {
        Decision::Place(placement) => Some(placement.as_ref()),
        Decision::Refuse(_) | Decision::Wait(_) => None,
    })
}

fn marks(config: &Config) -> Vec<Mark> {
    config.get("network").map(Mark::all).unwrap_or_default()
}

/// The networks in `config`, by their marks.
fn held(config: &Config) -> Vec<Held> {
    let held = |mark: Mark| {
        let is_as_made = mark::digest(config, mark.slot) == mark.digest;
        Held { object: Object::Network(mark.id), version: if is_as_made { mark.version } else { DRIFTED } }
    };
    marks(config).into_iter().map(held).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
