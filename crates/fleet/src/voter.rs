//! A voter: master, backup or witness. Together they order records, and sign what the log comes to.
//!
//! The consensus is `omnipaxos`'s; what is here keeps its journal, guards it against what no honest voter says, changes
//! configurations when the log names other voters, and gathers signatures for checkpoints. Consensus survives voters that
//! are silent, not voters that lie: against those stand the authors' signatures under every record and the majority's under
//! every checkpoint, which whoever follows verifies.

mod gathering;
mod journal;
mod message;
mod record;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use omnipaxos::ballot_leader_election::Ballot;
use omnipaxos::messages::Message as Consensus;
use omnipaxos::messages::sequence_paxos::{PaxosMessage, PaxosMsg};
use omnipaxos::util::NodeId;
use omnipaxos::{ClusterConfig, OmniPaxos, ServerConfig};

use gathering::Gathering;
use journal::Journal;
use message::Message;
pub use record::Record;

use crate::{LogIndex, Moment, NoiseKey};

/// One tick of consensus.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between heartbeats: a dead leader is replaced after three of them.
const HEARTBEAT: u64 = 4;
/// Ticks after which a message counts as lost.
const RESEND: u64 = 8;
/// Records that wait to be decided.
const WAITING: usize = 1_024;
/// Bytes of records that one message carries.
const ROOM: usize = 1 << 20;
/// The longest record that is proposed.
pub const LONGEST_RECORD: usize = 320 << 10;

/// Who votes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// Counts up whenever the voters change.
    pub configuration: u32,
    /// The voters; the master first, and a witness last.
    pub voters: Vec<NoiseKey>,
}

impl Electorate {
    /// So many make a majority.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    fn number(&self, voter: NoiseKey) -> Option<NodeId> {
        self.voters.iter().position(|one| *one == voter).map(|place| place as NodeId + 1)
    }

    fn voter(&self, number: NodeId) -> Option<NoiseKey> {
        self.voters.get(usize::try_from(number.checked_sub(1)?).ok()?).copied()
    }
}

/// What the log comes to, as far as a voter needs it. It is the same on every voter after the same records.
pub trait Ledger {
    /// How many records it holds.
    fn length(&self) -> LogIndex;
    /// Takes the next record: applies it, or notes why it changes nothing. One that came before changes nothing.
    fn append(&mut self, record: &Record);
    /// Goes back to the first `length` records.
    fn rewind(&mut self, length: LogIndex);
    /// Who votes as of the records so far.
    fn electorate(&self) -> Electorate;
    /// What a voter signs as the checkpoint of the records so far.
    fn statement(&self) -> Vec<u8>;
    /// Signs a statement with this node's key.
    fn sign(&self, statement: &[u8]) -> Vec<u8>;
    /// Whether a voter has signed a statement.
    fn is_signed(&self, voter: NoiseKey, statement: &[u8], signature: &[u8]) -> bool;
    /// Takes a checkpoint: a majority has signed the statement about the first `index` records.
    fn certify(&mut self, index: LogIndex, statement: &[u8], signatures: &[(NoiseKey, Vec<u8>)]);
    /// How many records the newest certified checkpoint covers.
    fn certified(&self) -> LogIndex;
}

/// What a step gives to do. The writes must last before the messages are sent.
#[derive(Debug, Default)]
pub struct Output {
    /// To be added to the journal, in this order.
    pub writes: Vec<Vec<u8>>,
    /// To be sent to other voters.
    pub messages: Vec<(NoiseKey, Vec<u8>)>,
}

/// Why a record is not proposed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProposalError {
    /// Too long.
    #[error("a record of {0} bytes: {LONGEST_RECORD} at most")]
    Oversized(usize),
    /// Too many wait.
    #[error("{WAITING} records wait for the voters already")]
    Full,
    /// This node does not vote.
    #[error("this node has no vote")]
    NoVote,
}

/// A voter's state.
pub struct Voter {
    own: NoiseKey,
    electorate: Electorate,
    journal: Journal,
    /// Nothing while it votes alone, not at all, or has to be told what it forgot.
    consensus: Option<OmniPaxos<Record, Journal>>,
    /// What the others have recalled for it, until all have.
    recalled: Option<BTreeMap<NodeId, Recalled>>,
    waiting: VecDeque<Record>,
    gathering: Gathering,
    outgoing: Vec<(NoiseKey, Vec<u8>)>,
    ticked: Moment,
    ticks: u64,
    /// How often in a row the leader had another length.
    astray: u32,
    /// For how long in a row it has been left out.
    left_out: u64,
}

/// What another voter knows of this configuration.
struct Recalled {
    promise: Option<Ballot>,
    accepted: Option<Ballot>,
    decided: usize,
    records: Vec<Record>,
}

impl Voter {
    /// What a journal holds of a fleet's first records, which its founder alone has decided.
    pub fn found(records: &[Record]) -> Vec<Vec<u8>> {
        let journal = Journal::default();
        journal.adopt(records);
        journal.take_writes()
    }

    /// The voter whose journal these writes made; `ledger` must hold nothing but the fleet's beginning, and holds what was
    /// decided afterwards. `has_forgotten` says that the writes are a backup's: it then follows before it votes.
    pub fn restore<'a>(
        own: NoiseKey,
        writes: impl IntoIterator<Item = &'a [u8]>,
        has_forgotten: bool,
        ledger: &mut impl Ledger,
        now: Moment,
    ) -> Self {
        let mut voter = Self {
            own,
            electorate: Electorate::default(),
            journal: Journal::restore(writes),
            consensus: None,
            recalled: None,
            waiting: VecDeque::new(),
            gathering: Gathering::default(),
            outgoing: Vec::new(),
            ticked: now,
            ticks: 0,
            astray: 0,
            left_out: 0,
        };
        let configuration = voter.journal.configuration().0;
        voter.electorate = ledger.electorate();
        for record in voter.journal.decided_from(ledger.length(), usize::MAX) {
            ledger.append(&record);
            voter.electorate = ledger.electorate();
            if voter.electorate.configuration > configuration {
                break;
            }
        }
        if voter.electorate.configuration != configuration {
            let stranded = voter.journal.begin(voter.electorate.configuration, ledger.length());
            voter.waiting.extend(stranded);
        }
        if has_forgotten && voter.others().next().is_some() {
            voter.recalled = Some(BTreeMap::new());
            voter.broadcast(&Message::Recall);
        } else {
            voter.join();
        }
        voter.sign(ledger);
        voter
    }

    /// Whether it was restored and still has to hear what the others decided.
    pub fn follows(&self) -> bool {
        self.recalled.is_some()
    }

    /// Who votes, as far as it knows.
    pub fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// Whether it leads at this moment.
    pub fn leads(&self) -> bool {
        match &self.consensus {
            Some(consensus) => consensus
                .get_current_leader()
                .is_some_and(|(leader, accepts)| accepts && self.electorate.voter(leader) == Some(self.own)),
            None => self.is_alone(),
        }
    }

    /// Proposes a record. It is decided when the ledger has it, and is proposed again until then.
    pub fn propose(&mut self, record: Vec<u8>, ledger: &mut impl Ledger) -> Result<(), ProposalError> {
        if self.electorate.number(self.own).is_none() {
            return Err(ProposalError::NoVote);
        }
        if record.len() > LONGEST_RECORD {
            return Err(ProposalError::Oversized(record.len()));
        }
        let record = Record::from(record);
        if self.waiting.contains(&record) {
            return Ok(());
        }
        if self.waiting.len() >= WAITING {
            return Err(ProposalError::Full);
        }
        self.waiting.push_back(record.clone());
        self.append(record);
        self.apply(ledger);
        Ok(())
    }

    /// Records that wait to be decided.
    pub fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        self.waiting.iter().map(|record| &*record.0)
    }

    /// Takes a record by which an admin names new voters, where the old ones have no majority left. What was not decided
    /// goes to the new ones.
    pub fn promote(&mut self, record: Vec<u8>, ledger: &mut impl Ledger) {
        let stranded = self.journal.begin(self.electorate.configuration, ledger.length());
        self.consensus = None;
        self.recalled = None;
        self.journal.adopt(&[record.into()]);
        self.apply(ledger);
        self.again(stranded);
        self.apply(ledger);
    }

    /// Takes a message of another voter.
    pub fn hear(&mut self, from: NoiseKey, bytes: &[u8], ledger: &mut impl Ledger) {
        let (Some(number), Some(own)) = (self.electorate.number(from), self.electorate.number(self.own)) else {
            // A voter of a configuration that this one has not heard of: let it say how the log goes on.
            return self.hear_stranger(from, bytes, ledger);
        };
        let voters = self.electorate.voters.len() as NodeId;
        match message::decode(bytes, number, own, voters) {
            Some((configuration, message)) if configuration == self.electorate.configuration => {
                self.take(from, number, message, ledger);
            }
            _ => self.hear_stranger(from, bytes, ledger),
        }
        self.apply(ledger);
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: Moment, ledger: &mut impl Ledger) {
        // Whoever slept does not have to catch up on ticks.
        let elapsed = now.since(self.ticked);
        if elapsed < TICK {
            return;
        }
        self.ticked = if elapsed > TICK * 10 { now } else { self.ticked + TICK };
        self.ticks += 1;
        if let Some(consensus) = &mut self.consensus {
            consensus.tick();
        }
        if self.ticks.is_multiple_of(RESEND) {
            match &self.recalled {
                Some(_) => self.broadcast(&Message::Recall),
                None => self.again(Vec::new()),
            }
            if ledger.certified() < ledger.length() || self.ticks.is_multiple_of(RESEND * 4) {
                self.sign(ledger);
            }
            self.push_in();
            if self.leads() {
                let (records, decided) = self.journal.lengths();
                self.broadcast(&Message::Length { records, decided });
            }
        }
        self.apply(ledger);
    }

    /// When [`Voter::poll`] is to be called next.
    pub fn due(&self) -> Moment {
        self.ticked + TICK
    }

    /// What is to be written and sent.
    pub fn take_output(&mut self) -> Output {
        self.collect();
        Output { writes: self.journal.take_writes(), messages: std::mem::take(&mut self.outgoing) }
    }

    fn take(&mut self, from: NoiseKey, number: NodeId, message: Message, ledger: &mut impl Ledger) {
        match message {
            Message::Consensus(message) => {
                let is_sound = self.is_sound(&message);
                if let Some(consensus) = self.consensus.as_mut().filter(|_| is_sound) {
                    consensus.handle_incoming(message);
                }
            }
            Message::Signature { index, statement, signature, asks } => {
                if !ledger.is_signed(from, &statement, &signature) {
                    return;
                }
                if self.gathering.add(index, from, statement, signature, ledger.certified()) {
                    self.certify(index, ledger);
                }
                if asks && index == ledger.length() {
                    let own = self.signature(false, ledger);
                    self.send(from, &own);
                }
            }
            Message::Fetch(index) => self.send_records(from, index),
            Message::Records(..) => {}
            Message::Length { records, decided } => self.compare(number, records, decided),
            Message::Recall => {
                let state = self.journal.state();
                if self.recalled.is_none() {
                    let (promise, accepted, decided) = (state.promise, state.accepted, state.decided);
                    self.send(from, &Message::Recalled { promise, accepted, decided, records: state.records });
                }
            }
            Message::Recalled { promise, accepted, decided, records } => {
                if let Some(all) = &mut self.recalled {
                    all.insert(number, Recalled { promise, accepted, decided, records });
                    self.recover();
                }
            }
        }
    }

    /// A voter that died as it was about to lead has promised more than the one that leads, and nobody would have it back.
    /// It gets in by leading after all.
    fn push_in(&mut self) {
        let Some(consensus) = &mut self.consensus else { return };
        let accepts = consensus.get_current_leader().is_some_and(|(_, accepts)| accepts);
        let hears = consensus.get_ui_states().heartbeats.len() + 1 >= self.electorate.majority();
        self.left_out = if hears && !accepts { self.left_out + 1 } else { 0 };
        // Not all at once.
        if self.left_out > 2 + self.electorate.number(self.own).unwrap_or_default() {
            self.left_out = 0;
            consensus.try_become_leader();
        }
    }

    /// Where the leader stays at another length, or nothing comes of what is there, something did not arrive.
    fn compare(&mut self, leader: NodeId, records: usize, decided: usize) {
        let Some(consensus) = &mut self.consensus else { return };
        if consensus.get_current_leader().map(|(leader, _)| leader) != Some(leader) {
            return;
        }
        let is_in_step = records == decided && self.journal.lengths() == (records, decided);
        self.astray = if is_in_step { 0 } else { self.astray + 1 };
        if self.astray >= 2 {
            self.astray = 0;
            consensus.reconnected(leader);
        }
    }

    /// A message of another configuration: ask how the log goes on, or take what it says.
    fn hear_stranger(&mut self, from: NoiseKey, bytes: &[u8], ledger: &mut impl Ledger) {
        let Some(configuration) = message::configuration(bytes) else { return };
        let is_later = configuration > self.electorate.configuration;
        // Numbers mean nothing across configurations, so that only what has none is read.
        match message::decode(bytes, 0, 0, 0) {
            Some((_, Message::Fetch(index))) => self.send_records(from, index),
            Some((_, Message::Records(index, records))) if is_later => {
                self.follow(index, records, configuration, ledger);
            }
            _ if is_later => self.send(from, &Message::Fetch(ledger.certified())),
            // A voter that was not told of this configuration, perhaps by one that does not vote in it: it asks how the
            // log went on.
            _ if configuration < self.electorate.configuration && self.electorate.number(from).is_some() => {
                self.send(from, &Message::Length { records: 0, decided: 0 });
            }
            _ => {}
        }
    }

    /// Takes records that voters of a later configuration have decided, up to where that begins.
    fn follow(&mut self, index: LogIndex, records: Vec<Record>, to: u32, ledger: &mut impl Ledger) {
        if index > ledger.length() || index < ledger.certified() {
            return;
        }
        let own = self.journal.decided_from(index, usize::MAX);
        let common = own.iter().zip(&records).take_while(|(own, other)| own == other).count();
        if common == records.len() {
            return;
        }
        let branch = index + common as LogIndex;
        let stranded = self.journal.begin(self.electorate.configuration, branch);
        self.consensus = None;
        self.recalled = None;
        ledger.rewind(branch);
        for record in records.into_iter().skip(common) {
            self.journal.adopt(std::slice::from_ref(&record));
            ledger.append(&record);
            self.electorate = ledger.electorate();
            if self.electorate.configuration >= to {
                break;
            }
        }
        self.enter(ledger);
        self.again(stranded);
    }

    /// Gives the ledger what was decided, and changes the configuration where a record says so.
    fn apply(&mut self, ledger: &mut impl Ledger) {
        self.collect();
        while let Some(record) = self.journal.decided_at(ledger.length()) {
            ledger.append(&record);
            self.waiting.retain(|waiting| *waiting != record);
            if ledger.electorate() == self.electorate {
                self.sign(ledger);
            } else {
                self.electorate = ledger.electorate();
                let stranded = self.enter(ledger);
                self.again(stranded);
            }
        }
    }

    /// Begins the configuration that the ledger has come to.
    fn enter(&mut self, ledger: &mut impl Ledger) -> Vec<Record> {
        self.gathering = Gathering::default();
        let stranded = self.journal.begin(self.electorate.configuration, ledger.length());
        self.join();
        self.sign(ledger);
        stranded
    }

    fn join(&mut self) {
        self.consensus = None;
        let Some(own) = self.electorate.number(self.own) else { return };
        if self.is_alone() {
            return;
        }
        let voters = self.electorate.voters.len() as u64;
        let cluster = ClusterConfig {
            configuration_id: self.electorate.configuration,
            nodes: (1..=voters).collect(),
            flexible_quorum: None,
        };
        let server = ServerConfig {
            pid: own,
            election_tick_timeout: HEARTBEAT,
            resend_message_tick_timeout: RESEND,
            buffer_size: 64,
            // The master leads where nothing speaks against it.
            leader_priority: u32::try_from(voters - own).unwrap_or_default(),
            ..ServerConfig::default()
        };
        let consensus = cluster.build_for_server(server, self.journal.clone());
        self.consensus = Some(consensus.expect("invariant: there are two voters or more, and this is one"));
    }

    /// Proposes again what waits, and these.
    fn again(&mut self, stranded: Vec<Record>) {
        for record in stranded {
            if !self.waiting.contains(&record) && self.waiting.len() < WAITING {
                self.waiting.push_back(record);
            }
        }
        // What was decided while it was waited for elsewhere.
        let journal = &self.journal;
        self.waiting.retain(|record| !journal.has_decided(record));
        let known = self.journal.state().records;
        let missing: Vec<_> = self.waiting.iter().filter(|record| !known.contains(record)).cloned().collect();
        missing.into_iter().for_each(|record| self.append(record));
    }

    fn append(&mut self, record: Record) {
        if self.is_alone() {
            self.journal.adopt(&[record]);
        } else if let Some(consensus) = &mut self.consensus {
            // It refuses only where a configuration was stopped, which none is.
            drop(consensus.append(record));
        }
    }

    /// What every other voter has accepted is all that this one can have forgotten.
    fn recover(&mut self) {
        let others = self.others().count();
        let Some(all) = self.recalled.take_if(|all| all.len() == others) else { return };
        let promise = all.values().filter_map(|one| one.promise).max();
        let decided = all.values().map(|one| one.decided).max().unwrap_or_default();
        let newest = all.into_values().max_by_key(|one| (one.accepted, one.records.len()));
        if let (Some(newest), Some(promise)) = (newest, promise) {
            let decided = decided.min(newest.records.len());
            self.journal.recover(promise, newest.accepted, decided, newest.records);
        }
        self.join();
    }

    /// Whether consensus can take a message without reading past its own log.
    fn is_sound(&self, message: &Consensus<Record>) -> bool {
        let Consensus::SequencePaxos(PaxosMessage { msg, .. }) = message else { return true };
        let sync = match msg {
            PaxosMsg::AcceptSync(message) => Some(&message.log_sync),
            PaxosMsg::Promise(message) => message.log_sync.as_ref(),
            _ => None,
        };
        let (records, decided) = self.journal.lengths();
        sync.is_none_or(|sync| (decided..=records).contains(&sync.sync_idx))
    }

    fn sign(&mut self, ledger: &mut impl Ledger) {
        if self.electorate.number(self.own).is_none() || self.recalled.is_some() {
            return;
        }
        let own = self.signature(true, ledger);
        self.broadcast(&own);
        let Message::Signature { index, statement, signature, .. } = own else { return };
        if self.gathering.add(index, self.own, statement, signature, ledger.certified()) {
            self.certify(index, ledger);
        }
    }

    fn signature(&self, asks: bool, ledger: &impl Ledger) -> Message {
        let (index, statement) = (ledger.length(), ledger.statement());
        let signature = ledger.sign(&statement);
        Message::Signature { index, statement, signature, asks }
    }

    fn certify(&mut self, index: LogIndex, ledger: &mut impl Ledger) {
        if let Some((statement, signatures)) = self.gathering.majority(index, &self.electorate) {
            ledger.certify(index, &statement, &signatures);
            self.gathering.forget(index);
        }
    }

    fn send_records(&mut self, to: NoiseKey, from: LogIndex) {
        let records = self.journal.decided_from(from, ROOM);
        self.send(to, &Message::Records(from, records));
    }

    fn collect(&mut self) {
        let Some(consensus) = &mut self.consensus else { return };
        let mut messages = Vec::new();
        consensus.take_outgoing_messages(&mut messages);
        for message in messages {
            if let Some(receiver) = self.electorate.voter(message.get_receiver()) {
                self.send(receiver, &Message::Consensus(message));
            }
        }
    }

    fn broadcast(&mut self, message: &Message) {
        let others: Vec<_> = self.others().collect();
        others.into_iter().for_each(|voter| self.send(voter, message));
    }

    fn send(&mut self, to: NoiseKey, message: &Message) {
        self.outgoing.push((to, message::encode(self.electorate.configuration, message)));
    }

    fn others(&self) -> impl Iterator<Item = NoiseKey> {
        self.electorate.voters.iter().copied().filter(|voter| *voter != self.own)
    }

    fn is_alone(&self) -> bool {
        self.electorate.voters == [self.own]
    }
}
