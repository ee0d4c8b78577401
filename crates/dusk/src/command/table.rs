//! All commands. A line here is all that a command needs to be known to the parser and the help.

use super::{Command, Flag};

/// What every command takes.
pub const COMMON: &[Flag] =
    &[Flag { long: "help", short: Some('h'), value: None, help: "Say what the command does and takes" }];

/// The commands, in the order in which the help lists them.
pub const COMMANDS: &[Command] = &[];
