//! What a voter holds for all: the log with its contents, the newest checkpoint, and what became of every submission.
//!
//! It follows from the decided records alone, so that a journal gives it again; the same records give the same archive on
//! every voter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::authority::{Refusal, Statement};
use crate::catch_up::{Library, Reason, Report, Verdict};
use crate::cbor;
use crate::change::{Change, ChangeRefusal, Content};
use crate::checkpoint::{Checkpoint, Summary};
use crate::cycle::StatusDigest;
use crate::fork::ForkProof;
use crate::hash::hash;
use crate::join::bound;
use crate::log::{Log, Record, RecordRefusal};
use crate::replica::{ProvenCheckpoint, ShippedSection, prefixes};
use crate::signed::Signed;
use crate::submission::Submission;
use crate::voter::{Electorate, Ledger, Record as Decided};
use crate::{ChangeId, DeviceId, Hash, Head, Heads, LogIndex, NodeSecret, NoiseKey, SectionPath};

/// Decided submissions that changed nothing, for people to look at.
const CONFLICTS: usize = 1_000;
/// Submissions of others that wait to be proposed.
const PENDING: usize = 256;
/// The longest status.
const LONGEST_STATUS: usize = 16 << 10;
/// Statuses that wait to be written.
const STATUSES: usize = 256;

/// The longest proof of a fork.
const LONGEST_EVIDENCE: usize = 16 << 10;

/// A submission that was decided and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The record.
    pub record: Record,
    /// Why.
    pub reason: Reason,
}

/// All that a voter serves.
pub struct Archive {
    genesis: Signed,
    secret: Arc<NodeSecret>,
    log: Log,
    /// How many submissions were decided.
    decided: LogIndex,
    /// What was decided, by the submission.
    outcomes: BTreeMap<Hash, Result<LogIndex, Reason>>,
    conflicts: VecDeque<Conflict>,
    sections: BTreeMap<SectionPath, Section>,
    /// Who speaks Noise with which key, as of a head.
    members: (Head, BTreeMap<NoiseKey, DeviceId>),
    checkpoint: Option<Certified>,
    /// Records in the form to decide again from.
    submissions: Vec<Decided>,
    pending: VecDeque<Vec<u8>>,
    statuses: VecDeque<(DeviceId, Vec<u8>)>,
    requests: VecDeque<Vec<u8>>,
    evidence: Option<Vec<u8>>,
}

struct Section {
    signed: Signed,
    content: Option<Content>,
    change: ChangeId,
}

/// The newest checkpoint, with the map that it speaks of.
struct Certified {
    decided: LogIndex,
    checkpoint: Checkpoint,
    hash: Hash,
    summary: Summary,
}

impl Archive {
    /// The archive of a fleet that nothing was decided in.
    pub fn new(genesis: Signed, secret: Arc<NodeSecret>) -> Result<Self, Refusal> {
        let log = Log::new(genesis.clone())?;
        let head = log.authority().head();
        Ok(Self {
            genesis,
            secret,
            log,
            decided: 0,
            outcomes: BTreeMap::new(),
            conflicts: VecDeque::new(),
            sections: BTreeMap::new(),
            members: (head, BTreeMap::new()),
            checkpoint: None,
            submissions: Vec::new(),
            pending: VecDeque::new(),
            statuses: VecDeque::new(),
            requests: VecDeque::new(),
            evidence: None,
        })
    }

    /// The log.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().map(|certified| &certified.checkpoint)
    }

    /// What was decided and changed nothing, the oldest first.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// What became of a submission, if it was decided: its place in the log, or why it changed nothing.
    pub fn outcome(&self, submission: &Submission) -> Option<&Result<LogIndex, Reason>> {
        self.outcomes.get(&submission.id())
    }

    /// The content of a section that is not deleted.
    pub fn content(&self, path: &SectionPath) -> Option<&Content> {
        self.sections.get(path)?.content.as_ref()
    }

    /// What the log is made of, in its order: every submission that changed something.
    pub fn records(&self) -> impl Iterator<Item = Submission> {
        let fleet = self.log.authority().fleet();
        let mut next = 0;
        let decided = self.submissions.iter().filter_map(move |record| Submission::from_bytes(&record.0, fleet).ok());
        decided.filter(move |submission| {
            let stands = self.outcomes.get(&submission.id()) == Some(&Ok(next));
            next += u64::from(stands);
            stands
        })
    }

    /// What was decided from a place on, refused records included, as a ledger takes it.
    pub fn decided_from(&self, index: LogIndex) -> impl Iterator<Item = &[u8]> {
        let from = usize::try_from(index).unwrap_or(usize::MAX);
        self.submissions.iter().skip(from).map(|record| &*record.0)
    }

    /// The change that stands at a path, also if it deleted the section.
    pub fn change(&self, path: &SectionPath) -> Option<Change> {
        Change::read(self.sections.get(path)?.signed.clone(), self.log.authority().fleet()).ok()
    }

    /// Submissions that others have reported, to be proposed.
    pub fn take_pending(&mut self) -> Vec<Vec<u8>> {
        self.pending.drain(..).collect()
    }

    /// Statuses that came in, to be kept on disk.
    pub fn take_statuses(&mut self) -> Vec<(DeviceId, Vec<u8>)> {
        self.statuses.drain(..).collect()
    }

    /// Requests to join that came in.
    pub fn take_requests(&mut self) -> Vec<Vec<u8>> {
        self.requests.drain(..).collect()
    }

    /// Proof of a fork that somebody brought, and that holds.
    pub fn take_evidence(&mut self) -> Option<Vec<u8>> {
        self.evidence.take()
    }

    /// The member that speaks Noise with this key.
    pub fn member(&self, key: NoiseKey) -> Option<DeviceId> {
        self.members.1.get(&key).copied()
    }

    fn decide(&mut self, bytes: &[u8]) {
        let fleet = self.log.authority().fleet();
        let Ok(submission) = Submission::from_bytes(bytes, fleet) else { return };
        let id = submission.id();
        if self.outcomes.contains_key(&id) {
            return;
        }
        let outcome = self.log.append(&submission.record).map_err(|refusal| refusal.to_string());
        match &outcome {
            Ok(_) => self.shelve(submission),
            Err(reason) => {
                if self.conflicts.len() >= CONFLICTS {
                    self.conflicts.pop_front();
                }
                self.conflicts.push_back(Conflict { record: submission.record, reason: reason.clone() });
            }
        }
        self.outcomes.insert(id, outcome);
        self.note_members();
    }

    fn shelve(&mut self, submission: Submission) {
        let Record::Change(signed) = submission.record else { return };
        let fleet = self.log.authority().fleet();
        if let Ok(change) = Change::read(signed.clone(), fleet) {
            let section = Section { signed, content: submission.content, change: change.id };
            self.sections.insert(change.path, section);
        }
    }

    fn note_members(&mut self) {
        let authority = self.log.authority();
        let (head, state) = (authority.head(), authority.state());
        let (known, members) = &mut self.members;
        if head == *known {
            return;
        }
        let news = authority.entries(known.position + 1);
        let follows =
            head.position == known.position + 1 && news.first().is_some_and(|news| news.previous == known.entry);
        match news.first().map(|news| &news.statement) {
            // Most entries are devices that come.
            Some(Statement::Device { key, .. }) if follows => {
                let key = bound(key, Some(state.fleet)).ok();
                members.extend(key.map(|key| (key.noise, DeviceId::first_known_by(&key))));
            }
            _ => *members = state.members().map(|(id, device)| (device.key().noise, id)).collect(),
        }
        *known = head;
    }

    /// The signing voter behind a Noise key.
    fn voter(&self, key: NoiseKey) -> Option<DeviceId> {
        let state = self.log.authority().state();
        state
            .voters()
            .iter()
            .map(|(device, _)| *device)
            .find(|voter| state.devices.get(voter).is_some_and(|device| device.key().noise == key))
    }
}

impl Ledger for Archive {
    fn length(&self) -> LogIndex {
        self.decided
    }

    fn append(&mut self, record: &Decided) {
        self.decided += 1;
        self.submissions.push(record.clone());
        self.decide(&record.0);
    }

    fn rewind(&mut self, length: LogIndex) {
        if length >= self.decided {
            return;
        }
        let kept = usize::try_from(length).unwrap_or(usize::MAX);
        let submissions: Vec<_> = std::mem::take(&mut self.submissions).into_iter().take(kept).collect();
        let fresh = Self::new(self.genesis.clone(), Arc::clone(&self.secret));
        let mut fresh = fresh.expect("invariant: the genesis was taken before");
        submissions.iter().for_each(|submission| fresh.append(submission));
        fresh.checkpoint = self.checkpoint.take().filter(|certified| certified.decided <= length);
        (fresh.pending, fresh.statuses) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.statuses));
        (fresh.requests, fresh.evidence) = (std::mem::take(&mut self.requests), self.evidence.take());
        *self = fresh;
    }

    fn electorate(&self) -> Electorate {
        let state = self.log.authority().state();
        let key = |device: &DeviceId| state.devices.get(device).map(|device| device.key().noise);
        let voters = state.voters().iter().filter_map(|(device, _)| key(device)).collect();
        Electorate { configuration: state.configuration(), voters }
    }

    fn statement(&self) -> Vec<u8> {
        self.log.summary().to_bytes()
    }

    fn sign(&self, _: &[u8]) -> Vec<u8> {
        self.log.summary().sign(&self.secret).to_vec()
    }

    fn is_signed(&self, voter: NoiseKey, statement: &[u8], signature: &[u8]) -> bool {
        let (Some(voter), Ok(signature)) = (self.voter(voter), signature.try_into()) else { return false };
        let Ok(summary) = Summary::from_bytes(statement) else { return false };
        summary.fleet == self.log.authority().fleet() && {
            // A voter that is ahead goes by an entry that is not here yet: it is asked again when it is.
            summary.is_signed_by(self.log.authority(), voter, signature)
        }
    }

    fn certify(&mut self, index: LogIndex, statement: &[u8], signatures: &[(NoiseKey, Vec<u8>)]) {
        let Ok(summary) = Summary::from_bytes(statement) else { return };
        // What was signed is served with the map as it was then, which is here while nothing was decided since.
        if index != self.decided || summary != self.log.summary() {
            return;
        }
        let signature = |(voter, signature): &(NoiseKey, Vec<u8>)| {
            Some((self.voter(*voter)?, signature.as_slice().try_into().ok()?))
        };
        let checkpoint = Checkpoint::new(&summary, signatures.iter().filter_map(signature).collect());
        let hash = checkpoint.hash();
        self.checkpoint = Some(Certified { decided: index, checkpoint, hash, summary });
    }

    fn certified(&self) -> LogIndex {
        self.checkpoint.as_ref().map_or(0, |certified| certified.decided)
    }
}

impl Library for Archive {
    fn heads(&self) -> Heads {
        let authority = self.log.authority().head();
        match &self.checkpoint {
            Some(Certified { hash, summary, .. }) => Heads { authority, index: summary.index, checkpoint: *hash },
            None => Heads { authority, index: 0, checkpoint: Hash::of([0; 32]) },
        }
    }

    fn first_missing(&self, known: Head) -> u64 {
        if self.log.authority().has(&known) { known.position + 1 } else { 0 }
    }

    fn entry(&self, position: u64) -> Option<Vec<u8>> {
        let authority = self.log.authority();
        match position {
            0 => Some(authority.genesis().to_bytes()),
            _ => authority.entries(position).first().map(|entry| entry.signed.to_bytes()),
        }
    }

    fn checkpoint(&self, known: &Heads) -> Option<Vec<u8>> {
        let Certified { checkpoint, summary, decided, .. } = self.checkpoint.as_ref()?;
        // The map has gone on: the next checkpoint is about to be signed.
        if *decided != self.decided {
            return None;
        }
        let from = known.index.min(summary.index);
        let (root, growth) = (self.log.history().root(from)?, self.log.history().prove_growth(from, summary.index)?);
        Some(cbor::to_bytes(&ProvenCheckpoint { checkpoint: checkpoint.clone(), root, growth }))
    }

    fn sections(&self, of: NoiseKey) -> (Vec<Vec<u8>>, Vec<u8>) {
        let state = self.log.authority().state();
        let prefixes = self.member(of).map(|device| prefixes(state, device)).unwrap_or_default();
        let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
        let leaves = prefixes.iter().flat_map(|prefix| self.log.map().under(prefix));
        let shipped = leaves.filter_map(|leaf| {
            let section = self.sections.get(&leaf.path).filter(|section| section.change == leaf.change)?;
            let (signed, content) = (section.signed.clone(), section.content.clone());
            Some(cbor::to_bytes(&ShippedSection { signed, content }))
        });
        (shipped.collect(), cbor::to_bytes(&self.log.map().prove(&prefixes)))
    }

    fn keep_status(&mut self, of: NoiseKey, status: &[u8]) -> Result<StatusDigest, Reason> {
        let device = self.member(of).ok_or("it is no member's")?;
        if status.len() > LONGEST_STATUS {
            return Err(format!("a status of {} bytes: {LONGEST_STATUS} at most", status.len()));
        }
        if self.statuses.len() < STATUSES {
            self.statuses.push_back((device, status.to_vec()));
        }
        Ok(status_digest(status))
    }

    fn keep_report(&mut self, from: NoiseKey, report: Report) -> Verdict {
        match report {
            Report::Record(bytes) => self.keep_record(&bytes),
            Report::Request(request) => {
                if self.requests.len() < PENDING {
                    self.requests.push_back(request);
                }
                Verdict::Done
            }
            Report::Evidence(evidence) => {
                if self.member(from).is_none() {
                    return Verdict::Refused("it is no member's".into());
                }
                match self.check_evidence(&evidence) {
                    Ok(()) => {
                        self.evidence = Some(evidence);
                        Verdict::Done
                    }
                    Err(reason) => Verdict::Refused(reason),
                }
            }
            Report::Status(_) => Verdict::Refused("a status is kept as such".into()),
        }
    }
}

impl Archive {
    fn check_evidence(&self, evidence: &[u8]) -> Result<(), Reason> {
        let fork: ForkProof = cbor::from_bytes(evidence, LONGEST_EVIDENCE).map_err(|error| error.to_string())?;
        fork.check(self.log.authority()).map_err(|error| error.to_string())
    }

    fn keep_record(&mut self, bytes: &[u8]) -> Verdict {
        let submission = match Submission::from_bytes(bytes, self.log.authority().fleet()) {
            Ok(submission) => submission,
            Err(error) => return Verdict::Refused(error.to_string()),
        };
        match self.outcomes.get(&submission.id()) {
            Some(Ok(_)) => return Verdict::Done,
            Some(Err(reason)) => return Verdict::Refused(reason.clone()),
            None => {}
        }
        match self.log.judge(&submission.record) {
            // A conflict is the voters' to find: it is decided, and named, like everything that was submitted.
            Ok(()) | Err(RecordRefusal::Change(ChangeRefusal::Conflict { .. })) => {}
            Err(refusal) => return Verdict::Refused(refusal.to_string()),
        }
        if self.pending.len() < PENDING {
            self.pending.push_back(bytes.to_vec());
        }
        Verdict::Pending
    }
}

/// What tells two statuses apart.
pub fn status_digest(status: &[u8]) -> StatusDigest {
    *hash("status", &[status]).bytes().first_chunk().expect("invariant: 6 of 32 bytes")
}
