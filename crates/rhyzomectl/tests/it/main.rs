//! The command as people run it: against a server that is played here, and through WireGuard that is real.
#![allow(clippy::unwrap_used, missing_docs)]

mod cli;
mod fake_server;
mod image_build;
mod namespace;
mod run;
mod ssh;
