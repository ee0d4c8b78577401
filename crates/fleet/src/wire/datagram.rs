//! The four shapes of a datagram, to the byte. What is in them is nobody's word until it was authenticated.

use thiserror::Error;

/// No datagram is longer, so that none is cut into fragments on its way.
pub const LONGEST: usize = 1200;
/// What authenticates a ciphertext.
pub const TAG: usize = 16;
/// What a sealed datagram costs beyond what it carries.
pub const OVERHEAD: usize = SEALED_HEAD + TAG;
/// The longest payload of one datagram.
pub const LONGEST_PAYLOAD: usize = LONGEST - OVERHEAD;

/// An initiation carries this much of the Noise pattern: an ephemeral key, a sealed static key, an empty sealed payload.
pub const INITIATION_NOISE: usize = 32 + 32 + TAG + TAG;
/// A response carries this much of it: an ephemeral key and an empty sealed payload.
pub const RESPONSE_NOISE: usize = 32 + TAG;

const INITIATION: u8 = 0x11;
const RESPONSE: u8 = 0x12;
const COOKIE: u8 = 0x13;
const SEALED: u8 = 0x14;

const INITIATION_LENGTH: usize = 1 + 4 + INITIATION_NOISE + 16 + 16;
const RESPONSE_LENGTH: usize = 1 + 4 + 4 + RESPONSE_NOISE + 16;
/// The longest datagram of a handshake.
pub const LONGEST_HANDSHAKE: usize = INITIATION_LENGTH;

const COOKIE_LENGTH: usize = 1 + 4 + 24 + 16 + TAG;
const SEALED_HEAD: usize = 1 + 4 + 4;

/// Names a session at the side that receives; chance chose it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(pub u32);

/// A datagram, read. Numbers are big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// Somebody wants a session.
    Initiation {
        /// What the initiator calls the session.
        sender: Index,
        /// The first message of the pattern.
        noise: &'a [u8; INITIATION_NOISE],
        /// Shows that the sender knows whom it calls.
        mac1: [u8; 16],
        /// Shows that the sender receives at its address; zeros where it was not asked to.
        mac2: [u8; 16],
    },
    /// The answer to an initiation.
    Response {
        /// What the responder calls the session.
        sender: Index,
        /// What the initiator calls it.
        receiver: Index,
        /// The second message of the pattern.
        noise: &'a [u8; RESPONSE_NOISE],
        /// Shows that the sender knows whom it answers.
        mac1: [u8; 16],
    },
    /// Too many ask: come again with what is in here.
    Cookie {
        /// What the initiator calls the session.
        receiver: Index,
        /// The nonce of the sealed cookie.
        nonce: [u8; 24],
        /// The cookie, sealed for whoever sent that initiation.
        sealed: [u8; 32],
    },
    /// What a session carries.
    Sealed {
        /// What the receiver calls the session.
        receiver: Index,
        /// Counts the sender's datagrams in this session.
        counter: u32,
        /// The payload and its tag.
        ciphertext: &'a [u8],
    },
}

/// Why bytes are no datagram.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DatagramError {
    /// Longer than any.
    #[error("a datagram of {0} bytes: {LONGEST} at most")]
    Oversized(usize),
    /// Shorter or longer than its kind.
    #[error("a datagram of kind {kind:#04x} has {length} bytes")]
    Length {
        /// The first byte.
        kind: u8,
        /// How long it was.
        length: usize,
    },
    /// Of no kind that this version knows.
    #[error("datagrams of kind {0:#04x} are unknown")]
    Kind(u8),
    /// Nothing at all.
    #[error("an empty datagram")]
    Empty,
}

impl<'a> Datagram<'a> {
    /// Reads a datagram.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        if bytes.len() > LONGEST {
            return Err(DatagramError::Oversized(bytes.len()));
        }
        let (&kind, rest) = bytes.split_first().ok_or(DatagramError::Empty)?;
        let fits = match kind {
            INITIATION => bytes.len() == INITIATION_LENGTH,
            RESPONSE => bytes.len() == RESPONSE_LENGTH,
            COOKIE => bytes.len() == COOKIE_LENGTH,
            SEALED => bytes.len() >= OVERHEAD,
            _ => return Err(DatagramError::Kind(kind)),
        };
        let wrong = DatagramError::Length { kind, length: bytes.len() };
        if !fits {
            return Err(wrong);
        }
        read(kind, rest).ok_or(wrong)
    }

    /// Writes it.
    pub fn print(&self) -> Vec<u8> {
        match self {
            Self::Initiation { sender, noise, mac1, mac2 } => {
                [&[INITIATION][..], &sender.0.to_be_bytes(), &noise[..], mac1, mac2].concat()
            }
            Self::Response { sender, receiver, noise, mac1 } => {
                [&[RESPONSE][..], &sender.0.to_be_bytes(), &receiver.0.to_be_bytes(), &noise[..], mac1].concat()
            }
            Self::Cookie { receiver, nonce, sealed } => {
                [&[COOKIE][..], &receiver.0.to_be_bytes(), nonce, sealed].concat()
            }
            Self::Sealed { receiver, counter, ciphertext } => {
                [&[SEALED][..], &receiver.0.to_be_bytes(), &counter.to_be_bytes(), ciphertext].concat()
            }
        }
    }
}

/// What of a handshake datagram its first mac covers: all before the macs.
pub fn before_macs(datagram: &[u8]) -> &[u8] {
    let macs = match datagram.first() {
        Some(&INITIATION) => 32,
        Some(&RESPONSE) => 16,
        _ => 0,
    };
    &datagram[..datagram.len().saturating_sub(macs)]
}

fn read(kind: u8, rest: &[u8]) -> Option<Datagram<'_>> {
    let (first, rest) = rest.split_first_chunk()?;
    let first = Index(u32::from_be_bytes(*first));
    Some(match kind {
        INITIATION => {
            let (noise, rest) = rest.split_first_chunk()?;
            let (mac1, mac2) = rest.split_first_chunk()?;
            Datagram::Initiation { sender: first, noise, mac1: *mac1, mac2: mac2.try_into().ok()? }
        }
        RESPONSE => {
            let (receiver, rest) = rest.split_first_chunk()?;
            let (noise, mac1) = rest.split_first_chunk()?;
            let receiver = Index(u32::from_be_bytes(*receiver));
            Datagram::Response { sender: first, receiver, noise, mac1: mac1.try_into().ok()? }
        }
        COOKIE => {
            let (nonce, sealed) = rest.split_first_chunk()?;
            Datagram::Cookie { receiver: first, nonce: *nonce, sealed: sealed.try_into().ok()? }
        }
        _ => {
            let (counter, ciphertext) = rest.split_first_chunk()?;
            Datagram::Sealed { receiver: first, counter: u32::from_be_bytes(*counter), ciphertext }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Vec<u8>> {
        let (noise, answer) = ([7; INITIATION_NOISE], [8; RESPONSE_NOISE]);
        [
            Datagram::Initiation { sender: Index(1), noise: &noise, mac1: [1; 16], mac2: [2; 16] },
            Datagram::Response { sender: Index(1), receiver: Index(2), noise: &answer, mac1: [3; 16] },
            Datagram::Cookie { receiver: Index(9), nonce: [4; 24], sealed: [5; 32] },
            Datagram::Sealed { receiver: Index(u32::MAX), counter: 77, ciphertext: &[6; 20] },
        ]
        .map(|datagram| datagram.print())
        .to_vec()
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for bytes in one_of_each() {
            assert_eq!(Datagram::parse(&bytes).unwrap().print(), bytes);
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        for bytes in one_of_each() {
            let shortest = if bytes[0] == SEALED { OVERHEAD } else { bytes.len() };
            for length in 1..shortest {
                assert_eq!(Datagram::parse(&bytes[..length]), Err(DatagramError::Length { kind: bytes[0], length }));
            }
        }
        assert_eq!(Datagram::parse(&[]), Err(DatagramError::Empty));
        assert_eq!(Datagram::parse(&[0x24; 50]), Err(DatagramError::Kind(0x24)));
        assert_eq!(Datagram::parse(&[SEALED; LONGEST + 1]), Err(DatagramError::Oversized(LONGEST + 1)));
    }

    #[test]
    fn no_answer_to_a_stranger_is_longer_than_its_question() {
        const { assert!(RESPONSE_LENGTH <= INITIATION_LENGTH && COOKIE_LENGTH <= INITIATION_LENGTH) }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        fuzz::Corpus::of(one_of_each()).run(|bytes| {
            if let Ok(datagram) = Datagram::parse(bytes) {
                assert_eq!(datagram.print(), bytes);
            }
        });
    }
}
