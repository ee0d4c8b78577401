//! `dusk explain`: why an option of a device is what it is.

use std::process::ExitCode;

use anyhow::Context;
use fleet::address::OptionAddress;
use fleet::effective::{Effective, Input};
use fleet::explain::explain;
use fleet::facts::Facts;
use fleet::ground::Ground;
use fleet::layer::Member;
use fleet::sealed::LeftSealed;
use uci::{Config, Package, PackageName};

use super::device::find;
use super::{Given, print};
use crate::draft::configuration;
use crate::seat::Seat;

/// Says which section set an option and who signed it.
///
/// # Errors
/// When there is no such device, or the path is none.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let id = find(&seat, given.argument("device"))?;
    let address: OptionAddress = given.argument("option").parse()?;
    let (_, device) = seat.state().members().find(|(other, _)| *other == id).context("it is no member")?;
    let member = Member { id, name: device.name.clone(), groups: device.groups().to_vec(), facts: Facts::default() };
    let configuration = configuration(&seat);
    let current = current(given)?;
    let ground = Ground::default();
    let effective = Effective::of(Input {
        member: &member,
        sections: &configuration.sections,
        unreadable: &configuration.unreadable,
        current: &current,
        ground: &ground,
        opener: &LeftSealed,
    });
    let mut out = String::new();
    for explanation in explain(&address, &effective, &current) {
        out.push_str(&format!("{explanation}\n"));
    }
    for note in &effective.notes {
        out.push_str(&format!("{} ({})\n", note.text, note.origin));
    }
    for error in &effective.rejected {
        out.push_str(&format!("left out: {error}\n"));
    }
    if out.is_empty() {
        out.push_str(&format!("{address}: nobody manages it\n"));
    }
    print(&out)
}

/// What the device has, from a folder of its configuration files, if one is given.
fn current(given: &Given) -> anyhow::Result<Config> {
    let Some(folder) = given.value("config") else { return Ok(Config::new()) };
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?;
    let mut config = Config::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| PackageName::new(name.to_str()?).ok());
        let Some(name) = name.filter(|_| path.is_file()) else { continue };
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        config.insert(Package::parse(name, &text).with_context(|| path.display().to_string())?);
    }
    Ok(config)
}
