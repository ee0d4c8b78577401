//! One TCP connection: the same handshake as by UDP, then messages in pieces, each sealed under the next counter.
//!
//! On the wire everything stands behind a length of two bytes. A message is cut into pieces, whose first byte says whether
//! more follow, so that neither side holds more than one piece that it cannot check.

use thiserror::Error;

use super::cookie;
use super::datagram::{self, Datagram, Index, TAG};
use super::handshake::{Dialing, Identity, Keys};
use crate::{NoiseKey, Random};

/// The longest message.
pub const LONGEST_MESSAGE: usize = 4 << 20;
/// What a piece carries at most.
const PIECE: usize = 16 << 10;
/// The longest that stands behind one length.
const LONGEST_FRAME: usize = 1 + PIECE + TAG;
/// A piece that ends its message.
const LAST: u8 = 0;
/// A piece that others follow.
const MORE: u8 = 1;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StreamError {
    /// A length that nothing has.
    #[error("a frame of {0} bytes: {LONGEST_FRAME} at most")]
    Oversized(usize),
    /// A message that goes on and on.
    #[error("a message of more than {LONGEST_MESSAGE} bytes")]
    Endless,
    /// Not what belongs here.
    #[error("not a frame of this protocol")]
    Shape,
    /// Not authentic, or out of turn.
    #[error("it is not authentic, or of another fleet")]
    Forged,
    /// The other side may not speak here.
    #[error("the other side has no place in this fleet")]
    Peer,
}

/// What bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The other side has shown that it holds its key.
    Peer(NoiseKey),
    /// It said something.
    Message(Vec<u8>),
}

enum State {
    /// Called, and waits to be answered.
    Dialing(Dialing, NoiseKey),
    /// Waits to be called.
    Listening,
    /// Has answered a call: good once the other side has used the keys.
    Answered(Keys, NoiseKey),
    /// Both know each other.
    Open(Keys, NoiseKey),
    /// Something was wrong.
    Closed,
}

/// The state of one connection.
pub struct Stream {
    state: State,
    sent: u32,
    received: u32,
    /// Bytes of a frame that is not whole yet.
    partial: Vec<u8>,
    /// Pieces of a message that is not whole yet.
    message: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Stream {
    /// The side that connected.
    pub fn dial(identity: &Identity, peer: NoiseKey, random: &mut dyn Random) -> Self {
        let (dialing, noise) = identity.dial(peer, random);
        let mut stream = Self::of(State::Dialing(dialing, peer));
        let bare = Datagram::Initiation { sender: Index(0), noise: &noise, mac1: [0; 16], mac2: [0; 16] }.print();
        let mac1 = cookie::mac1(peer, datagram::before_macs(&bare));
        stream.frame(&Datagram::Initiation { sender: Index(0), noise: &noise, mac1, mac2: [0; 16] }.print());
        stream
    }

    /// The side that was connected to.
    pub fn accept() -> Self {
        Self::of(State::Listening)
    }

    fn of(state: State) -> Self {
        Self { state, sent: 0, received: 0, partial: Vec::new(), message: Vec::new(), outgoing: Vec::new() }
    }

    /// Who is at the other side, once it has shown it.
    pub fn peer(&self) -> Option<NoiseKey> {
        match &self.state {
            State::Open(_, peer) => Some(*peer),
            _ => None,
        }
    }

    /// What is to be written to the connection.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Says something; only once the other side is known. Messages are at most [`LONGEST_MESSAGE`] long.
    pub fn say(&mut self, message: &[u8]) -> Result<(), StreamError> {
        if message.len() > LONGEST_MESSAGE {
            return Err(StreamError::Endless);
        }
        let (head, last) = message.split_at(message.len().saturating_sub(1) / PIECE * PIECE);
        head.chunks(PIECE).try_for_each(|piece| self.say_piece(MORE, piece))?;
        self.say_piece(LAST, last)
    }

    /// Takes bytes of the connection. `welcome` says who may speak. After an error the connection is good for nothing.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        identity: &Identity,
        welcome: &dyn Fn(NoiseKey) -> bool,
        random: &mut dyn Random,
    ) -> Result<Vec<Heard>, StreamError> {
        let mut heard = Vec::new();
        while !bytes.is_empty() {
            let (frame, rest) = self.next_frame(bytes).inspect_err(|_| self.state = State::Closed)?;
            bytes = rest;
            let Some(frame) = frame else { break };
            match self.take(&frame, identity, welcome, random) {
                Ok(found) => heard.extend(found),
                Err(error) => {
                    self.state = State::Closed;
                    return Err(error);
                }
            }
        }
        Ok(heard)
    }

    /// Moves bytes until a frame is whole.
    fn next_frame<'a>(&mut self, bytes: &'a [u8]) -> Result<(Option<Vec<u8>>, &'a [u8]), StreamError> {
        let missing = 2_usize.saturating_sub(self.partial.len()).min(bytes.len());
        let (length, bytes) = bytes.split_at(missing);
        self.partial.extend_from_slice(length);
        let Some((length, _)) = self.partial.split_first_chunk::<2>() else { return Ok((None, bytes)) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 || length > self.longest() {
            return Err(StreamError::Oversized(length));
        }
        let missing = (2 + length - self.partial.len()).min(bytes.len());
        let (rest, bytes) = bytes.split_at(missing);
        self.partial.extend_from_slice(rest);
        if self.partial.len() < 2 + length {
            return Ok((None, bytes));
        }
        let frame = self.partial.split_off(2);
        self.partial = Vec::new();
        Ok((Some(frame), bytes))
    }

    /// Whoever is not known yet gets room for a handshake only.
    fn longest(&self) -> usize {
        match self.state {
            State::Open(..) | State::Answered(..) => LONGEST_FRAME,
            _ => datagram::LONGEST_HANDSHAKE,
        }
    }

    fn take(
        &mut self,
        frame: &[u8],
        identity: &Identity,
        welcome: &dyn Fn(NoiseKey) -> bool,
        random: &mut dyn Random,
    ) -> Result<Vec<Heard>, StreamError> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => Err(StreamError::Forged),
            State::Listening => {
                let Ok(Datagram::Initiation { noise, mac1, .. }) = Datagram::parse(frame) else {
                    return Err(StreamError::Shape);
                };
                if !cookie::equal(&cookie::mac1(identity.public(), datagram::before_macs(frame)), &mac1) {
                    return Err(StreamError::Forged);
                }
                let (peer, keys, noise) = identity.answer(noise, random).map_err(|_| StreamError::Forged)?;
                if !welcome(peer) {
                    return Err(StreamError::Peer);
                }
                self.state = State::Answered(keys, peer);
                let (sender, receiver) = (Index(0), Index(0));
                self.frame(&Datagram::Response { sender, receiver, noise: &noise, mac1: [0; 16] }.print());
                Ok(Vec::new())
            }
            State::Dialing(dialing, peer) => {
                let Ok(Datagram::Response { noise, .. }) = Datagram::parse(frame) else {
                    return Err(StreamError::Shape);
                };
                let keys = dialing.finish(noise).map_err(|_| StreamError::Forged)?;
                self.state = State::Open(keys, peer);
                Ok(vec![Heard::Peer(peer)])
            }
            State::Answered(keys, peer) => {
                let piece = self.open(&keys, frame)?;
                self.state = State::Open(keys, peer);
                Ok([Heard::Peer(peer)].into_iter().chain(self.gather(&piece)?.map(Heard::Message)).collect())
            }
            State::Open(keys, peer) => {
                let piece = self.open(&keys, frame)?;
                self.state = State::Open(keys, peer);
                Ok(self.gather(&piece)?.map(Heard::Message).into_iter().collect())
            }
        }
    }

    fn open(&mut self, keys: &Keys, frame: &[u8]) -> Result<Vec<u8>, StreamError> {
        let counter = self.received;
        self.received = counter.checked_add(1).ok_or(StreamError::Forged)?;
        keys.open(counter, frame).ok_or(StreamError::Forged)
    }

    /// Adds a piece; gives the message if it is whole.
    fn gather(&mut self, piece: &[u8]) -> Result<Option<Vec<u8>>, StreamError> {
        let (&kind, piece) = piece.split_first().ok_or(StreamError::Shape)?;
        if self.message.len() + piece.len() > LONGEST_MESSAGE {
            return Err(StreamError::Endless);
        }
        self.message.extend_from_slice(piece);
        match kind {
            LAST => Ok(Some(std::mem::take(&mut self.message))),
            MORE if !piece.is_empty() => Ok(None),
            _ => Err(StreamError::Shape),
        }
    }

    fn say_piece(&mut self, kind: u8, piece: &[u8]) -> Result<(), StreamError> {
        let State::Open(keys, _) = &self.state else { return Err(StreamError::Forged) };
        let sealed = keys.seal(self.sent, &[&[kind], piece].concat());
        self.sent = self.sent.checked_add(1).ok_or(StreamError::Forged)?;
        self.frame(&sealed);
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).expect("invariant: no frame is longer than LONGEST_FRAME");
        self.outgoing.extend_from_slice(&length.to_be_bytes());
        self.outgoing.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::FleetId;
    use crate::wire::chance::Chance;

    fn identity(key: u8) -> Identity {
        Identity::new(Zeroizing::new([key; 32]), FleetId::of([9; 32]))
    }

    /// Two ends that know each other.
    fn pair() -> (Stream, Stream) {
        let chance = &mut Chance::new(1);
        let (device, master) = (identity(1), identity(2));
        let mut dialed = Stream::dial(&device, master.public(), chance);
        let mut accepted = Stream::accept();
        assert_eq!(accepted.receive(&dialed.take_outgoing(), &master, &|_| true, chance), Ok(vec![]));
        let heard = dialed.receive(&accepted.take_outgoing(), &device, &|_| true, chance).unwrap();
        assert_eq!(heard, [Heard::Peer(master.public())]);
        (dialed, accepted)
    }

    fn hear(stream: &mut Stream, bytes: &[u8]) -> Result<Vec<Heard>, StreamError> {
        stream.receive(bytes, &identity(2), &|_| true, &mut Chance::new(2))
    }

    #[test]
    fn messages_of_any_length_arrive_whole_and_in_order() {
        let (mut dialed, mut accepted) = pair();
        let messages = [0, 1, PIECE, PIECE + 1, 5 * PIECE, 100_000].map(|length| vec![7; length]);
        messages.iter().for_each(|message| dialed.say(message).unwrap());
        let bytes = dialed.take_outgoing();
        let heard: Vec<_> = bytes.chunks(777).flat_map(|bytes| hear(&mut accepted, bytes).unwrap()).collect();
        let expected = messages.into_iter().map(Heard::Message);
        assert_eq!(heard, [Heard::Peer(identity(1).public())].into_iter().chain(expected).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_said_before_both_know_each_other() {
        let mut accepted = Stream::accept();
        assert_eq!(accepted.say(b"hello"), Err(StreamError::Forged));
    }

    #[test]
    fn a_frame_that_was_changed_replayed_or_left_out_ends_the_connection() {
        let frames = |dialed: &mut Stream| {
            [b"one", b"two"].map(|message| {
                dialed.say(message).unwrap();
                dialed.take_outgoing()
            })
        };
        let (mut dialed, mut accepted) = pair();
        let [one, two] = frames(&mut dialed);
        assert_eq!(hear(&mut accepted, &two), Err(StreamError::Forged));
        assert_eq!(hear(&mut accepted, &one), Err(StreamError::Oversized(one.len() - 2)).or(Err(StreamError::Forged)));
        let (mut dialed, mut accepted) = pair();
        let [one, _] = frames(&mut dialed);
        hear(&mut accepted, &one).unwrap();
        assert_eq!(hear(&mut accepted, &one), Err(StreamError::Forged));
        let (mut dialed, mut accepted) = pair();
        let [mut one, _] = frames(&mut dialed);
        *one.last_mut().unwrap() ^= 1;
        assert_eq!(hear(&mut accepted, &one), Err(StreamError::Forged));
    }

    #[test]
    fn a_stranger_has_room_for_a_handshake_only() {
        let mut accepted = Stream::accept();
        assert_eq!(hear(&mut accepted, &[0xff, 0xff]), Err(StreamError::Oversized(0xffff)));
        let mut accepted = Stream::accept();
        assert_eq!(hear(&mut accepted, &[0, 0]), Err(StreamError::Oversized(0)));
        assert!(accepted.partial.len() <= 2);
    }

    #[test]
    fn who_is_not_welcome_is_told_nothing() {
        let chance = &mut Chance::new(1);
        let mut dialed = Stream::dial(&identity(1), identity(2).public(), chance);
        let mut accepted = Stream::accept();
        let refused = accepted.receive(&dialed.take_outgoing(), &identity(2), &|_| false, chance);
        assert_eq!(refused, Err(StreamError::Peer));
        assert!(accepted.take_outgoing().is_empty());
    }

    #[test]
    fn a_message_without_end_is_cut_off() {
        let (mut dialed, mut accepted) = pair();
        assert_eq!(dialed.say(&vec![0; LONGEST_MESSAGE + 1]), Err(StreamError::Endless));
        let endless = (0..=LONGEST_MESSAGE / PIECE).find_map(|_| {
            dialed.say_piece(MORE, &[0; PIECE]).unwrap();
            hear(&mut accepted, &dialed.take_outgoing()).err()
        });
        assert_eq!(endless, Some(StreamError::Endless));
    }

    #[test]
    fn any_bytes_are_heard_or_refused() {
        let chance = &mut Chance::new(1);
        let call = Stream::dial(&identity(1), identity(2).public(), chance).take_outgoing();
        let (mut dialed, _) = pair();
        dialed.say(b"hello").unwrap();
        fuzz::Corpus::of([call, dialed.take_outgoing()]).run(|bytes| {
            let _ = hear(&mut Stream::accept(), bytes);
            let (mut dialed, mut accepted) = pair();
            let _ = hear(&mut accepted, bytes);
            let _ = dialed.receive(bytes, &identity(1), &|_| true, &mut Chance::new(3));
        });
    }
}
