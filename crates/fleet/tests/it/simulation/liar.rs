//! A master that lies: it has a voter's key, and says whatever it likes with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use fleet::archive::Archive;
use fleet::catch_up::{Frame, Library, Teacher};
use fleet::cycle::{Answer, AnswerFlags, Payload};
use fleet::voter::Ledger;
use fleet::wire::{Arrival, Endpoint, Heard, Identity, Standing, Stream};
use fleet::{HeadsDigest, Moment, NoiseKey};

use super::fleet_of::{Founded, key, random, secret};

pub struct Liar {
    pub number: u8,
    endpoint: Endpoint,
    identity: Identity,
    archive: Archive,
    streams: BTreeMap<u64, (Stream, Option<Teacher>)>,
    next: u64,
}

impl Liar {
    /// Lies with the key of `number` about a log of its own, which nobody else has signed.
    pub fn new(number: u8, founded: &Founded, branch: &[Vec<u8>], now: u64) -> Self {
        let identity = || Identity::new(secret(number).noise_secret(), founded.fleet);
        let mut archive = Archive::new(founded.genesis.clone(), Arc::new(secret(number))).unwrap();
        let records = founded.records.iter().chain(branch).cloned();
        records.for_each(|record| archive.append(&record.into()));
        let statement = archive.statement();
        let signature = archive.sign(&statement);
        archive.certify(archive.length(), &statement, &[(key(number), signature)]);
        let endpoint = Endpoint::new(identity(), Moment::from_millis(now), &mut random(now));
        Self { number, endpoint, identity: identity(), archive, streams: BTreeMap::new(), next: 0 }
    }

    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: u64, chance: &mut fuzz::Random) -> Option<Vec<u8>> {
        let all = |_: NoiseKey| Some(Standing::Member);
        let now = Moment::from_millis(now);
        match self.endpoint.receive(from, bytes, &all, now, &mut random(chance.next())).ok()? {
            Arrival::Reply(datagram) => Some(datagram),
            Arrival::Connected(_) => None,
            Arrival::Message(message) => {
                let Ok(Payload::Ask(ask)) = Payload::parse(&message.payload) else { return None };
                let index = if chance.next().is_multiple_of(2) { ask.index } else { chance.next() };
                let flags = AnswerFlags::default();
                let heads = HeadsDigest(chance.next().to_be_bytes());
                let interval = u16::from(chance.byte());
                self.endpoint.answer(&message, &Payload::Answer(Answer { heads, index, interval, flags }).print())
            }
        }
    }

    pub fn accept(&mut self) -> u64 {
        self.next += 1;
        self.streams.insert(self.next, (Stream::accept(), None));
        self.next
    }

    /// Answers on a connection; nothing ends it.
    pub fn read(&mut self, number: u64, bytes: &[u8], chance: &mut fuzz::Random) -> Option<Vec<u8>> {
        let (mut stream, mut teacher) = self.streams.remove(&number)?;
        let heard = stream.receive(bytes, &self.identity, &|_| true, &mut random(chance.next())).ok()?;
        for heard in heard {
            match (heard, &mut teacher) {
                (Heard::Peer(peer), _) => teacher = Some(Teacher::new(peer)),
                (Heard::Message(message), Some(teacher)) => {
                    let frame = Frame::parse(&message).ok()?;
                    if let Ok((Some(answer), _)) = teacher.hear(frame, &mut self.archive) {
                        stream.say(&answer.print()).ok()?;
                    }
                }
                (Heard::Message(_), None) => return None,
            }
        }
        while let Some(frame) = teacher.as_mut().and_then(|teacher| teacher.next(&self.archive)) {
            self.spoil(frame, chance).into_iter().try_for_each(|frame| stream.say(&frame)).ok()?;
        }
        let said = stream.take_outgoing();
        self.streams.insert(number, (stream, teacher));
        Some(said)
    }

    /// What becomes of an honest word.
    fn spoil(&self, frame: Frame, chance: &mut fuzz::Random) -> Vec<Vec<u8>> {
        let mut honest = frame.print();
        match chance.below(12) {
            0 => Vec::new(),
            1 => vec![honest.clone(), honest],
            2 => {
                let at = chance.below(honest.len());
                honest[at] ^= 1 << chance.below(8);
                vec![honest]
            }
            3 => {
                honest.truncate(1 + chance.below(honest.len()));
                vec![honest]
            }
            // Another node's sections, in place of all that is left.
            4 => {
                let (sections, proof) = self.archive.sections(key(1 + chance.byte() % 6));
                let sections = sections.into_iter().map(Frame::Section).chain([Frame::Proof(proof)]);
                sections.map(|frame| frame.print()).collect()
            }
            _ => vec![honest],
        }
    }
}
