//! The fleet manager for OpenWrt devices: device agent, master and backup master in one small program.
//!
//! What a node knows and decides is in the crate `fleet`; here it meets sockets, flash, ubus and people.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod action;
pub mod agent;
pub mod apply;
pub mod backup;
pub mod board;
pub mod command;
pub mod device;
pub mod draft;
pub mod flash;
pub mod founding;
pub mod itinerary;
#[cfg(feature = "lab")]
pub mod lab;
pub mod port;
pub mod probe;
pub mod prompt;
pub mod seat;
pub mod shell;
pub mod ssh;
pub mod store;
