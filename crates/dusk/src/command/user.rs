//! Users: who may do what, and their passwords.

use std::process::ExitCode;

use anyhow::Context;
use fleet::authority::Statement;
use fleet::{NodeSecret, Right, UserName, bind};

use super::rows::rows;
use super::{Given, print};
use crate::founding::locked;
use crate::prompt;
use crate::seat::{Author, Seat, random};

/// Lists users and their rights.
///
/// # Errors
/// When there is no fleet here.
pub fn list(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let row = |(name, user): (&UserName, &fleet::authority::User)| {
        let key = user.key.map_or("none".to_owned(), |key| key.verify.to_string());
        [name.to_string(), user.rights().iter().map(Right::to_string).collect::<Vec<_>>().join(" "), key]
    };
    let table: Vec<_> = seat.state().users.iter().map(row).collect();
    rows(given, ["name", "rights", "key"], &table)
}

/// Makes a user, with a key and a password of their own.
///
/// # Errors
/// When there is one of the name, a password is no good, or a right is wanting.
pub fn add(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let name: UserName = given.argument("name").parse()?;
    let rights = given.values("right").iter().map(|right| right.parse()).collect::<Result<Vec<Right>, _>>()?;
    let author = seat.sign_in(given)?;
    let password = prompt::chosen_password(&format!("A password for {name}"))?;
    let secret = NodeSecret::generate(&mut random);
    let locked = locked(seat.fleet(), name.clone(), &secret, &password)?;
    let statement = Statement::User { name: name.clone(), key: bind(Some(seat.fleet()), &secret), rights };
    // Checked before the key is kept, and kept before it is one: nobody is left without theirs.
    let signed = seat.authority().sign(&statement, &author.secret);
    seat.authority().judge(signed)?;
    seat.store.keep_key(&locked)?;
    seat.say(&statement, &author)?;
    print(&format!("{name} is a user\n"))
}

/// Changes a password. The key stays, so nothing has to be signed or decided.
///
/// # Errors
/// When the old password is wrong or the new one is no good.
pub fn password(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let Author { name, secret } = seat.sign_in(given)?;
    let password = prompt::chosen_password(&format!("Another password for {name}"))?;
    seat.store.keep_key(&locked(seat.fleet(), name.clone(), &secret, &password)?)?;
    print(&format!("{name} has another password\n"))
}

/// Takes a user's key away, lists what it wrote, and takes the keys along that it added.
///
/// # Errors
/// When there is no such user, or the right is wanting.
pub fn revoke(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let name: UserName = given.argument("name").parse()?;
    let key = seat.state().users.get(&name).and_then(|user| user.key).with_context(|| format!("{name} has no key"))?;
    let number = |flag: &str, usual: u64| {
        given.value(flag).map_or(Ok(usual), str::parse).with_context(|| format!("--{flag}: a number is expected"))
    };
    let since = number("since", seat.archive.log().len())?;
    let entries = number("entries", seat.authority().head().position + 1)?;
    for leaf in seat.archive.log().map().under("") {
        let change = seat.archive.change(&leaf.path).filter(|change| change.author == key.verify);
        if change.is_some() && leaf.index >= since {
            eprintln!(
                "{} stands as {name} wrote it, as record {}: it will not be applied any more",
                leaf.path, leaf.index
            );
        }
    }
    for entry in seat.authority().said_by(&key.verify, entries) {
        eprintln!("{name} said entry {} of the authority chain: {:?}", entry.position, entry.statement);
    }
    prompt::consent(&format!("Take the key of {name} away?"), given.has("yes"))?;
    let author = seat.sign_in(given)?;
    seat.say(&Statement::Revoke { key: key.verify, since, entries }, &author)?;
    seat.store.remove(&format!("keys/{name}"))?;
    print(&format!("{name} has no key any more\n"))
}
