//! `dusk run`: the node itself, until it is stopped. Killed at any point it goes on where it was.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use fleet::archive::Archive;
use fleet::authority::Genesis;
use fleet::catch_up::Report;
use fleet::node::{Circumstances, Effect, Flash, Node, Serving};
use fleet::replica::Replica;
use fleet::voter::Voter;
use fleet::{FleetId, JoinKey, JoinRequest, NodeSecret, NoiseKey};

use super::Given;
use crate::port::{Clock, Disk, Port, System};
use crate::seat::directory;
use crate::store::{Frames, Store};

/// Where a node listens if nobody says.
const LISTEN: &str = "[::]:4747";
/// Requests to join that are kept; more are forgotten, and come again.
const REQUESTS: usize = 256;
/// The loop looks up at least this often.
const LONGEST: Duration = Duration::from_secs(60);

/// The files that the node's writes go to.
struct Files {
    journal: Frames,
    replica: Frames,
}

impl Disk for Files {
    fn append(&mut self, file: Flash, record: &[u8]) -> io::Result<()> {
        let frames = match file {
            Flash::Journal => &mut self.journal,
            Flash::Replica => &mut self.replica,
        };
        frames.append(&[record.to_vec()]).map_err(io::Error::other)
    }
}

/// Runs the node.
///
/// # Errors
/// When it has no fleet, or its files or sockets fail.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let store = Store::open(directory(given))?;
    let none = || format!("there is no fleet in {}: `dusk init` or `dusk join` first", directory(given).display());
    let secret = store.secret()?.with_context(none)?;
    let at: SocketAddr =
        given.value("listen").unwrap_or(LISTEN).parse().context("--listen: ADDRESS:PORT is expected")?;
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
            let mut archive = Archive::new(genesis, Arc::new(NodeSecret::of(*secret.reveal())))?;
            let decided = decided.iter().map(Vec::as_slice);
            let mut voter = Voter::restore(own, decided, false, &mut archive, clock.now());
            files.journal.append(&voter.take_output().writes)?;
            Some(Serving::new(archive, voter, clock.now()))
        }
        None => None,
    };
    let masters = join.map_or_else(BTreeMap::new, |join| masters(&join));
    let mut circumstances = Circumstances { now: clock.now(), random: &mut System };
    let node = Node::new(&secret, replica, serving, masters, &mut circumstances);
    let mut port = Port::open(at, node, files, clock).with_context(|| format!("cannot listen at {at}"))?;
    eprintln!("listening at {}", port.address()?);
    loop {
        for effect in port.turn(LONGEST)? {
            attend(&store, fleet, effect)?;
        }
    }
}

fn attend(store: &Store, fleet: FleetId, effect: Effect) -> anyhow::Result<()> {
    match effect {
        Effect::Request(bytes) => keep_request(store, fleet, &bytes),
        Effect::Keep(device, status) => store.write(&format!("status/{device}"), &status),
        Effect::Alarm(alarm) => {
            eprintln!("{alarm:?}");
            Ok(())
        }
        Effect::Reached(_) | Effect::Apply => Ok(()),
        Effect::Write(..) | Effect::Send(..) | Effect::Connect(..) | Effect::Say(..) | Effect::Close(_) => {
            bail!("the port has not done what is its own")
        }
    }
}

/// Keeps a request for somebody to approve, as long as there is room.
fn keep_request(store: &Store, fleet: FleetId, bytes: &[u8]) -> anyhow::Result<()> {
    let Ok(request) = JoinRequest::from_bytes(bytes) else { return Ok(()) };
    let Ok(asking) = request.open(fleet) else { return Ok(()) };
    let name = asking.device.to_string();
    let kept = store.list("requests")?;
    if kept.contains(&name) || kept.len() >= REQUESTS {
        return Ok(());
    }
    eprintln!("device {name} asks to join");
    store.write(&format!("requests/{name}"), bytes)
}

fn join(store: &Store) -> anyhow::Result<Option<JoinKey>> {
    let Some(text) = store.read("join")? else { return Ok(None) };
    let text = zeroize::Zeroizing::new(String::from_utf8(text).context("the file join is no text")?);
    Ok(Some(JoinKey::from_text(&text)?))
}

/// Where the masters are that a join key names; one whose name is not known is passed over.
fn masters(join: &JoinKey) -> BTreeMap<NoiseKey, Vec<SocketAddr>> {
    let mut masters: BTreeMap<NoiseKey, Vec<SocketAddr>> = BTreeMap::new();
    for (address, key) in &join.masters {
        match address.to_socket_addrs() {
            Ok(found) => masters.entry(*key).or_default().extend(found),
            Err(error) => eprintln!("{address}: {error}"),
        }
    }
    masters
}
