//! Changes of sections, as their authors sign them.

use crate::authority::Authority;
use crate::cbor::BytesError;
use crate::hash::{ChangeId, ContentHash, FleetId, Head, LogIndex, hash};
use crate::key::{NodeSecret, VerifyKey};
use crate::right::Verb;
use crate::signed::{Domain, KeyError, SignatureError, Signed};
use crate::{Random, SectionPath};

/// The version of the format that is written.
const FORMAT: u8 = 1;
/// The longest note, in bytes.
const LONGEST_NOTE: usize = 256;
/// The longest content of a section.
pub const LONGEST_CONTENT: usize = 256 << 10;

/// What a section says, with the salt that keeps its hash from telling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Random.
    pub salt: [u8; 16],
    /// Opaque here.
    pub bytes: crate::cbor::Blob,
}

cbor_arrays! { Content 2 [salt, bytes]; }

impl Content {
    /// Salts some bytes.
    pub fn new(bytes: Vec<u8>, random: &mut impl Random) -> Self {
        let mut salt = [0; 16];
        random.fill(&mut salt);
        Self { salt, bytes: crate::cbor::Blob(bytes) }
    }

    /// What a change names it by.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(*hash("content", &[&self.salt, &self.bytes.0]).bytes())
    }
}

/// A change of one section, read but not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The hash of its body.
    pub id: ChangeId,
    /// The entry of the authority chain that its author went by.
    pub authority: Head,
    /// Which section.
    pub path: SectionPath,
    /// What it says from here on; nothing if it is deleted.
    pub content: Option<ContentHash>,
    /// The change of the same section that this one follows; none if it is the first.
    pub replaces: Option<ChangeId>,
    /// Whether the content runs code on devices, or has them act.
    pub execute: bool,
    /// Who signed it.
    pub author: VerifyKey,
    /// When, in seconds since 1970, as its author's clock had it; for people alone.
    pub time: u64,
    /// Why, for people.
    pub note: String,
    /// As it is shipped.
    pub signed: Signed,
}

struct ChangeBody {
    format: u8,
    fleet: FleetId,
    authority: Head,
    path: SectionPath,
    content: Option<ContentHash>,
    replaces: Option<ChangeId>,
    execute: bool,
    author: VerifyKey,
    time: u64,
    note: String,
}

cbor_arrays! { ChangeBody 10 [format, fleet, authority, path, content, replaces, execute, author, time, note]; }

/// What somebody wants of a section.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which section.
    pub path: SectionPath,
    /// What it should say; nothing to delete it.
    pub content: Option<ContentHash>,
    /// The change that stands.
    pub replaces: Option<ChangeId>,
    /// Whether the content runs code.
    pub execute: bool,
    /// The time.
    pub time: u64,
    /// Why.
    pub note: String,
}

/// Why a change is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChangeRefusal {
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
    #[error("its note is longer than {LONGEST_NOTE} bytes")]
    Note,
    #[error("its author went by entry {} at {}, which is not of this chain", .0.entry, .0.position)]
    UnknownHead(Head),
    #[error("{0} was no key of this fleet as of the entry that its author went by")]
    UnknownKey(VerifyKey),
    #[error("{key} has not been a key since entry {since}")]
    Revoked { key: VerifyKey, since: u64 },
    #[error("{key} was taken away, with all that it wrote from record {from} on: this is {index}")]
    Void { key: VerifyKey, from: LogIndex, index: LogIndex },
    #[error("{author} lacks the right {verb} on {path}")]
    Right { author: VerifyKey, verb: Verb, path: SectionPath },
    #[error("it follows {named}, but {path} is at {is}: somebody else was first", named = shown(named), is = shown(is))]
    Conflict { path: SectionPath, named: Option<ChangeId>, is: Option<ChangeId> },
    #[error("{0} is not there to be deleted")]
    NothingToDelete(SectionPath),
    #[error("it is another change than the one that stands")]
    OtherChange,
}

fn shown(id: &Option<ChangeId>) -> String {
    id.map_or_else(|| "nothing".into(), |id| id.to_string())
}

impl Change {
    /// Signs a wish, as of the head of `authority`.
    pub fn sign(authority: &Authority, wish: Wish, secret: &NodeSecret) -> Signed {
        let Wish { path, content, replaces, execute, time, note } = wish;
        let (fleet, authority, author) = (authority.fleet(), authority.head(), secret.public().verify);
        let body =
            ChangeBody { format: FORMAT, fleet, authority, path, content, replaces, execute, author, time, note };
        Signed::new(Domain::Change, &body, secret)
    }

    /// Reads a change for this fleet; neither signature nor rights are looked at.
    pub fn read(signed: Signed, fleet: FleetId) -> Result<Self, ChangeRefusal> {
        let body: ChangeBody = signed.read()?;
        if body.format != FORMAT {
            return Err(ChangeRefusal::Format(body.format));
        }
        if body.fleet != fleet {
            return Err(ChangeRefusal::OtherFleet(body.fleet));
        }
        if body.note.len() > LONGEST_NOTE {
            return Err(ChangeRefusal::Note);
        }
        let id = ChangeId::of(*signed.hash(Domain::Change).bytes());
        let ChangeBody { authority, path, content, replaces, execute, author, time, note, .. } = body;
        Ok(Self { id, authority, path, content, replaces, execute, author, time, note, signed })
    }

    /// What it does.
    pub const fn verb(&self) -> Verb {
        if self.content.is_some() { Verb::Put } else { Verb::Delete }
    }

    /// Whether its author might say it as of the entry that it names, and signed it. Every node asks this.
    pub fn check(&self, authority: &Authority) -> Result<(), ChangeRefusal> {
        let (state, position) = (authority.state(), self.authority.position);
        if !authority.has(&self.authority) {
            return Err(ChangeRefusal::UnknownHead(self.authority));
        }
        let record = state.keys.get(&self.author).filter(|record| record.lived(position));
        let record = record.ok_or(ChangeRefusal::UnknownKey(self.author))?;
        self.check_rights(authority, position)?;
        Ok(record.verify(Domain::Change, &self.signed)?)
    }

    /// The same, and that its author's key was not taken away with what it wrote at `index`.
    pub fn check_standing(&self, authority: &Authority, index: LogIndex) -> Result<(), ChangeRefusal> {
        self.check(authority)?;
        match authority.state().keys.get(&self.author) {
            Some(record) if record.void_from <= index => {
                Err(ChangeRefusal::Void { key: self.author, from: record.void_from, index })
            }
            _ => Ok(()),
        }
    }

    /// The same, and that its author might still say it: whoever takes it into the log asks this.
    pub fn check_appending(&self, authority: &Authority) -> Result<(), ChangeRefusal> {
        let state = authority.state();
        if let Some(since) = state.keys.get(&self.author).and_then(|record| record.ended) {
            return Err(ChangeRefusal::Revoked { key: self.author, since });
        }
        self.check(authority)?;
        self.check_rights(authority, authority.head().position)
    }

    fn check_rights(&self, authority: &Authority, position: u64) -> Result<(), ChangeRefusal> {
        let verbs = [self.verb(), Verb::Execute];
        for verb in &verbs[..1 + usize::from(self.execute)] {
            if !authority.state().might(&self.author, *verb, &self.path, position) {
                return Err(ChangeRefusal::Right { author: self.author, verb: *verb, path: self.path.clone() });
            }
        }
        Ok(())
    }
}
