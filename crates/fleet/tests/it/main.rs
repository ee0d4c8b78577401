//! The library from outside: whole logs, good and bad, a second implementation that reads them, and whole fleets.
#![allow(clippy::unwrap_used, missing_docs)]

mod authority;
mod bad_input;
mod checker;
mod decoder;
mod fork;
mod founded;
mod hostile;
mod rollout;
mod simulation;
mod vector;
