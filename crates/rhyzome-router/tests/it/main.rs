//! The router as its clients meet it.
#![allow(clippy::unwrap_used, missing_docs)]

mod bare;
mod client;
mod protocol;
mod transcript;
