//! The chain: entries in their order, branches, and what ends them.

use std::collections::BTreeMap;

use crate::authority::entry::{Entry, Genesis};
use crate::authority::refusal::Refusal;
use crate::authority::state::{Holder, State, User};
use crate::authority::statement::Statement;
use crate::authority::timeline::Timeline;
use crate::hash::{EntryId, FleetId, Hash, Head};
use crate::right::Right;
use crate::signed::{Domain, KnownKey, Signed};

/// The authority chain as one node knows it.
#[derive(Clone, Debug)]
pub struct Authority {
    genesis: Signed,
    entries: Vec<Entry>,
    state: State,
}

/// What came of entries that somebody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// All of them were known.
    Nothing,
    /// The chain grew.
    Grown,
    /// Entries from this position on were given up for others.
    Switched(u64),
}

/// Two entries that follow the same one, rightly signed both: somebody may have to answer for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The one of this node's chain.
    pub ours: Signed,
    /// The other.
    pub theirs: Signed,
}

impl Authority {
    /// Begins with a genesis.
    pub fn new(genesis: Signed) -> Result<Self, Refusal> {
        let state = State::begin(&genesis)?;
        Ok(Self { genesis, entries: Vec::new(), state })
    }

    /// What holds as of the head.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The fleet.
    pub const fn fleet(&self) -> FleetId {
        self.state.fleet
    }

    /// The last entry.
    pub const fn head(&self) -> Head {
        self.state.head
    }

    /// The genesis, as it is shipped.
    pub const fn genesis(&self) -> &Signed {
        &self.genesis
    }

    /// The entries from `position` on, the first of which stands at 1.
    pub fn entries(&self, position: u64) -> &[Entry] {
        let from = usize::try_from(position.max(1) - 1).unwrap_or(usize::MAX).min(self.entries.len());
        &self.entries[from..]
    }

    /// Whether a head is one of this chain.
    pub fn has(&self, head: &Head) -> bool {
        match head.position {
            0 => head.entry.bytes() == self.state.fleet.bytes(),
            position => self.entries(position).first().is_some_and(|entry| entry.id == head.entry),
        }
    }

    /// Says something, signed, after the head.
    pub fn sign(&self, statement: &Statement, secret: &crate::NodeSecret) -> Signed {
        Entry::sign(self.fleet(), self.head(), statement, secret)
    }

    /// Takes the entry that follows the head. A refused one changes nothing.
    pub fn append(&mut self, signed: Signed) -> Result<Head, Refusal> {
        let entry = self.judge(signed)?;
        self.state.take(&entry);
        self.entries.push(entry);
        Ok(self.head())
    }

    /// Whether an entry could be appended.
    pub fn judge(&self, signed: Signed) -> Result<Entry, Refusal> {
        let entry = Entry::read(signed)?;
        self.check_order(&entry)?;
        self.state.check_signature(&entry)?;
        self.state.check(&entry)?;
        Ok(entry)
    }

    fn check_order(&self, entry: &Entry) -> Result<(), Refusal> {
        if entry.fleet != self.fleet() {
            return Err(Refusal::OtherFleet(entry.fleet));
        }
        if self.has(&entry.head()) {
            return Err(Refusal::Known(entry.position));
        }
        let Head { position: end, entry: head } = self.head();
        match entry.position.checked_sub(1) == Some(end) && entry.previous == head {
            true => Ok(()),
            false => Err(Refusal::OutOfOrder { position: entry.position, previous: entry.previous, end, head }),
        }
    }

    /// Takes entries of somebody else's chain, in their order, that begin at or before the end of this one.
    ///
    /// Where both branched, a recovery outranks everything, and an entry of one branch that resolves against the other
    /// ends it; else this is [`Refusal::Forked`] and nothing changes: applying stops until somebody chooses.
    pub fn adopt(&mut self, theirs: Vec<Signed>) -> Result<Adopted, Refusal> {
        let mut theirs = theirs.into_iter().map(Entry::read).collect::<Result<Vec<_>, _>>()?;
        let known = theirs.iter().take_while(|entry| self.has(&entry.head())).count();
        theirs.drain(..known);
        let Some(first) = theirs.first() else { return Ok(Adopted::Nothing) };
        let from = first.position;
        if from == self.head().position + 1 {
            for entry in theirs {
                if let Err(refusal) = self.append(entry.signed) {
                    // All or none: what came before the refused one is given up again.
                    *self = self.up_to(from)?;
                    return Err(refusal);
                }
            }
            return Ok(Adopted::Grown);
        }
        if !(1..=self.head().position).contains(&from) {
            return self.check_order(first).map(|()| Adopted::Nothing);
        }
        let branch = self.branch(from, &theirs)?;
        self.choose(&branch, from)?;
        *self = branch;
        Ok(Adopted::Switched(from))
    }

    /// The chain without its entries from `from` on.
    fn up_to(&self, from: u64) -> Result<Self, Refusal> {
        let mut chain = Self::new(self.genesis.clone())?;
        for entry in &self.entries[..self.entries.len() - self.entries(from).len()] {
            chain.state.take(entry);
            chain.entries.push(entry.clone());
        }
        Ok(chain)
    }

    /// The chain as it would be with their entries instead of those from `from` on; all are judged.
    fn branch(&self, from: u64, theirs: &[Entry]) -> Result<Self, Refusal> {
        let mut branch = self.up_to(from)?;
        for entry in theirs {
            branch.append(entry.signed.clone())?;
        }
        Ok(branch)
    }

    /// Whether their branch takes the place of this one.
    fn choose(&self, theirs: &Self, from: u64) -> Result<(), Refusal> {
        let first = |chain: &Self| chain.entries(from).first().map(|entry| Hash::of(*entry.id.bytes()));
        let (Some(our_first), Some(their_first)) = (first(self), first(theirs)) else { return Ok(()) };
        let recoveries = |chain: &Self| chain.state.recoveries;
        // Whoever ends a fork must have been able to say so on either branch: nobody undoes their own end.
        let gives_up = |chain: &Self, other: &Self, first: Hash| {
            let mut entries = chain.entries(from).iter();
            let resolves = |entry: &&Entry| {
                let Statement::Resolve { dropped, .. } = &entry.statement else { return false };
                *dropped == first && other.state.may_resolve(&entry.author) && chain.state.may_resolve(&entry.author)
            };
            entries.find(resolves).map(|entry| entry.id)
        };
        // A recovery names its branch point; the later one was signed by the key that the one before it named.
        if recoveries(theirs) != recoveries(self) {
            return match recoveries(theirs) > recoveries(self) {
                true => Ok(()),
                false => Err(Refusal::Outranked(self.head().entry)),
            };
        }
        match (gives_up(theirs, self, our_first), gives_up(self, theirs, their_first)) {
            (Some(_), None) => Ok(()),
            (None, Some(by)) => Err(Refusal::Outranked(by)),
            _ if self.ended_the_author_of(theirs, from) && !theirs.ended_the_author_of(self, from) => {
                Err(Refusal::Outranked(self.head().entry))
            }
            _ => Err(Refusal::Forked {
                ours: EntryId::of(*our_first.bytes()),
                theirs: EntryId::of(*their_first.bytes()),
            }),
        }
    }

    /// Whether this branch took the key away that the other one begins with.
    fn ended_the_author_of(&self, other: &Self, from: u64) -> bool {
        let author = other.entries(from).first().map(|entry| entry.author);
        author.and_then(|author| self.state.keys.get(&author)).is_some_and(|record| record.ended.is_some())
    }

    /// The proof of a fork, if this entry is rightly signed and follows another than the last one here.
    pub fn fork(&self, theirs: &Signed) -> Option<Fork> {
        let entry = Entry::read(theirs.clone()).ok()?;
        let ours = self.entries(entry.position.max(1)).first().filter(|ours| ours.position == entry.position)?;
        let (differ, same) = (ours.id != entry.id, ours.previous == entry.previous);
        if !(differ && same) || self.state.check_signature(&entry).is_err() {
            return None;
        }
        Some(Fork { ours: ours.signed.clone(), theirs: theirs.clone() })
    }

    /// What a key said from `position` on: for whoever takes it away.
    pub fn said_by(&self, key: &crate::VerifyKey, position: u64) -> impl Iterator<Item = &Entry> {
        self.entries(position).iter().filter(move |entry| entry.author == *key)
    }
}

impl State {
    fn begin(signed: &Signed) -> Result<Self, Refusal> {
        let genesis = Genesis::open(signed)?;
        let fleet = Genesis::fleet(signed);
        let mut state = Self {
            fleet,
            name: genesis.name,
            head: Head { position: 0, entry: EntryId::of(*fleet.bytes()) },
            keys: BTreeMap::new(),
            users: BTreeMap::new(),
            devices: BTreeMap::new(),
            joins: BTreeMap::new(),
            seals: BTreeMap::new(),
            thresholds: BTreeMap::new(),
            proposals: BTreeMap::new(),
            resolved: Vec::new(),
            recovery: genesis.recovery,
            recoveries: 0,
            voters: Timeline::default(),
        };
        state.add_key(genesis.key.verify, Holder::User(genesis.founder.clone()), genesis.key.verify);
        state.add_key(genesis.recovery, Holder::Recovery, genesis.key.verify);
        let mut founder = User { key: Some(genesis.key), ..User::default() };
        founder.rights.set(0, vec![Right::all()]);
        state.users.insert(genesis.founder, founder);
        Ok(state)
    }

    fn check_signature(&self, entry: &Entry) -> Result<(), Refusal> {
        Ok(match self.keys.get(&entry.author) {
            Some(record) => record.verify(Domain::Entry, &entry.signed),
            None => KnownKey::new(entry.author)?.verify(Domain::Entry, &entry.signed.body, &entry.signed.signature),
        }?)
    }
}
