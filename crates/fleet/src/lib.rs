//! A fleet of OpenWrt devices: what its nodes know, verify and decide.
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number: bytes, time and randomness come in,
//! verdicts and effects go out. The format of everything that is signed is written down in docs/dusk-format.md.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod text;
#[macro_use]
pub mod cbor;

pub mod address;
pub mod alert;
pub mod apply;
pub mod archive;
pub mod authority;
pub mod catch_up;
pub mod change;
pub mod checkpoint;
pub mod configuration;
pub mod cycle;
mod device;
pub mod difference;
pub mod document;
pub mod drift;
pub mod edit;
pub mod effective;
pub mod explain;
pub mod export;
pub mod facts;
pub mod fork;
pub mod ground;
mod hash;
mod heads;
pub mod history;
pub mod impact;
pub mod import;
mod join;
mod key;
pub mod keyring;
pub mod layer;
pub mod log;
pub mod map;
pub mod mask;
mod moment;
mod name;
pub mod node;
pub mod password;
pub mod placement;
pub mod plan;
pub mod prometheus;
mod random;
mod recovery;
pub mod replica;
mod right;
pub mod ring;
pub mod rollout;
pub mod seal;
pub mod sealed;
mod section;
mod signed;
mod stable_name;
pub mod status;
pub mod submission;
pub mod variable;
mod vitals;
pub mod voter;
pub mod whereabouts;
pub mod wire;

pub use device::{DeviceId, Role};
pub use hash::{ChangeId, ContentHash, EntryId, FleetId, Hash, Head, LogIndex, hash};
pub use heads::{Heads, HeadsDigest};
pub use join::{Asking, JoinKey, JoinRequest, JoinTerms, Request, RequestError, Requests, bind, bound};
pub use key::{NodeKey, NodeSecret, NoiseKey, SealingKey, VerifyKey};
pub use moment::Moment;
pub use name::{DeviceName, GroupName, UserName};
pub use random::Random;
pub use recovery::{RecoveryPhrase, WORDS};
pub use right::{Glob, Right, VERBS, Verb, Verbs};
pub use section::{Scope, SectionPath};
pub use signed::{Domain, KeyError, KnownKey, OpenError, SignatureError, Signed, sign};
pub use types::ParseError;
pub use vitals::{Flags, Vitals};
