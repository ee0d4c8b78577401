//! The program and its scripts from outside.
#![allow(clippy::unwrap_used, missing_docs)]

mod command_line;
mod restore_script;
mod rollout;
mod undo;
