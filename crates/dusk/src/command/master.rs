//! Masters that come, are lost, and come back: `dusk promote`, `dusk stranded`, `dusk backup`, `dusk restore`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use fleet::archive::Archive;
use fleet::authority::{Entry, Statement};
use fleet::change::Change;
use fleet::export::{self, Item};
use fleet::log::Record;
use fleet::submission::Submission;
use fleet::voter::Voter;
use fleet::{DeviceId, Moment, NodeSecret, Role, Signed};

use super::device::find;
use super::history::who;
use super::rows::rows;
use super::{Given, join, print};
use crate::backup::{Backup, Key};
use crate::prompt;
use crate::seat::{Seat, directory, random};
use crate::store::Store;

/// Names who votes from here on; the first device is the master.
///
/// # Errors
/// When one of them is no member, or the right is wanting.
pub fn promote(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let mut voters: Vec<(DeviceId, Role)> = Vec::new();
    for name in given.many("device") {
        let role = if voters.is_empty() { Role::Master } else { Role::Backup };
        voters.push((find(&seat, name)?, role));
    }
    for name in given.values("witness") {
        voters.push((find(&seat, name)?, Role::Witness));
    }
    let own = seat.store.secret()?.context("there is no node.key")?.public();
    let own = seat.state().device_by_noise(&own.noise).context("this device is no member")?.0;
    let statement = Statement::Voters { voters: voters.clone() };
    let names = voters.len();
    if !given.has("alone") {
        let author = seat.sign_in(given)?;
        seat.say(&statement, &author)?;
        return print(&format!("{names} devices vote from here on\n"));
    }
    ensure!(
        voters.iter().any(|(id, _)| *id == own),
        "only a device that votes from here on can say so alone: name this one too"
    );
    eprintln!(
        "What other voters have decided and this one has not heard of is left behind: `dusk stranded` lists it later."
    );
    eprintln!("Do this only where no majority of the voters can come back soon, and on one of them alone.");
    prompt::consent("Go on without them?", given.has("yes"))?;
    let author = seat.sign_in(given)?;
    seat.promote(&statement, &author)?;
    print(&format!("{names} devices vote from here on: the others follow when they hear of it\n"))
}

/// Lists what a lost master had decided and this fleet does not have, and offers it again as its authors signed it.
///
/// # Errors
/// When the file is none, or of another fleet.
pub fn stranded(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let theirs = match given.optional("file") {
        Some(path) => decided(Path::new(path), &seat)?,
        None => Vec::new(),
    };
    let mut table = Vec::new();
    if theirs.is_empty() {
        for conflict in seat.archive.conflicts() {
            let (author, what, note) = told(&seat, &conflict.record)?;
            table.push([author, what, note, conflict.reason.clone()]);
        }
    }
    for submission in theirs {
        let outcome = match seat.archive.outcome(&submission) {
            Some(Ok(_)) => continue,
            Some(Err(reason)) => reason.clone(),
            None => match seat.archive.log().judge(&submission.record) {
                Err(reason) => reason.to_string(),
                Ok(()) if given.has("offer") => {
                    let decided = seat.decide(submission.record.clone(), submission.content.clone());
                    decided.map_or_else(|error| format!("{error:#}"), |index| format!("is record {index}"))
                }
                Ok(()) => "can be offered again".to_owned(),
            },
        };
        let (author, what, note) = told(&seat, &submission.record)?;
        table.push([author, what, note, outcome]);
    }
    rows(given, ["author", "what", "note", "outcome"], &table)
}

/// Writes a backup of this master.
///
/// # Errors
/// When there is none here, or the file cannot be written.
pub fn backup(given: &Given) -> anyhow::Result<ExitCode> {
    let store = Store::enter(directory(given))?;
    let key = if given.has("with-key") { Key::Included } else { Key::LeftOut };
    let backup = Backup::of(&store, key)?;
    let file = given.argument("file");
    join::write_private(file, &backup.to_bytes())?;
    let warning = match key {
        Key::Included => "; whoever has it is this node",
        Key::LeftOut => "; the node's secret key is not in it",
    };
    print(&format!(
        "{} files and {} steps of the journal are in {file}{warning}\n",
        backup.files.len(),
        backup.journal.len()
    ))
}

/// Brings a master back from a backup.
///
/// # Errors
/// When the file is none, there is a fleet here already, or no secret key.
pub fn restore(given: &Given) -> anyhow::Result<ExitCode> {
    let store = Store::open(directory(given))?;
    let file = given.argument("file");
    let bytes = zeroize::Zeroizing::new(std::fs::read(file).with_context(|| format!("cannot read {file}"))?);
    let backup = Backup::from_bytes(&bytes).with_context(|| file.to_owned())?;
    backup.restore(&store, given.value("key").map(Path::new))?;
    print("restored: with `dusk run` it follows the other voters before it votes\n")
}

/// What was decided by the voter whose directory, backup or export this is.
fn decided(path: &Path, seat: &Seat) -> anyhow::Result<Vec<Submission>> {
    if path.is_dir() {
        let store = Store::open(path)?;
        let genesis = store.genesis()?.with_context(|| format!("there is no fleet in {}", path.display()))?;
        return replayed(genesis, &store.look_at(fleet::node::Flash::Journal)?, seat);
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if let Ok(backup) = Backup::from_bytes(&bytes) {
        return replayed(backup.fleet()?.0, &backup.journal, seat);
    }
    exported(&bytes, seat)
        .with_context(|| format!("{}: a directory, a backup or an export is expected", path.display()))
}

fn replayed(genesis: Signed, journal: &[Vec<u8>], seat: &Seat) -> anyhow::Result<Vec<Submission>> {
    ensure!(genesis == *seat.authority().genesis(), "it is of another fleet");
    // Somebody who is nobody: whoever reads it does not vote by it.
    let secret = Arc::new(NodeSecret::generate(&mut random));
    let own = secret.public().noise;
    let mut archive = Archive::new(genesis, secret)?;
    let voter = Voter::restore(own, journal.iter().map(Vec::as_slice), false, &mut archive, Moment::default());
    let fleet = seat.fleet();
    let waiting = voter.waiting().filter_map(|bytes| Submission::from_bytes(bytes, fleet).ok());
    Ok(archive.records().chain(waiting).collect())
}

fn exported(bytes: &[u8], seat: &Seat) -> anyhow::Result<Vec<Submission>> {
    let items: Vec<Item> = export::read(bytes).collect::<Result<_, _>>()?;
    let contents = items.iter().filter_map(|item| match item {
        Item::Content(content) => Some((content.hash(), content.clone())),
        _ => None,
    });
    let contents: Vec<_> = contents.collect();
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Genesis(genesis) if genesis != *seat.authority().genesis() => bail!("it is of another fleet"),
            Item::Record(record) => {
                let named = match &record {
                    Record::Authority(_) => None,
                    Record::Change(signed) => Change::read(signed.clone(), seat.fleet())?.content,
                };
                let content = named.and_then(|named| contents.iter().find(|(hash, _)| *hash == named));
                found.push(Submission { record, content: content.map(|(_, content)| content.clone()) });
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A record in words: its author, what it says, its note.
fn told(seat: &Seat, record: &Record) -> anyhow::Result<(String, String, String)> {
    Ok(match record {
        Record::Authority(signed) => {
            let entry = Entry::read(signed.clone())?;
            (who(seat, &entry.author), super::history::said(&entry), String::new())
        }
        Record::Change(signed) => {
            let change = Change::read(signed.clone(), seat.fleet())?;
            (who(seat, &change.author), format!("{} {}", change.verb(), change.path), change.note)
        }
    })
}
