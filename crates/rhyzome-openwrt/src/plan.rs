//! What a batch of jobs means for a router as it was found: pure, and the same for the same router.

use std::collections::{BTreeMap, BTreeSet};

use jobs::{Job, Object, Want, desired};
use types::{NetworkId, Slot};
use uci::{Change, Config, DiffError, Section, diff_owned};

use crate::admission::{Admitted, admit};
use crate::claims::Claims;
use crate::mark::Mark;
use crate::names::Names;
use crate::render::{PACKAGES, Settings, nothing, render};

/// What was found on a router.
pub struct Found {
    /// The packages that networks have sections in.
    pub config: Config,
    /// The addresses that interfaces have, whether or not the configuration names them.
    pub addresses: Vec<InterfaceAddress>,
}

/// An IPv4 address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface, by its name in UCI.
    pub interface: String,
    /// The address.
    pub address: std::net::Ipv4Addr,
    /// The bits of its mask.
    pub prefix_len: u8,
}

/// What becomes of one job.
pub enum Decision {
    /// It cannot be done.
    Refuse(String),
    /// It cannot be done yet.
    Wait(String),
    /// Its sections are brought about.
    Place(Box<Placement>),
}

/// What a job has on the router afterwards.
pub struct Placement {
    /// The slots whose sections the job decides on: where the network was, and where it is to be.
    pub slots: BTreeSet<Slot>,
    /// The network; none when it is to go.
    pub network: Option<Admitted>,
    /// Its sections.
    pub sections: Config,
}

impl Placement {
    /// The slots, and whether the network is to be in each.
    pub fn slots_wanted(&self) -> impl Iterator<Item = (Slot, bool)> {
        let home = self.network.as_ref().map(|admitted| admitted.network.slot);
        self.slots.iter().map(move |slot| (*slot, home == Some(*slot)))
    }

    /// The calls that bring `config` there, package by package.
    pub fn changes(&self, config: &Config) -> Result<Vec<Change>, DiffError> {
        let ours =
            |section: &Section| Names::owner(section.name().as_str()).is_some_and(|slot| self.slots.contains(&slot));
        let mut changes = Vec::new();
        for name in PACKAGES {
            if let (Some(from), Some(to)) = (config.get(name), self.sections.get(name)) {
                changes.extend(diff_owned(from, to, ours)?);
            }
        }
        Ok(changes)
    }
}

/// Decides on each job, in their order.
pub fn plan(jobs: &[Job], found: &Found, settings: &Settings) -> Vec<Decision> {
    let marks = found.config.get("network").map(Mark::all).unwrap_or_default();
    let mut candidates: Vec<_> = jobs.iter().map(|job| candidate(job, &marks)).collect();
    // A network that is turned down stays as it is and keeps what it holds, which may turn down another.
    while turn_down_one(&mut candidates, found, &marks, settings) {}
    let decide = |candidate| match candidate {
        Candidate::Refuse(reason) => Decision::Refuse(reason),
        Candidate::Wait(reason) => Decision::Wait(reason),
        Candidate::Gone(id) => {
            let slots = slots_of(&marks, id).collect();
            Decision::Place(Box::new(Placement { slots, network: None, sections: nothing() }))
        }
        Candidate::Network(admitted, version) => {
            let slots = slots_of(&marks, admitted.network.id).chain([admitted.network.slot]).collect();
            let sections = render(&admitted, version, settings);
            Decision::Place(Box::new(Placement { slots, network: Some(*admitted), sections }))
        }
    };
    candidates.into_iter().map(decide).collect()
}

enum Candidate {
    Refuse(String),
    Wait(String),
    Gone(NetworkId),
    Network(Box<Admitted>, types::Version),
}

impl Candidate {
    fn network(&self) -> Option<&desired::Network> {
        match self {
            Self::Network(admitted, _) => Some(&admitted.network),
            _ => None,
        }
    }

    /// The network whose sections are replaced.
    fn id(&self) -> Option<NetworkId> {
        match self {
            Self::Gone(id) => Some(*id),
            _ => self.network().map(|network| network.id),
        }
    }
}

fn candidate(job: &Job, marks: &[Mark]) -> Candidate {
    let Object::Network(id) = job.object else {
        return Candidate::Refuse(format!("{} is not for a router", job.object));
    };
    if let Some(newer) = marks.iter().find(|mark| mark.id == id && mark.version > job.version) {
        return Candidate::Refuse(format!("the router has version {} of it already", newer.version));
    }
    let Want::Desired(text) = &job.want else {
        return Candidate::Gone(id);
    };
    let network: desired::Network = match serde_json::from_str(text) {
        Ok(network) => network,
        Err(error) => return Candidate::Refuse(format!("the desired state is not a network: {error}")),
    };
    if network.id != id {
        return Candidate::Refuse(format!("the desired state is of {}", network.id));
    }
    match admit(network) {
        Ok(admitted) => Candidate::Network(Box::new(admitted), job.version),
        Err(reason) => Candidate::Refuse(reason),
    }
}

fn slots_of(marks: &[Mark], id: NetworkId) -> impl Iterator<Item = Slot> {
    marks.iter().filter(move |mark| mark.id == id).map(|mark| mark.slot)
}

/// Turns the first candidate down that needs what another has; tells whether there was one.
fn turn_down_one(candidates: &mut [Candidate], found: &Found, marks: &[Mark], settings: &Settings) -> bool {
    let moving: BTreeSet<NetworkId> = candidates.iter().filter_map(Candidate::id).collect();
    let mut claims = claims(found);
    for slot in moving.iter().flat_map(|id| slots_of(marks, *id)) {
        claims.release(slot);
    }
    let mut slots: BTreeMap<Slot, NetworkId> =
        marks.iter().filter(|mark| !moving.contains(&mark.id)).map(|mark| (mark.slot, mark.id)).collect();
    for candidate in candidates {
        let Some(network) = candidate.network() else {
            continue;
        };
        if let Some(other) = slots.insert(network.slot, network.id) {
            *candidate = Candidate::Wait(format!("slot: {} is still taken by {other}", network.slot));
            return true;
        }
        // Sections without a mark are left from something that never came to its end.
        claims.release(network.slot);
        if let Err(conflict) = claims.take(network, &settings.segments.bridge_ports(network)) {
            let turned_down = if conflict.passing { Candidate::Wait } else { Candidate::Refuse };
            *candidate = turned_down(conflict.reason);
            return true;
        }
    }
    false
}

fn claims(found: &Found) -> Claims {
    let mut claims = found.config.get("network").map(Claims::of).unwrap_or_default();
    for InterfaceAddress { interface, address, prefix_len } in &found.addresses {
        claims.add_subnet(interface, *address, *prefix_len);
    }
    claims
}
