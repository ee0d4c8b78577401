//! Changing sections: `dusk set` and `dusk edit`.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use fleet::address::Assignment;
use fleet::change::{Change, Content, Wish};
use fleet::document::Document;
use fleet::{Scope, SectionPath, mask};
use uci::{OptionName, PackageName, SectionType};

use super::device::find;
use super::{Given, print};
use crate::prompt;
use crate::seat::{Seat, now, random};

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
        drafts.push(Draft { path, before, after: Some(after) });
    }
    commit(&mut seat, given, drafts)
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
    commit(&mut seat, given, vec![Draft { path, before, after }])
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
    print(&text.lines().map(|line| masked(line) + "\n").collect::<String>())
}

/// What a section is to say.
struct Draft {
    path: SectionPath,
    before: String,
    after: Option<String>,
}

/// Shows what differs, asks, signs, and has it decided.
fn commit(seat: &mut Seat, given: &Given, mut drafts: Vec<Draft>) -> anyhow::Result<ExitCode> {
    drafts.retain(|draft| draft.after.as_deref().unwrap_or_default() != draft.before);
    if drafts.is_empty() {
        return print("nothing changes\n");
    }
    let mut executes = Vec::new();
    for Draft { path, before, after } in &drafts {
        let document = after.as_ref().map(|after| Document::parse(path, after.as_bytes())).transpose()?.flatten();
        let code = document.map_or(Vec::new(), |document| document.runs_code());
        eprintln!("{path}");
        difference(before, after.as_deref().unwrap_or_default()).iter().for_each(|line| eprintln!("{line}"));
        code.iter().for_each(|code| eprintln!("this runs code{}: {}", code.place, code.what));
        executes.push(!code.is_empty());
        concerned(seat, path).iter().for_each(|name| eprintln!("it concerns {name}"));
    }
    prompt::consent("Sign this?", given.has("yes"))?;
    let author = seat.sign_in(given)?;
    let note = given.value("note").unwrap_or_default().to_owned();
    for (Draft { path, after, .. }, execute) in drafts.into_iter().zip(executes) {
        let content = after.map(|after| Content::new(after.into_bytes(), &mut random));
        let replaces = seat.archive.log().map().get(&path).map(|leaf| leaf.change);
        let hash = content.as_ref().map(Content::hash);
        let wish = Wish { path: path.clone(), content: hash, replaces, execute, time: now(), note: note.clone() };
        let change = Change::sign(seat.authority(), wish, &author.secret);
        let index = seat.change(change, content)?;
        print(&format!("{path} is changed, as record {index}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whom `group/ap`, `device/attic` and `policy/night` mean.
fn scope(seat: &Seat, target: &str) -> anyhow::Result<Scope> {
    let expected = || format!("{target:?}: expected group/NAME, device/NAME or policy/NAME");
    let (class, name) = target.split_once('/').with_context(expected)?;
    match class {
        "group" | "groups" => Ok(Scope::Group(name.parse()?)),
        "device" | "devices" => Ok(Scope::Device(find(seat, name)?)),
        "policy" | "policies" => Ok(Scope::Policy(name.to_owned())),
        _ => bail!(expected()),
    }
}

/// The names of members that a section concerns; of a policy, none are known here.
fn concerned(seat: &Seat, path: &SectionPath) -> Vec<String> {
    let is_meant = |id, groups: &[fleet::GroupName]| match path.scope() {
        Scope::Group(group) => groups.contains(&group),
        Scope::Device(device) => device == id,
        Scope::User(_) | Scope::Policy(_) => false,
    };
    let members = seat.state().members().filter(|(id, device)| is_meant(*id, device.groups()));
    members.map(|(_, device)| device.name.to_string()).collect()
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

/// What a section says; nothing if it is not there.
fn text(seat: &Seat, path: &SectionPath) -> anyhow::Result<String> {
    let Some(content) = seat.archive.content(path) else { return Ok(String::new()) };
    String::from_utf8(content.bytes.0.clone()).with_context(|| format!("{path} is no text"))
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

/// The lines that go and come: what both have at the beginning and the end is left out.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let start = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let (before, after) = (&before[start..], &after[start..]);
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
    let gone = before[..before.len() - end].iter().map(|line| format!("- {}", masked(line)));
    gone.chain(after[..after.len() - end].iter().map(|line| format!("+ {}", masked(line)))).collect()
}

/// A line of a content without the secret that it may hold.
fn masked(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().take(3).collect();
    let [word @ ("option" | "list"), name, _] = words.as_slice() else { return line.to_owned() };
    let name = name.trim_matches(['\'', '"']);
    let (Ok(package), Ok(kind)) = (PackageName::new("any"), SectionType::new("any")) else { return line.to_owned() };
    match OptionName::new(name) {
        Ok(option) if !mask::is_secret(&package, &kind, &option) => line.to_owned(),
        _ => format!("\t{word} {name} (hidden)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_and_secrets_are_not() {
        let before = "config wifi-iface 'a'\n\toption key 'hunter22'\n\toption ssid 'one'\n";
        let after = "config wifi-iface 'a'\n\toption key 'hunter23'\n\toption ssid 'one'\n";
        assert_eq!(difference(before, after), ["- \toption key (hidden)", "+ \toption key (hidden)"]);
        let after = before.replace("one", "two");
        assert_eq!(difference(before, &after), ["- \toption ssid 'one'", "+ \toption ssid 'two'"]);
    }
}
