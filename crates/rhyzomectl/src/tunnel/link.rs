//! The link between TCP and WireGuard: whole packets, few of them at a time.

use std::collections::VecDeque;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::MTU;

/// Packets that may wait in each direction.
const PACKETS: usize = 64;

/// A device of smoltcp that keeps packets until somebody takes them.
#[derive(Default)]
pub(super) struct Link {
    arrived: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

impl Link {
    /// Takes a packet out of the tunnel. Where too many wait it is lost, as on any link.
    pub(super) fn arrived(&mut self, packet: &[u8]) {
        if self.arrived.len() < PACKETS {
            self.arrived.push_back(packet.to_vec());
        }
    }

    /// The next packet for the tunnel.
    pub(super) fn leaving(&mut self) -> Option<Vec<u8>> {
        self.leaving.pop_front()
    }

    /// Whether nothing waits for the tunnel.
    pub(super) fn is_quiet(&self) -> bool {
        self.leaving.is_empty()
    }
}

impl Device for Link {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived, Leaving<'_>)> {
        if self.leaving.len() >= PACKETS {
            return None;
        }
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Leaving<'_>> {
        (self.leaving.len() < PACKETS).then_some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// One packet for TCP.
pub(super) struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Room for one packet to the tunnel.
pub(super) struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}
