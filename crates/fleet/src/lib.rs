//! A fleet of OpenWrt devices: what its nodes know, verify and decide.
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number: bytes, time and randomness come in,
//! verdicts and effects go out. The format of everything that is signed is written down in docs/dusk-format.md.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod text;

mod device;
mod hash;
mod key;
mod moment;
mod name;
mod random;
mod section;
pub mod wire;

pub use device::{DeviceId, Role};
pub use hash::{ChangeId, ContentHash, EntryId, FleetId, Hash, Head, LogIndex};
pub use key::{NodeKey, NodeSecret, NoiseKey, SealingKey, VerifyKey};
pub use moment::Moment;
pub use name::{DeviceName, GroupName, UserName};
pub use random::Random;
pub use section::{Scope, SectionPath};
pub use types::ParseError;
