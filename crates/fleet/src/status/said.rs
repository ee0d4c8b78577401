//! A status as its device signed it.

use crate::cbor::Blob;
use crate::signed::{Domain, KnownKey, OpenError, Signed};
use crate::{FleetId, NodeSecret, VerifyKey};

/// What a device says of itself, so that nobody else can say it, and no earlier word passes for a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The fleet that it is said to.
    pub fleet: FleetId,
    /// How often the device had started.
    pub boots: u16,
    /// The how manieth word it is since then.
    pub sequence: u64,
    /// The status.
    pub status: Blob,
}

cbor_arrays! { Said 4 [fleet, boots, sequence, status]; }

impl Said {
    /// Signs it.
    #[must_use]
    pub fn sign(&self, secret: &NodeSecret) -> Vec<u8> {
        Signed::new(Domain::Status, self, secret).to_bytes()
    }

    /// Reads what the owner of a key said.
    ///
    /// # Errors
    /// When it is malformed, another's, or said to another fleet.
    pub fn open(bytes: &[u8], fleet: FleetId, key: &VerifyKey) -> Result<Option<Self>, OpenError> {
        let said: Self = Signed::from_bytes(bytes)?.open(Domain::Status, &KnownKey::new(*key)?)?;
        Ok((said.fleet == fleet).then_some(said))
    }

    /// Whether it was said after another word of the same device.
    #[must_use]
    pub const fn follows(&self, other: &Self) -> bool {
        // A counter of starts may pass its end.
        match self.boots.wrapping_sub(other.boots) {
            0 => self.sequence > other.sequence,
            starts => starts < 1 << 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_device_says_it_to_its_fleet_and_the_latest_word_counts() {
        let (secret, fleet) = (NodeSecret::of([7; 32]), FleetId::of([1; 32]));
        let said = Said { fleet, boots: 3, sequence: 9, status: Blob(vec![1, 2]) };
        let (bytes, key) = (said.sign(&secret), secret.public().verify);
        assert_eq!(Said::open(&bytes, fleet, &key), Ok(Some(said.clone())));
        assert_eq!(Said::open(&bytes, FleetId::of([2; 32]), &key), Ok(None));
        assert!(Said::open(&bytes, fleet, &NodeSecret::of([8; 32]).public().verify).is_err());
        let mut forged = bytes;
        *forged.last_mut().unwrap() ^= 1;
        assert!(Said::open(&forged, fleet, &key).is_err());
        let later = Said { boots: 4, sequence: 1, ..said.clone() };
        assert!(later.follows(&said) && !said.follows(&later) && !said.follows(&said));
        assert!(Said { sequence: 10, ..said.clone() }.follows(&said));
        assert!(Said { boots: 0, ..said.clone() }.follows(&Said { boots: u16::MAX, ..said }));
    }
}
