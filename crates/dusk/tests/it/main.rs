//! The program and its scripts from outside.
#![allow(clippy::unwrap_used, missing_docs)]

mod adopt;
mod command_line;
mod master;
mod restore_script;
mod rollout;
mod status;
mod undo;
