//! What a device holds for itself: the authority chain, a checkpoint, and its own sections, all of it verified here.
//!
//! A hostile master can withhold. What it forges is refused; what it forks is kept as proof, and nothing more is taken until
//! an authority entry names the branch to keep.

use std::collections::BTreeMap;

use crate::authority::{Authority, State};
use crate::catch_up::{Book, Reason, Report, Verdict};
use crate::cbor::{self, Blob};
use crate::change::{Change, ChangeRefusal, Content};
use crate::checkpoint::{Checkpoint, CheckpointError, Summary};
use crate::fork::{ForkProof, Side};
use crate::log::check_section;
use crate::map::Proof;
use crate::rollout::in_force;
use crate::signed::Signed;
use crate::{DeviceId, EntryId, FleetId, Hash, Head, Heads, NoiseKey, SectionPath};

/// The longest form of anything that is taken.
const LONGEST: usize = 16 << 20;
/// Reports that wait.
const REPORTS: usize = 256;

/// A checkpoint and what shows that it extends the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The root of the log as it was at the index that the pupil named: another one than the pupil followed proves a fork.
    pub root: Hash,
    /// Shows that the log grew from that root.
    pub growth: Vec<Hash>,
}

/// A section as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShippedSection {
    /// The change that stands.
    pub signed: Signed,
    /// What it says.
    pub content: Option<Content>,
}

/// One write of a replica; together, in order, they give it again.
struct Written {
    kind: u8,
    parts: Vec<Blob>,
}

cbor_arrays! {
    ProvenCheckpoint 3 [checkpoint, root, growth];
    ShippedSection 2 [signed, content];
    Written 2 [kind, parts];
}

/// A section that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The change that says it.
    pub change: Change,
    /// What it says.
    pub content: Content,
}

/// The checkpoint that was followed last.
struct Followed {
    checkpoint: Checkpoint,
    hash: Hash,
    summary: Summary,
}

/// What a device holds.
pub struct Replica {
    fleet: FleetId,
    own: NoiseKey,
    authority: Option<Authority>,
    followed: Option<Followed>,
    sections: BTreeMap<SectionPath, Section>,
    fork: Option<ForkProof>,
    reports: Vec<Report>,
    refused: Vec<(Report, Reason)>,
    writes: Vec<Vec<u8>>,
}

impl Replica {
    /// The replica that these writes made; what is malformed ends it.
    pub fn restore<'a>(fleet: FleetId, own: NoiseKey, writes: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut replica = Self {
            fleet,
            own,
            authority: None,
            followed: None,
            sections: BTreeMap::new(),
            fork: None,
            reports: Vec::new(),
            refused: Vec::new(),
            writes: Vec::new(),
        };
        for write in writes {
            if replica.take_write(write).is_none() {
                break;
            }
        }
        replica.writes.clear();
        replica
    }

    /// The fleet.
    pub const fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// The authority chain, once any of it is here.
    pub const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// What was followed last.
    pub fn summary(&self) -> Option<&Summary> {
        self.followed.as_ref().map(|followed| &followed.summary)
    }

    /// The sections in force: what stands, and what rollouts bring that this device takes part in.
    pub const fn sections(&self) -> &BTreeMap<SectionPath, Section> {
        &self.sections
    }

    /// The proof of a fork, until somebody has chosen.
    pub const fn fork(&self) -> Option<&ForkProof> {
        self.fork.as_ref()
    }

    /// Who this node is, if it is a member.
    pub fn device(&self) -> Option<DeviceId> {
        Some(self.authority.as_ref()?.state().device_by_noise(&self.own)?.0)
    }

    /// Wants something reported. A status takes the place of the one before.
    pub fn report(&mut self, report: Report) {
        if let Report::Status(_) = report {
            self.reports.retain(|waiting| !matches!(waiting, Report::Status(_)));
        }
        if !self.reports.contains(&report) && self.reports.len() < REPORTS {
            if let Report::Record(bytes) = &report {
                self.write(REPORT, vec![bytes.clone()]);
            }
            self.reports.push(report);
        }
    }

    /// Reports that were refused, and why.
    pub fn take_refused(&mut self) -> Vec<(Report, Reason)> {
        std::mem::take(&mut self.refused)
    }

    /// What must last before anything else happens.
    pub fn take_writes(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.writes)
    }

    /// Takes proof of a fork that somebody else has brought: nothing more is followed until somebody has chosen.
    pub fn accuse(&mut self, fork: ForkProof) -> Result<(), Reason> {
        let authority = self.authority.as_ref().ok_or("there is no authority to check it by")?;
        fork.check(authority).map_err(say)?;
        let mut resolved = authority.state().resolved.iter();
        if self.fork.is_none() && resolved.all(|(kept, dropped)| fork.choice(kept, dropped).is_none()) {
            self.keep_fork(fork);
        }
        Ok(())
    }

    /// Keeps the proof, and says what it proves.
    fn keep_fork(&mut self, fork: ForkProof) -> Reason {
        let index = fork.ours.summary().map_or(0, |summary| summary.index);
        self.write(FORK, vec![cbor::to_bytes(&fork)]);
        self.fork = Some(fork);
        CheckpointError::Forked(index).to_string()
    }

    fn write(&mut self, kind: u8, parts: Vec<Vec<u8>>) {
        let parts = parts.into_iter().map(Blob).collect();
        self.writes.push(cbor::to_bytes(&Written { kind, parts }));
    }

    fn take_write(&mut self, write: &[u8]) -> Option<()> {
        let Written { kind, parts } = cbor::from_bytes(write, LONGEST).ok()?;
        let parts: Vec<_> = parts.into_iter().map(|part| part.0).collect();
        match (kind, parts.as_slice()) {
            (ENTRIES, entries) => self.take_entries(entries).ok(),
            (COPY, [checkpoint, proof, sections @ ..]) => self.take_copy(checkpoint, sections, proof).ok(),
            (FORK, [proof]) => {
                self.fork = Some(cbor::from_bytes(proof, LONGEST).ok()?);
                Some(())
            }
            (REPORT, [bytes]) => {
                self.reports.push(Report::Record(bytes.clone()));
                Some(())
            }
            (REPORTED, [bytes]) => {
                self.reports.retain(|report| *report != Report::Record(bytes.clone()));
                Some(())
            }
            _ => None,
        }
    }

    fn followed_summary(&self) -> Option<Summary> {
        self.followed.as_ref().map(|followed| followed.summary)
    }

    /// Whether an entry of the chain has chosen between the branches.
    fn settle(&mut self) {
        let (Some(fork), Some(authority)) = (&self.fork, &self.authority) else { return };
        let mut resolved = authority.state().resolved.iter().rev();
        match resolved.find_map(|(kept, dropped)| fork.choice(kept, dropped)) {
            Some(Side::Theirs) => {
                // What was followed is given up; the other branch is followed from its beginning.
                self.followed = None;
                self.fork = None;
            }
            Some(Side::Ours) => self.fork = None,
            None => {}
        }
    }

    /// Checks that these sections are all there are under the proof, and rightly signed.
    fn check_sections(
        &self,
        summary: &Summary,
        sections: &[Vec<u8>],
        proof: &[u8],
    ) -> Result<BTreeMap<SectionPath, Section>, Reason> {
        let authority = self.authority.as_ref().ok_or("there is no authority to check it by")?;
        let prefixes = self.device().map(|device| prefixes(authority.state(), device)).unwrap_or_default();
        let proof: Proof = cbor::from_bytes(proof, LONGEST).map_err(say)?;
        let opened = proof.open(&summary.map).map_err(say)?;
        let mut shipped = BTreeMap::new();
        for section in sections {
            let section: ShippedSection = cbor::from_bytes(section, LONGEST).map_err(say)?;
            let change = Change::read(section.signed.clone(), self.fleet).map_err(say)?;
            shipped.insert(change.id, section);
        }
        let (mut taken, mut standing) = (BTreeMap::new(), BTreeMap::new());
        for prefix in &prefixes {
            for leaf in opened.under(prefix).map_err(say)? {
                standing.insert(leaf.path.clone(), leaf.change);
                let section = shipped.get(&leaf.change).ok_or_else(|| format!("{} is withheld", leaf.path))?;
                let change = match check_section(authority, leaf, &section.signed) {
                    // Its author's key was taken away with what it wrote: the section says nothing.
                    Err(ChangeRefusal::Void { .. }) => continue,
                    change => change.map_err(say)?,
                };
                if section.content.as_ref().map(Content::hash) != change.content {
                    return Err(format!("{} comes with another content than its author signed", leaf.path));
                }
                if let Some(content) = &section.content {
                    taken.insert(leaf.path.clone(), Section { change, content: content.clone() });
                }
            }
        }
        Ok(match self.device() {
            Some(device) => in_force(authority, device, standing, &taken),
            None => taken,
        })
    }
}

const ENTRIES: u8 = 0;
const COPY: u8 = 1;
const FORK: u8 = 2;
const REPORT: u8 = 3;
const REPORTED: u8 = 4;

impl Book for Replica {
    fn heads(&self) -> Heads {
        let none = Head { position: 0, entry: EntryId::of([0; 32]) };
        let authority = self.authority.as_ref().map_or(none, Authority::head);
        match &self.followed {
            Some(Followed { hash, summary, .. }) => Heads { authority, index: summary.index, checkpoint: *hash },
            None => Heads { authority, index: 0, checkpoint: Hash::of([0; 32]) },
        }
    }

    fn take_entries(&mut self, entries: &[Vec<u8>]) -> Result<(), Reason> {
        let read: Result<Vec<_>, _> = entries.iter().map(|entry| Signed::from_bytes(entry)).collect();
        let mut entries_read = read.map_err(say)?;
        let first = entries_read.first().ok_or("no entries")?;
        let is_genesis = crate::authority::Genesis::fleet(first) == self.fleet;
        match &mut self.authority {
            Some(authority) => {
                if is_genesis {
                    entries_read.remove(0);
                }
                authority.adopt(entries_read).map_err(say)?;
            }
            None => {
                if !is_genesis {
                    return Err("the chain does not begin with this fleet's genesis".into());
                }
                let genesis = entries_read.remove(0);
                let mut authority = Authority::new(genesis).map_err(say)?;
                authority.adopt(entries_read).map_err(say)?;
                self.authority = Some(authority);
            }
        }
        self.write(ENTRIES, entries.to_vec());
        self.settle();
        Ok(())
    }

    fn take_copy(&mut self, checkpoint: &[u8], sections: &[Vec<u8>], proof: &[u8]) -> Result<(), Reason> {
        let ProvenCheckpoint { checkpoint: theirs, root, growth } =
            cbor::from_bytes(checkpoint, LONGEST).map_err(say)?;
        let authority = self.authority.as_ref().ok_or("there is no authority to check it by")?;
        if self.fork.is_some() {
            return Err("two majorities disagree: somebody has to choose first".into());
        }
        let before = self.followed_summary();
        let summary = match theirs.follow(authority, before.as_ref(), &growth) {
            Ok(summary) => summary,
            Err(error) => {
                // A growth that is merely not proven says nothing yet; one from another root does.
                let ours = self.followed.as_ref().map(|followed| followed.checkpoint.clone());
                let fork = ours.map(|ours| ForkProof { ours, theirs, root, growth });
                return match fork.filter(|fork| fork.check(authority).is_ok()) {
                    Some(fork) => {
                        self.report(Report::Evidence(cbor::to_bytes(&fork)));
                        Err(self.keep_fork(fork))
                    }
                    None => Err(error.to_string()),
                };
            }
        };
        let taken = self.check_sections(&summary, sections, proof)?;
        self.sections = taken;
        self.followed = Some(Followed { hash: theirs.hash(), checkpoint: theirs, summary });
        let parts = [checkpoint.to_vec(), proof.to_vec()].into_iter().chain(sections.iter().cloned());
        self.write(COPY, parts.collect());
        Ok(())
    }

    fn reports(&self) -> Vec<Report> {
        self.reports.clone()
    }

    fn reported(&mut self, report: &Report, verdict: Verdict) {
        if verdict == Verdict::Pending {
            return;
        }
        self.reports.retain(|waiting| waiting != report);
        if let Report::Record(bytes) = report {
            self.write(REPORTED, vec![bytes.clone()]);
        }
        if let Verdict::Refused(reason) = verdict {
            self.refused.push((report.clone(), reason));
        }
    }
}

/// What the paths of a device's sections begin with: all policies, its groups, itself.
pub fn prefixes(state: &State, device: DeviceId) -> Vec<String> {
    let groups = state.devices.get(&device).map(|device| device.groups().to_vec()).unwrap_or_default();
    let groups = groups.into_iter().map(|group| crate::Scope::Group(group).prefix());
    let own = crate::Scope::Device(device).prefix();
    ["policies/".to_owned()].into_iter().chain(groups).chain([own]).collect()
}

fn say(error: impl std::fmt::Display) -> Reason {
    error.to_string()
}
