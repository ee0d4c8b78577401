//! Something that devices do once: `config action` with `do`, and what that needs.

use super::{DocumentError, Source};

/// Something to do once for each change of its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What to do.
    pub deed: Deed,
    /// How long it may take, in seconds.
    pub seconds: u32,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Boots anew, once the result is written down.
    Reboot,
    /// Writes a line into the device's log.
    Log {
        /// The line.
        message: String,
    },
    /// Runs a command in a shell. Needs the right `execute`.
    Command {
        /// The command.
        command: String,
    },
}

/// How long an action may take that does not say.
const SECONDS: u32 = 60;
/// How long any may take.
const MOST_SECONDS: u32 = 900;

pub(super) fn read(source: &Source<'_>) -> Result<Action, DocumentError> {
    let mut items = source.items();
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(source.error("expected one section of the type action"));
    };
    if item.section.kind().as_str() != "action" {
        return Err(item.unknown_kind("action"));
    }
    item.only(&["do", "message", "command", "seconds"])?;
    let expected = "reboot, log or command";
    let deed = match item.needed("do", expected)? {
        "reboot" => Deed::Reboot,
        "log" => Deed::Log { message: item.needed("message", "the line to log")?.to_owned() },
        "command" => Deed::Command { command: item.needed("command", "what to run")?.to_owned() },
        other => return Err(item.error(Some("do"), format!("{other:?} is not known: expected {expected}"))),
    };
    let range = format!("1 to {MOST_SECONDS} seconds");
    let seconds = item.parsed("seconds", &range)?.unwrap_or(SECONDS);
    if !(1..=MOST_SECONDS).contains(&seconds) {
        return Err(item.error(Some("seconds"), format!("{seconds} does not do: expected {range}")));
    }
    Ok(Action { deed, seconds })
}
