//! The commands, one module a noun.

pub mod agent;
pub mod completions;
pub mod default_network;
pub mod event;
pub mod forward;
pub mod hold_network;
pub mod image;
pub mod instance;
pub mod login;
pub mod network;
pub mod operation;
pub mod peer;
pub mod ssh;
pub mod ssh_proxy;
pub mod wg;

mod resource;
