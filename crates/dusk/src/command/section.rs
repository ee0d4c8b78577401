//! Changing sections: `dusk set` and `dusk edit`.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use fleet::address::Assignment;
use fleet::{Scope, SectionPath, mask};
use uci::PackageName;

use super::device::find;
use super::{Given, print};
use crate::draft::{Draft, commit, text};
use crate::seat::Seat;

/// Writes assignments into sections.
///
/// # Errors
/// When one of them is no good, or the right is wanting; nothing is changed then.
pub fn set(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let scope = scope(&seat, given.argument("target"))?;
    let given_assignments = given.many("change").iter();
    let assignments: Vec<Assignment> = given_assignments.map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut packages: Vec<PackageName> = assignments.iter().map(package).collect();
    packages.sort();
    packages.dedup();
    let mut drafts = Vec::new();
    for name in packages {
        let path = scope.section(&format!("config/{name}"))?;
        let before = text(&seat, &path)?;
        let own: Vec<_> = assignments.iter().filter(|assignment| package(assignment) == name).cloned().collect();
        let after = fleet::edit::set(&name, &before, &own, |_| None)?;
        drafts.push(Draft::new(&seat, path, Some(after))?);
    }
    print(&commit(&mut seat, given, drafts)?)
}

/// Opens a section in the editor.
///
/// # Errors
/// When what was written is no good, or the right is wanting; nothing is changed then.
pub fn edit(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let target = given.argument("section");
    let (class, rest) = target.split_once('/').context("a section is expected, such as group/ap/config/wireless")?;
    let (name, rest) = rest.split_once('/').context("a section is expected, such as group/ap/config/wireless")?;
    let path = scope(&seat, &format!("{class}/{name}"))?.section(rest)?;
    let before = text(&seat, &path)?;
    let after = edited(&before)?;
    let after = (!after.trim().is_empty()).then_some(after);
    let draft = Draft::new(&seat, path, after)?;
    print(&commit(&mut seat, given, vec![draft])?)
}

/// Prints a section.
///
/// # Errors
/// When there is none.
pub fn show(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let path: SectionPath = given.argument("section").parse()?;
    let content = seat.archive.content(&path).with_context(|| format!("there is no section {path}"))?;
    let text = String::from_utf8_lossy(&content.bytes.0);
    print(&mask::lines(&text).iter().map(|line| line.clone() + "\n").collect::<String>())
}

/// Whom `group/ap`, `device/attic` and `policy/night` mean.
pub fn scope(seat: &Seat, target: &str) -> anyhow::Result<Scope> {
    let expected = || format!("{target:?}: expected group/NAME, device/NAME or policy/NAME");
    let (class, name) = target.split_once('/').with_context(expected)?;
    match class {
        "group" | "groups" => Ok(Scope::Group(name.parse()?)),
        "device" | "devices" => Ok(Scope::Device(find(seat, name)?)),
        "policy" | "policies" => Ok(Scope::Policy(name.to_owned())),
        _ => bail!(expected()),
    }
}

fn package(assignment: &Assignment) -> PackageName {
    match assignment {
        Assignment::Set(address, _)
        | Assignment::Unset(address)
        | Assignment::Add(address, _)
        | Assignment::Remove(address, _) => address.section.package.clone(),
        Assignment::Section(address, _) | Assignment::Delete(address) => address.package.clone(),
    }
}

fn edited(before: &str) -> anyhow::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_else(|_| "vi".into());
    let path = std::env::temp_dir().join(format!("dusk-edit-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(before.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    let ended =
        Command::new("sh").args(["-c", "$EDIT_WITH \"$1\"", "sh"]).arg(&path).env("EDIT_WITH", &editor).status();
    let after = std::fs::read_to_string(&path);
    let _ = std::fs::remove_file(&path);
    match ended.with_context(|| format!("cannot run {editor}"))?.success() {
        true => Ok(after?),
        false => bail!("{editor} failed: nothing was changed"),
    }
}
