//! `dusk recover`: takes the fleet back with the recovery phrase.

use std::process::ExitCode;

use anyhow::{Context, bail};
use fleet::authority::{Entry, Statement};
use fleet::log::Record;
use fleet::{EntryId, Head, NodeSecret, RecoveryPhrase, UserName, bind};

use super::init::{confirm, show};
use super::{Given, print};
use crate::founding::locked;
use crate::prompt;
use crate::seat::{RECOVERED, Seat, random};

/// Asks for the phrase, shows the next one, and makes one user who may do everything.
///
/// # Errors
/// When the phrase is wrong, or an answer is no good; nothing is changed then.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let name: UserName = given.value("user").context("who shall have the fleet? Say --user NAME")?.parse()?;
    let branch = branch(&seat, given)?;
    let since = given.value("since").map_or(Ok(seat.archive.log().len()), str::parse);
    let since = since.context("--since: the number of a record is expected")?;
    let secret = RecoveryPhrase::from_text(&prompt::password("The recovery phrase")?)?.secret();
    if secret.public().verify != seat.state().recovery {
        bail!("that is not the recovery phrase of this fleet, or it was used: each is good for one recovery");
    }
    let given_up = seat.authority().head().position - branch.position;
    prompt::consent(&format!("Give up {given_up} entries and take all users' keys away?"), given.has("yes"))?;
    let password = prompt::chosen_password(&format!("A password for {name}"))?;
    let next = RecoveryPhrase::generate(&mut random);
    show(&next)?;
    confirm(&next)?;

    let user = NodeSecret::generate(&mut random);
    let statement = Statement::Recover {
        generation: seat.state().recoveries + 1,
        recovery: next.secret().public().verify,
        name: name.clone(),
        key: bind(Some(seat.fleet()), &user),
        since,
    };
    let record = Record::Authority(Entry::sign(seat.fleet(), branch, &statement, &secret));
    seat.archive.log().judge(&record)?;
    let others: Vec<_> = seat.store.users()?.into_iter().filter(|user| *user != name).collect();
    // Beside the key that opens the fleet as it is: whatever happens, one of the two is the right one.
    let key = locked(seat.fleet(), name.clone(), &user, &password)?;
    seat.store.write(RECOVERED, &key.to_bytes())?;
    seat.decide(record, None)?;
    seat.take_recovered()?;
    others.iter().try_for_each(|user| seat.store.remove(&format!("keys/{user}")))?;
    print(&format!("the fleet is {name}'s\n"))
}

/// The last entry that is kept.
fn branch(seat: &Seat, given: &Given) -> anyhow::Result<Head> {
    let Some(text) = given.value("keep") else { return Ok(seat.authority().head()) };
    let position: u64 = text.parse().context("--keep: the position of an entry is expected")?;
    let known = seat.authority().entries(position).first().filter(|entry| entry.position == position).map(Entry::head);
    let genesis = (position == 0).then(|| Head { position, entry: EntryId::of(*seat.fleet().bytes()) });
    genesis.or(known).with_context(|| format!("--keep: there is no entry {position}"))
}
