//! The router as its clients meet it.
#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod effect;
mod net;
mod packets;
mod program;
mod protocol;
mod running;
mod transcript;
mod tunnel;
