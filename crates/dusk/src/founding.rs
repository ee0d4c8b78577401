//! The beginning of a fleet: its genesis, its first device, its first user's locked key.

use fleet::authority::{Genesis, Statement, Trust};
use fleet::log::{Log, Record};
use fleet::node::Flash;
use fleet::password::{LockedKey, Stretching};
use fleet::submission::Submission;
use fleet::voter::{self, Voter};
use fleet::{DeviceId, DeviceName, FleetId, NodeSecret, RecoveryPhrase, Role, UserName, bind};

use crate::seat::random;
use crate::store::Store;

/// What a fleet begins with.
pub struct Founding<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its first user.
    pub user: UserName,
    /// What this device, its master, is called.
    pub device: DeviceName,
    /// The user's password.
    pub password: &'a str,
    /// What recovers the fleet.
    pub phrase: &'a RecoveryPhrase,
    /// Where other devices find this one.
    pub address: Option<&'a str>,
}

/// Writes the beginning; the fleet is there when this returns, and not before.
///
/// # Errors
/// When files cannot be written.
pub fn found(store: &Store, founding: Founding<'_>) -> anyhow::Result<(FleetId, DeviceId)> {
    let Founding { name, user, device, password, phrase, address } = founding;
    let (founder, own) = (NodeSecret::generate(&mut random), store.ensure_secret(&mut random)?);
    let recovery = phrase.secret().public().verify;
    let genesis = Genesis::found(name, user.clone(), &founder, recovery, &mut random);
    let mut log = Log::new(genesis.clone())?;
    let fleet = log.authority().fleet();
    let id = DeviceId::first_known_by(&own.public());
    let key = bind(Some(fleet), &own);
    let beginning = [
        Statement::Device { key, name: device, groups: Vec::new(), trust: Trust::Secrets, request: None },
        Statement::Voters { voters: vec![(id, Role::Master)] },
    ];
    let mut records = Vec::new();
    for statement in beginning {
        let record = Record::Authority(log.authority().sign(&statement, &founder));
        log.append(&record)?;
        records.push(voter::Record::from(Submission { record, content: None }.to_bytes()));
    }
    store.begin(Flash::Journal, &Voter::found(&records))?;
    store.keep_key(&locked(fleet, user, &founder, password)?)?;
    if let Some(address) = address {
        store.write("address", address.as_bytes())?;
    }
    store.found(&genesis)?;
    Ok((fleet, id))
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
