//! The methods of `uci` that make staged changes real: commit, revert, and apply with its confirm and rollback.

use std::collections::BTreeMap;
use std::time::Duration;

use super::uci::{Draft, replay};
use crate::rpcd::{Call, Rpcd};
use crate::session::Moment;
use crate::status::{Answer, DONE, Status};
use crate::tree::Change;

/// How long a client has to confirm where it does not say, in seconds.
const CONFIRM_WITHIN: i32 = 60;

/// An apply that waits to be confirmed.
pub(crate) struct Pending {
    sid: String,
    deadline: Moment,
    /// What a rollback restores; nothing once somebody applied without rollback in between.
    snapshot: Snapshot,
}

/// Files and deltas as they were, by config.
#[derive(Default)]
struct Snapshot {
    files: BTreeMap<String, String>,
    deltas: BTreeMap<String, Vec<Change>>,
}

impl Pending {
    /// The session that applied.
    pub(crate) fn sid(&self) -> &str {
        &self.sid
    }

    /// When it is rolled back.
    pub(crate) fn deadline(&self) -> Moment {
        self.deadline
    }
}

pub(crate) fn commit(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let config = writable(rpcd, call)?;
    commit_config(rpcd, call.sid, &config)?;
    DONE
}

pub(crate) fn revert(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let config = writable(rpcd, call)?;
    if let Some(session) = rpcd.sessions.get_mut(call.sid) {
        session.staged.remove(&config);
    }
    DONE
}

/// The config of a commit or revert, which wait for a pending apply to end.
fn writable(rpcd: &Rpcd, call: &Call<'_>) -> Result<String, Status> {
    if rpcd.pending.is_some() {
        return Err(Status::PermissionDenied);
    }
    Draft::open(rpcd, call, "write")?;
    call.text("config").map(str::to_owned).ok_or(Status::InvalidArgument)
}

/// Writes a config with the session's steps taken. If none of them can be taken any more, all stay staged.
fn commit_config(rpcd: &mut Rpcd, sid: &str, config: &str) -> Result<(), Status> {
    let mut tree = rpcd.configs.load(config)?;
    let Some(session) = rpcd.sessions.get_mut(sid) else { return Ok(()) };
    let Some(steps) = session.staged.get(config) else { return Ok(()) };
    if replay(&mut tree, steps) == 0 {
        return Ok(());
    }
    if rpcd.is_full {
        return Err(Status::Unknown);
    }
    rpcd.configs.write(config, &tree.to_string()).map_err(|error| {
        tracing::error!(config, %error, "cannot write a UCI file");
        Status::Unknown
    })?;
    session.staged.remove(config);
    rpcd.note_changed(config);
    Ok(())
}

pub(crate) fn apply(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let with_rollback = call.flag("rollback").unwrap_or(false);
    if let Some(pending) = &mut rpcd.pending {
        if with_rollback {
            return Err(Status::PermissionDenied);
        }
        pending.snapshot = Snapshot::default();
        return DONE;
    }
    let staged = rpcd.sessions.get(call.sid).map(|session| session.staged.clone()).unwrap_or_default();
    if staged.is_empty() {
        return Err(Status::NoData);
    }
    let mut snapshot = Snapshot::default();
    for (config, steps) in staged {
        snapshot.files.insert(config.clone(), rpcd.configs.read(&config).map_err(|error| Status::of_io(&error))?);
        snapshot.deltas.insert(config, steps);
    }
    let configs: Vec<String> = snapshot.files.keys().cloned().collect();
    for config in &configs {
        if let Err(status) = commit_config(rpcd, call.sid, config) {
            restore(rpcd, call.sid, snapshot);
            return Err(status);
        }
    }
    if with_rollback {
        let timeout = call.number("timeout").unwrap_or(CONFIRM_WITHIN);
        let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or(0));
        rpcd.pending = Some(Pending { sid: call.sid.to_owned(), deadline: call.now + timeout, snapshot });
    }
    DONE
}

pub(crate) fn confirm(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    take_pending(rpcd, call)?;
    DONE
}

pub(crate) fn rollback(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let pending = take_pending(rpcd, call)?;
    restore(rpcd, &pending.sid, pending.snapshot);
    DONE
}

/// The pending apply, which is no longer pending, if it is the caller's.
fn take_pending(rpcd: &mut Rpcd, call: &Call<'_>) -> Result<Pending, Status> {
    match rpcd.pending.take() {
        None => Err(Status::NoData),
        Some(pending) if pending.sid == call.sid => Ok(pending),
        Some(others) => {
            rpcd.pending = Some(others);
            Err(Status::PermissionDenied)
        }
    }
}

/// Rolls back an apply that was not confirmed in time.
pub(crate) fn expire(rpcd: &mut Rpcd, now: Moment) {
    if let Some(pending) = rpcd.pending.take_if(|pending| pending.deadline <= now) {
        tracing::info!("an apply was not confirmed in time and is rolled back");
        restore(rpcd, &pending.sid, pending.snapshot);
    }
}

/// Puts whole files back, and the deltas into the session if it is still there.
fn restore(rpcd: &mut Rpcd, sid: &str, snapshot: Snapshot) {
    for (config, text) in &snapshot.files {
        if let Err(error) = rpcd.configs.write(config, text) {
            tracing::error!(config, %error, "cannot restore a UCI file");
        }
        rpcd.note_changed(config);
    }
    if let Some(session) = rpcd.sessions.get_mut(sid) {
        session.staged.extend(snapshot.deltas);
    }
}
