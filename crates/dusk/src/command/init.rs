//! `dusk init`: makes a fleet on this device.

use std::process::ExitCode;

use anyhow::bail;
use fleet::{DeviceName, RecoveryPhrase, UserName, WORDS};

use super::{Given, print};
use crate::founding::{self, Founding};
use crate::prompt;
use crate::seat::{directory, random};
use crate::store::Store;

/// Asks for a user and a password, shows the recovery phrase once, and writes the fleet's beginning.
///
/// # Errors
/// When there is a fleet already, an answer is no good, or files cannot be written.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let store = Store::open(directory(given))?;
    if store.genesis()?.is_some() {
        bail!("there is a fleet in {} already", directory(given).display());
    }
    let device: DeviceName = given.value("device").unwrap_or("master").parse()?;
    let user: UserName = match given.value("user") {
        Some(name) => name.parse()?,
        None => prompt::line("Your name in the fleet (lower-case letters, digits, hyphens)")?.parse()?,
    };
    let password = prompt::chosen_password(&format!("A password for {user}"))?;
    let phrase = RecoveryPhrase::generate(&mut random);
    show(&phrase)?;
    confirm(&phrase)?;

    let name = given.value("name").unwrap_or("home");
    let (named, address) = (device.clone(), given.value("address"));
    let (fleet, id) =
        founding::found(&store, Founding { name, user, device: named, password: &password, phrase: &phrase, address })?;
    print(&format!("fleet {fleet}\ndevice {id} ({device}) is its master\n"))
}

/// Shows a phrase, once.
///
/// # Errors
/// As the output says.
pub fn show(phrase: &RecoveryPhrase) -> anyhow::Result<()> {
    let mut text = zeroize::Zeroizing::new(String::from(
        "The recovery phrase. Write it on paper: it is shown this once, and whoever has it has the fleet.\n\n",
    ));
    for (at, word) in phrase.reveal().enumerate() {
        let end = if (at + 1) % 6 == 0 { '\n' } else { ' ' };
        text.push_str(&format!("{:>2} {word:<9}{end}", at + 1));
    }
    text.push('\n');
    print(&text).map(drop)
}

/// Asks for two words, so that it was written down.
///
/// # Errors
/// When one of them is wrong.
pub fn confirm(phrase: &RecoveryPhrase) -> anyhow::Result<()> {
    let mut bytes = [0; 2];
    random(&mut bytes);
    let first = usize::from(bytes[0]) % WORDS;
    let second = (first + 1 + usize::from(bytes[1]) % (WORDS - 1)) % WORDS;
    for place in [first + 1, second + 1] {
        if !phrase.has(place, &prompt::line(&format!("Word {place} of the phrase"))?) {
            bail!("that is not word {place}: nothing was changed; the next time there is another phrase");
        }
    }
    Ok(())
}
