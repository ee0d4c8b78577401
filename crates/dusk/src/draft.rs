//! What sections are to say: shown to whoever signs it, for every device that it concerns, then signed and decided.

use std::collections::BTreeSet;

use anyhow::Context;
use fleet::authority::Statement;
use fleet::change::{Change, Content, Wish};
use fleet::configuration::Configuration;
use fleet::document::{Document, RunsCode};
use fleet::impact::{Impact, assumed, impacts};
use fleet::layer::{Execute, Member, Origin, Placed};
use fleet::log::Record;
use fleet::{ChangeId, DeviceId, Request, Scope, SectionPath, mask};

use crate::command::{Given, rollout};
use crate::prompt;
use crate::seat::{Author, Seat, now, random};

/// So many names are listed before they are counted.
const NAMES: usize = 8;

/// What a section is to say.
pub struct Draft {
    /// Which.
    pub path: SectionPath,
    /// The change that is replaced.
    pub replaces: Option<ChangeId>,
    /// What it says; nothing where it is not there.
    pub before: String,
    /// What it is to say; nothing to delete it.
    pub after: Option<String>,
}

/// A change that somebody signed, with its content.
pub struct SignedDraft {
    /// Which section.
    pub path: SectionPath,
    /// The change.
    pub change: fleet::Signed,
    /// What it names.
    pub content: Option<Content>,
}

impl Draft {
    /// A draft of what a section is to say, in the place of what it says.
    ///
    /// # Errors
    /// When what it says is no text.
    pub fn new(seat: &Seat, path: SectionPath, after: Option<String>) -> anyhow::Result<Self> {
        let before = text(seat, &path)?;
        let replaces = seat.archive.log().map().get(&path).map(|leaf| leaf.change);
        Ok(Self { path, replaces, before, after })
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.after.as_deref().unwrap_or_default() != self.before
    }

    /// What of it runs code.
    ///
    /// # Errors
    /// When it is no good.
    pub fn runs_code(&self) -> anyhow::Result<Vec<RunsCode>> {
        let document = self.after.as_ref().map(|after| Document::parse(&self.path, after.as_bytes())).transpose()?;
        Ok(document.flatten().map_or(Vec::new(), |document| document.runs_code()))
    }
}

/// What a section says; nothing if it is not there.
///
/// # Errors
/// When it is no text.
pub fn text(seat: &Seat, path: &SectionPath) -> anyhow::Result<String> {
    let Some(content) = seat.archive.content(path) else { return Ok(String::new()) };
    String::from_utf8(content.bytes.0.clone()).with_context(|| format!("{path} is no text"))
}

/// Shows what differs in the sections, and on every device.
///
/// # Errors
/// When a draft is no good.
pub fn show(seat: &Seat, drafts: &[Draft]) -> anyhow::Result<()> {
    for draft in drafts {
        eprintln!("{}", draft.path);
        difference(&draft.before, draft.after.as_deref().unwrap_or_default())
            .iter()
            .for_each(|line| eprintln!("{line}"));
        draft.runs_code()?.iter().for_each(|code| eprintln!("this runs code{}: {}", code.place, code.what));
    }
    let impacts = impacts_of(seat, drafts)?;
    for Impact { devices, lines } in &impacts {
        let names: Vec<_> = devices.iter().take(NAMES).map(ToString::to_string).collect();
        let more = devices.len().checked_sub(NAMES + 1).map_or(String::new(), |more| format!(" and {} more", more + 1));
        eprintln!("on {}{more}:", names.join(", "));
        lines.iter().for_each(|line| eprintln!("  {line}"));
    }
    if impacts.is_empty() {
        eprintln!("it changes nothing on any device");
    }
    Ok(())
}

/// Shows the drafts, and unless it is a dry run, asks, signs them and has them decided.
///
/// # Errors
/// When one of them is no good, or the right is wanting.
pub fn commit(seat: &mut Seat, given: &Given, mut drafts: Vec<Draft>) -> anyhow::Result<String> {
    drafts.retain(Draft::changes);
    if drafts.is_empty() {
        return Ok("nothing changes\n".to_owned());
    }
    show(seat, &drafts)?;
    if given.has("dry-run") {
        return Ok("nothing was signed\n".to_owned());
    }
    prompt::consent("Sign this?", given.has("yes"))?;
    let author = seat.sign_in(given)?;
    if given.has("rollout") {
        let signed = sign(seat, given, &drafts, &author)?;
        return rollout::begin(seat, given, signed, &author);
    }
    let mut told = String::new();
    for SignedDraft { path, change, content } in sign(seat, given, &drafts, &author)? {
        let index = seat.change(change, content)?;
        told.push_str(&format!("{path} is changed, as record {index}\n"));
    }
    Ok(told)
}

/// Signs drafts at one time and with one note, by which they are known to belong together.
///
/// # Errors
/// When one of them is no good.
pub fn sign(seat: &Seat, given: &Given, drafts: &[Draft], author: &Author) -> anyhow::Result<Vec<SignedDraft>> {
    let note = given.value("note").unwrap_or_default();
    let time = free_time(seat, author, note);
    let sign = |draft: &Draft| {
        let content = draft.after.as_ref().map(|after| Content::new(after.clone().into_bytes(), &mut random));
        let wish = Wish {
            path: draft.path.clone(),
            content: content.as_ref().map(Content::hash),
            replaces: draft.replaces,
            execute: !draft.runs_code()?.is_empty(),
            time,
            note: note.to_owned(),
        };
        let change = Change::sign(seat.authority(), wish, &author.secret);
        Ok(SignedDraft { path: draft.path.clone(), change, content })
    };
    drafts.iter().map(sign).collect()
}

/// The first second from here on in which the author signed nothing with this note.
fn free_time(seat: &Seat, author: &Author, note: &str) -> u64 {
    let own = author.secret.public().verify;
    let taken: BTreeSet<u64> = seat
        .archive
        .records()
        .filter_map(|submission| match submission.record {
            Record::Change(signed) => Change::read(signed, seat.fleet()).ok(),
            Record::Authority(_) => None,
        })
        .filter(|change| change.author == own && change.note == note)
        .map(|change| change.time)
        .collect();
    (now()..).find(|time| !taken.contains(time)).unwrap_or_default()
}

/// What drafts come to on the devices that they may concern.
fn impacts_of(seat: &Seat, drafts: &[Draft]) -> anyhow::Result<Vec<Impact>> {
    let before = configuration(seat);
    let mut after = before.clone();
    for Draft { path, after: content, .. } in drafts {
        after.sections.retain(|placed| placed.origin.section != *path);
        after.unreadable.retain(|error| error.path != *path);
        let origin = Origin { section: path.clone(), signer: "you".to_owned() };
        let placed = content.as_ref().map(|content| Placed::read(origin, content.as_bytes(), Execute::Signed));
        after.sections.extend(placed.transpose()?.flatten());
    }
    Ok(impacts(&members(seat, drafts), &before, &after))
}

/// The members that drafts may concern, for all that is known of them here.
fn members(seat: &Seat, drafts: &[Draft]) -> Vec<Member> {
    let may_concern = |id: DeviceId, groups: &[fleet::GroupName]| {
        drafts.iter().any(|draft| match draft.path.scope() {
            Scope::Group(group) => groups.contains(&group),
            Scope::Device(device) => device == id,
            Scope::Policy(_) => true,
            Scope::User(_) => false,
        })
    };
    let mut members: Vec<Member> = Vec::new();
    for (id, device) in seat.state().members().filter(|(id, device)| may_concern(*id, device.groups())) {
        members.push(Member { id, name: device.name.clone(), groups: device.groups().to_vec(), facts: assumed() });
    }
    // What hardware a device is of, it said when it asked.
    for entry in seat.authority().entries(1) {
        let Statement::Device { key, request: Some(request), .. } = &entry.statement else { continue };
        let (Ok(key), Ok(request)) = (fleet::bound(key, Some(seat.fleet())), Request::open(request, seat.fleet()))
        else {
            continue;
        };
        let id = DeviceId::first_known_by(&key);
        members
            .iter_mut()
            .filter(|member| member.id == id)
            .for_each(|member| member.facts.board.clone_from(&request.board));
    }
    members
}

/// The fleet's sections about configuration.
#[must_use]
pub fn configuration(seat: &Seat) -> Configuration {
    let leaves =
        ["groups/", "policies/", "devices/"].into_iter().flat_map(|prefix| seat.archive.log().map().under(prefix));
    let standing = leaves.filter(|leaf| !leaf.deleted);
    let found: Vec<_> = standing
        .filter_map(|leaf| Some((&leaf.path, seat.archive.change(&leaf.path)?, seat.archive.content(&leaf.path)?)))
        .collect();
    Configuration::of(seat.authority(), found.iter().map(|(path, change, content)| (*path, change, *content)))
}

/// The lines that go and come: what both have at the beginning and the end is left out.
fn difference(before: &str, after: &str) -> Vec<String> {
    // Secrets are left out last, so that one that changes is seen to.
    let (shown_before, shown_after) = (mask::lines(before), mask::lines(after));
    if shown_before == shown_after {
        return vec!["~ secrets alone".to_owned()];
    }
    let start = shown_before.iter().zip(&shown_after).take_while(|(one, other)| one == other).count();
    let (before, after) = (&shown_before[start..], &shown_after[start..]);
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
    let has_words = |line: &&String| !line.trim().is_empty();
    let gone = before[..before.len() - end].iter().filter(has_words).map(|line| format!("- {line}"));
    gone.chain(after[..after.len() - end].iter().filter(has_words).map(|line| format!("+ {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_and_secrets_are_not() {
        let before = "config wifi-iface 'a'\n\toption key 'hunter22'\n\toption ssid 'one'\n";
        let after = "config wifi-iface 'a'\n\toption key 'hunter23'\n\toption ssid 'one'\n";
        assert_eq!(difference(before, after), ["~ secrets alone"]);
        let after = before.replace("one", "two");
        assert_eq!(difference(before, &after), ["- \toption ssid 'one'", "+ \toption ssid 'two'"]);
    }
}
