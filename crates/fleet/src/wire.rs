//! How nodes speak: one port, UDP for the cycle and TCP for what is long, both under Noise IK.
//!
//! Everything here is sans-I/O: bytes, time and randomness come in, bytes go out. [`Endpoint`] is the UDP side, with its
//! sessions, cookies and replay windows; a [`Stream`] is one TCP connection, and [`Door`] decides how many of them may
//! stand at the port. Memory is bounded in each, whatever strangers send.

#[cfg(test)]
pub(crate) mod chance;
mod cookie;
mod datagram;
mod door;
mod endpoint;
mod handshake;
mod load;
mod refusal;
mod session;
mod stream;
mod window;

pub use datagram::{Datagram, DatagramError, Index, LONGEST, LONGEST_PAYLOAD, OVERHEAD};
pub use door::{Door, Number, PATIENCE};
pub use endpoint::{Arrival, Endpoint, Message};
pub use handshake::{HandshakeError, Identity};
pub use refusal::{Refusal, Refusals};
pub use session::{LIFETIME, Standing};
pub use stream::{Heard, LONGEST_MESSAGE, Stream, StreamError};

use crate::Random;

/// So many bytes of `random`.
pub(crate) fn random_bytes<const LENGTH: usize>(random: &mut dyn Random) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    random.fill(&mut bytes);
    bytes
}
