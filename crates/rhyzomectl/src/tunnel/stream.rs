//! One TCP stream of a tunnel.

use std::time::Instant;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, SocketBuffer};

use super::{OPENING_PATIENCE, Unopened};

/// Bytes that wait in each direction of a stream.
const BUFFER: usize = 128 * 1024;
/// How long the other side may leave bytes unacknowledged.
const SILENCE: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(300);
/// Ports of outgoing streams (RFC 6335, section 6).
const FIRST_PORT: u16 = 49_152;

/// A stream's number, never used twice by one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub(super) u64);

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// Under way to the other side.
    Opening,
    /// Bytes pass, in one direction at least.
    Open,
    /// It never opened.
    Failed(Unopened),
    /// It was open; nothing more will pass.
    Over,
}

/// What a tunnel knows of a stream.
pub(super) struct Stream {
    pub(super) handle: SocketHandle,
    pub(super) port: u16,
    pub(super) state: StreamState,
    /// When its holder gave it back.
    pub(super) released: Option<Instant>,
    pub(super) asked_for: Instant,
}

impl Stream {
    pub(super) fn new(handle: SocketHandle, port: u16, now: Instant) -> Self {
        Self { handle, port, state: StreamState::Opening, released: None, asked_for: now }
    }

    /// Whether it opens and the WireGuard server, last heard at `heard`, has been silent since.
    pub(super) fn is_unheard(&self, heard: Option<Instant>) -> bool {
        self.state == StreamState::Opening && heard.is_none_or(|heard| heard <= self.asked_for)
    }

    /// Follows what its socket has become; the WireGuard server was last heard at `heard`.
    pub(super) fn judge(&mut self, socket: &mut tcp::Socket<'_>, heard: Option<Instant>, now: Instant) {
        match (self.state, socket.state()) {
            (StreamState::Opening, tcp::State::SynSent | tcp::State::SynReceived) => {
                if now.saturating_duration_since(self.asked_for) >= OPENING_PATIENCE {
                    let unheard = self.is_unheard(heard);
                    self.state = StreamState::Failed(if unheard { Unopened::NoHandshake } else { Unopened::NoAnswer });
                    socket.abort();
                }
            }
            (StreamState::Opening, tcp::State::Closed) => self.state = StreamState::Failed(Unopened::Refused),
            (StreamState::Opening, _) => self.state = StreamState::Open,
            (StreamState::Open, tcp::State::Closed | tcp::State::TimeWait) => self.state = StreamState::Over,
            (StreamState::Open | StreamState::Failed(_) | StreamState::Over, _) => {}
        }
    }
}

/// A socket as every stream has it.
pub(super) fn socket() -> tcp::Socket<'static> {
    let mut socket = tcp::Socket::new(SocketBuffer::new(vec![0; BUFFER]), SocketBuffer::new(vec![0; BUFFER]));
    socket.set_nagle_enabled(false);
    socket.set_timeout(Some(SILENCE));
    socket.set_congestion_control(tcp::CongestionControl::Cubic);
    socket
}

/// The port that the first stream gets.
pub(super) fn first_port(seed: u64) -> u16 {
    FIRST_PORT | (seed as u16)
}

/// The port after `port`, round and round.
pub(super) fn port_after(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(FIRST_PORT)
}
