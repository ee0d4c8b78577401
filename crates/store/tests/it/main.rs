//! The database's contract: what every backend must keep.
#![allow(clippy::unwrap_used, missing_docs)]

mod agent;
mod allocation;
mod contention;
mod ground;
mod ipam;
mod job;
mod migration;
mod opening;
mod operation;
mod resource;
