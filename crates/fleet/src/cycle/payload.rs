//! What datagrams carry, to the byte: a kind, and a body whose length the kind decides.

use thiserror::Error;

use crate::LogIndex;
use crate::heads::HeadsDigest;
use crate::vitals::Vitals;

const ASK: u8 = 1;
const ANSWER: u8 = 2;
const START: u8 = 3;
const VOTE: u8 = 4;

/// Six bytes that tell two statuses of a device apart.
pub type StatusDigest = [u8; 6];

/// What a datagram of a session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A device says where it stands and how it is.
    Ask(Ask),
    /// A master says where it stands.
    Answer(Answer),
    /// A master hints that the log has reached this index.
    Start(LogIndex),
    /// A voter speaks to another.
    Vote(&'a [u8]),
}

/// A device's question, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What it has verified.
    pub heads: HeadsDigest,
    /// How far its checkpoint reaches, so that a master notices when it is the one that is behind; 48 bits.
    pub index: LogIndex,
    /// Its newest status.
    pub status: StatusDigest,
    /// How it is.
    pub vitals: Vitals,
}

/// A master's answer, 17 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the master has verified.
    pub heads: HeadsDigest,
    /// How far its checkpoint reaches.
    pub index: LogIndex,
    /// Seconds until it wants to be asked again, if nothing happens.
    pub interval: u16,
    /// What else there is to say.
    pub flags: AnswerFlags,
}

/// What a master says with one bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerFlags(u8);

impl AnswerFlags {
    /// It does not have the device's newest status.
    pub const WANTS_STATUS: Self = Self(1);
    /// It holds proof of a fork.
    pub const FORK: Self = Self(1 << 1);

    /// These as well.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are up.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// Why a payload says nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PayloadError {
    /// Of a kind that this version does not know.
    #[error("payloads of kind {0} are unknown")]
    Kind(u8),
    /// Not as long as its kind.
    #[error("a payload of kind {kind} has {length} bytes")]
    Length {
        /// The first byte.
        kind: u8,
        /// How long it was.
        length: usize,
    },
    /// Nothing at all.
    #[error("an empty payload")]
    Empty,
}

impl<'a> Payload<'a> {
    /// Reads one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let (&kind, body) = bytes.split_first().ok_or(PayloadError::Empty)?;
        let read = match kind {
            ASK => Ask::parse(body).map(Self::Ask),
            ANSWER => Answer::parse(body).map(Self::Answer),
            START => body.try_into().ok().map(|index| Self::Start(read_index(index))),
            VOTE => Some(Self::Vote(body)),
            _ => return Err(PayloadError::Kind(kind)),
        };
        read.ok_or(PayloadError::Length { kind, length: bytes.len() })
    }

    /// Writes it.
    pub fn print(&self) -> Vec<u8> {
        match self {
            Self::Ask(ask) => {
                let index = print_index(ask.index);
                [&[ASK][..], &ask.heads.0, &index, &ask.status, &ask.vitals.print()].concat()
            }
            Self::Answer(answer) => {
                let (index, interval) = (print_index(answer.index), answer.interval.to_be_bytes());
                [&[ANSWER][..], &answer.heads.0, &index, &interval, &[answer.flags.0]].concat()
            }
            Self::Start(index) => [&[START][..], &print_index(*index)].concat(),
            Self::Vote(message) => [&[VOTE], *message].concat(),
        }
    }
}

impl Ask {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (heads, bytes) = bytes.split_first_chunk()?;
        let (index, bytes) = bytes.split_first_chunk()?;
        let (status, vitals) = bytes.split_first_chunk()?;
        let vitals = Vitals::parse(vitals.try_into().ok()?);
        Some(Self { heads: HeadsDigest(*heads), index: read_index(index), status: *status, vitals })
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (heads, bytes) = bytes.split_first_chunk()?;
        let (index, bytes) = bytes.split_first_chunk()?;
        let (interval, flags) = bytes.split_first_chunk()?;
        let &[flags] = flags else { return None };
        let interval = u16::from_be_bytes(*interval);
        Some(Self { heads: HeadsDigest(*heads), index: read_index(index), interval, flags: AnswerFlags(flags) })
    }
}

/// Six bytes count records for some nine thousand years at a thousand a second.
fn print_index(index: LogIndex) -> [u8; 6] {
    let [_, _, bytes @ ..] = index.min((1 << 48) - 1).to_be_bytes();
    bytes
}

fn read_index(bytes: &[u8; 6]) -> LogIndex {
    let [a, b, c, d, e, f] = *bytes;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> Ask {
        let vitals = Vitals { boots: 7, ..Vitals::default() };
        Ask { heads: HeadsDigest([1; 8]), index: 1 << 40, status: [2; 6], vitals }
    }

    fn answer() -> Answer {
        let flags = AnswerFlags::WANTS_STATUS;
        Answer { heads: HeadsDigest([3; 8]), index: 9, interval: 120, flags }
    }

    fn one_of_each() -> Vec<Vec<u8>> {
        let payloads = [Payload::Ask(ask()), Payload::Answer(answer()), Payload::Start(77), Payload::Vote(b"ballot")];
        payloads.map(|payload| payload.print()).to_vec()
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for bytes in one_of_each() {
            assert_eq!(Payload::parse(&bytes).unwrap().print(), bytes);
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        for bytes in &one_of_each()[..3] {
            for length in (1..bytes.len()).chain([bytes.len() + 1]) {
                let changed: Vec<u8> = bytes.iter().copied().chain([0]).take(length).collect();
                assert_eq!(Payload::parse(&changed), Err(PayloadError::Length { kind: bytes[0], length }));
            }
        }
        assert_eq!(Payload::parse(&[]), Err(PayloadError::Empty));
        assert_eq!(Payload::parse(&[9, 9]), Err(PayloadError::Kind(9)));
    }

    #[test]
    fn the_answer_is_shorter_than_the_question_and_an_idle_hour_costs_less_than_5_kb() {
        let (question, answer) = (Payload::Ask(ask()).print().len(), Payload::Answer(answer()).print().len());
        assert!(answer < question);
        // IPv4 and UDP take 28 bytes of each; there is a cycle every 120 s.
        let on_the_wire = |payload| payload + crate::wire::OVERHEAD + 28;
        assert!((on_the_wire(question) + on_the_wire(answer)) * 30 < 5_000);
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        fuzz::Corpus::of(one_of_each()).run(|bytes| {
            if let Ok(payload) = Payload::parse(bytes) {
                assert_eq!(payload.print(), bytes);
            }
        });
    }
}
