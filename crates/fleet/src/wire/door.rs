//! Who may stand at the TCP port without having shown a key: few, and not for long.

use std::net::IpAddr;
use std::time::Duration;

use super::load::network;
use crate::Moment;

/// So many connections may be unauthenticated at a time.
pub const UNKNOWN: usize = 64;
/// So many of one address.
pub const OF_ONE_ADDRESS: usize = 16;
/// Each for this long.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// So many connections in all.
pub const KNOWN: usize = 256;

/// A connection, by whatever number its owner gave it.
pub type Number = u64;

/// The connections at the port.
#[derive(Default)]
pub struct Door {
    unknown: Vec<(Number, [u8; 8], Moment)>,
    known: Vec<Number>,
}

impl Door {
    /// Whether a connection may come in. Where strangers fill the place the one that stood longest has to go: its number
    /// is returned beside.
    pub fn admit(&mut self, number: Number, from: IpAddr, now: Moment) -> (bool, Option<Number>) {
        let from = network(from);
        let of_it = self.unknown.iter().filter(|(_, address, _)| *address == from).count();
        if of_it >= OF_ONE_ADDRESS || self.known.len() >= KNOWN {
            return (false, None);
        }
        let gone = (self.unknown.len() >= UNKNOWN).then(|| self.unknown.remove(0).0);
        self.unknown.push((number, from, now));
        (true, gone)
    }

    /// A connection has shown whose it is.
    pub fn recognise(&mut self, number: Number) {
        if let Some(place) = self.unknown.iter().position(|(unknown, ..)| *unknown == number) {
            self.unknown.remove(place);
            self.known.push(number);
        }
    }

    /// A connection has ended.
    pub fn leave(&mut self, number: Number) {
        self.unknown.retain(|(unknown, ..)| *unknown != number);
        self.known.retain(|known| *known != number);
    }

    /// Those that stood there too long; they have left.
    pub fn overdue(&mut self, now: Moment) -> Vec<Number> {
        let late = self.unknown.iter().take_while(|(.., since)| now.since(*since) >= PATIENCE).count();
        self.unknown.drain(..late).map(|(number, ..)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn strangers_are_few_and_none_stays() {
        let mut door = Door::default();
        for number in 0..64 {
            assert_eq!(door.admit(number, address(number as u8), Moment::from_millis(number)), (true, None));
        }
        assert_eq!(door.admit(64, address(64), Moment::from_millis(64)), (true, Some(0)));
        assert_eq!(door.overdue(Moment::from_millis(5_001)), [1]);
        assert_eq!(door.overdue(Moment::from_millis(60_000)).len(), 63);
    }

    #[test]
    fn one_address_does_not_fill_the_place() {
        let mut door = Door::default();
        let admitted = (0..64).filter(|number| door.admit(*number, address(1), Moment::default()).0).count();
        assert_eq!(admitted, OF_ONE_ADDRESS);
        assert!(door.admit(100, address(2), Moment::default()).0);
    }

    #[test]
    fn whoever_is_known_makes_room() {
        let mut door = Door::default();
        for number in 0..KNOWN as u64 {
            assert!(door.admit(number, address(1), Moment::default()).0);
            door.recognise(number);
        }
        assert!(!door.admit(1_000, address(2), Moment::default()).0);
        door.leave(0);
        assert!(door.admit(1_000, address(2), Moment::default()).0);
        assert!(door.overdue(Moment::from_millis(4_999)).is_empty());
    }
}
