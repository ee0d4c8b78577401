//! A fleet of OpenWrt devices: what its nodes know, verify and decide.
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number: bytes, time and randomness come in,
//! verdicts and effects go out. The format of everything that is signed is written down in docs/dusk-format.md.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod text;
#[macro_use]
pub mod cbor;

pub mod authority;
pub mod change;
pub mod checkpoint;
mod device;
pub mod export;
mod hash;
pub mod history;
mod join;
mod key;
pub mod log;
pub mod map;
mod moment;
mod name;
mod random;
mod right;
mod section;
mod signed;
pub mod wire;

pub use device::{DeviceId, Role};
pub use hash::{ChangeId, ContentHash, EntryId, FleetId, Hash, Head, LogIndex};
pub use join::{JoinKey, JoinTerms, Request, RequestError, Requests};
pub use key::{NodeKey, NodeSecret, NoiseKey, SealingKey, VerifyKey};
pub use moment::Moment;
pub use name::{DeviceName, GroupName, UserName};
pub use random::Random;
pub use right::{Glob, Right, VERBS, Verb, Verbs};
pub use section::{Scope, SectionPath};
pub use signed::{Domain, KeyError, KnownKey, OpenError, SignatureError, Signed};
pub use types::ParseError;
