//! A session: keys that two nodes share for a day, and what keeps each datagram from counting twice.

use std::net::SocketAddr;
use std::time::Duration;

use super::datagram::{Datagram, Index};
use super::handshake::Keys;
use super::window::Window;
use crate::{Moment, NoiseKey};

/// A session carries nothing after this long.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A stranger's session carries nothing after this long.
pub const STRANGER_LIFETIME: Duration = Duration::from_secs(120);

/// What a peer is to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of its nodes.
    Member,
    /// Somebody who may ask to become one, or who knows of the fleet and asks where it stands.
    Stranger,
}

/// One side of a session.
pub struct Session {
    keys: Keys,
    /// What the peer calls the session.
    theirs: Index,
    sent: u32,
    window: Window,
    born: Moment,
    /// When something authentic came last.
    pub heard: Moment,
    /// Whose it is.
    pub peer: NoiseKey,
    /// What the peer was when it came.
    pub standing: Standing,
    /// Where the newest authentic datagram came from.
    pub address: SocketAddr,
    /// Whether the peer has shown that it holds the keys.
    pub confirmed: bool,
}

/// Whom a handshake was with.
pub struct Party {
    /// Its key.
    pub key: NoiseKey,
    /// What it is.
    pub standing: Standing,
    /// Where it is.
    pub address: SocketAddr,
    /// What it calls the session.
    pub index: Index,
}

impl Session {
    /// What a handshake came to. The initiator's is confirmed by the answer it got.
    pub fn new(keys: Keys, party: Party, confirmed: bool, now: Moment) -> Self {
        let Party { key: peer, standing, address, index: theirs } = party;
        Self {
            keys,
            theirs,
            sent: 0,
            window: Window::default(),
            born: now,
            heard: now,
            peer,
            standing,
            address,
            confirmed,
        }
    }

    /// Whether it is too old for anything.
    pub fn is_over(&self, now: Moment) -> bool {
        let lifetime = match self.standing {
            Standing::Member => LIFETIME,
            Standing::Stranger => STRANGER_LIFETIME,
        };
        self.age(now) >= lifetime || self.sent == u32::MAX
    }

    /// How old it is.
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.born)
    }

    /// Seals a datagram.
    pub fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let counter = self.sent;
        self.sent += 1;
        let ciphertext = self.keys.seal(counter, payload);
        Datagram::Sealed { receiver: self.theirs, counter, ciphertext: &ciphertext }.print()
    }

    /// Whether a datagram with this counter came before, or comes too late.
    pub fn replays(&self, counter: u32) -> bool {
        !self.window.admits(counter)
    }

    /// Opens a datagram that is no replay. An authentic one moves the window, and if it is the newest, the peer is where
    /// it came from.
    pub fn open(&mut self, counter: u32, ciphertext: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let payload = self.keys.open(counter, ciphertext)?;
        if self.window.take(counter) {
            self.address = from;
        }
        Some(payload)
    }
}
