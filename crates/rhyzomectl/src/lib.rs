//! The command line of Rhyzome: what the server offers, and the way to instances.
//!
//! It talks to the server through `api` and to instances through a tunnel of its own ([`tunnel`]), which a process
//! beside it keeps open ([`holder`]). It knows no database, no agent and no router.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod failure;
pub mod holder;
pub mod tunnel;

mod access;
mod command;
mod confirm;
mod default_network;
mod device;
mod home;
mod key;
mod known_host;
mod output;
mod progress;
mod readiness;
mod session;
mod settings;
mod stage;
mod transfer;
mod value;
mod view;
mod wg_quick;
