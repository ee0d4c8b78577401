//! What was decided: `dusk log` for people, `dusk export` for a backup and for other programs to check.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use fleet::authority::Entry;
use fleet::change::Change;
use fleet::export::Item;
use fleet::log::Record;
use fleet::submission::Submission;
use fleet::{UserName, VerifyKey};

use super::Given;
use super::rows::rows;
use crate::seat::Seat;

/// Lists records, the last ones first.
///
/// # Errors
/// When there is no fleet here.
pub fn list(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let count = given.value("count").map_or(Ok(20), str::parse).context("--count: a number is expected")?;
    let mut table = Vec::new();
    for (index, Submission { record, .. }) in seat.archive.records().enumerate() {
        let (author, what, note) = match record {
            Record::Authority(signed) => {
                let entry = Entry::read(signed)?;
                (entry.author, said(&entry), String::new())
            }
            Record::Change(signed) => {
                let change = Change::read(signed, seat.fleet())?;
                (change.author, format!("{} {}", change.verb(), change.path), change.note)
            }
        };
        table.push([index.to_string(), who(&seat, &author), what, note]);
    }
    table.reverse();
    table.truncate(count);
    rows(given, ["record", "author", "what", "note"], &table)
}

/// Writes the log with its contents and the newest checkpoint, as docs/dusk-format.md says.
///
/// # Errors
/// When the file cannot be written.
pub fn export(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let mut bytes = Item::Genesis(seat.authority().genesis().clone()).to_bytes();
    let mut count = 0;
    for Submission { record, content } in seat.archive.records() {
        bytes.extend(Item::Record(record).to_bytes());
        content.into_iter().for_each(|content| bytes.extend(Item::Content(content).to_bytes()));
        count += 1;
    }
    let newest =
        seat.archive.checkpoint().filter(|checkpoint| checkpoint.summary().is_ok_and(|summary| summary.index == count));
    newest.into_iter().for_each(|checkpoint| bytes.extend(Item::Checkpoint(checkpoint.clone()).to_bytes()));
    match given.optional("file") {
        Some(path) => {
            std::fs::write(path, &bytes).with_context(|| format!("cannot write {path}"))?;
            eprintln!("{count} records are in {path}");
        }
        None => std::io::stdout().lock().write_all(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An author in words.
pub fn who(seat: &Seat, key: &VerifyKey) -> String {
    use fleet::authority::Holder;
    match seat.state().keys.get(key).map(|record| &record.holder) {
        Some(Holder::User(name)) => UserName::to_string(name),
        Some(Holder::Device(device)) => format!("device {device}"),
        Some(Holder::Join) => "a join key".into(),
        Some(Holder::Recovery) => "the recovery phrase".into(),
        None => key.to_string(),
    }
}

/// An entry in words.
pub fn said(entry: &Entry) -> String {
    use fleet::authority::Statement as S;
    match &entry.statement {
        S::User { name, .. } => format!("user {name}"),
        S::Rights { name, .. } => format!("rights of {name}"),
        S::Rotate { name, .. } => format!("another key of {name}"),
        S::Revoke { key, since, .. } => format!("no key any more: {key}, since record {since}"),
        S::Device { name, .. } => format!("device {name}"),
        S::Rekey { device, .. } => format!("another key of device {device}"),
        S::Place { device, name, .. } => format!("device {device} is {name}"),
        S::Lost { device, .. } => format!("device {device} is lost"),
        S::Remove { device } => format!("device {device} is removed"),
        S::Voters { voters } => format!("{} voters", voters.len()),
        S::Join { terms } => format!("join key {}, {} uses", terms.key, terms.uses),
        S::Unjoin { key } => format!("join key {key} taken back"),
        S::Seal { group, generation, .. } => format!("key {generation} of group {group}"),
        S::Threshold { verb, needed, .. } => format!("{verb} needs {needed}"),
        S::Propose { kind, .. } => format!("proposes a statement of kind {kind}"),
        S::Endorse { proposal } => format!("agrees to {proposal}"),
        S::Withdraw { proposal } => format!("takes back {proposal}"),
        S::Resolve { kept, dropped } => format!("keeps {kept}, drops {dropped}"),
        S::Recover { generation, name, .. } => format!("recovery {generation} by {name}"),
        S::Unknown { kind, .. } => format!("statement {kind}, which this version does not know"),
    }
}
