//! `dusk status`: the fleet in one table, from the node that runs here, or from what one wrote down.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use fleet::DeviceId;
use serde_json::{Value, json};

use super::rows::table;
use super::{Given, print};
use crate::agent::{self, BOARD, control};
use crate::board::{self, Row};
use crate::seat::{Seat, directory, now};

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);
/// So much of an outcome stands in the table.
const OUTCOME: usize = 60;

/// Shows the fleet.
///
/// # Errors
/// When there is none here.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    if given.has("watch") {
        return watch(given);
    }
    let (rows, is_live) = rows(given)?;
    if !is_live {
        eprintln!("no node runs here: this is what was known when one did");
    }
    match given.has("json") {
        true => print(&board::print(&rows)),
        false => print(&page(&rows, now())),
    }
}

/// What is known of the fleet's devices, and whether a node runs that knows it.
///
/// # Errors
/// When there is no fleet here.
pub fn rows(given: &Given) -> anyhow::Result<(Vec<Row>, bool)> {
    let dir = directory(given);
    if let Ok(answer) = control::ask(dir, &json!({ "ask": "board" })) {
        let rows = answer.get("devices").and_then(Value::as_array).into_iter().flatten();
        return Ok((rows.filter_map(Row::from_json).collect(), true));
    }
    let seat = Seat::open(given)?;
    let text = seat.store.read(BOARD)?.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut known: BTreeMap<DeviceId, Row> = board::parse(&text).into_iter().map(|row| (row.id, row)).collect();
    let row = |(id, device): (DeviceId, &fleet::authority::Device)| -> anyhow::Result<Row> {
        let nothing = Row {
            id,
            name: device.name.clone(),
            groups: Vec::new(),
            role: "",
            address: None,
            seen: None,
            is_online: false,
            index: 0,
            vitals: None,
            firmware: String::new(),
            outcome: "waiting".to_owned(),
        };
        let row = known.remove(&id).unwrap_or(nothing);
        // What devices said is kept at once, the board from time to time.
        let said = agent::status::read(&seat.store, seat.state(), id)?;
        let firmware = said.map_or(row.firmware, |status| status.board.release);
        Ok(Row { name: device.name.clone(), groups: device.groups().to_vec(), is_online: false, firmware, ..row })
    };
    Ok((seat.state().members().map(row).collect::<anyhow::Result<_>>()?, false))
}

/// The row of the device of this name or id.
///
/// # Errors
/// When there is none.
pub fn find<'a>(rows: &'a [Row], text: &str) -> anyhow::Result<&'a Row> {
    let found = rows.iter().find(|row| row.name.as_str() == text || row.id.to_string() == text);
    found.with_context(|| format!("there is no device {text:?}: `dusk status` lists them"))
}

fn watch(given: &Given) -> anyhow::Result<ExitCode> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut shown: BTreeMap<DeviceId, (bool, String)> = BTreeMap::new();
    loop {
        let (rows, is_live) = rows(given)?;
        if !is_live {
            bail!("no node runs here any more: `dusk status` shows what was known");
        }
        let lasting: BTreeMap<_, _> = rows.iter().map(|row| (row.id, (row.is_online, row.outcome.clone()))).collect();
        let ended = match is_terminal {
            // Home, the page with each line cleared to its end, then what is below.
            true => write(&format!("\x1b[H{}\x1b[J", page(&rows, now()).replace('\n', "\x1b[K\n")))?,
            false => {
                let news = rows.iter().filter(|row| shown.get(&row.id) != lasting.get(&row.id));
                let form = |row: &Row| match given.has("json") {
                    true => format!("{}\n", row.to_json()),
                    false => {
                        format!("{}: {}, {}\n", row.name, if row.is_online { "online" } else { "offline" }, row.outcome)
                    }
                };
                write(&news.map(form).collect::<String>())?
            }
        };
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
        shown = lasting;
        std::thread::sleep(LOOK);
    }
}

/// Writes, and says whether nobody reads any more.
fn write(text: &str) -> anyhow::Result<bool> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        written => written.map(|()| false).map_err(Into::into),
    }
}

fn page(rows: &[Row], now: u64) -> String {
    let cells = |row: &Row| {
        let groups = row.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(",");
        let name = if row.role.is_empty() { row.name.to_string() } else { format!("{} ({})", row.name, row.role) };
        let load = row.vitals.map_or(String::new(), |vitals| format!("{:.2}", f64::from(vitals.load) / 16.0));
        let flags: String =
            row.flags().filter(|flag| ["drifted", "full"].contains(flag)).map(|flag| format!(" ({flag})")).collect();
        let mut outcome: String =
            row.outcome.chars().map(|c| if c.is_control() { ' ' } else { c }).take(OUTCOME).collect();
        if row.outcome.chars().count() > OUTCOME {
            outcome.push_str("...");
        }
        let address = row.address.clone().unwrap_or_default();
        [name, groups, address, seen(row, now), row.firmware.clone(), load, outcome + &flags]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    table(["device", "groups", "address", "seen", "firmware", "load", "newest change"], &rows)
}

/// When a device was heard of, in words.
pub fn seen(row: &Row, now: u64) -> String {
    let Some(at) = row.seen else { return "never".to_owned() };
    let ago = duration(now.saturating_sub(at));
    if row.is_online { format!("{ago} ago") } else { format!("OFFLINE {ago}") }
}

/// A duration in the two largest units that matter.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_who_is_missing_and_never_what_a_device_could_do_to_a_terminal() {
        let row = Row {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            groups: vec!["ap".parse().unwrap()],
            role: "backup",
            address: None,
            seen: Some(1000),
            is_online: false,
            index: 1,
            vitals: None,
            firmware: "OpenWrt".to_owned(),
            outcome: format!("rejected: \x1b[2J{}", "x".repeat(100)),
        };
        let page = page(&[row], 1000 + 90_000);
        assert!(page.contains("attic (backup)") && page.contains("OFFLINE 1 d 1 h"), "{page}");
        assert!(!page.contains('\x1b') && page.contains("x..."), "{page}");
    }
}
