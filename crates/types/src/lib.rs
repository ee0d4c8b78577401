//! The words of Rhyzome: ids, names, addresses, keys and sizes, parsed once and typed ever after.
//!
//! No I/O, no clock and no database: whatever needs one lives in another crate. Every type here reads from and
//! writes to one text form (`FromStr`, `Display`, serde), and what cannot be read says what was expected.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[macro_use]
mod text;

mod address;
mod digest;
mod id;
mod mac;
mod name;
mod revision;
mod scope;
mod secret;
mod size;
mod slot;
mod ssh;
mod tag;
mod wireguard;

pub use address::{HostAddr, HostRange, Port, Subnet};
pub use digest::Sha256Digest;
pub use id::{
    AgentId, ClusterId, IdError, ImageId, InstanceId, InvitationId, NetworkId, OperationId, PeerId, ReplicaId,
    ResourceId, SecretId, TargetId, TokenId,
};
pub use mac::MacAddr;
pub use name::{DomainName, HostName, ResourceName, TenantName};
pub use revision::{Epoch, Generation, Revision, Version};
pub use scope::{Scope, ScopeKind, ScopeVerb, Scopes};
pub use secret::SecretText;
pub use size::{ByteSize, MemorySize, Mtu, Vcpus};
pub use slot::{Segment, Slot};
pub use ssh::SshPublicKey;
pub use tag::{TagKey, TagValue, Tags};
pub use text::ParseError;
pub use wireguard::{WgPrivateKey, WgPublicKey};
