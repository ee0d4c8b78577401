//! Who votes: `dusk device role`.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use fleet::authority::Statement;
use fleet::change::{Change, Content, Wish};
use fleet::whereabouts::{self, PATH};
use fleet::{DeviceId, Role, SectionPath};

use super::device::find;
use super::{Given, print};
use crate::seat::{Author, Seat, now, random};

/// Makes a device master, backup or witness, or takes that from it.
///
/// # Errors
/// When there is no such device, nobody would be left who knows the log, or the right is wanting.
pub fn set(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let device = find(&seat, given.argument("device"))?;
    let role = match given.argument("role") {
        "master" => Some(Role::Master),
        "backup" => Some(Role::Backup),
        "witness" => Some(Role::Witness),
        "none" => None,
        other => bail!("{other:?} is no role: expected master, backup, witness or none"),
    };
    let before = seat.state().voters().to_vec();
    let mut voters: Vec<(DeviceId, Role)> = before.iter().filter(|(voter, _)| *voter != device).copied().collect();
    if role == Some(Role::Master) {
        // There is one first choice; who was it stands in for it.
        voters.iter_mut().filter(|(_, role)| *role == Role::Master).for_each(|(_, role)| *role = Role::Backup);
    }
    voters.extend(role.map(|role| (device, role)));
    voters.sort_by_key(|(_, role)| match role {
        Role::Master => 0,
        Role::Backup => 1,
        Role::Witness => 2,
    });
    let knows = |(voter, _): &(DeviceId, Role)| before.iter().any(|(known, _)| known == voter);
    ensure!(voters.iter().any(knows), "nobody would vote who knows the log: let another vote beside first");
    let addresses = given.values("address");
    if voters == before && addresses.is_empty() {
        return print("nothing changes\n");
    }
    let author = seat.sign_in(given)?;
    if !addresses.is_empty() || role.is_none() {
        note_addresses(&mut seat, &author, device, addresses)?;
    }
    if voters != before {
        seat.say(&Statement::Voters { voters: voters.clone() }, &author)?;
    }
    let majority = voters.len() / 2 + 1;
    print(&format!("{} vote; a majority is {majority}\n", voters.len()))
}

/// Writes down for all devices where a voter is, and the one that this command runs on.
fn note_addresses(seat: &mut Seat, author: &Author, device: DeviceId, addresses: &[String]) -> anyhow::Result<()> {
    let path: SectionPath = PATH.parse()?;
    let before = seat.archive.content(&path).map(|content| content.bytes.0.clone()).unwrap_or_default();
    let mut known = whereabouts::parse(&before).map_err(anyhow::Error::msg).with_context(|| path.to_string())?;
    match addresses {
        [] => drop(known.remove(&device)),
        addresses => drop(known.insert(device, addresses.to_vec())),
    }
    let own = seat.store.secret()?.context("there is no node.key")?.public().noise;
    if let (Some((own, _)), Some(address)) = (seat.state().device_by_noise(&own), seat.store.read("address")?) {
        known.entry(own).or_insert(vec![String::from_utf8(address).context("the file address is no text")?]);
    }
    let text = whereabouts::print(&known).into_bytes();
    if text == before {
        return Ok(());
    }
    let content = Content::new(text, &mut random);
    let replaces = seat.archive.log().map().get(&path).map(|leaf| leaf.change);
    let wish = Wish { path, content: Some(content.hash()), replaces, execute: false, time: now(), note: String::new() };
    let change = Change::sign(seat.authority(), wish, &author.secret);
    seat.change(change, Some(content)).map(drop)
}
