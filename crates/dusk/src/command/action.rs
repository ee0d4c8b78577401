//! `dusk action`, `dusk pause` and `dusk resume`: sections that somebody writes for now, not for good.

use std::process::ExitCode;

use anyhow::{Context, bail};
use fleet::{Scope, SectionPath};

use super::section::scope;
use super::{Given, print};
use crate::draft::{Draft, commit, text};
use crate::seat::{Seat, now};

/// What a pause begins with, so that no other policy is taken for one.
const PAUSE: &str = "# paused by `dusk pause`, until `dusk resume`\n";

/// Has devices do something once.
///
/// # Errors
/// When it is no action, or the right is wanting.
pub fn act(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let scope = scope(&seat, given.argument("target"))?;
    let (deed, words) = (given.argument("do"), given.many("text").join(" "));
    let option = match (deed, words.is_empty()) {
        ("reboot", true) => String::new(),
        ("reboot", false) => bail!("dusk action reboot takes nothing more: expected the target alone"),
        ("log", false) => option("message", &words)?,
        ("command", false) => option("command", &words)?,
        ("log" | "command", true) => {
            bail!("dusk action {deed} needs what to {}", if deed == "log" { "log" } else { "run" })
        }
        (other, _) => bail!("{other:?} is no action: expected reboot, log or command"),
    };
    let seconds = given.value("seconds").map_or(Ok(String::new()), |seconds| option_of("seconds", seconds))?;
    // The same once more is another change.
    let content = format!("# asked for at {}\nconfig action\n\toption do '{deed}'\n{option}{seconds}", now());
    let draft = Draft::new(&seat, scope.section(&format!("actions/{deed}"))?, Some(content))?;
    let told = commit(&mut seat, given, vec![draft])?;
    print(&format!("{told}`dusk show` says what it came to\n"))
}

/// Has a device keep what it has, whatever the fleet asks for.
///
/// # Errors
/// When it has a policy of its own, or the right is wanting.
pub fn pause(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let path = own_policy(&seat, given)?;
    let before = text(&seat, &path)?;
    if !before.is_empty() && !before.starts_with(PAUSE) {
        bail!("{path} says something else already: `dusk edit` it, with option frozen '1' in config apply");
    }
    let hours = given.value("hours").map_or(Ok(String::new()), |hours| option_of("hours", hours))?;
    // To say it again begins the hours anew.
    let content = format!("{PAUSE}# asked for at {}\nconfig apply\n\toption frozen '1'\n{hours}", now());
    let draft = Draft::new(&seat, path, Some(content))?;
    print(&commit(&mut seat, given, vec![draft])?)
}

/// Ends a pause.
///
/// # Errors
/// When there is none, or the right is wanting.
pub fn resume(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let path = own_policy(&seat, given)?;
    if !text(&seat, &path)?.starts_with(PAUSE) {
        bail!("{} is not paused", given.argument("device"));
    }
    let draft = Draft::new(&seat, path, None)?;
    print(&commit(&mut seat, given, vec![draft])?)
}

fn own_policy(seat: &Seat, given: &Given) -> anyhow::Result<SectionPath> {
    let device = super::device::find(seat, given.argument("device"))?;
    Ok(Scope::Device(device).section("policy")?)
}

fn option_of(name: &str, number: &str) -> anyhow::Result<String> {
    let number: u32 = number.parse().ok().with_context(|| format!("--{name}: a whole number is expected"))?;
    Ok(format!("\toption {name} '{number}'\n"))
}

/// An option with a text, as UCI writes it.
fn option(name: &str, text: &str) -> anyhow::Result<String> {
    if text.chars().any(char::is_control) {
        bail!("the {name} has a line break or another control character: expected one line");
    }
    Ok(format!("\toption {name} '{}'\n", text.replace('\'', r"'\''")))
}
