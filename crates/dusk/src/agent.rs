//! The running node: its parts, and what each effect of the core leads to.

mod alarm;
mod applying;
pub mod control;
mod directory;
mod disk;
mod election;
mod hook;
mod metrics;
mod overview;
mod pause;
mod reading;
mod request;
mod rollout;
pub mod status;
mod submission;
mod telling;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fleet::authority::{Genesis, State};
use fleet::catch_up::Report;
use fleet::node::{Alarm, Circumstances, Effect, Flash, Node};
use fleet::replica::Replica;
use fleet::{Flags, FleetId, JoinKey, NodeSecret};
use serde_json::json;
use zeroize::Zeroizing;

use crate::apply::Places;
use crate::port::{Clock, Port, System};
use crate::store::Store;
use applying::{Applying, Need};
use control::{Control, Question};
use directory::Directory;
use disk::Files;
use election::Election;
use hook::Hooks;
use overview::Overview;
use pause::Pause;
use rollout::Rollouts;
use submission::Waiting;
use telling::{Own, Telling};

pub use overview::FILE as BOARD;

/// The loop looks up at least this often.
const LONGEST: Duration = Duration::from_secs(60);
/// It looks up sooner where somebody waits.
const SOON: Duration = Duration::from_secs(1);
/// A node that others ask counts as alone when nobody has for so long.
const ALONE: Duration = Duration::from_secs(600);

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its own files lie.
    pub dir: PathBuf,
    /// Where it listens, over UDP and TCP.
    pub listen: SocketAddr,
    /// The root of the device's files, `/` but where devices are played.
    pub root: PathBuf,
    /// Where Prometheus is answered, if it is.
    pub metrics: Option<SocketAddr>,
}

/// A node that runs.
pub struct Agent {
    store: Store,
    secret: Arc<NodeSecret>,
    fleet: FleetId,
    port: Port<Files>,
    rollouts: Rollouts,
    directory: Directory,
    election: Election,
    applying: Applying,
    control: Control,
    waiting: Vec<Waiting>,
    /// When a member came through to this node the last time.
    reached: Option<Instant>,
    telling: Telling,
    overview: Overview,
    hooks: Hooks,
    pause: Pause,
}

impl Agent {
    /// The node whose files are in a directory, listening.
    ///
    /// # Errors
    /// When it has no fleet, or its files or sockets fail.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let Settings { dir, listen, root, metrics } = settings;
        let store = Store::open(dir)?;
        let none = || format!("there is no fleet in {}: `dusk init` or `dusk join` first", dir.display());
        let secret = Arc::new(store.secret()?.with_context(none)?);
        let (clock, own) = (Clock::start(), secret.public().noise);
        let join = join(&store)?;
        let genesis = store.genesis()?;
        let fleet = genesis.as_ref().map(Genesis::fleet).or(join.as_ref().map(|join| join.fleet)).with_context(none)?;
        let (replica_file, known) = store.frames(Flash::Replica)?;
        let mut replica = Replica::restore(fleet, own, known.iter().map(Vec::as_slice));
        if let (Some(request), None) = (store.read("request")?, replica.device()) {
            replica.report(Report::Request(request));
        }
        let mut files = Files { journal: None, replica: replica_file };
        let serving = match genesis {
            Some(genesis) if store.has(Flash::Journal) => {
                let (serving, journal) = election::serving(&store, genesis, &secret, clock.now())?;
                files.journal = Some(journal);
                Some(serving)
            }
            _ => None,
        };
        let mut circumstances = Circumstances { now: clock.now(), random: &mut System };
        let node = Node::new(&secret, replica, serving, Default::default(), &mut circumstances);
        let port = Port::open(*listen, node, files, clock).with_context(|| format!("cannot listen at {listen}"))?;
        let control = Control::open(dir, port.waker()).context("cannot listen for commands")?;
        let applying = Applying::start(Places::under(root), port.waker())?;
        eprintln!("listening at {}", port.address()?);
        let directory = Directory::of(join.as_ref());
        let (election, waiting, reached) = (Election::default(), Vec::new(), None);
        let rollouts = Rollouts::default();
        let telling = Telling::start(&store, Arc::clone(&secret), fleet, root.clone())?;
        let overview = Overview::open(&store, state(port.node()), clock.now())?;
        if let Some(at) = metrics {
            let at = metrics::answer_at(*at, overview.shared())?;
            eprintln!("metrics at http://{at}/metrics");
        }
        let hooks = Hooks::start(dir)?;
        let pause = Pause::open(&store, clock.now())?;
        let mut agent = Self {
            store,
            secret,
            fleet,
            port,
            rollouts,
            directory,
            election,
            applying,
            control,
            waiting,
            reached,
            telling,
            overview,
            hooks,
            pause,
        };
        agent.learned()?;
        Ok(agent)
    }

    /// Runs until a file or a socket fails.
    ///
    /// # Errors
    /// Says which.
    pub fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.turn()?;
        }
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        let effects = self.port.turn(self.longest())?;
        let mut refused = Vec::new();
        for effect in effects {
            if let Effect::Alarm(Alarm::Refused(reason)) = &effect {
                refused.push(reason.clone());
            }
            self.attend(effect)?;
        }
        if let Some(addresses) = self.directory.found() {
            self.port.with_node(|node, _| {
                node.set_directory(addresses);
                Vec::new()
            })?;
        }
        for need in self.applying.hear() {
            self.meet(need)?;
        }
        if self.applying.due().is_some_and(|due| due <= Instant::now()) {
            self.applying.order(self.port.node().replica(), &self.secret);
        }
        for question in self.control.questions() {
            self.answer(question)?;
        }
        let node = self.port.node();
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter_map(|waiting| waiting.settle(node, &refused))
            .collect();
        self.see_to_rollouts()?;
        self.look()?;
        self.election.end(&mut self.port, &self.store)
    }

    /// Hands in what authors of rollouts signed beforehand, when it is time.
    fn see_to_rollouts(&mut self) -> anyhow::Result<()> {
        let now = self.port.now();
        for submission in self.rollouts.look(&self.store, self.port.node(), now)? {
            self.port.with_node(|node, circumstances| node.submit(submission, circumstances))?;
        }
        Ok(())
    }

    /// Looks at this device, and at the fleet as it is seen from here.
    fn look(&mut self) -> anyhow::Result<()> {
        let now = self.port.now();
        let replica = self.port.node().replica();
        if self.applying.end_pause(self.pause.look(&self.store, replica, now)?) {
            self.applying.order(replica, &self.secret);
        }
        self.telling.note(own(&self.applying, replica));
        if self.telling.look(&self.store, now, || self.applying.question(replica, &self.secret))? {
            self.applying.again();
        }
        let is_member = replica.device().is_some();
        let (vitals, news) = (self.telling.vitals(), is_member.then(|| self.telling.news(now)).flatten());
        self.port.with_node(|node, _| {
            node.set_vitals(vitals);
            news.into_iter().for_each(|status| node.set_status(status, now));
            Vec::new()
        })?;
        for notice in self.overview.look(&self.store, self.port.node(), vitals, now)? {
            self.hooks.tell(notice);
        }
        Ok(())
    }

    /// How long nothing has to be looked at.
    fn longest(&self) -> Duration {
        let until = self.applying.due().map_or(LONGEST, |due| due.saturating_duration_since(Instant::now()));
        if self.waiting.is_empty() { until.min(LONGEST) } else { until.min(SOON) }
    }

    fn attend(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Request(bytes) => request::keep(&self.store, self.fleet, &bytes),
            Effect::Keep(device, status) => match state(self.port.node()) {
                Some(state) => self.overview.keep(&self.store, state, device, &status),
                None => Ok(()),
            },
            Effect::Alarm(alarm) => {
                alarm::tell(&alarm);
                if let Alarm::Clone(key) = alarm {
                    self.overview.cloned(key, self.port.now());
                }
                Ok(())
            }
            Effect::Reached(_) => {
                self.reached = Some(Instant::now());
                self.applying.answered();
                Ok(())
            }
            Effect::Apply => self.learned(),
            Effect::Write(..) | Effect::Send(..) | Effect::Connect(..) | Effect::Say(..) | Effect::Close(_) => {
                bail!("the port has not done what is its own")
            }
        }
    }

    /// The node knows something that it did not: others may serve, it may be to serve itself, or to be configured anew.
    fn learned(&mut self) -> anyhow::Result<()> {
        let waker = self.port.waker();
        if let Some(addresses) = self.directory.read(self.port.node().replica(), &waker) {
            self.port.with_node(|node, _| {
                node.set_directory(addresses);
                Vec::new()
            })?;
        }
        self.election.follow(&mut self.port, &self.store, &self.secret)?;
        self.applying.order(self.port.node().replica(), &self.secret);
        Ok(())
    }

    fn meet(&mut self, need: Need) -> anyhow::Result<()> {
        match need {
            // Where nobody has come for long, nobody can say that the network still leads here.
            Need::Answer if self.asks_nobody() && self.reached.is_none_or(|at| at.elapsed() > ALONE) => {
                self.applying.answered();
            }
            Need::Answer => self.port.with_node(Node::ask_now)?,
            // The loop looks at what it has to tell in every turn.
            Need::Telling => {}
        }
        Ok(())
    }

    /// Whether this node votes, and so asks nobody.
    fn asks_nobody(&self) -> bool {
        let node = self.port.node();
        node.serving().is_some_and(|serving| serving.votes(node.key()))
    }

    /// Answers a command on this machine, or lets it wait.
    fn answer(&mut self, question: Question) -> anyhow::Result<()> {
        match question.name() {
            "submit" => {
                if let Some(waiting) = submission::take(question, self.port.node()) {
                    let bytes = waiting.bytes().to_vec();
                    self.port.with_node(|node, circumstances| node.submit(bytes, circumstances))?;
                    self.waiting.push(waiting);
                }
            }
            "node" => {
                let (node, address) = (self.port.node(), self.port.address()?);
                let device = node.replica().device().map(|device| device.to_string());
                let index = node.replica().summary().map(|summary| summary.index);
                let answer = json!({
                    "address": address.to_string(), "device": device, "index": index, "votes": self.asks_nobody(),
                    "applying": self.applying.is_busy(), "reverted": self.applying.is_reverted(),
                });
                question.answer(Ok(answer));
            }
            "board" => {
                let answer = json!({ "devices": self.overview.to_json() });
                question.answer(Ok(answer));
            }
            _ => {
                let error = submission::unknown(&question);
                question.answer(error);
            }
        }
        Ok(())
    }
}

/// What the authority chain says, as far as it is known here.
fn state(node: &Node) -> Option<&State> {
    let served = node.serving().map(|serving| serving.archive.log().authority());
    Some(served.or(node.replica().authority())?.state())
}

/// What is known here of this device's configuration.
fn own(applying: &Applying, replica: &Replica) -> Own {
    let flags = [
        (replica.fork().is_some(), Flags::FORK),
        (applying.is_busy(), Flags::APPLYING),
        (applying.is_reverted(), Flags::REVERTED),
        (applying.is_paused(), Flags::PAUSED),
    ];
    let flags = flags.into_iter().filter(|(up, _)| *up).fold(Flags::default(), |all, (_, one)| all.with(one));
    let (applied, results) = (applying.reaches(replica), applying.results());
    Own { applied, results, remarks: applying.remarks().to_vec(), flags }
}

fn join(store: &Store) -> anyhow::Result<Option<JoinKey>> {
    let Some(text) = store.read("join")? else { return Ok(None) };
    let text = Zeroizing::new(String::from_utf8(text).context("the file join is no text")?);
    Ok(Some(JoinKey::from_text(&text)?))
}
