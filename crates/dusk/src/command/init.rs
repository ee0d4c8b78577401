//! `dusk init`: makes a fleet on this device.

use std::process::ExitCode;

use anyhow::bail;
use fleet::authority::{Genesis, Statement, Trust};
use fleet::log::{Log, Record};
use fleet::node::Flash;
use fleet::password::{LockedKey, Stretching};
use fleet::submission::Submission;
use fleet::voter::{self, Voter};
use fleet::{DeviceId, DeviceName, FleetId, NodeSecret, RecoveryPhrase, Role, UserName, WORDS, bind};

use super::{Given, print};
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

    let (founder, own) = (NodeSecret::generate(&mut random), store.ensure_secret(&mut random)?);
    let recovery = phrase.secret().public().verify;
    let genesis = Genesis::found(given.value("name").unwrap_or("home"), user.clone(), &founder, recovery, &mut random);
    let mut log = Log::new(genesis.clone())?;
    let fleet = log.authority().fleet();
    let id = DeviceId::first_known_by(&own.public());
    let key = bind(Some(fleet), &own);
    let beginning = [
        Statement::Device { key, name: device.clone(), groups: Vec::new(), trust: Trust::Secrets, request: None },
        Statement::Voters { voters: vec![(id, Role::Master)] },
    ];
    let mut records = Vec::new();
    for statement in beginning {
        let record = Record::Authority(log.authority().sign(&statement, &founder));
        log.append(&record)?;
        records.push(voter::Record::from(Submission { record, content: None }.to_bytes()));
    }
    store.begin(Flash::Journal, &Voter::found(&records))?;
    store.keep_key(&locked(fleet, user, &founder, &password)?)?;
    if let Some(address) = given.value("address") {
        store.write("address", address.as_bytes())?;
    }
    store.found(&genesis)?;
    print(&format!("fleet {fleet}\ndevice {id} ({device}) is its master\n"))
}

/// A key under a password, freshly stretched.
///
/// # Errors
/// When the password cannot be stretched.
pub fn locked(fleet: FleetId, user: UserName, secret: &NodeSecret, password: &str) -> anyhow::Result<LockedKey> {
    let stretching = Stretching::fresh(&mut random);
    let stretched = stretching.stretch(password)?;
    Ok(LockedKey::lock(fleet, user, secret, (stretching, &stretched), &mut random))
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
