//! Placement: which hypervisor an instance goes to. Pure: what is needed and what there is come in, a choice goes out.
//!
//! Instances of the same `group` tag are spread first, then those of the same network; after that the hypervisor with
//! the most memory left is taken, and among equals the one that has the image already.

use std::cmp::Reverse;
use std::fmt;

use jobs::observed::Capacity;
use store::{Availability, Taken};
use types::TargetId;

/// The tag whose instances are kept apart.
pub const GROUP_TAG: &str = "group";

/// What an instance needs of a hypervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it takes there.
    pub taken: Taken,
    /// What the hypervisor's agent must be able to do, as in `segment-vxlan`.
    pub features: Vec<&'static str>,
}

/// A hypervisor that an instance could go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The target.
    pub id: TargetId,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Which one it is and why its agent cannot read it, where that is so.
    pub trouble: Option<String>,
    /// What may be placed on it.
    pub availability: Availability,
    /// What its agent can do.
    pub features: Vec<String>,
    /// What it can take in all.
    pub capacity: Capacity,
    /// What is taken of that.
    pub taken: Taken,
    /// How many instances are on it.
    pub instances: u64,
    /// How many of them are of the same group.
    pub of_group: u64,
    /// How many of them are on the same network.
    pub of_network: u64,
    /// Whether it has the image.
    pub has_image: bool,
}

/// Why an instance cannot be placed at this moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    /// No agent of a hypervisor is connected.
    #[error("no hypervisor is connected")]
    NoneConnected,
    /// Those that are connected cannot be read.
    #[error("no hypervisor can be worked: {0}")]
    NoneReadable(String),
    /// All that are connected are drained or were declared lost.
    #[error("every hypervisor that is connected is drained: undrain one, or add another")]
    NoneOpen,
    /// None can carry the network's segment.
    #[error("no hypervisor that is connected can do {0}: look at its agent's configuration")]
    NoneAble(&'static str),
    /// None has that much left.
    #[error("no hypervisor has room: needs {}", Words(*.0))]
    NoRoom(Taken),
}

/// Chooses among `candidates`.
pub fn choose(need: &Need, candidates: &[Candidate]) -> Result<TargetId, Unplaced> {
    let connected: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.connected).collect();
    if connected.is_empty() {
        return Err(Unplaced::NoneConnected);
    }
    let is_readable = |candidate: &&&Candidate| candidate.trouble.is_none();
    let trouble = connected.iter().find_map(|candidate| candidate.trouble.clone());
    let readable: Vec<&Candidate> = connected.iter().filter(is_readable).copied().collect();
    if let (Some(trouble), true) = (trouble, readable.is_empty()) {
        return Err(Unplaced::NoneReadable(trouble));
    }
    let mut left: Vec<&Candidate> =
        readable.into_iter().filter(|candidate| candidate.availability == Availability::Open).collect();
    if left.is_empty() {
        return Err(Unplaced::NoneOpen);
    }
    for feature in &need.features {
        left.retain(|candidate| candidate.features.iter().any(|known| known == feature));
        if left.is_empty() {
            return Err(Unplaced::NoneAble(feature));
        }
    }
    left.into_iter()
        .filter(|candidate| fits(&candidate.capacity, candidate.taken, need.taken))
        .min_by_key(|candidate| {
            let memory = Reverse(free_memory(candidate));
            (candidate.of_group, candidate.of_network, memory, candidate.instances, !candidate.has_image, candidate.id)
        })
        .map(|candidate| candidate.id)
        .ok_or(Unplaced::NoRoom(need.taken))
}

/// Whether `more` fits beside what is taken. What an agent does not report has no bound.
pub fn fits(capacity: &Capacity, taken: Taken, more: Taken) -> bool {
    let within = |all: Option<u64>, taken: u64, more: u64| all.is_none_or(|all| taken.saturating_add(more) <= all);
    within(capacity.vcpus.map(u64::from), taken.vcpus, more.vcpus)
        && within(memory_mib(capacity), taken.memory_mib, more.memory_mib)
        && within(capacity.disk_bytes, taken.disk_bytes, more.disk_bytes)
}

fn free_memory(candidate: &Candidate) -> u64 {
    memory_mib(&candidate.capacity).map_or(u64::MAX, |all| all.saturating_sub(candidate.taken.memory_mib))
}

fn memory_mib(capacity: &Capacity) -> Option<u64> {
    capacity.memory.and_then(|memory| u64::try_from(i64::from(memory)).ok())
}

/// What is taken, in words.
pub struct Words(pub Taken);

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taken { vcpus, memory_mib, disk_bytes } = self.0;
        let processors = if vcpus == 1 { "processor" } else { "processors" };
        write!(out, "{vcpus} {processors}, {memory_mib} MiB of memory, {} MiB of disk", disk_bytes.div_ceil(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(vcpus: u64, memory_mib: u64) -> Taken {
        Taken { vcpus, memory_mib, disk_bytes: 1 << 30 }
    }

    fn need(vcpus: u64, memory_mib: u64) -> Need {
        Need { taken: taken(vcpus, memory_mib), features: Vec::new() }
    }

    fn host(number: u64) -> Candidate {
        Candidate {
            id: TargetId::from_bits(number),
            connected: true,
            trouble: None,
            availability: Availability::Open,
            features: Vec::new(),
            capacity: Capacity {
                vcpus: Some(4),
                memory: 4096.try_into().ok(),
                disk_bytes: Some(4 << 30),
                ..Capacity::default()
            },
            taken: Taken::default(),
            instances: 0,
            of_group: 0,
            of_network: 0,
            has_image: false,
        }
    }

    fn chosen(need: &Need, candidates: &[Candidate]) -> u64 {
        choose(need, candidates).unwrap().bits()
    }

    #[test]
    fn the_emptiest_that_has_room_is_chosen() {
        let full = Candidate { taken: taken(0, 4000), ..host(1) };
        let half = Candidate { taken: taken(0, 2000), ..host(2) };
        assert_eq!(chosen(&need(1, 512), &[full.clone(), half, host(3)]), 3);
        let busy = Candidate { taken: taken(4, 0), ..host(4) };
        assert_eq!(chosen(&need(1, 64), &[full, busy]), 1, "processors count as well as memory");
    }

    #[test]
    fn those_of_a_group_and_of_a_network_are_kept_apart() {
        let beside = Candidate { of_group: 1, ..host(1) };
        let fuller = Candidate { taken: taken(1, 3000), ..host(2) };
        assert_eq!(chosen(&need(1, 512), &[beside, fuller]), 2);
        let same_network = Candidate { of_network: 2, ..host(1) };
        assert_eq!(chosen(&need(1, 512), &[same_network, host(2)]), 2);
    }

    #[test]
    fn the_image_decides_among_equals() {
        let cached = Candidate { has_image: true, ..host(9) };
        assert_eq!(chosen(&need(1, 512), &[host(1), cached]), 9);
        assert_eq!(chosen(&need(1, 512), &[host(2), host(1)]), 1, "the same every time");
    }

    #[test]
    fn who_cannot_be_placed_is_told_why() {
        let reason = |need: &Need, candidates: &[Candidate]| choose(need, candidates).unwrap_err().to_string();
        let away = Candidate { connected: false, ..host(1) };
        let unread = Candidate { trouble: Some("hypervisor one: no libvirt".to_owned()), ..host(3) };
        assert_eq!(
            reason(&need(1, 512), &[away.clone(), unread.clone()]),
            "no hypervisor can be worked: hypervisor one: no libvirt"
        );
        assert_eq!(chosen(&need(1, 512), &[unread, host(4)]), 4);
        let drained = Candidate { availability: Availability::Drained, ..host(2) };
        let lost = Candidate { availability: Availability::Lost, ..host(2) };
        assert_eq!(reason(&need(1, 512), &[]), "no hypervisor is connected");
        assert_eq!(reason(&need(1, 512), std::slice::from_ref(&away)), "no hypervisor is connected");
        assert!(reason(&need(1, 512), &[away, drained, lost]).contains("drained"));
        let vxlan = Need { features: vec!["segment-vxlan"], ..need(1, 512) };
        assert!(reason(&vxlan, &[host(1)]).contains("segment-vxlan"));
        assert_eq!(
            reason(&need(8, 512), &[host(1)]),
            "no hypervisor has room: needs 8 processors, 512 MiB of memory, 1024 MiB of disk"
        );
    }
}
