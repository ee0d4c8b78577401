//! What an entry of the authority chain says.

use crate::cbor::{self, Blob, BytesError, Cbor, Reader, Writer};
use crate::hash::{EntryId, Hash, LogIndex};
use crate::join::JoinTerms;
use crate::right::{Right, Verb};
use crate::signed::{LONGEST_BODY, Signed};
use crate::{DeviceId, DeviceName, GroupName, Role, SealingKey, UserName, VerifyKey};

/// What an entry says. Each has a number; a node that does not know one passes over it, unless the entry is critical.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Statement {
    /// 1: there is a user, with this key and these rights.
    User { name: UserName, key: Signed, rights: Vec<Right> },
    /// 2: what a user may do from here on.
    Rights { name: UserName, rights: Vec<Right> },
    /// 3: a user has another key.
    Rotate { name: UserName, key: Signed },
    /// 4: a key is no longer one. What it wrote from `since` on in the log is void; the keys that it added from
    /// `entries` on in this chain go with it.
    Revoke { key: VerifyKey, since: LogIndex, entries: u64 },
    /// 5: there is a device, in these groups, in their order.
    Device { key: Signed, name: DeviceName, groups: Vec<GroupName>, trust: Trust, request: Option<Signed> },
    /// 6: a device that was reset has another key.
    Rekey { device: DeviceId, key: Signed, trust: Trust },
    /// 7: what a device is called, its groups and what it is trusted with.
    Place { device: DeviceId, name: DeviceName, groups: Vec<GroupName>, trust: Trust },
    /// 8: a device's key is in strange hands, or may be. Its record stays.
    Lost { device: DeviceId, since: LogIndex },
    /// 9: a device is none any more, and does not come back.
    Remove { device: DeviceId },
    /// 10: who votes, the first choice first.
    Voters { voters: Vec<(DeviceId, Role)> },
    /// 11: whoever has this key may ask to join.
    Join { terms: JoinTerms },
    /// 12: nobody may ask by this key any more.
    Unjoin { key: VerifyKey },
    /// 13: secrets of a group are sealed to this key from here on. Generations count up from 1.
    Seal { group: GroupName, generation: u32, key: SealingKey },
    /// 14: statements that need this verb need so many of these users; none needed ends it.
    Threshold { verb: Verb, needed: u8, users: Vec<UserName> },
    /// 15: a statement that is to hold once enough agree.
    Propose { kind: u16, payload: Blob },
    /// 16: agrees with a proposal.
    Endorse { proposal: EntryId },
    /// 17: takes a proposal back.
    Withdraw { proposal: EntryId },
    /// 18: of two branches, each named by its first entry or by a checkpoint, one is kept.
    Resolve { kept: Hash, dropped: Hash },
    /// 19: by the recovery key alone: everything that users said since the entry before this one is gone, all users
    /// with it; this one user may do everything, and the next recovery key takes the place of this one. What users
    /// wrote from `since` on in the log is void.
    Recover { generation: u32, recovery: VerifyKey, name: UserName, key: Signed, since: LogIndex },
    /// One that this version does not know.
    Unknown { kind: u16, payload: Blob },
}

/// What a device is trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Its configuration, without secrets.
    Configuration,
    /// Secrets of its groups too.
    Secrets,
}

cbor_numbers! { Trust "what a device is trusted with (0 configuration, 1 secrets)" { Configuration = 0, Secrets = 1 } }

macro_rules! statements {
    ($($variant:ident = $kind:literal, $count:literal [$($field:ident),*];)*) => {
        impl Statement {
            /// Its number.
            pub const fn kind(&self) -> u16 {
                match self {
                    $(Self::$variant { .. } => $kind,)*
                    Self::Unknown { kind, .. } => *kind,
                }
            }

            /// What follows the number, in canonical form.
            pub fn payload(&self) -> Vec<u8> {
                if let Self::Unknown { payload, .. } = self {
                    return payload.0.clone();
                }
                cbor::to_bytes(&Payload(self))
            }

            /// Reads a statement of this number.
            pub fn read(kind: u16, payload: &[u8]) -> Result<Self, BytesError> {
                match kind {
                    $($kind => Ok(cbor::from_bytes::<$variant>(payload, LONGEST_BODY)?.0),)*
                    _ => Ok(Self::Unknown { kind, payload: Blob(payload.to_vec()) }),
                }
            }
        }

        impl Payload<'_> {
            fn write_to(&self, out: &mut Writer) {
                match self.0 {
                    $(Statement::$variant { $($field),* } => {
                        out.array($count);
                        $($field.write(out);)*
                    })*
                    Statement::Unknown { .. } => {}
                }
            }
        }

        $(
            struct $variant(Statement);

            impl Cbor for $variant {
                fn write(&self, out: &mut Writer) {
                    Payload(&self.0).write_to(out);
                }
                fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
                    input.array_of($count, concat!("an array of ", $count))?;
                    Ok(Self(Statement::$variant { $($field: Cbor::read(input)?),* }))
                }
            }
        )*
    };
}

struct Payload<'a>(&'a Statement);

impl Cbor for Payload<'_> {
    fn write(&self, out: &mut Writer) {
        self.write_to(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        Err(input.malformed("nothing: a payload is read by its number"))
    }
}

statements! {
    User = 1, 3 [name, key, rights];
    Rights = 2, 2 [name, rights];
    Rotate = 3, 2 [name, key];
    Revoke = 4, 3 [key, since, entries];
    Device = 5, 5 [key, name, groups, trust, request];
    Rekey = 6, 3 [device, key, trust];
    Place = 7, 4 [device, name, groups, trust];
    Lost = 8, 2 [device, since];
    Remove = 9, 1 [device];
    Voters = 10, 1 [voters];
    Join = 11, 1 [terms];
    Unjoin = 12, 1 [key];
    Seal = 13, 3 [group, generation, key];
    Threshold = 14, 3 [verb, needed, users];
    Propose = 15, 2 [kind, payload];
    Endorse = 16, 1 [proposal];
    Withdraw = 17, 1 [proposal];
    Resolve = 18, 2 [kept, dropped];
    Recover = 19, 5 [generation, recovery, name, key, since];
}
