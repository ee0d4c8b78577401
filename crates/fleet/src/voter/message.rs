//! What voters say to one another. Consensus trusts its peers' numbers, so that here nothing passes that could not be:
//! a foreign ballot, a leader that speaks for another, an index out of all proportion.

use minicbor::encode::{Error, Write};
use minicbor::{Decoder, Encoder};
use omnipaxos::ballot_leader_election::Ballot;
use omnipaxos::messages::Message as Consensus;
use omnipaxos::messages::ballot_leader_election::{BLEMessage, HeartbeatMsg, HeartbeatReply, HeartbeatRequest};
use omnipaxos::messages::sequence_paxos::{
    AcceptDecide, AcceptSync, Accepted, Decide, NotAccepted, PaxosMessage, PaxosMsg, Prepare, PrepareReq, Promise,
};
use omnipaxos::util::{LogSync, NodeId, SequenceNumber};

use super::record::Record;
use crate::LogIndex;

/// Indices and ballots beyond this are nobody's.
const BOUND: u64 = 1 << 40;
const BALLOTS: u32 = 1 << 30;

/// What one voter says to another in a configuration.
#[derive(Clone, Debug)]
pub enum Message {
    /// A step of consensus.
    Consensus(Consensus<Record>),
    /// Its signature under the checkpoint at an index.
    Signature {
        /// How many records the checkpoint covers.
        index: LogIndex,
        /// What was signed.
        statement: Vec<u8>,
        /// The signature.
        signature: Vec<u8>,
        /// Whether the sender wants the receiver's in return.
        asks: bool,
    },
    /// Tell me the decided records from this index on.
    Fetch(LogIndex),
    /// These they are.
    Records(LogIndex, Vec<Record>),
    /// I have lost what I promised: tell me all that you accepted.
    Recall,
    /// This is it.
    Recalled {
        /// The highest ballot it promised.
        promise: Option<Ballot>,
        /// The ballot of the newest record it accepted.
        accepted: Option<Ballot>,
        /// How many are decided.
        decided: usize,
        /// The records of this configuration.
        records: Vec<Record>,
    },
    /// So many records it has accepted, and so many of them are decided: consensus never repeats what was lost on its way.
    Length {
        /// Accepted.
        records: usize,
        /// Decided.
        decided: usize,
    },
}

type Written<W> = Result<(), Error<<W as Write>::Error>>;

/// Writes a message of a configuration.
pub fn encode(configuration: u32, message: &Message) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let head = encoder.u32(configuration).map(drop);
    let written = head.and_then(|()| match message {
        Message::Consensus(message) => encode_consensus(&mut encoder, message),
        Message::Signature { index, statement, signature, asks } => {
            encoder.u8(20)?.u64(*index)?.bytes(statement)?.bytes(signature)?.bool(*asks).map(drop)
        }
        Message::Fetch(from) => encoder.u8(21)?.u64(*from).map(drop),
        Message::Records(from, records) => encode_records(encoder.u8(22)?.u64(*from)?, records),
        Message::Recall => encoder.u8(23).map(drop),
        Message::Recalled { promise, accepted, decided, records } => {
            encoder.u8(24)?;
            encode_ballot(&mut encoder, promise.unwrap_or_default())?;
            encode_ballot(&mut encoder, accepted.unwrap_or_default())?;
            encode_records(encoder.u64(*decided as u64)?, records)
        }
        Message::Length { records, decided } => encoder.u8(25)?.u64(*records as u64)?.u64(*decided as u64).map(drop),
    });
    written.expect("invariant: a vector takes everything");
    encoder.into_writer()
}

/// Reads a message that `from` says to `to`, and the configuration it belongs to.
pub fn decode(bytes: &[u8], from: NodeId, to: NodeId, voters: NodeId) -> Option<(u32, Message)> {
    let mut decoder = Decoder::new(bytes);
    let configuration = decoder.u32().ok()?;
    let kind = decoder.u8().ok()?;
    let message = match kind {
        20 => Message::Signature {
            index: index(&mut decoder)?,
            statement: decoder.bytes().ok()?.to_vec(),
            signature: decoder.bytes().ok()?.to_vec(),
            asks: decoder.bool().ok()?,
        },
        21 => Message::Fetch(index(&mut decoder)?),
        22 => Message::Records(index(&mut decoder)?, decode_records(&mut decoder)?),
        23 => Message::Recall,
        24 => {
            let [promise, accepted] = [decode_ballot(&mut decoder)?, decode_ballot(&mut decoder)?];
            let some = |ballot| (ballot != Ballot::default()).then_some(ballot);
            let (decided, records) = (size(&mut decoder)?, decode_records(&mut decoder)?);
            if decided > records.len() {
                return None;
            }
            Message::Recalled { promise: some(promise), accepted: some(accepted), decided, records }
        }
        25 => Message::Length { records: size(&mut decoder)?, decided: size(&mut decoder)? },
        kind => Message::Consensus(decode_consensus(&mut decoder, kind, from, to)?),
    };
    let is_whole = decoder.position() == bytes.len();
    (is_whole && belongs(&message, configuration, voters)).then_some((configuration, message))
}

/// The configuration that a message is of, whoever wrote it.
pub fn configuration(bytes: &[u8]) -> Option<u32> {
    Decoder::new(bytes).u32().ok()
}

pub(super) fn encode_ballot<W: Write>(encoder: &mut Encoder<W>, ballot: Ballot) -> Written<W> {
    encoder.u32(ballot.config_id)?.u32(ballot.n)?.u32(ballot.priority)?.u64(ballot.pid).map(drop)
}

pub(super) fn decode_ballot(decoder: &mut Decoder<'_>) -> Option<Ballot> {
    Some(Ballot {
        config_id: decoder.u32().ok()?,
        n: decoder.u32().ok().filter(|n| *n < BALLOTS)?,
        priority: decoder.u32().ok()?,
        pid: decoder.u64().ok()?,
    })
}

pub(super) fn decode_record(decoder: &mut Decoder<'_>) -> Option<Record> {
    decoder.bytes().ok().map(|bytes| Record(bytes.into()))
}

fn encode_records<W: Write>(encoder: &mut Encoder<W>, records: &[Record]) -> Written<W> {
    encoder.array(records.len() as u64)?;
    records.iter().try_for_each(|record| encoder.bytes(&record.0).map(drop))
}

fn decode_records(decoder: &mut Decoder<'_>) -> Option<Vec<Record>> {
    // Collecting an option reserves nothing, so that a false count costs nothing either.
    (0..decoder.array().ok()??).map(|_| decode_record(decoder)).collect()
}

fn encode_consensus<W: Write>(encoder: &mut Encoder<W>, message: &Consensus<Record>) -> Written<W> {
    let message = match message {
        Consensus::BLE(BLEMessage { msg: HeartbeatMsg::Request(request), .. }) => {
            return encoder.u8(1)?.u32(request.round).map(drop);
        }
        Consensus::BLE(BLEMessage { msg: HeartbeatMsg::Reply(reply), .. }) => {
            encode_ballot(encoder.u8(2)?.u32(reply.round)?, reply.ballot)?;
            encode_ballot(encoder, reply.leader)?;
            return encoder.bool(reply.happy).map(drop);
        }
        Consensus::SequencePaxos(PaxosMessage { msg, .. }) => msg,
    };
    match message {
        PaxosMsg::PrepareReq(PrepareReq { n }) => encode_ballot(encoder.u8(3)?, *n),
        PaxosMsg::Prepare(Prepare { n, decided_idx, n_accepted, accepted_idx }) => {
            encode_ballot(encoder.u8(4)?, *n)?;
            encode_ballot(encoder, *n_accepted)?;
            encoder.u64(*decided_idx as u64)?.u64(*accepted_idx as u64).map(drop)
        }
        PaxosMsg::Promise(Promise { n, n_accepted, decided_idx, accepted_idx, log_sync }) => {
            encode_ballot(encoder.u8(5)?, *n)?;
            encode_ballot(encoder, *n_accepted)?;
            encoder.u64(*decided_idx as u64)?.u64(*accepted_idx as u64)?.bool(log_sync.is_some())?;
            log_sync.iter().try_for_each(|sync| encode_sync(encoder, sync))
        }
        PaxosMsg::AcceptSync(AcceptSync { n, seq_num, decided_idx, log_sync }) => {
            encode_ballot(encoder.u8(6)?, *n)?;
            encode_number(encoder, *seq_num)?;
            encode_sync(encoder.u64(*decided_idx as u64)?, log_sync)
        }
        PaxosMsg::AcceptDecide(AcceptDecide { n, seq_num, decided_idx, entries }) => {
            encode_ballot(encoder.u8(7)?, *n)?;
            encode_number(encoder, *seq_num)?;
            encode_records(encoder.u64(*decided_idx as u64)?, entries)
        }
        PaxosMsg::Accepted(Accepted { n, accepted_idx }) => {
            encode_ballot(encoder.u8(8)?, *n)?;
            encoder.u64(*accepted_idx as u64).map(drop)
        }
        PaxosMsg::NotAccepted(NotAccepted { n }) => encode_ballot(encoder.u8(9)?, *n),
        PaxosMsg::Decide(Decide { n, seq_num, decided_idx }) => {
            encode_ballot(encoder.u8(10)?, *n)?;
            encode_number(encoder, *seq_num)?;
            encoder.u64(*decided_idx as u64).map(drop)
        }
        PaxosMsg::ProposalForward(records) => encode_records(encoder.u8(11)?, records),
        // Nothing here compacts or stops a configuration, so that nobody reads these either.
        PaxosMsg::Compaction(_) | PaxosMsg::AcceptStopSign(_) | PaxosMsg::ForwardStopSign(_) => {
            encoder.u8(12).map(drop)
        }
    }
}

fn decode_consensus(decoder: &mut Decoder<'_>, kind: u8, from: NodeId, to: NodeId) -> Option<Consensus<Record>> {
    let heartbeat = |msg| Some(Consensus::BLE(BLEMessage { from, to, msg }));
    let msg = match kind {
        1 => return heartbeat(HeartbeatMsg::Request(HeartbeatRequest { round: decoder.u32().ok()? })),
        2 => {
            return heartbeat(HeartbeatMsg::Reply(HeartbeatReply {
                round: decoder.u32().ok()?,
                ballot: decode_ballot(decoder)?,
                leader: decode_ballot(decoder)?,
                happy: decoder.bool().ok()?,
            }));
        }
        3 => PaxosMsg::PrepareReq(PrepareReq { n: decode_ballot(decoder)? }),
        4 => PaxosMsg::Prepare(Prepare {
            n: decode_ballot(decoder)?,
            n_accepted: decode_ballot(decoder)?,
            decided_idx: size(decoder)?,
            accepted_idx: size(decoder)?,
        }),
        5 => PaxosMsg::Promise(Promise {
            n: decode_ballot(decoder)?,
            n_accepted: decode_ballot(decoder)?,
            decided_idx: size(decoder)?,
            accepted_idx: size(decoder)?,
            log_sync: if decoder.bool().ok()? { Some(decode_sync(decoder)?) } else { None },
        }),
        6 => PaxosMsg::AcceptSync(AcceptSync {
            n: decode_ballot(decoder)?,
            seq_num: decode_number(decoder)?,
            decided_idx: size(decoder)?,
            log_sync: decode_sync(decoder)?,
        }),
        7 => PaxosMsg::AcceptDecide(AcceptDecide {
            n: decode_ballot(decoder)?,
            seq_num: decode_number(decoder)?,
            decided_idx: size(decoder)?,
            entries: decode_records(decoder)?,
        }),
        8 => PaxosMsg::Accepted(Accepted { n: decode_ballot(decoder)?, accepted_idx: size(decoder)? }),
        9 => PaxosMsg::NotAccepted(NotAccepted { n: decode_ballot(decoder)? }),
        10 => PaxosMsg::Decide(Decide {
            n: decode_ballot(decoder)?,
            seq_num: decode_number(decoder)?,
            decided_idx: size(decoder)?,
        }),
        11 => PaxosMsg::ProposalForward(decode_records(decoder)?),
        _ => return None,
    };
    let leads = |n: &Ballot| n.pid == from;
    let is_sound = match &msg {
        PaxosMsg::Prepare(prepare) => leads(&prepare.n),
        PaxosMsg::AcceptSync(sync) => {
            leads(&sync.n) && sync.decided_idx <= sync.log_sync.sync_idx + sync.log_sync.suffix.len()
        }
        PaxosMsg::AcceptDecide(decide) => leads(&decide.n),
        PaxosMsg::Decide(decide) => leads(&decide.n),
        PaxosMsg::Promise(promise) => promise.n.pid == to && promise.decided_idx <= promise.accepted_idx,
        PaxosMsg::Accepted(accepted) => accepted.n.pid == to,
        _ => true,
    };
    is_sound.then_some(Consensus::SequencePaxos(PaxosMessage { from, to, msg }))
}

/// Whether its ballots are of this configuration and these voters.
fn belongs(message: &Message, configuration: u32, voters: NodeId) -> bool {
    let known = |ballot: &Ballot| {
        *ballot == Ballot::default() || ballot.config_id == configuration && (1..=voters).contains(&ballot.pid)
    };
    match message {
        Message::Consensus(Consensus::BLE(BLEMessage { msg: HeartbeatMsg::Reply(reply), .. })) => {
            known(&reply.ballot) && known(&reply.leader)
        }
        Message::Consensus(Consensus::SequencePaxos(PaxosMessage { msg, .. })) => match msg {
            PaxosMsg::PrepareReq(message) => known(&message.n),
            PaxosMsg::Prepare(message) => known(&message.n) && known(&message.n_accepted),
            PaxosMsg::Promise(message) => known(&message.n) && known(&message.n_accepted),
            PaxosMsg::AcceptSync(message) => known(&message.n),
            PaxosMsg::AcceptDecide(message) => known(&message.n),
            PaxosMsg::Accepted(message) => known(&message.n),
            PaxosMsg::NotAccepted(message) => known(&message.n),
            PaxosMsg::Decide(message) => known(&message.n),
            PaxosMsg::ProposalForward(_) => true,
            PaxosMsg::Compaction(_) | PaxosMsg::AcceptStopSign(_) | PaxosMsg::ForwardStopSign(_) => false,
        },
        Message::Recalled { promise, accepted, .. } => promise.iter().chain(accepted).all(known),
        _ => true,
    }
}

fn encode_sync<W: Write>(encoder: &mut Encoder<W>, sync: &LogSync<Record>) -> Written<W> {
    encode_records(encoder.u64(sync.sync_idx as u64)?, &sync.suffix)
}

fn decode_sync(decoder: &mut Decoder<'_>) -> Option<LogSync<Record>> {
    let (sync_idx, suffix) = (size(decoder)?, decode_records(decoder)?);
    Some(LogSync { decided_snapshot: None, suffix, sync_idx, stopsign: None })
}

fn encode_number<W: Write>(encoder: &mut Encoder<W>, number: SequenceNumber) -> Written<W> {
    encoder.u64(number.session)?.u64(number.counter).map(drop)
}

fn decode_number(decoder: &mut Decoder<'_>) -> Option<SequenceNumber> {
    Some(SequenceNumber { session: index(decoder)?, counter: index(decoder)? })
}

fn index(decoder: &mut Decoder<'_>) -> Option<u64> {
    decoder.u64().ok().filter(|index| *index < BOUND)
}

fn size(decoder: &mut Decoder<'_>) -> Option<usize> {
    index(decoder).and_then(|size| usize::try_from(size).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALLOT: Ballot = Ballot { config_id: 4, n: 7, priority: 2, pid: 1 };

    fn one_of_each() -> Vec<Message> {
        let paxos = |msg| Message::Consensus(Consensus::SequencePaxos(PaxosMessage { from: 1, to: 2, msg }));
        let heartbeat = |msg| Message::Consensus(Consensus::BLE(BLEMessage { from: 1, to: 2, msg }));
        let own = Ballot { pid: 2, ..BALLOT };
        let records = || vec![Record::from(vec![1, 2]), Record::from(vec![])];
        let sync = || LogSync { decided_snapshot: None, suffix: records(), sync_idx: 3, stopsign: None };
        let seq_num = SequenceNumber { session: 1, counter: 9 };
        let (n, decided_idx, accepted_idx) = (BALLOT, 4, 5);
        vec![
            heartbeat(HeartbeatMsg::Request(HeartbeatRequest { round: 9 })),
            heartbeat(HeartbeatMsg::Reply(HeartbeatReply { round: 9, ballot: n, leader: own, happy: true })),
            paxos(PaxosMsg::PrepareReq(PrepareReq { n })),
            paxos(PaxosMsg::Prepare(Prepare { n, decided_idx, n_accepted: n, accepted_idx })),
            paxos(PaxosMsg::Promise(Promise {
                n: own,
                n_accepted: n,
                decided_idx,
                accepted_idx,
                log_sync: Some(sync()),
            })),
            paxos(PaxosMsg::Promise(Promise { n: own, n_accepted: n, decided_idx, accepted_idx, log_sync: None })),
            paxos(PaxosMsg::AcceptSync(AcceptSync { n, seq_num, decided_idx, log_sync: sync() })),
            paxos(PaxosMsg::AcceptDecide(AcceptDecide { n, seq_num, decided_idx, entries: records() })),
            paxos(PaxosMsg::Accepted(Accepted { n: own, accepted_idx })),
            paxos(PaxosMsg::NotAccepted(NotAccepted { n })),
            paxos(PaxosMsg::Decide(Decide { n, seq_num, decided_idx })),
            paxos(PaxosMsg::ProposalForward(records())),
            Message::Signature { index: 8, statement: vec![1], signature: vec![2; 64], asks: true },
            Message::Fetch(8),
            Message::Records(8, records()),
            Message::Recall,
            Message::Length { records: 3, decided: 2 },
            Message::Recalled { promise: Some(n), accepted: None, decided: 1, records: records() },
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        for message in one_of_each() {
            let bytes = encode(4, &message);
            let (configuration, again) = decode(&bytes, 1, 2, 3).unwrap_or_else(|| panic!("{message:?} is read"));
            assert_eq!((configuration, format!("{again:?}")), (4, format!("{message:?}")));
            for length in 0..bytes.len() {
                assert!(decode(&bytes[..length], 1, 2, 3).is_none());
            }
        }
    }

    #[test]
    fn who_speaks_for_another_or_of_strange_ballots_is_not_heard() {
        for message in one_of_each() {
            let has_ballot = format!("{message:?}").contains("pid: 1,");
            let leads = matches!(&message, Message::Consensus(Consensus::SequencePaxos(PaxosMessage { msg, .. }))
                if matches!(msg, PaxosMsg::Prepare(_) | PaxosMsg::AcceptSync(_) | PaxosMsg::AcceptDecide(_) | PaxosMsg::Decide(_)));
            assert!(!leads || decode(&encode(4, &message), 3, 2, 3).is_none());
            assert!(!has_ballot || decode(&encode(5, &message), 1, 2, 3).is_none());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let corpus = one_of_each();
        fuzz::Corpus::of(corpus.iter().map(|message| encode(4, message))).run(|bytes| {
            if let Some((configuration, message)) = decode(bytes, 1, 2, 3) {
                let again = encode(configuration, &message);
                assert_eq!(encode(configuration, &decode(&again, 1, 2, 3).unwrap().1), again);
            }
        });
    }
}
