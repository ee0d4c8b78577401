//! Why an entry of the authority chain is not taken.

use crate::cbor::BytesError;
use crate::hash::{EntryId, FleetId};
use crate::join::RequestError;
use crate::right::Verb;
use crate::signed::{KeyError, OpenError, SignatureError};
use crate::{DeviceId, DeviceName, GroupName, Hash, UserName, VerifyKey};

/// Why an entry is not taken. The chain is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error(transparent)]
    Bytes(#[from] BytesError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("format {0} is not one that this version reads")]
    Format(u8),
    #[error("it is for fleet {0}")]
    OtherFleet(FleetId),
    #[error("it follows entry {previous} at {position}, but the chain ends with {head} at {end}")]
    OutOfOrder { position: u64, previous: EntryId, end: u64, head: EntryId },
    #[error("it is in the chain already, at {0}")]
    Known(u64),
    #[error("statement {0} is critical and not known to this version: upgrade it")]
    Upgrade(u16),
    #[error("{0} is no key of this fleet")]
    UnknownKey(VerifyKey),
    #[error("{key} has not been a key since entry {since}")]
    Revoked { key: VerifyKey, since: u64 },
    #[error("{0} was a key of this fleet before: keys are not used again")]
    KeyUsed(VerifyKey),
    #[error("{author} lacks the right {verb} on {path}")]
    Right { author: VerifyKey, verb: Verb, path: String },
    #[error("{author} cannot give, change or take rights beyond their own")]
    Beyond { author: VerifyKey },
    #[error("{verb} needs {needed} who agree: propose it")]
    Threshold { verb: Verb, needed: u8 },
    #[error("nobody else need agree to this: say it without a proposal")]
    NoThreshold,
    #[error("there is no proposal {0}")]
    NoProposal(EntryId),
    #[error("user {0} is not among those who may agree")]
    NotAsked(UserName),
    #[error("user {0} agreed before")]
    Agreed(UserName),
    #[error("there is a user {0} already")]
    UserExists(UserName),
    #[error("there is no user {0}")]
    NoUser(UserName),
    #[error("there is a device {0} already")]
    DeviceExists(DeviceId),
    #[error("another device is called {0}")]
    NameTaken(DeviceName),
    #[error("there is no device {0}")]
    NoDevice(DeviceId),
    #[error("device {0} was removed for good")]
    Removed(DeviceId),
    #[error("device {0} was declared lost: give it another key first")]
    Lost(DeviceId),
    #[error("there is a join key {0} already")]
    JoinExists(VerifyKey),
    #[error("{0} is no join key, or nobody may ask by it any more")]
    NoJoin(VerifyKey),
    #[error("all {0} uses of the join key are spent")]
    JoinSpent(u32),
    #[error("the join key does not admit {board} with {mac}")]
    Hardware { board: String, mac: String },
    #[error(
        "a voter lets devices in only by an automatic join key, into its group, without secrets, at their own request"
    )]
    NotAutomatic,
    #[error("the request is by another key than the device's")]
    OtherRequest,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("group {group} is at key {is}: the next is {}", is + 1)]
    Generation { group: GroupName, is: u32 },
    #[error("voters are 1 to 7 devices of this fleet, each once, exactly one of them the master")]
    Voters,
    #[error("of {given} users {needed} cannot be needed")]
    Unreachable { needed: u8, given: usize },
    #[error("a threshold needs one of grant beside it: whoever gives keys alone could agree as anybody")]
    Unguarded,
    #[error("{what}: {is} are too many, {limit} are allowed")]
    TooMany { what: &'static str, is: usize, limit: usize },
    #[error("a proposal cannot propose, agree, take back or recover")]
    Nested,
    #[error("recovery {given} is not the next: {next}")]
    Recovery { given: u32, next: u32 },
    #[error("the recovery key says nothing but a recovery, and nobody else says one")]
    NotRecovery,
    #[error("the branch was given up by entry {0}")]
    Outranked(EntryId),
    #[error("two entries follow the same one: {ours} here, {theirs} there; somebody has to choose")]
    Forked { ours: EntryId, theirs: EntryId },
    #[error("{0} and another are the same: nothing to choose")]
    NoChoice(Hash),
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Bytes(error) => Self::Bytes(error),
            OpenError::Signature(error) => Self::Signature(error),
            OpenError::Key(error) => Self::Key(error),
        }
    }
}
