//! A voter's place while no other dusk runs on its files: reads what was decided, and decides more if it votes alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use fleet::archive::Archive;
use fleet::authority::{Authority, State, Statement};
use fleet::change::Content;
use fleet::log::Record;
use fleet::node::Flash;
use fleet::password::LockedKey;
use fleet::submission::Submission;
use fleet::voter::Voter;
use fleet::{FleetId, LogIndex, Moment, NodeSecret, Signed, UserName};

use crate::command::Given;
use crate::prompt;
use crate::store::{DIRECTORY, Frames, Store};

/// The file of a key that a recovery is about to make a user's.
pub const RECOVERED: &str = "recovered";

/// An opened place.
pub struct Seat {
    /// The files.
    pub store: Store,
    /// What was decided.
    pub archive: Archive,
    voter: Voter,
    journal: Frames,
}

/// Somebody who gave their password.
pub struct Author {
    /// Who.
    pub name: UserName,
    /// Their keys.
    pub secret: NodeSecret,
}

/// The directory that the command line names.
#[must_use]
pub fn directory(given: &Given) -> &Path {
    Path::new(given.value("dir").unwrap_or(DIRECTORY))
}

impl Seat {
    /// Opens the place that the command line names.
    ///
    /// # Errors
    /// When there is no fleet, or its files cannot be read.
    pub fn open(given: &Given) -> anyhow::Result<Self> {
        let dir = directory(given);
        let store = Store::open(dir)?;
        let none = || format!("there is no fleet in {}: `dusk init` makes one", dir.display());
        let (genesis, secret) = (store.genesis()?.with_context(none)?, store.secret()?.with_context(none)?);
        let own = secret.public().noise;
        let mut archive = Archive::new(genesis, Arc::new(secret))?;
        let (journal, writes) = store.frames(Flash::Journal)?;
        let writes = writes.iter().map(Vec::as_slice);
        let voter = Voter::restore(own, writes, false, &mut archive, Moment::default());
        let mut seat = Self { store, archive, voter, journal };
        seat.write()?;
        seat.take_recovered()?;
        Ok(seat)
    }

    /// The authority chain.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        self.archive.log().authority()
    }

    /// What holds.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.authority().state()
    }

    /// The fleet.
    #[must_use]
    pub const fn fleet(&self) -> FleetId {
        self.authority().fleet()
    }

    /// Puts the key in its place that a recovery made, if the recovery was decided.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn take_recovered(&self) -> anyhow::Result<()> {
        let Some(bytes) = self.store.read(RECOVERED)? else { return Ok(()) };
        let key = LockedKey::from_bytes(&bytes).context("the file recovered is damaged")?;
        if self.state().user_of(&key.key) == Some(&key.user) {
            self.store.keep_key(&key)?;
        }
        self.store.remove(RECOVERED)
    }

    /// The user whom the command line names, or the only one there is, after they gave their password.
    ///
    /// # Errors
    /// When there is no such user here or the password is wrong; which of both is not told.
    pub fn sign_in(&self, given: &Given) -> anyhow::Result<Author> {
        let named = given.value("user").map(str::to_owned).or_else(|| std::env::var("DUSK_USER").ok());
        let name = match (named, self.store.users()?.as_slice()) {
            (Some(name), _) => name.parse()?,
            (None, [only]) => only.clone(),
            (None, _) => bail!("who are you? Say it with --user, or in DUSK_USER"),
        };
        let password = prompt::password(&format!("Password of {name}"))?;
        let key = self.store.locked_key(&name)?;
        let own = self.store.secret()?.context("there is no node.key")?;
        let nobody = || fleet::password::Stretching::of_nobody(&name, &own);
        let stretched = key.as_ref().map_or_else(nobody, |key| key.stretching).stretch(&password)?;
        let opened =
            key.ok_or(fleet::password::PasswordError::Wrong).and_then(|key| key.open(self.fleet(), &stretched));
        Ok(Author { name, secret: opened? })
    }

    /// Has something decided about the authority chain.
    ///
    /// # Errors
    /// As [`Seat::decide`].
    pub fn say(&mut self, statement: &Statement, author: &Author) -> anyhow::Result<LogIndex> {
        let signed = self.authority().sign(statement, &author.secret);
        self.decide(Record::Authority(signed), None)
    }

    /// Has a change decided.
    ///
    /// # Errors
    /// As [`Seat::decide`].
    pub fn change(&mut self, change: Signed, content: Option<Content>) -> anyhow::Result<LogIndex> {
        self.decide(Record::Change(change), content)
    }

    /// Has a record decided; it lasts when this returns.
    ///
    /// # Errors
    /// When it is refused, cannot be written, or others would have to vote too.
    pub fn decide(&mut self, record: Record, content: Option<Content>) -> anyhow::Result<LogIndex> {
        self.archive.log().judge(&record)?;
        if !self.voter.leads() {
            bail!("others vote too: start `dusk run` and let it be decided there");
        }
        let submission = Submission { record, content };
        self.voter.propose(submission.to_bytes(), &mut self.archive)?;
        self.write()?;
        match self.archive.outcome(&submission) {
            Some(Ok(index)) => Ok(*index),
            Some(Err(reason)) => bail!("{reason}"),
            None => bail!("it waits for the other voters: start `dusk run`"),
        }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let output = self.voter.take_output();
        Ok(self.journal.append(&output.writes)?)
    }
}

/// The system's randomness.
///
/// # Panics
/// When the system has none: nothing can be signed then.
pub fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("invariant: the system gives randomness");
}

/// Seconds since 1970 by this machine's clock.
#[must_use]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
