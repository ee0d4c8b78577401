//! A voter's place: reads what was decided, and has more decided, by itself if it votes alone and no node runs on its
//! files, else through the node that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use data_encoding::HEXLOWER;
use fleet::archive::Archive;
use fleet::authority::{Authority, State, Statement};
use fleet::change::Content;
use fleet::log::Record;
use fleet::node::Flash;
use fleet::password::LockedKey;
use fleet::submission::Submission;
use fleet::voter::{self, Ledger, Voter};
use fleet::{FleetId, LogIndex, Moment, NodeSecret, NoiseKey, Signed, UserName};
use serde_json::{Value, json};

use crate::agent::control;
use crate::command::Given;
use crate::prompt;
use crate::store::{DIRECTORY, Frames, RESTORED, Store};

/// The file of a key that a recovery is about to make a user's.
pub const RECOVERED: &str = "recovered";

/// An opened place.
pub struct Seat {
    /// The files.
    pub store: Store,
    /// What was decided.
    pub archive: Archive,
    dir: PathBuf,
    place: Place,
}

/// How more is decided.
enum Place {
    /// Nobody else holds the files.
    Own { voter: Box<Voter>, journal: Frames },
    /// A node runs on them.
    Beside,
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
        let store = Store::enter(dir)?;
        let none = || format!("there is no fleet in {}: `dusk init` makes one", dir.display());
        let (genesis, secret) = (store.genesis()?.with_context(none)?, store.secret()?.with_context(none)?);
        let own = secret.public().noise;
        let mut archive = Archive::new(genesis, Arc::new(secret))?;
        if !store.has(Flash::Journal) {
            bail!("this device does not vote: what the fleet decided is at its masters");
        }
        let place = if store.is_held() {
            let (journal, writes) = store.frames(Flash::Journal)?;
            let has_forgotten = store.read(RESTORED)?.is_some();
            let voter = restore(own, &writes, has_forgotten, &mut archive);
            Place::Own { voter: Box::new(voter), journal }
        } else {
            drop(restore(own, &store.look_at(Flash::Journal)?, false, &mut archive));
            Place::Beside
        };
        let mut seat = Self { store, archive, dir: dir.to_owned(), place };
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
        let submission = Submission { record, content };
        match &mut self.place {
            Place::Own { voter, .. } => {
                if !voter.leads() {
                    bail!("others vote too: start `dusk run` and let it be decided there");
                }
                voter.propose(submission.to_bytes(), &mut self.archive)?;
                self.write()?;
            }
            Place::Beside => self.submit(&submission)?,
        }
        match self.archive.outcome(&submission) {
            Some(Ok(index)) => Ok(*index),
            Some(Err(reason)) => bail!("{reason}"),
            None => bail!("it waits for the other voters: start `dusk run`"),
        }
    }

    /// Decides alone who votes from here on, where no majority of the voters is left to do it.
    ///
    /// # Errors
    /// When it is refused, a node runs here, or the files cannot be written.
    pub fn promote(&mut self, statement: &Statement, author: &Author) -> anyhow::Result<()> {
        let record = Record::Authority(self.authority().sign(statement, &author.secret));
        self.archive.log().judge(&record)?;
        let submission = Submission { record, content: None };
        let Place::Own { voter, .. } = &mut self.place else { bail!("stop `dusk run` here first") };
        voter.promote(submission.to_bytes(), &mut self.archive);
        self.write()?;
        match self.archive.outcome(&submission) {
            Some(Ok(_)) => Ok(()),
            Some(Err(reason)) => bail!("{reason}"),
            None => bail!("it was not taken"),
        }
    }

    /// Has the node that runs on the files have something decided, and takes what was decided meanwhile.
    fn submit(&mut self, submission: &Submission) -> anyhow::Result<()> {
        let known = self.archive.length();
        let text = HEXLOWER.encode(&submission.to_bytes());
        let answer = control::ask(&self.dir, &json!({"ask": "submit", "known": known, "submission": text}))?;
        match answer.get("records").and_then(Value::as_array) {
            Some(records) => {
                for record in records {
                    let bytes = HEXLOWER.decode(record.as_str().unwrap_or_default().as_bytes());
                    self.archive.append(&voter::Record::from(bytes.context("the node told records that are no hex")?));
                }
            }
            // There were too many, or others than those that this command knows.
            None => {
                let secret = self.store.secret()?.context("there is no node.key")?;
                let own = secret.public().noise;
                let mut archive = Archive::new(self.authority().genesis().clone(), Arc::new(secret))?;
                drop(restore(own, &self.store.look_at(Flash::Journal)?, false, &mut archive));
                self.archive = archive;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        if let Place::Own { voter, journal } = &mut self.place {
            journal.append(&voter.take_output().writes)?;
        }
        Ok(())
    }
}

fn restore(own: NoiseKey, writes: &[Vec<u8>], has_forgotten: bool, archive: &mut Archive) -> Voter {
    Voter::restore(own, writes.iter().map(Vec::as_slice), has_forgotten, archive, Moment::default())
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
