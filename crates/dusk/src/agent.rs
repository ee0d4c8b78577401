//! The running node: its parts, and what each effect of the core leads to.

mod alarm;
mod directory;
mod disk;
mod request;
mod rollout;
mod status;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use fleet::archive::Archive;
use fleet::authority::Genesis;
use fleet::catch_up::Report;
use fleet::node::{Circumstances, Effect, Flash, Node, Serving};
use fleet::replica::Replica;
use fleet::voter::Voter;
use fleet::{FleetId, JoinKey};
use zeroize::Zeroizing;

use crate::port::{Clock, Port, System};
use crate::store::Store;
use disk::Files;
use rollout::Rollouts;

/// The loop looks up at least this often.
const LONGEST: Duration = Duration::from_secs(60);

/// A node that runs.
pub struct Agent {
    store: Store,
    fleet: FleetId,
    port: Port<Files>,
    rollouts: Rollouts,
}

impl Agent {
    /// The node whose files are in a directory, listening.
    ///
    /// # Errors
    /// When it has no fleet, or its files or sockets fail.
    pub fn open(dir: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let store = Store::open(dir)?;
        let none = || format!("there is no fleet in {}: `dusk init` or `dusk join` first", dir.display());
        let secret = store.secret()?.with_context(none)?;
        let (clock, own) = (Clock::start(), secret.public().noise);
        let join = join(&store)?;
        let (journal, decided) = store.frames(Flash::Journal)?;
        let (replica_file, known) = store.frames(Flash::Replica)?;
        let genesis = store.genesis()?;
        let fleet = genesis.as_ref().map(Genesis::fleet).or(join.as_ref().map(|join| join.fleet)).with_context(none)?;
        let mut replica = Replica::restore(fleet, own, known.iter().map(Vec::as_slice));
        if let (Some(request), None) = (store.read("request")?, replica.device()) {
            replica.report(Report::Request(request));
        }
        let mut files = Files { journal, replica: replica_file };
        let serving = match genesis {
            Some(genesis) => {
                let mut archive = Archive::new(genesis, Arc::new(fleet::NodeSecret::of(*secret.reveal())))?;
                let decided = decided.iter().map(Vec::as_slice);
                let mut voter = Voter::restore(own, decided, false, &mut archive, clock.now());
                files.journal.append(&voter.take_output().writes)?;
                Some(Serving::new(archive, voter, clock.now()))
            }
            None => None,
        };
        let masters = join.map_or_else(Default::default, |join| directory::masters(&join));
        let mut circumstances = Circumstances { now: clock.now(), random: &mut System };
        let node = Node::new(&secret, replica, serving, masters, &mut circumstances);
        let port = Port::open(listen, node, files, clock).with_context(|| format!("cannot listen at {listen}"))?;
        eprintln!("listening at {}", port.address()?);
        Ok(Self { store, fleet, port, rollouts: Rollouts::default() })
    }

    /// Runs until a file or a socket fails.
    ///
    /// # Errors
    /// Says which.
    pub fn run(mut self) -> anyhow::Result<()> {
        loop {
            for effect in self.port.turn(LONGEST)? {
                self.attend(effect)?;
            }
            self.see_to_rollouts()?;
        }
    }

    /// Hands in what authors of rollouts signed beforehand, when it is time.
    fn see_to_rollouts(&mut self) -> anyhow::Result<()> {
        let now = self.port.now();
        for submission in self.rollouts.look(&self.store, self.port.node(), now)? {
            self.port.with_node(|node, circumstances| node.submit(submission, circumstances))?;
        }
        Ok(())
    }

    fn attend(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Request(bytes) => request::keep(&self.store, self.fleet, &bytes),
            Effect::Keep(device, status) => status::keep(&self.store, device, &status),
            Effect::Alarm(alarm) => {
                alarm::tell(&alarm);
                Ok(())
            }
            Effect::Reached(_) | Effect::Apply => Ok(()),
            Effect::Write(..) | Effect::Send(..) | Effect::Connect(..) | Effect::Say(..) | Effect::Close(_) => {
                bail!("the port has not done what is its own")
            }
        }
    }
}

fn join(store: &Store) -> anyhow::Result<Option<JoinKey>> {
    let Some(text) = store.read("join")? else { return Ok(None) };
    let text = Zeroizing::new(String::from_utf8(text).context("the file join is no text")?);
    Ok(Some(JoinKey::from_text(&text)?))
}
