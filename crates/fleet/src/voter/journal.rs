//! What a voter must not forget: its promise, and the records it accepted. Each step is one write, which must last before
//! anything is sent; the writes, in order, give the same journal again.

use std::sync::{Arc, Mutex, MutexGuard};

use minicbor::{Decoder, Encoder};
use omnipaxos::ballot_leader_election::Ballot;
use omnipaxos::storage::{NoSnapshot, StopSign, Storage, StorageOp, StorageResult};

use super::message::{decode_ballot, decode_record, encode_ballot};
use super::record::Record;
use crate::LogIndex;

/// What a configuration of voters has agreed on so far, as this voter knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Which configuration; they count up.
    pub configuration: u32,
    /// How many records earlier configurations decided.
    pub base: LogIndex,
    /// The highest ballot it promised.
    pub promise: Option<Ballot>,
    /// The ballot of the newest record it accepted.
    pub accepted: Option<Ballot>,
    /// How many records of this configuration are decided.
    pub decided: usize,
    /// The records of this configuration.
    pub records: Vec<Record>,
}

/// One change of the state.
#[derive(Clone, Debug)]
enum Step {
    Begin { configuration: u32, base: LogIndex },
    Promise(Ballot),
    Accepted(Ballot),
    Decided(usize),
    Put(usize, Vec<Record>),
}

#[derive(Default)]
struct Inner {
    state: State,
    /// Records that earlier configurations decided.
    earlier: Vec<Record>,
    writes: Vec<Vec<u8>>,
}

/// The journal; its clones are the same one.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Inner>>);

impl Journal {
    /// The journal that these writes made; what is malformed ends it.
    pub fn restore<'a>(writes: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut inner = Inner::default();
        for write in writes {
            let Some(steps) = decode(write) else { break };
            steps.into_iter().for_each(|step| inner.take(step));
        }
        Self(Arc::new(Mutex::new(inner)))
    }

    /// What it says.
    pub fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// Which configuration, and how many records were decided before it.
    pub fn configuration(&self) -> (u32, LogIndex) {
        let inner = self.inner();
        (inner.state.configuration, inner.state.base)
    }

    /// How many records of this configuration it has accepted, and how many of them are decided.
    pub fn lengths(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.state.records.len(), inner.state.decided)
    }

    /// The decided record at an index.
    pub fn decided_at(&self, index: LogIndex) -> Option<Record> {
        let inner = self.inner();
        let index = usize::try_from(index).ok()?;
        let decided = &inner.state.records[..inner.state.decided.min(inner.state.records.len())];
        index
            .checked_sub(inner.earlier.len())
            .map_or_else(|| inner.earlier.get(index), |index| decided.get(index))
            .cloned()
    }

    /// Whether a record was decided.
    pub fn has_decided(&self, record: &Record) -> bool {
        let inner = self.inner();
        let decided = inner.state.records.iter().take(inner.state.decided);
        inner.earlier.iter().chain(decided).any(|one| one == record)
    }

    /// Decided records from an index on, of about so many bytes.
    pub fn decided_from(&self, from: LogIndex, room: usize) -> Vec<Record> {
        let inner = self.inner();
        let decided = inner.state.records.iter().take(inner.state.decided);
        let mut used = 0;
        let fits = |record: &&Record| {
            used += record.0.len() + 8;
            used <= room
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        inner.earlier.iter().chain(decided).skip(from).take_while(fits).cloned().collect()
    }

    /// Begins another configuration after the first `base` records. What this one holds beyond is handed back.
    pub fn begin(&self, configuration: u32, base: LogIndex) -> Vec<Record> {
        let stranded = self.inner().beyond(base);
        self.write(vec![Step::Begin { configuration, base }]);
        stranded
    }

    /// Adds records that were decided elsewhere, as if an earlier configuration had.
    pub fn adopt(&self, records: &[Record]) {
        let (configuration, base) = self.configuration();
        self.write(vec![
            Step::Put(0, records.to_vec()),
            Step::Decided(records.len()),
            Step::Begin { configuration, base: base + records.len() as LogIndex },
        ]);
    }

    /// Replaces what was forgotten by what others know.
    pub fn recover(&self, promise: Ballot, accepted: Option<Ballot>, decided: usize, records: Vec<Record>) {
        let accepted = accepted.map(Step::Accepted);
        let steps = [Step::Promise(promise), Step::Put(0, records), Step::Decided(decided)];
        self.write(steps.into_iter().chain(accepted).collect());
    }

    /// What must last before anything else happens.
    pub fn take_writes(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inner().writes)
    }

    fn write(&self, steps: Vec<Step>) {
        let mut inner = self.inner();
        inner.writes.push(encode(&steps));
        steps.into_iter().for_each(|step| inner.take(step));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("invariant: nobody panics while holding it")
    }
}

impl Inner {
    fn beyond(&self, base: LogIndex) -> Vec<Record> {
        let base = usize::try_from(base).unwrap_or(usize::MAX);
        self.earlier.iter().chain(&self.state.records).skip(base).cloned().collect()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin { configuration, base } => {
                let records = std::mem::take(&mut self.state.records);
                self.earlier.extend(records);
                self.earlier.truncate(usize::try_from(base).unwrap_or(usize::MAX));
                self.state = State { configuration, base: self.earlier.len() as LogIndex, ..State::default() };
            }
            Step::Promise(ballot) => self.state.promise = Some(ballot),
            Step::Accepted(ballot) => self.state.accepted = Some(ballot),
            Step::Decided(decided) => self.state.decided = decided,
            Step::Put(from, records) => {
                self.state.records.truncate(from);
                self.state.records.extend(records);
            }
        }
    }
}

/// What consensus asks of it. There are no snapshots and no stop signs: configurations change by records.
impl Storage<Record> for Journal {
    fn write_atomically(&mut self, operations: Vec<StorageOp<Record>>) -> StorageResult<()> {
        let mut length = self.inner().state.records.len();
        let mut steps = Vec::new();
        for operation in operations {
            let step = match operation {
                StorageOp::AppendEntry(record) => Step::Put(length, vec![record]),
                StorageOp::AppendEntries(records) => Step::Put(length, records),
                StorageOp::AppendOnPrefix(from, records) => Step::Put(from.min(length), records),
                StorageOp::SetPromise(ballot) => Step::Promise(ballot),
                StorageOp::SetDecidedIndex(decided) => Step::Decided(decided),
                StorageOp::SetAcceptedRound(ballot) => Step::Accepted(ballot),
                StorageOp::SetStopsign(None) | StorageOp::SetSnapshot(None) => continue,
                StorageOp::SetCompactedIdx(_)
                | StorageOp::Trim(_)
                | StorageOp::SetStopsign(Some(_))
                | StorageOp::SetSnapshot(Some(_)) => return Err("there is no compaction".into()),
            };
            if let Step::Put(from, records) = &step {
                length = from + records.len();
            }
            steps.push(step);
        }
        self.write(steps);
        Ok(())
    }

    fn append_entry(&mut self, record: Record) -> StorageResult<()> {
        self.append_entries(vec![record])
    }

    fn append_entries(&mut self, records: Vec<Record>) -> StorageResult<()> {
        if !records.is_empty() {
            let length = self.inner().state.records.len();
            self.write(vec![Step::Put(length, records)]);
        }
        Ok(())
    }

    fn append_on_prefix(&mut self, from: usize, records: Vec<Record>) -> StorageResult<()> {
        let length = self.inner().state.records.len();
        self.write(vec![Step::Put(from.min(length), records)]);
        Ok(())
    }

    fn set_promise(&mut self, ballot: Ballot) -> StorageResult<()> {
        self.write(vec![Step::Promise(ballot)]);
        Ok(())
    }

    fn set_decided_idx(&mut self, decided: usize) -> StorageResult<()> {
        self.write(vec![Step::Decided(decided)]);
        Ok(())
    }

    fn get_decided_idx(&self) -> StorageResult<usize> {
        Ok(self.inner().state.decided)
    }

    fn set_accepted_round(&mut self, ballot: Ballot) -> StorageResult<()> {
        self.write(vec![Step::Accepted(ballot)]);
        Ok(())
    }

    fn get_accepted_round(&self) -> StorageResult<Option<Ballot>> {
        Ok(self.inner().state.accepted)
    }

    fn get_entries(&self, from: usize, to: usize) -> StorageResult<Vec<Record>> {
        Ok(self.inner().state.records.get(from..to).unwrap_or_default().to_vec())
    }

    fn get_log_len(&self) -> StorageResult<usize> {
        Ok(self.inner().state.records.len())
    }

    fn get_suffix(&self, from: usize) -> StorageResult<Vec<Record>> {
        Ok(self.inner().state.records.get(from..).unwrap_or_default().to_vec())
    }

    fn get_promise(&self) -> StorageResult<Option<Ballot>> {
        Ok(self.inner().state.promise)
    }

    fn set_stopsign(&mut self, _: Option<StopSign>) -> StorageResult<()> {
        Err("there are no stop signs".into())
    }

    fn get_stopsign(&self) -> StorageResult<Option<StopSign>> {
        Ok(None)
    }

    fn trim(&mut self, _: usize) -> StorageResult<()> {
        Err("there is no compaction".into())
    }

    fn set_compacted_idx(&mut self, _: usize) -> StorageResult<()> {
        Err("there is no compaction".into())
    }

    fn get_compacted_idx(&self) -> StorageResult<usize> {
        Ok(0)
    }

    fn set_snapshot(&mut self, _: Option<NoSnapshot>) -> StorageResult<()> {
        Err("there are no snapshots".into())
    }

    fn get_snapshot(&self) -> StorageResult<Option<NoSnapshot>> {
        Ok(None)
    }
}

fn encode(steps: &[Step]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written = steps.iter().try_for_each(|step| {
        let encoder = &mut encoder;
        match step {
            Step::Begin { configuration, base } => encoder.u8(0)?.u32(*configuration)?.u64(*base).map(drop),
            Step::Promise(ballot) => encode_ballot(encoder.u8(1)?, *ballot),
            Step::Accepted(ballot) => encode_ballot(encoder.u8(2)?, *ballot),
            Step::Decided(decided) => encoder.u8(3)?.u64(*decided as u64).map(drop),
            Step::Put(from, records) => {
                encoder.u8(4)?.u64(*from as u64)?.array(records.len() as u64)?;
                records.iter().try_for_each(|record| encoder.bytes(&record.0).map(drop))
            }
        }
    });
    written.expect("invariant: a vector takes everything");
    encoder.into_writer()
}

fn decode(write: &[u8]) -> Option<Vec<Step>> {
    let mut decoder = Decoder::new(write);
    let mut steps = Vec::new();
    while decoder.position() < write.len() {
        steps.push(match decoder.u8().ok()? {
            0 => Step::Begin { configuration: decoder.u32().ok()?, base: decoder.u64().ok()? },
            1 => Step::Promise(decode_ballot(&mut decoder)?),
            2 => Step::Accepted(decode_ballot(&mut decoder)?),
            3 => Step::Decided(usize::try_from(decoder.u64().ok()?).ok()?),
            4 => {
                let from = usize::try_from(decoder.u64().ok()?).ok()?;
                let count = decoder.array().ok()??;
                Step::Put(from, (0..count).map(|_| decode_record(&mut decoder)).collect::<Option<_>>()?)
            }
            _ => return None,
        });
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(byte: u8) -> Record {
        vec![byte; 3].into()
    }

    #[test]
    fn the_writes_give_the_same_journal_again() {
        let mut journal = Journal::default();
        let ballot = Ballot { config_id: 1, n: 2, priority: 3, pid: 1 };
        journal.begin(1, 0);
        journal.set_promise(ballot).unwrap();
        journal.append_entries(vec![record(1), record(2), record(3)]).unwrap();
        journal.set_accepted_round(ballot).unwrap();
        journal.append_on_prefix(2, vec![record(4)]).unwrap();
        journal.set_decided_idx(2).unwrap();
        assert_eq!(journal.begin(2, 2), [record(4)]);
        journal.append_entry(record(5)).unwrap();
        journal.set_decided_idx(1).unwrap();
        let writes = journal.take_writes();
        let again = Journal::restore(writes.iter().map(Vec::as_slice));
        assert_eq!(again.state(), journal.state());
        assert_eq!(again.decided_from(0, 1_000), [record(1), record(2), record(5)]);
        assert_eq!((again.decided_at(2), again.decided_at(3), again.configuration()), (Some(record(5)), None, (2, 2)));
    }

    #[test]
    fn any_bytes_are_a_step_or_the_end() {
        let journal = Journal::default();
        journal.begin(1, 0);
        journal.adopt(&[record(1)]);
        let ballot = Ballot { config_id: 1, n: 2, priority: 3, pid: 1 };
        journal.recover(ballot, Some(ballot), 1, vec![record(2)]);
        fuzz::Corpus::of(journal.take_writes()).run(|bytes| drop(Journal::restore([bytes])));
    }
}
