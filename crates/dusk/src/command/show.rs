//! `dusk show` and `dusk drift`: a device in full, from what it said last and from its rings.

use std::fmt::Write;
use std::process::ExitCode;

use fleet::ring::{Rings, Sample};
use fleet::status::{Said, Space, Status};
use serde_json::{Value, json};

use super::graph::draw;
use super::status::{duration, find, rows, seen};
use super::{Given, print};
use crate::board::Row;
use crate::seat::{directory, now};

/// So many leases and clients are listed.
const LISTED: usize = 20;

/// A value that is drawn: what it is called, its unit, and how it is read.
type Curve = (&'static str, &'static str, fn(&Sample) -> f64);

const CURVES: &[Curve] = &[
    ("load", "", |sample| f64::from(sample.load) / 16.0),
    ("memory used", " %", |sample| 100.0 - f64::from(sample.memory.min(100))),
    ("flash used", " %", |sample| 100.0 - f64::from(sample.flash.min(100))),
    ("clients", "", |sample| f64::from(sample.clients)),
];

/// Shows a device.
///
/// # Errors
/// When there is no such device, or a file cannot be read.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let (rows, _) = rows(given)?;
    let row = find(&rows, given.argument("device"))?;
    let (status, rings) = (status(given, row)?, rings(given, row)?);
    let minute = now() / 60;
    if given.has("json") {
        let rings = json!({ "day": samples(&rings.fine(minute)), "weeks": samples(&rings.coarse(minute)) });
        let status = status.as_ref().map(to_json);
        return print(&format!("{}\n", json!({ "device": row.to_json(), "status": status, "rings": rings })));
    }
    let mut out = head(row);
    match &status {
        Some(status) => out.push_str(&body(status)),
        None => out.push_str("it has not said anything of itself here\n"),
    }
    let (fine, coarse) = (rings.fine(minute), rings.coarse(minute));
    let parts: [(&str, &[Sample], u64, u64); 2] =
        [("the last day, 20 minutes a column", &fine, 20, 72), ("eight weeks, a day a column", &coarse, 1440, 56)];
    for (title, samples, minutes, columns) in parts.into_iter().filter(|(_, samples, ..)| !samples.is_empty()) {
        let _ = writeln!(out, "\n{title}");
        for (name, unit, value) in CURVES {
            let _ = writeln!(out, "  {name:12} {}", draw(samples, minute, minutes, columns, *value, unit));
        }
    }
    print(&out)
}

/// Shows what devices have otherwise.
///
/// # Errors
/// When there is no such device, or a file cannot be read.
pub fn drift(given: &Given) -> anyhow::Result<ExitCode> {
    let (rows, _) = rows(given)?;
    let meant: Vec<&Row> = match given.optional("device") {
        Some(device) => vec![find(&rows, device)?],
        None => rows.iter().collect(),
    };
    let mut out = String::new();
    for row in meant {
        for line in status(given, row)?.iter().flat_map(|status| &status.drift) {
            let _ = writeln!(out, "{}: {}", row.name, plain(line));
        }
    }
    print(if out.is_empty() { "nothing differs from what is asked\n" } else { &out })
}

/// What a device said last.
fn status(given: &Given, row: &Row) -> anyhow::Result<Option<Status>> {
    let Some(bytes) = read(given, &format!("status/{}", row.id))? else { return Ok(None) };
    // Whoever kept it has looked at the signature.
    let said = fleet::Signed::from_bytes(&bytes).and_then(|signed| signed.read::<Said>());
    Ok(said.and_then(|said| Status::decode(&said.status.0)).ok())
}

fn rings(given: &Given, row: &Row) -> anyhow::Result<Rings> {
    Ok(Rings::parse(read(given, &format!("rings/{}", row.id))?.unwrap_or_default()))
}

/// A file of the node's, which may be running: its files are replaced as a whole, or in pieces that stand for themselves.
fn read(given: &Given, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let path = directory(given).join(name);
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(anyhow::Context::with_context(read, || format!("cannot read {}", path.display()))?)),
    }
}

fn head(row: &Row) -> String {
    let groups = row.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(", ");
    let role = if row.role.is_empty() { "device" } else { row.role };
    let mut out = format!("{} ({}), {role}\n", row.name, row.id);
    line(&mut out, "groups", &groups);
    line(&mut out, "address", row.address.as_deref().unwrap_or_default());
    line(&mut out, "seen", &seen(row, now()));
    line(&mut out, "newest change", &row.outcome);
    line(&mut out, "flags", &row.flags().collect::<Vec<_>>().join(", "));
    out
}

fn body(status: &Status) -> String {
    let mut out = String::new();
    let board = &status.board;
    line(&mut out, "hostname", &board.hostname);
    line(&mut out, "model", &[board.model.as_str(), board.board.as_str()].join(" "));
    line(&mut out, "firmware", &[board.release.as_str(), board.target.as_str(), board.kernel.as_str()].join(" "));
    line(&mut out, "uptime", &duration(status.uptime));
    let load: Vec<String> = status.load.iter().map(|load| format!("{:.2}", f64::from(*load) / 100.0)).collect();
    line(&mut out, "load", &load.join(" "));
    line(&mut out, "memory", &space(&status.memory));
    line(&mut out, "flash", &space(&status.flash));
    for interface in &status.interfaces {
        let state = if interface.is_up { "up" } else { "down" };
        let text = [
            &[interface.name.as_str(), state, &interface.device, &interface.proto],
            &texts(&interface.addresses)[..],
            &texts(&interface.errors),
        ]
        .concat();
        line(&mut out, "interface", &text.join(" "));
    }
    for radio in &status.radios {
        let state = if radio.is_up { "up" } else { "down" };
        line(
            &mut out,
            "radio",
            &format!("{} {} channel {} {state}: {}", radio.name, radio.band, radio.channel, radio.networks.join(", ")),
        );
    }
    for client in status.clients.iter().take(LISTED) {
        line(&mut out, "client", &format!("{} on {} at -{} dBm", client.mac, client.device, client.signal));
    }
    for lease in status.leases.iter().take(LISTED) {
        line(
            &mut out,
            "lease",
            &format!("{} {} {} for {}", lease.address, lease.mac, lease.name, duration(lease.expires)),
        );
    }
    let more = status.clients.len().saturating_sub(LISTED) + status.leases.len().saturating_sub(LISTED);
    if more > 0 || status.left_out > 0 {
        line(&mut out, "and", &format!("{more} more that --json lists, {} that the device left out", status.left_out));
    }
    for result in status.results.iter().chain(&status.actions) {
        line(&mut out, "section", &format!("{} {}", result.section, result.outcome));
    }
    status.drift.iter().for_each(|drift| line(&mut out, "drift", drift));
    status.remarks.iter().for_each(|remark| line(&mut out, "remark", remark));
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    if !value.trim().is_empty() {
        let _ = writeln!(out, "  {name:14} {}", plain(value.trim()));
    }
}

/// A text of a device without anything that a terminal would act on.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn space(space: &Space) -> String {
    match space.total {
        0 => String::new(),
        total => format!("{} of {} MB free", space.free / 1024, total / 1024),
    }
}

fn samples(samples: &[Sample]) -> Vec<Value> {
    let sample = |sample: &Sample| {
        json!({
            "time": sample.minute * 60, "readings": sample.readings, "load": f64::from(sample.load) / 16.0,
            "memory_free_percent": sample.memory, "flash_free_percent": sample.flash, "clients": sample.clients,
        })
    };
    samples.iter().map(sample).collect()
}

fn to_json(status: &Status) -> Value {
    let Status { board, interfaces, radios, clients, leases, .. } = status;
    let results = |list: &[fleet::status::SectionResult]| -> Vec<Value> {
        list.iter().map(|result| json!({ "section": result.section, "outcome": result.outcome })).collect()
    };
    let space = |space: &Space| json!({ "total_kib": space.total, "free_kib": space.free });
    json!({
        "board": {
            "hostname": board.hostname, "model": board.model, "board": board.board, "release": board.release,
            "target": board.target, "kernel": board.kernel,
        },
        "uptime": status.uptime,
        "load": status.load.iter().map(|load| f64::from(*load) / 100.0).collect::<Vec<_>>(),
        "memory": space(&status.memory), "flash": space(&status.flash),
        "interfaces": interfaces.iter().map(|interface| json!({
            "name": interface.name, "up": interface.is_up, "device": interface.device, "proto": interface.proto,
            "addresses": interface.addresses, "uptime": interface.uptime, "errors": interface.errors,
        })).collect::<Vec<_>>(),
        "radios": radios.iter().map(|radio| json!({
            "name": radio.name, "up": radio.is_up, "band": radio.band, "channel": radio.channel,
            "networks": radio.networks,
        })).collect::<Vec<_>>(),
        "clients": clients.iter().map(|client| json!({
            "mac": client.mac, "device": client.device, "signal": -i64::from(client.signal),
        })).collect::<Vec<_>>(),
        "leases": leases.iter().map(|lease| json!({
            "mac": lease.mac, "address": lease.address, "name": lease.name, "expires": lease.expires,
        })).collect::<Vec<_>>(),
        "applied": status.applied, "results": results(&status.results), "actions": results(&status.actions),
        "drift": status.drift, "remarks": status.remarks, "left_out": status.left_out,
    })
}
