//! What a connection carries, to the byte: a kind, and the rest as the kind decides. Whatever is signed travels as it was signed.

use thiserror::Error;

use super::{Report, Verdict};
use crate::{EntryId, Hash, Head, Heads};

const WANT: u8 = 1;
const ENTRY: u8 = 2;
const CHECKPOINT: u8 = 3;
const SECTION: u8 = 4;
const PROOF: u8 = 5;
const DONE: u8 = 6;
const STATUS: u8 = 16;
const RECORD: u8 = 17;
const REQUEST: u8 = 18;
const EVIDENCE: u8 = 19;
const ACCEPTED: u8 = 20;
const REFUSED: u8 = 21;
const PENDING: u8 = 22;
const VOTE: u8 = 33;
const PAYLOAD: u8 = 32;

/// The longest reason.
const LONGEST_REASON: usize = 500;

/// Where the one that asks stands.
pub type Want = Heads;

/// One message of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Tell me what I lack.
    Want(Want),
    /// An entry of the authority chain.
    Entry(Vec<u8>),
    /// The newest checkpoint, with proof that it extends the one that was named.
    Checkpoint(Vec<u8>),
    /// A section.
    Section(Vec<u8>),
    /// The proof that those were all sections.
    Proof(Vec<u8>),
    /// There is no more.
    Done,
    /// A report.
    Report(Report),
    /// What became of the report before.
    Verdict(Verdict),
    /// What would be a datagram's payload where datagrams pass.
    Payload(Vec<u8>),
    /// A voter's word to another, too long for a datagram.
    Vote(Vec<u8>),
}

/// Why a message says nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Of a kind that this version does not know.
    #[error("frames of kind {0} are unknown")]
    Kind(u8),
    /// Not as its kind must be.
    #[error("a frame of kind {kind} with {length} bytes is malformed")]
    Shape {
        /// The first byte.
        kind: u8,
        /// How long it was.
        length: usize,
    },
    /// Nothing at all.
    #[error("an empty frame")]
    Empty,
}

impl Frame {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let (&kind, body) = bytes.split_first().ok_or(FrameError::Empty)?;
        let wrong = FrameError::Shape { kind, length: bytes.len() };
        let whole = || body.to_vec();
        Ok(match kind {
            WANT => Self::Want(parse_want(body).ok_or(wrong)?),
            ENTRY => Self::Entry(whole()),
            CHECKPOINT => Self::Checkpoint(whole()),
            SECTION => Self::Section(whole()),
            PROOF => Self::Proof(whole()),
            DONE if body.is_empty() => Self::Done,
            STATUS => Self::Report(Report::Status(whole())),
            RECORD => Self::Report(Report::Record(whole())),
            REQUEST => Self::Report(Report::Request(whole())),
            EVIDENCE => Self::Report(Report::Evidence(whole())),
            ACCEPTED if body.is_empty() => Self::Verdict(Verdict::Done),
            PENDING if body.is_empty() => Self::Verdict(Verdict::Pending),
            REFUSED if body.len() <= LONGEST_REASON => {
                Self::Verdict(Verdict::Refused(String::from_utf8(whole()).map_err(|_| wrong)?))
            }
            PAYLOAD => Self::Payload(whole()),
            VOTE => Self::Vote(whole()),
            DONE | ACCEPTED | PENDING | REFUSED => return Err(wrong),
            _ => return Err(FrameError::Kind(kind)),
        })
    }

    /// Writes it. A reason that is too long loses its end.
    pub fn print(&self) -> Vec<u8> {
        let of = |kind: u8, body: &[u8]| [&[kind], body].concat();
        match self {
            Self::Want(want) => of(WANT, &print_want(want)),
            Self::Entry(bytes) => of(ENTRY, bytes),
            Self::Checkpoint(bytes) => of(CHECKPOINT, bytes),
            Self::Section(bytes) => of(SECTION, bytes),
            Self::Proof(bytes) => of(PROOF, bytes),
            Self::Done => of(DONE, &[]),
            Self::Report(Report::Status(bytes)) => of(STATUS, bytes),
            Self::Report(Report::Record(bytes)) => of(RECORD, bytes),
            Self::Report(Report::Request(bytes)) => of(REQUEST, bytes),
            Self::Report(Report::Evidence(bytes)) => of(EVIDENCE, bytes),
            Self::Verdict(Verdict::Done) => of(ACCEPTED, &[]),
            Self::Verdict(Verdict::Pending) => of(PENDING, &[]),
            Self::Verdict(Verdict::Refused(reason)) => {
                let mut end = reason.len().min(LONGEST_REASON);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                of(REFUSED, &reason.as_bytes()[..end])
            }
            Self::Payload(bytes) => of(PAYLOAD, bytes),
            Self::Vote(bytes) => of(VOTE, bytes),
        }
    }
}

fn print_want(want: &Want) -> Vec<u8> {
    let Heads { authority, index, checkpoint } = want;
    let position = authority.position.to_be_bytes();
    [&position[..], authority.entry.bytes(), &index.to_be_bytes(), checkpoint.bytes()].concat()
}

fn parse_want(bytes: &[u8]) -> Option<Want> {
    let (position, bytes) = bytes.split_first_chunk()?;
    let (entry, bytes) = bytes.split_first_chunk()?;
    let (index, checkpoint) = bytes.split_first_chunk()?;
    let authority = Head { position: u64::from_be_bytes(*position), entry: EntryId::of(*entry) };
    let checkpoint = Hash::of(checkpoint.try_into().ok()?);
    Some(Want { authority, index: u64::from_be_bytes(*index), checkpoint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Frame> {
        let authority = Head { position: 3, entry: EntryId::of([4; 32]) };
        let bytes = || b"signed".to_vec();
        vec![
            Frame::Want(Want { authority, index: 5, checkpoint: Hash::of([6; 32]) }),
            Frame::Entry(bytes()),
            Frame::Checkpoint(bytes()),
            Frame::Section(bytes()),
            Frame::Proof(bytes()),
            Frame::Done,
            Frame::Report(Report::Status(bytes())),
            Frame::Report(Report::Record(bytes())),
            Frame::Report(Report::Request(bytes())),
            Frame::Report(Report::Evidence(bytes())),
            Frame::Verdict(Verdict::Done),
            Frame::Verdict(Verdict::Pending),
            Frame::Verdict(Verdict::Refused("no right to groups/ap".into())),
            Frame::Payload(bytes()),
            Frame::Vote(bytes()),
        ]
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for frame in one_of_each() {
            assert_eq!(Frame::parse(&frame.print()), Ok(frame));
        }
    }

    #[test]
    fn malformed_frames_are_refused() {
        assert_eq!(Frame::parse(&[]), Err(FrameError::Empty));
        assert_eq!(Frame::parse(&[99]), Err(FrameError::Kind(99)));
        for bytes in [&[WANT, 1, 2][..], &[DONE, 0], &[ACCEPTED, 0], &[REFUSED, 0xff], &[REFUSED; 502]] {
            assert_eq!(Frame::parse(bytes), Err(FrameError::Shape { kind: bytes[0], length: bytes.len() }));
        }
        let endless = Frame::Verdict(Verdict::Refused("ä".repeat(400)));
        assert_eq!(Frame::parse(&endless.print()), Ok(Frame::Verdict(Verdict::Refused("ä".repeat(250)))));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        fuzz::Corpus::of(one_of_each().iter().map(Frame::print)).run(|bytes| {
            if let Ok(frame) = Frame::parse(bytes) {
                assert_eq!(frame.print(), bytes);
            }
        });
    }
}
