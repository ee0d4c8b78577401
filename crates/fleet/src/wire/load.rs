//! How much is asked of a responder by those it does not know yet, in this second.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Moment;

/// So many handshakes in a second may stay unconfirmed before cookies are asked for.
pub const UNCONFIRMED: u32 = 50;
/// So many handshakes in a second are done at all.
pub const HANDSHAKES: u32 = 1_000;
/// So many of one address, once cookies are asked for.
pub const OF_ONE_ADDRESS: u16 = 20;
/// So many addresses are told apart.
const ADDRESSES: usize = 1_024;

/// What the current second has seen.
#[derive(Default)]
pub struct Load {
    second: u64,
    unconfirmed: u32,
    handshakes: u32,
    of: BTreeMap<[u8; 8], u16>,
}

impl Load {
    /// Whether an initiation must show a cookie.
    pub fn is_high(&mut self, now: Moment) -> bool {
        self.turn(now);
        self.unconfirmed >= UNCONFIRMED
    }

    /// Takes a place for a handshake, and says whether there was one. Under a high load each address has few.
    pub fn admit(&mut self, from: IpAddr, now: Moment) -> bool {
        let high = self.is_high(now);
        if self.handshakes >= HANDSHAKES || (high && !self.admit_address(from)) {
            return false;
        }
        self.handshakes += 1;
        self.unconfirmed += 1;
        true
    }

    /// An initiator has shown that it holds the keys.
    pub fn confirm(&mut self, now: Moment) {
        self.turn(now);
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
    }

    fn admit_address(&mut self, from: IpAddr) -> bool {
        let network = network(from);
        if self.of.len() >= ADDRESSES && !self.of.contains_key(&network) {
            return false;
        }
        let count = self.of.entry(network).or_default();
        *count += 1;
        *count <= OF_ONE_ADDRESS
    }

    fn turn(&mut self, now: Moment) {
        let second = now.as_millis() / 1_000;
        if second != self.second {
            *self = Self { second, ..Self::default() };
        }
    }
}

/// What one party has many of: a single IPv4 address, but 2^64 of IPv6.
pub fn network(address: IpAddr) -> [u8; 8] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0, 0, 0, 0, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_for_addresses_is_bounded() {
        let mut load = Load::default();
        for address in 0..2_000_u32 {
            load.unconfirmed = UNCONFIRMED;
            load.handshakes = 0;
            assert_eq!(load.admit(IpAddr::V4(address.into()), Moment::default()), address < 1_024);
        }
        assert_eq!(load.of.len(), ADDRESSES);
    }

    #[test]
    fn a_second_forgets_the_one_before() {
        let mut load = Load::default();
        let (here, later) = (IpAddr::from([192, 0, 2, 1]), Moment::from_millis(1_000));
        (0..UNCONFIRMED).for_each(|_| assert!(load.admit(here, Moment::default())));
        assert!(load.is_high(Moment::from_millis(999)) && !load.is_high(later));
    }
}
