//! Why the port refused something, in words for the operator; whoever sent it hears nothing.

use thiserror::Error;

use super::datagram::DatagramError;
use super::handshake::HandshakeError;

/// Why a datagram was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Its bytes are none of ours.
    #[error("not a datagram of this protocol")]
    Shape,
    /// Its sender does not know our key.
    #[error("its sender does not know this node's key")]
    Mac,
    /// Its handshake is forged, or of another fleet.
    #[error("its handshake is not authentic, or of another fleet")]
    Handshake,
    /// The sender's key must not speak here.
    #[error("its sender has no place in this fleet")]
    Peer,
    /// Too many handshakes in this second.
    #[error("too many handshakes in this second")]
    Busy,
    /// Of a session that there is not, or no more.
    #[error("its session is unknown or over")]
    Session,
    /// It came before, or far too late.
    #[error("it came before, or far too late")]
    Replay,
    /// Not sealed with the session's keys.
    #[error("it was not sealed with the session's keys")]
    Seal,
    /// A cookie that was not asked for.
    #[error("a cookie that nobody waits for")]
    Cookie,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Shape,
        Self::Mac,
        Self::Handshake,
        Self::Peer,
        Self::Busy,
        Self::Session,
        Self::Replay,
        Self::Seal,
        Self::Cookie,
    ];
}

impl From<DatagramError> for Refusal {
    fn from(_: DatagramError) -> Self {
        Self::Shape
    }
}

impl From<HandshakeError> for Refusal {
    fn from(_: HandshakeError) -> Self {
        Self::Handshake
    }
}

/// How often what was refused.
#[derive(Clone, Debug, Default)]
pub struct Refusals([u64; Refusal::ALL.len()]);

impl Refusals {
    /// How often for this reason.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    pub(super) fn count(&mut self, refusal: Refusal) {
        self.0[refusal as usize] += 1;
    }
}
