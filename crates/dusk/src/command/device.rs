//! Devices: who there is, who waits, who may come, who is lost.

use std::process::ExitCode;

use anyhow::{Context, bail};
use fleet::authority::{Standing, Statement, Trust};
use fleet::{Asking, DeviceId, DeviceName, GroupName, JoinRequest, Role};

use super::rows::rows;
use super::{Given, group, print};
use crate::prompt;
use crate::seat::Seat;

/// Lists devices, and those who wait.
///
/// # Errors
/// When there is no fleet here.
pub fn list(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let state = seat.state();
    let mut table = Vec::new();
    for (id, device) in &state.devices {
        let role = state.voters().iter().find(|(voter, _)| voter == id).map_or("", |(_, role)| match role {
            Role::Master => "master",
            Role::Backup => "backup",
            Role::Witness => "witness",
        });
        let standing = match device.standing {
            Standing::Member => "approved",
            Standing::Lost => "lost",
            Standing::Removed => "removed",
        };
        let trust = if device.trust == Trust::Secrets { "secrets" } else { "configuration" };
        let groups = device.groups().iter().map(GroupName::as_str).collect::<Vec<_>>().join(",");
        let hint = String::new();
        table.push([id.to_string(), device.name.to_string(), standing.into(), groups, trust.into(), role.into(), hint]);
    }
    for (Asking { device, request, .. }, _) in waiting(&seat)? {
        let name = request.name.map_or(String::new(), |name| name.to_string());
        let group = seat.state().joins.get(&request.join).and_then(|join| join.terms.group.as_ref());
        let group = group.map_or(String::new(), GroupName::to_string);
        let hint = format!("{} {}", request.board, request.mac);
        table.push([device.to_string(), name, "waiting".into(), group, String::new(), String::new(), hint]);
    }
    rows(given, ["id", "name", "state", "groups", "trust", "role", "hardware"], &table)
}

/// Lets a device in that asked.
///
/// # Errors
/// When nobody of this id waits, or the right is wanting.
pub fn approve(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let (Asking { device, request, .. }, asked) = asked(&seat, given)?;
    let join = seat.state().joins.get(&request.join).context("the join key admits nobody any more")?;
    let groups = match given.values("group") {
        [] => join.terms.group.iter().cloned().collect(),
        names => names.iter().map(|name| name.parse()).collect::<Result<Vec<GroupName>, _>>()?,
    };
    let name: DeviceName = match (given.value("name"), request.name) {
        (Some(name), _) => name.parse()?,
        (None, Some(name)) if seat.state().device_by_name(&name).is_none() => name,
        (None, _) => format!("device-{}", &device.to_string()[..8]).parse()?,
    };
    let author = seat.sign_in(given)?;
    let JoinRequest { key, request } = asked;
    let statement = Statement::Device { key, name: name.clone(), groups, trust: trust(given), request: Some(request) };
    seat.say(&statement, &author)?;
    if given.has("secrets") {
        group::share(&mut seat, &author, device)?;
    }
    seat.store.remove(&file(device))?;
    print(&format!("device {device} is {name}\n"))
}

/// Gives a device that was reset, and asked anew, its own record back.
///
/// # Errors
/// When nobody waits, there is no such device, or the right is wanting.
pub fn rekey(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let device = find(&seat, given.argument("device"))?;
    let by = given.value("by").context("which of those who wait is it? Say --by ID, or --request FILE");
    let (asking, asked) = match given.value("request") {
        Some(_) => asked(&seat, given)?,
        None => one_of(&seat, by?)?,
    };
    let author = seat.sign_in(given)?;
    seat.say(&Statement::Rekey { device, key: asked.key, trust: trust(given) }, &author)?;
    if given.has("secrets") {
        group::share(&mut seat, &author, device)?;
    }
    seat.store.remove(&file(asking.device))?;
    print(&format!("device {device} has another key\n"))
}

/// Takes a lost device's key away, and says what must change now.
///
/// # Errors
/// When there is no such device, or the right is wanting.
pub fn lost(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let device = find(&seat, given.argument("device"))?;
    let record = seat.state().devices.get(&device).context("there is no such device")?;
    let (name, knew) = (record.name.clone(), record.trust == Trust::Secrets);
    prompt::consent(&format!("Take the key of {name} away?"), given.has("yes"))?;
    let since = given.value("since").map_or(Ok(seat.archive.log().len()), str::parse);
    let since = since.context("--since: the number of a record is expected")?;
    let author = seat.sign_in(given)?;
    let groups = if knew { record_groups(&seat, device) } else { Vec::new() };
    seat.say(&Statement::Lost { device, since }, &author)?;
    let mut out = format!("{name} is lost: its key is none any more\n");
    for group in groups.iter().filter(|group| seat.state().seals.contains_key(*group)).cloned().collect::<Vec<_>>() {
        group::renew(&mut seat, &author, &group)?;
        out.push_str(&format!(
            "{name} knew the secrets of group {group}, which has another key: change them at their source\n"
        ));
    }
    print(&out)
}

/// Removes a device for good.
///
/// # Errors
/// When there is no such device, or the right is wanting.
pub fn remove(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let device = find(&seat, given.argument("device"))?;
    prompt::consent(&format!("Remove device {device} for good? It cannot come back"), given.has("yes"))?;
    let author = seat.sign_in(given)?;
    seat.say(&Statement::Remove { device }, &author)?;
    print(&format!("device {device} is removed\n"))
}

/// The device of this name or id.
///
/// # Errors
/// When there is none.
pub fn find(seat: &Seat, text: &str) -> anyhow::Result<DeviceId> {
    let by_id = text.parse().ok().filter(|id| seat.state().devices.contains_key(id));
    let by_name = || Some(seat.state().device_by_name(&text.parse().ok()?)?.0);
    by_id.or_else(by_name).with_context(|| format!("there is no device {text:?}: `dusk device list` lists them"))
}

fn record_groups(seat: &Seat, device: DeviceId) -> Vec<GroupName> {
    seat.state().devices.get(&device).map_or(Vec::new(), |record| record.groups().to_vec())
}

fn trust(given: &Given) -> Trust {
    if given.has("secrets") { Trust::Secrets } else { Trust::Configuration }
}

fn file(device: DeviceId) -> String {
    format!("requests/{device}")
}

/// The request that the command line means: a file, or one that waits here.
fn asked(seat: &Seat, given: &Given) -> anyhow::Result<(Asking, JoinRequest)> {
    match given.value("request") {
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
            let request = JoinRequest::from_bytes(&bytes).with_context(|| format!("{path} is no request"))?;
            Ok((request.open(seat.fleet())?, request))
        }
        None => one_of(seat, given.optional("device").context("which device? Say its id, or --request FILE")?),
    }
}

fn one_of(seat: &Seat, id: &str) -> anyhow::Result<(Asking, JoinRequest)> {
    let mut waiting = waiting(seat)?;
    // As many digits of the id as make it the only one.
    waiting.retain(|(asking, _)| asking.device.to_string().starts_with(id));
    match waiting.len() {
        1 => Ok(waiting.remove(0)),
        0 => bail!("nobody waits who begins with {id:?}: `dusk device list` lists those who do"),
        many => bail!("{many} who wait begin with {id:?}: say more of the id"),
    }
}

/// Those whose requests are kept, whatever else lies there passed over.
fn waiting(seat: &Seat) -> anyhow::Result<Vec<(Asking, JoinRequest)>> {
    let mut waiting = Vec::new();
    for name in seat.store.list("requests")? {
        let Some(bytes) = seat.store.read(&format!("requests/{name}"))? else { continue };
        let Ok(request) = JoinRequest::from_bytes(&bytes) else { continue };
        let Ok(asking) = request.open(seat.fleet()) else { continue };
        if !seat.state().keys.contains_key(&asking.key.verify) {
            waiting.push((asking, request));
        }
    }
    Ok(waiting)
}
