//! An entry as it is shipped, and the genesis that a fleet begins with.

use crate::authority::refusal::Refusal;
use crate::authority::statement::Statement;
use crate::cbor::Blob;
use crate::hash::{EntryId, FleetId, Head};
use crate::join::{bind, bound};
use crate::key::{NodeKey, NodeSecret, VerifyKey};
use crate::signed::{Domain, KnownKey, Signed};
use crate::{Random, UserName};

/// The version of the format that is written.
pub const FORMAT: u8 = 1;
/// The longest name of a fleet, in bytes.
const LONGEST_NAME: usize = 64;

/// How a fleet begins: its founder may do everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// What people call the fleet.
    pub name: String,
    /// The founder.
    pub founder: UserName,
    /// The founder's keys.
    pub key: NodeKey,
    /// The key that the recovery phrase is.
    pub recovery: VerifyKey,
}

struct GenesisBody {
    format: u8,
    nonce: [u8; 32],
    name: String,
    founder: UserName,
    key: Signed,
    recovery: VerifyKey,
}

struct EntryBody {
    format: u8,
    fleet: FleetId,
    position: u64,
    previous: EntryId,
    critical: bool,
    author: VerifyKey,
    kind: u16,
    payload: Blob,
}

cbor_arrays! {
    GenesisBody 6 [format, nonce, name, founder, key, recovery];
    EntryBody 8 [format, fleet, position, previous, critical, author, kind, payload];
}

impl Genesis {
    /// Founds a fleet: the genesis, signed by the founder.
    pub fn found(
        name: &str,
        founder: UserName,
        secret: &NodeSecret,
        recovery: VerifyKey,
        random: &mut impl Random,
    ) -> Signed {
        let mut nonce = [0; 32];
        random.fill(&mut nonce);
        let (name, key) = (name.to_owned(), bind(None, secret));
        Signed::new(Domain::Genesis, &GenesisBody { format: FORMAT, nonce, name, founder, key, recovery }, secret)
    }

    /// Checks a genesis.
    pub fn open(signed: &Signed) -> Result<Self, Refusal> {
        let body: GenesisBody = signed.read()?;
        if body.format != FORMAT {
            return Err(Refusal::Format(body.format));
        }
        if body.name.len() > LONGEST_NAME {
            return Err(Refusal::TooMany {
                what: "bytes of the fleet's name",
                is: body.name.len(),
                limit: LONGEST_NAME,
            });
        }
        let key = bound(&body.key, None)?;
        KnownKey::new(key.verify)?.verify(Domain::Genesis, &signed.body, &signed.signature)?;
        KnownKey::new(body.recovery)?;
        if body.recovery == key.verify {
            return Err(Refusal::KeyUsed(body.recovery));
        }
        Ok(Self { name: body.name, founder: body.founder, key, recovery: body.recovery })
    }

    /// The fleet that begins so.
    pub fn fleet(signed: &Signed) -> FleetId {
        FleetId::of(*signed.hash(Domain::Genesis).bytes())
    }
}

/// An entry, read but not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The hash of its body.
    pub id: EntryId,
    /// The fleet that it is for.
    pub fleet: FleetId,
    /// How many entries stand before it.
    pub position: u64,
    /// The entry before it.
    pub previous: EntryId,
    /// Whether a node that does not know the statement has to stop.
    pub critical: bool,
    /// Who signed it.
    pub author: VerifyKey,
    /// What it says.
    pub statement: Statement,
    /// As it is shipped.
    pub signed: Signed,
}

impl Entry {
    /// Says something, after `head`.
    pub fn sign(fleet: FleetId, head: Head, statement: &Statement, secret: &NodeSecret) -> Signed {
        let body = EntryBody {
            format: FORMAT,
            fleet,
            position: head.position + 1,
            previous: head.entry,
            // Every statement of this version has been there from the first: none needs an upgrade.
            critical: false,
            author: secret.public().verify,
            kind: statement.kind(),
            payload: Blob(statement.payload()),
        };
        Signed::new(Domain::Entry, &body, secret)
    }

    /// Reads an entry; its signature is not looked at.
    pub fn read(signed: Signed) -> Result<Self, Refusal> {
        let body: EntryBody = signed.read()?;
        if body.format != FORMAT {
            return Err(Refusal::Format(body.format));
        }
        let statement = Statement::read(body.kind, &body.payload.0)?;
        let EntryBody { fleet, position, previous, critical, author, .. } = body;
        Ok(Self {
            id: EntryId::of(*signed.hash(Domain::Entry).bytes()),
            fleet,
            position,
            previous,
            critical,
            author,
            statement,
            signed,
        })
    }

    /// Where the chain is with this entry.
    pub const fn head(&self) -> Head {
        Head { position: self.position, entry: self.id }
    }
}
