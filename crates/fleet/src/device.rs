//! What a device is called, and what it is to the fleet.

use crate::hash::hash;
use crate::key::NodeKey;

bytes_type! {
    DeviceId 10 "a device (20 hex digits)", "A device's record, which outlives its keys.";
}

impl DeviceId {
    /// The id of a device that was first known by this key.
    pub fn first_known_by(key: &NodeKey) -> Self {
        let hash = hash("device", &[key.verify.bytes(), key.noise.bytes(), key.sealing.bytes()]);
        let mut id = [0; 10];
        id.copy_from_slice(&hash.bytes()[..10]);
        Self(id)
    }
}

/// What a voter does beside being a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Orders changes and serves devices; the first choice of all.
    Master,
    /// Orders changes and serves devices when the master does not.
    Backup,
    /// Votes, and serves nobody.
    Witness,
}

cbor_bytes! { DeviceId }
cbor_numbers! { Role "a role (0 master, 1 backup, 2 witness)" { Master = 0, Backup = 1, Witness = 2 } }
