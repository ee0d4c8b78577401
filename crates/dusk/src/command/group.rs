//! Groups' keys: who may read the secrets of a group.

use std::process::ExitCode;

use anyhow::Context;
use fleet::authority::{Standing, Statement, Trust};
use fleet::cbor;
use fleet::change::{Change, Content, Wish};
use fleet::seal::{GroupKey, GroupSecret, Secret};
use fleet::{DeviceId, GroupName, SealingKey, SectionPath, UserName};

use super::{Given, print};
use crate::prompt;
use crate::seat::{Author, Seat, now, random};

/// Makes a group's next key, for its members and for those users who had the one before.
///
/// # Errors
/// When the password or the right is wanting.
pub fn seal(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let group = given.argument("group").parse()?;
    let author = seat.sign_in(given)?;
    let generation = renew(&mut seat, &author, &group)?;
    print(&format!("group {group} has key {generation}: seal its secrets to it\n"))
}

/// Seals a secret, for a section's content.
///
/// # Errors
/// When the group has no key.
pub fn secret(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let group: GroupName = given.argument("group").parse()?;
    let key = seat.state().seals.get(&group);
    let key = key.with_context(|| format!("group {group} has no key: `dusk group seal {group}` makes one"))?;
    let secret = prompt::password(&format!("A secret of group {group}"))?;
    let sealed = Secret::seal(seat.fleet(), &group, key.generation, &key.key, secret.as_bytes(), &mut random)?;
    print(&format!("{sealed}\n"))
}

/// Makes a group's next key.
///
/// # Errors
/// When the right is wanting.
pub fn renew(seat: &mut Seat, author: &Author, group: &GroupName) -> anyhow::Result<u32> {
    let generation = seat.state().seals.get(group).map_or(1, |seal| seal.generation + 1);
    let secret = GroupSecret::generate(&mut random);
    let members = members(seat, author, group)?;
    seat.say(&Statement::Seal { group: group.clone(), generation, key: secret.public() }, author)?;
    for (path, member) in members {
        let key = secret.wrap(seat.fleet(), group, generation, &member, &mut random)?;
        put(seat, author, path, &key)?;
    }
    Ok(generation)
}

/// Wraps the keys of a device's groups for it, as far as the author has them.
///
/// # Errors
/// When the right is wanting.
pub fn share(seat: &mut Seat, author: &Author, device: DeviceId) -> anyhow::Result<()> {
    let record = seat.state().devices.get(&device).context("there is no such device")?;
    let (groups, member) = (record.groups().to_vec(), record.key().sealing);
    for group in groups {
        let Some(seal) = seat.state().seals.get(&group) else { continue };
        let (generation, public) = (seal.generation, seal.key);
        let own: SectionPath = format!("users/{}/key/{group}", author.name).parse()?;
        let key =
            seat.archive.content(&own).and_then(|content| cbor::from_bytes::<GroupKey>(&content.bytes.0, 1024).ok());
        let Some(key) = key.filter(|key| key.generation == generation) else {
            eprintln!("{} does not have the key of group {group}: somebody who has it must share it", author.name);
            continue;
        };
        let secret = key.unwrap(seat.fleet(), &group, &public, &author.secret)?;
        let key = secret.wrap(seat.fleet(), &group, generation, &member, &mut random)?;
        put(seat, author, format!("devices/{device}/key/{group}").parse()?, &key)?;
    }
    Ok(())
}

/// Where the key of a group belongs, and for whom: the author first, so that it is not lost halfway.
fn members(seat: &Seat, author: &Author, group: &GroupName) -> anyhow::Result<Vec<(SectionPath, SealingKey)>> {
    let state = seat.state();
    let path = |name: &UserName| format!("users/{name}/key/{group}").parse::<SectionPath>();
    let mut members = vec![(path(&author.name)?, author.secret.public().sealing)];
    for (name, user) in &state.users {
        let (path, Some(key)) = (path(name)?, user.key) else { continue };
        if *name != author.name && seat.archive.content(&path).is_some() {
            members.push((path, key.sealing));
        }
    }
    for (id, device) in &state.devices {
        let is_trusted = device.standing == Standing::Member && device.trust == Trust::Secrets;
        if is_trusted && device.groups().contains(group) {
            members.push((format!("devices/{id}/key/{group}").parse()?, device.key().sealing));
        }
    }
    Ok(members)
}

fn put(seat: &mut Seat, author: &Author, path: SectionPath, key: &GroupKey) -> anyhow::Result<()> {
    let content = Content::new(cbor::to_bytes(key), &mut random);
    let replaces = seat.archive.log().map().get(&path).map(|leaf| leaf.change);
    let wish = Wish { path, content: Some(content.hash()), replaces, execute: false, time: now(), note: String::new() };
    let change = Change::sign(seat.authority(), wish, &author.secret);
    seat.change(change, Some(content)).map(drop)
}
