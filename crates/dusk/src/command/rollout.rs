//! Rollouts: how far they have come, and whoever would rather see to it by hand.

use std::process::ExitCode;

use anyhow::{Context, bail};
use fleet::change::{Change, Wish};
use fleet::rollout::{
    EVERYBODY, Itinerary, Plan, Rollout, Stage, Staged, Window, bound, concerned, conflict, name_of, participants,
    stage_path,
};
use fleet::submission::Submission;
use fleet::{ChangeId, DeviceId, SectionPath};

use super::rows::rows;
use super::{Given, print};
use crate::draft::SignedDraft;
use crate::itinerary;
use crate::prompt;
use crate::seat::{Author, Seat, now, random};

/// The stages of a rollout that does not say.
const STAGES: &str = "1,5%,25%,all";
/// How many percent must be well.
const HEALTHY: u8 = 90;
/// For how many seconds a stage is waited for.
const PATIENCE: u32 = 600;

/// A rollout as it stands.
struct Found {
    path: SectionPath,
    id: ChangeId,
    rollout: Rollout,
    /// The change of its stage, deleted ones included, and what it says of this rollout.
    stands: Option<ChangeId>,
    stage: Option<Stage>,
}

impl Found {
    fn name(&self) -> &str {
        name_of(&self.path).unwrap_or_default()
    }

    fn state(&self, seat: &Seat) -> String {
        match (conflict(&seat.archive, &self.rollout), self.stage) {
            (Some(path), _) => format!("void: {path} was changed since"),
            (None, None) => "waits to begin".to_owned(),
            (None, Some(stage)) if stage.is_halted => "halted".to_owned(),
            (None, Some(_)) => "goes on".to_owned(),
        }
    }
}

/// Lists the rollouts.
///
/// # Errors
/// When there is no fleet here.
pub fn list(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let row = |found: &Found| {
        let stages = found.rollout.stages.len();
        let stage = found.stage.map_or(0, |stage| stage.stage + 1);
        let all = concerned(seat.state(), &found.path).count();
        let part = found.stage.map_or(0, |stage| taking_part(&seat, found, stage.stage).len());
        let devices = format!("{part} of {all}");
        [
            found.name().to_owned(),
            found.path.scope().prefix(),
            format!("{stage} of {stages}"),
            devices,
            found.state(&seat),
        ]
    };
    let table: Vec<_> = all(&seat).iter().map(row).collect();
    rows(given, ["name", "scope", "stage", "devices", "state"], &table)
}

/// Shows one rollout: its stages, its devices, what goes out.
///
/// # Errors
/// When there is none of this name.
pub fn show(given: &Given) -> anyhow::Result<ExitCode> {
    let seat = Seat::open(given)?;
    let found = find(&seat, given.argument("name"))?;
    let Rollout { stages, healthy, patience, window, changes, .. } = &found.rollout;
    let mut out = format!("{}: {}\n", found.path, found.state(&seat));
    out.push_str(&format!("{healthy} % must be well within {patience} s"));
    if let Some(Window { from, to }) = window {
        let time = |minute: &u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        out.push_str(&format!(", stages begin from {} to {} UTC", time(from), time(to)));
    }
    out.push('\n');
    for (stage, _) in (0_u32..).zip(stages) {
        let names: Vec<_> = taking_part(&seat, &found, stage);
        let mark = if found.stage.is_some_and(|now| now.stage == stage) { ">" } else { " " };
        out.push_str(&format!("{mark} stage {}: {} devices: {}\n", stage + 1, names.len(), shortened(&names)));
    }
    for Staged { change, .. } in changes {
        let change = Change::read(change.clone(), seat.fleet())?;
        out.push_str(&format!("  {} {}\n", change.verb(), change.path));
    }
    if itinerary::read(&seat.store, found.id)?.is_none() {
        out.push_str(
            "nothing signed beforehand is here: another master sees to it, or `dusk rollout resume` signs it anew\n",
        );
    }
    print(&out)
}

/// Lets a rollout go no further; with --back, takes it back.
///
/// # Errors
/// When there is none, or the right is wanting.
pub fn halt(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let found = find(&seat, given.argument("name"))?;
    if given.has("back") {
        prompt::consent(&format!("Take {} back on every device?", found.name()), given.has("yes"))?;
        let author = seat.sign_in(given)?;
        let at = stage_path(&found.path).context("it has no stages")?;
        remove(&mut seat, &author, &found.path, found.id)?;
        if let (Some(stands), Some(_)) = (found.stands, seat.archive.content(&at)) {
            remove(&mut seat, &author, &at, stands)?;
        }
        itinerary::forget(&seat.store, found.id)?;
        return print(&format!("{} is taken back: everybody goes back to what stands\n", found.name()));
    }
    let kept = itinerary::read(&seat.store, found.id)?;
    // The author has signed it beforehand: whoever is at the master needs no password to stop it.
    if let Some(leg) = kept.as_ref().and_then(|kept| kept.current(found.stands)) {
        submit(&mut seat, leg.halt.clone())?;
        return print(&format!("{} goes no further\n", found.name()));
    }
    let stage = found.stage.filter(|stage| !stage.is_halted).context("it has not begun, or is halted already")?;
    let author = seat.sign_in(given)?;
    say(&mut seat, &author, &found, Stage::new(found.id, stage.stage, true))?;
    print(&format!("{} goes no further\n", found.name()))
}

/// Lets a halted rollout go on where it is, or one whose itinerary went with a lost master.
///
/// # Errors
/// When there is none, or the right is wanting.
pub fn resume(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let found = find(&seat, given.argument("name"))?;
    let author = seat.sign_in(given)?;
    let stage = found.stage.map_or(0, |stage| stage.stage);
    let kept = sign_stages(&seat, &author, &found, stage)?;
    itinerary::keep(&seat.store, &kept)?;
    if let (Some(_), Some(leg)) = (found.stage, kept.legs.first()) {
        submit(&mut seat, leg.begin.clone())?;
    }
    print(&format!("{} goes on with stage {}\n", found.name(), stage + 1))
}

/// Lets the next stage begin, whatever came of this one; after the last one, ends the rollout.
///
/// # Errors
/// When there is none, or the right is wanting.
pub fn advance(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let found = find(&seat, given.argument("name"))?;
    let next = found.stage.map_or(0, |stage| stage.stage + 1);
    let author = seat.sign_in(given)?;
    let kept = sign_stages(&seat, &author, &found, next)?;
    itinerary::keep(&seat.store, &kept)?;
    if let Some(leg) = kept.legs.first() {
        submit(&mut seat, leg.begin.clone())?;
        return print(&format!("{} is at stage {} of {}\n", found.name(), next + 1, found.rollout.stages.len()));
    }
    for submission in kept.end {
        submit(&mut seat, submission)?;
    }
    itinerary::forget(&seat.store, found.id)?;
    print(&format!("{} has ended: it stands for all\n", found.name()))
}

/// Signs drafts as a rollout, and puts it where the voters have it and a master sees to it.
///
/// # Errors
/// When the command line is no good, another rollout is about the same, or the right is wanting.
pub fn begin(seat: &mut Seat, given: &Given, signed: Vec<SignedDraft>, author: &Author) -> anyhow::Result<String> {
    let name = given.value("rollout").unwrap_or_default();
    let first = signed.first().context("nothing changes")?;
    let path = first.path.scope().section(&format!("rollouts/{name}"));
    let path = path.with_context(|| format!("--rollout {name:?}: a name is expected"))?;
    for other in all(seat) {
        let is_same = |staged: &Staged| {
            Change::read(staged.change.clone(), seat.fleet())
                .is_ok_and(|change| signed.iter().any(|draft| draft.path == change.path))
        };
        if other.path == path || other.rollout.changes.iter().any(is_same) {
            bail!("rollout {} is about the same: let it end, or take it back first", other.name());
        }
    }
    let devices: Vec<DeviceId> = concerned(seat.state(), &path).collect();
    let changes: Vec<Staged> =
        signed.into_iter().map(|SignedDraft { change, content, .. }| Staged { change, content }).collect();
    let stages = stages(given.value("stages").unwrap_or(STAGES), &changes, &devices)?;
    let healthy = number(given, "healthy", HEALTHY)?;
    let patience = number(given, "patience", PATIENCE)?;
    let window = given.value("window").map(window).transpose()?;
    let rollout = Rollout::new(stages, (healthy, patience), window, changes)?;
    let plan = plan(seat, author, given.value("note").unwrap_or_default());
    let replaces = seat.archive.log().map().get(&path).map(|leaf| leaf.change);
    let founded = plan.found(&path, replaces, &rollout, &mut random)?;
    submit(seat, founded)?;
    let found = find(seat, path.as_str())?;
    let kept = sign_stages(seat, author, &found, 0)?;
    itinerary::keep(&seat.store, &kept)?;
    let counts: Vec<_> =
        (0..).zip(&found.rollout.stages).map(|(stage, _)| taking_part(seat, &found, stage).len()).collect();
    let counts: Vec<_> = counts.iter().map(ToString::to_string).collect();
    Ok(format!("{path} goes out in stages of {} devices: `dusk rollout show {name}`\n", counts.join(", ")))
}

/// The bounds of stages such as `1,5%,25%,all`; those that are no larger than the one before are left out.
fn stages(text: &str, changes: &[Staged], devices: &[DeviceId]) -> anyhow::Result<Vec<u64>> {
    let first = &changes.first().context("nothing changes")?.change;
    let mut bounds = Vec::new();
    for part in text.split(',').map(str::trim) {
        let expected = || format!("--stages: {part:?}: expected a count, a share such as 5%, or all");
        let count = match part.strip_suffix('%') {
            _ if part == "all" => devices.len(),
            Some(percent) => {
                let percent: usize = percent.parse().ok().filter(|percent| *percent <= 100).with_context(expected)?;
                (devices.len() * percent).div_ceil(100)
            }
            None => part.parse().with_context(expected)?,
        };
        bounds.push(bound(first, devices, count));
    }
    bounds.push(EVERYBODY);
    bounds.sort_unstable();
    bounds.dedup();
    Ok(bounds)
}

fn window(text: &str) -> anyhow::Result<Window> {
    let expected = || format!("--window {text:?}: expected FROM-TO in UTC, such as 02:00-04:30");
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-').with_context(expected)?;
    let window = minute(from).zip(minute(to)).with_context(expected)?;
    Ok(Window { from: window.0, to: window.1 })
}

fn number<T: std::str::FromStr>(given: &Given, flag: &str, usual: T) -> anyhow::Result<T> {
    given
        .value(flag)
        .map_or(Ok(usual), |text| text.parse().ok().with_context(|| format!("--{flag} {text:?}: a number is expected")))
}

/// All rollouts that stand.
fn all(seat: &Seat) -> Vec<Found> {
    let map = seat.archive.log().map();
    let leaves = ["groups/", "policies/", "devices/"].into_iter().flat_map(|prefix| map.under(prefix));
    let rollouts = leaves.filter(|leaf| !leaf.deleted && name_of(&leaf.path).is_some());
    let found = |leaf: &fleet::map::Leaf| {
        let rollout = Rollout::from_bytes(&seat.archive.content(&leaf.path)?.bytes.0).ok()?;
        let at = stage_path(&leaf.path)?;
        let stage = seat.archive.content(&at).and_then(|content| Stage::from_bytes(&content.bytes.0).ok());
        let stage = stage.filter(|stage| stage.rollout == leaf.change);
        let stands = map.get(&at).map(|leaf| leaf.change);
        Some(Found { path: leaf.path.clone(), id: leaf.change, rollout, stands, stage })
    };
    rollouts.filter_map(found).collect()
}

/// The rollout of this name or path.
fn find(seat: &Seat, text: &str) -> anyhow::Result<Found> {
    let mut found: Vec<_> =
        all(seat).into_iter().filter(|found| found.path.as_str() == text || found.name() == text).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("there is no rollout {text:?}: `dusk rollout list` lists them"),
        many => bail!("{many} rollouts are called {text:?}: say the path, such as {}", found[0].path),
    }
}

/// The names of those who take part in a stage.
fn taking_part(seat: &Seat, found: &Found, stage: u32) -> Vec<String> {
    let state = seat.state();
    let name = |id: DeviceId| state.devices.get(&id).map_or_else(|| id.to_string(), |device| device.name.to_string());
    let mut names: Vec<_> = participants(state, &found.path, &found.rollout, stage).map(name).collect();
    names.sort();
    names
}

fn shortened(names: &[String]) -> String {
    let shown = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 8 { format!("{shown}, …") } else { shown }
}

fn plan<'a>(seat: &'a Seat, author: &'a Author, note: &'a str) -> Plan<'a> {
    Plan { authority: seat.authority(), secret: &author.secret, time: now(), note }
}

fn sign_stages(seat: &Seat, author: &Author, found: &Found, first: u32) -> anyhow::Result<Itinerary> {
    let note = format!("rollout {}", found.name());
    let plan = plan(seat, author, &note);
    Ok(plan.itinerary(&found.path, (found.id, &found.rollout), (first, found.stands), &mut random)?)
}

fn submit(seat: &mut Seat, Submission { record, content }: Submission) -> anyhow::Result<()> {
    seat.decide(record, content).map(drop)
}

fn say(seat: &mut Seat, author: &Author, found: &Found, stage: Stage) -> anyhow::Result<()> {
    let at = stage_path(&found.path).context("it has no stages")?;
    let content = fleet::change::Content::new(stage.to_bytes(), &mut random);
    let change = signed(seat, author, at, found.stands, Some(content.hash()));
    seat.change(change, Some(content)).map(drop)
}

fn remove(seat: &mut Seat, author: &Author, path: &SectionPath, stands: ChangeId) -> anyhow::Result<()> {
    let change = signed(seat, author, path.clone(), Some(stands), None);
    seat.change(change, None).map(drop)
}

fn signed(
    seat: &Seat,
    author: &Author,
    path: SectionPath,
    replaces: Option<ChangeId>,
    content: Option<fleet::ContentHash>,
) -> fleet::Signed {
    let wish = Wish { path, content, replaces, execute: false, time: now(), note: String::new() };
    Change::sign(seat.authority(), wish, &author.secret)
}
