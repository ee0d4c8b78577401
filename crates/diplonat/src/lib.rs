//! Diplonat: publishes the services of a machine through the router in front of it, the host's firewall and DNS.
//!
//! Sources say what is wanted, as whole states; actors bring it about and say what they hold, as whole states too: the
//! firewall opens before the gateway maps, the gateway maps before DNS tells, and what is withdrawn goes the other way.
//! What is not known is never taken for empty, and what others made is never touched.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod command;
pub mod dns;
pub mod exposure;
pub mod firewall;
pub mod gateway;
pub mod settings;
pub mod source;
pub mod status;
pub mod tag;

mod daemon;
mod door;
mod error;

pub use error::chain;
